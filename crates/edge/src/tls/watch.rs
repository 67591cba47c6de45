//! Looks at the files of certificates, authorities and ticket secrets every second, and has those
//! read again that changed. Never reads a file that is still being written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::Terminator;
use super::outward::Outward;
use super::reload::{Part, Reloaded};
use crate::config::Problem;
use crate::stamps::Stamps;

/// Between two looks; what changed is read once it looks the same twice.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Days before the end at which the log says so, each once.
const WARNINGS_DAYS: [i64; 3] = [1, 7, 30];

/// Runs until told to stop.
pub(crate) async fn run(
    terminators: Vec<Arc<Terminator>>,
    outward: Vec<Outward>,
    mut stopped: watch::Receiver<bool>,
) {
    if terminators.is_empty() && outward.is_empty() {
        // Whoever told us to stop may be gone.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        return;
    }
    let mut watcher = Watcher::new(terminators, outward);
    loop {
        let looking = tokio::task::spawn_blocking(move || {
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

struct Watcher {
    parts: Vec<Watched>,
    outward: Vec<(Outward, Stamps)>,
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
    fn new(terminators: Vec<Arc<Terminator>>, outward: Vec<Outward>) -> Self {
        let parts = terminators.iter().flat_map(|terminator| {
            let parts = terminator.parts().into_iter();
            parts.map(|(part, files)| Watched {
                terminator: Arc::clone(terminator),
                part,
                files,
                stamps: Stamps::default(),
            })
        });
        Self {
            parts: parts.collect(),
            outward: outward
                .into_iter()
                .map(|one| (one, Stamps::default()))
                .collect(),
            terminators: terminators
                .into_iter()
                .map(|one| (one, Vec::new()))
                .collect(),
        }
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
