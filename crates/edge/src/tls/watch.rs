//! Looks at the files of certificates, authorities and ticket secrets every second, and has those
//! read again that changed. Never reads a file that is still being written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::Terminator;
use super::outward::Outward;
use super::reload::{Part, Reloaded};
use crate::config::Problem;
use crate::stamps::{LOOK_INTERVAL, Stamps};
use crate::state::{Edge, Snapshot};

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Days before the end at which the log says so, each once.
const WARNINGS_DAYS: [i64; 3] = [1, 7, 30];

/// Follows the files of the running configuration until told to stop.
pub(crate) async fn run(edge: Arc<Edge>, mut stopped: watch::Receiver<bool>) {
    let mut watcher = Watcher::default();
    loop {
        let snapshot = edge.snapshot.load_full();
        let looking = tokio::task::spawn_blocking(move || {
            watcher.follow(&snapshot);
            watcher.look(unix_seconds());
            watcher
        });
        watcher = match looking.await {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::error!(%error, "certificates are not watched any more");
                return;
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

#[derive(Default)]
struct Watcher {
    parts: Vec<Watched>,
    outward: Vec<(Arc<Outward>, Stamps)>,
    terminators: Vec<(Arc<Terminator>, Vec<Warned>)>,
}

/// One part with the stamps of its files.
struct Watched {
    terminator: Arc<Terminator>,
    part: Part,
    files: Vec<PathBuf>,
    stamps: Stamps,
}

/// What the log has said of a certificate: the end it was about, and how near that was.
#[derive(Clone, Copy, Default)]
struct Warned {
    until: i64,
    days: Option<i64>,
}

impl Watcher {
    /// Looks at the files of this generation from now on. Of what goes on, it remembers what it saw.
    fn follow(&mut self, snapshot: &Snapshot) {
        let known = std::mem::take(self);
        let goes_on =
            |one: &Arc<Terminator>| snapshot.terminators.iter().any(|new| Arc::ptr_eq(new, one));
        self.parts = known.parts;
        self.parts.retain(|part| goes_on(&part.terminator));
        for terminator in &snapshot.terminators {
            let mut before = known.terminators.iter();
            let before = before.find(|(one, _)| one.listener() == terminator.listener());
            if before.is_none_or(|(one, _)| !Arc::ptr_eq(one, terminator)) {
                let parts = terminator.parts().into_iter();
                self.parts.extend(parts.map(|(part, files)| Watched {
                    terminator: Arc::clone(terminator),
                    part,
                    files,
                    stamps: Stamps::default(),
                }));
            }
            let warned = before.map_or_else(Vec::new, |(_, warned)| warned.clone());
            self.terminators.push((Arc::clone(terminator), warned));
        }
        let mut outward = known.outward;
        let goes_on = snapshot.outward.iter().map(|new| {
            let before = outward.iter().position(|(one, _)| one.is_of_same(new));
            let stamps = before.map(|position| outward.swap_remove(position).1);
            (Arc::clone(new), stamps.unwrap_or_default())
        });
        self.outward = goes_on.collect();
    }

    fn look(&mut self, now: i64) {
        for part in &mut self.parts {
            part.look(now);
        }
        for (outward, stamps) in &mut self.outward {
            if stamps.look(outward.files()) {
                outward.reload(now);
            }
        }
        for (terminator, warned) in &mut self.terminators {
            for file in terminator.drop_old_staples(now) {
                let file = file.display();
                tracing::error!(listener = terminator.listener(), %file, "the OCSP response is out of date and no longer stapled: fetch a new one");
            }
            warn_of_expiry(terminator, warned, now);
        }
    }
}

impl Watched {
    fn look(&mut self, now: i64) {
        if self.stamps.look(&self.files) {
            self.tell(self.terminator.reload(self.part, now));
        }
    }

    fn tell(&self, reloaded: Reloaded) {
        let listener = self.terminator.listener();
        let metrics = &self.terminator.metrics;
        let shown = |path: Option<&PathBuf>| path.map(|path| path.display().to_string());
        match reloaded {
            Reloaded::Same => {}
            Reloaded::Replaced => {
                let file = shown(self.files.first()).unwrap_or_default();
                metrics.reloaded(&file, true);
                let what = self.what();
                tracing::info!(listener, file, "{what} replaced");
            }
            Reloaded::Refused(Problem {
                path,
                message,
                hint,
                ..
            }) => {
                let file = shown(Some(&path)).unwrap_or_default();
                metrics.reloaded(&file, false);
                let hint = hint.unwrap_or_default();
                let what = match self.files.get(2) == Some(&path) {
                    true => "OCSP response",
                    false => self.what(),
                };
                tracing::error!(
                    listener,
                    file,
                    hint,
                    "{what} not replaced, the old one stays: {message}"
                );
            }
        }
    }

    fn what(&self) -> &'static str {
        match self.part {
            Part::Certificate(_) => "certificate",
            Part::Clients(_) => "trust in client certificates",
            Part::Tickets => "ticket secrets",
        }
    }
}

fn warn_of_expiry(terminator: &Terminator, warned: &mut Vec<Warned>, now: i64) {
    let shown = terminator.shown();
    warned.resize(shown.len(), Warned::default());
    for (one, warned) in shown.iter().zip(warned) {
        let until = one.certificate.not_after_unix_seconds;
        if warned.until != until {
            *warned = Warned { until, days: None };
        }
        let left = until - now;
        let near = WARNINGS_DAYS
            .into_iter()
            .find(|days| left < days * DAY_SECONDS);
        let Some(days) = near.map(|days| if left < 0 { 0 } else { days }) else {
            continue;
        };
        if warned.days.is_some_and(|said| said <= days) {
            continue;
        }
        warned.days = Some(days);
        let (listener, file) = (terminator.listener(), one.certificate.files.cert.display());
        match days {
            0 => tracing::error!(listener, %file, "a certificate in use has expired: renew it"),
            1 => {
                tracing::error!(listener, %file, "a certificate expires in less than 1 day: renew it")
            }
            _ => {
                tracing::warn!(listener, %file, "a certificate expires in less than {days} days: renew it")
            }
        }
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
