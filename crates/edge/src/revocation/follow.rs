//! Keeps the set of every issuer whole: one task each, which asks one feed after another and follows
//! the snapshot. Never drops what it has learnt, whatever a feed says.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis_token::feed::{Answer, Page, Position};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ask::{AskError, Line};
use super::{Follower, Full};
use crate::config::JwksSource;
use crate::state::Edge;

/// How long an answer waits for news. A feed that is silent for longer is given up well within
/// [`LOST_AFTER`](super::LOST_AFTER), and the next one is asked in time.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// A feed that has nothing to tell and does not wait either is asked no faster.
const ROUND_MIN: Duration = Duration::from_millis(50);
/// After all feeds have failed once; doubles with each further round.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// A feed that comes back is noticed this soon.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A set that is full has to lose something first.
const PAUSE_FULL: Duration = Duration::from_secs(5);
/// How often it is looked whether the set is lost or whole again.
const LOOK: Duration = Duration::from_millis(250);
/// How often what has ended is swept out.
const PURGE: Duration = Duration::from_secs(10);
/// Pieces of a purge, or records, between two chances for others.
const STEPS: usize = 64;
/// A task that panics is a bug of ours; it must not keep a processor busy.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Follows every feed of the configuration until `stop` turns true or its sender is gone.
pub(crate) async fn run(edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    let mut changes = edge.snapshot_changes();
    let mut following: Vec<Arc<Follower>> = Vec::new();
    let mut tasks = JoinSet::new();
    loop {
        let wanted = edge.snapshot.load().followers();
        let is_same = wanted.len() == following.len()
            && wanted
                .iter()
                .zip(&following)
                .all(|(one, other)| Arc::ptr_eq(one, other));
        if !is_same || tasks.len() < wanted.len() {
            // All of them: a set that stays goes on from what it knows.
            tasks.shutdown().await;
            for follower in &wanted {
                tasks.spawn(follow(Arc::clone(follower), edge.ids.draw_span()));
            }
            following = wanted;
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            Ok(()) = changes.changed() => {}
            Some(ended) = tasks.join_next() => {
                tracing::error!(?ended, "following revocations ended; it is started again");
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone.
    let _ = stop.wait_for(|is_stopping| *is_stopping).await;
}

/// Follows one issuer's feeds for as long as it is polled.
async fn follow(follower: Arc<Follower>, chance: u64) {
    // One task, so that the set has one writer.
    tokio::select! {
        () = ask_on(&follower, chance) => {}
        () = keep_house(&follower) => {}
    }
}

async fn ask_on(follower: &Follower, mut chance: u64) {
    let feeds = &follower.follow.feeds;
    let mut progress = Progress::default();
    let mut failures = 0_u32;
    for source in feeds.iter().cycle() {
        let Err(ended) = converse(follower, source, &mut progress).await;
        follower.metrics.connected.set(0);
        follower.metrics.failures.inc();
        failures = match std::mem::take(&mut progress.is_proven) {
            true => 1,
            false => failures.saturating_add(1),
        };
        // Once a round at most: the metric tells how long it lasts.
        if failures <= u32::try_from(feeds.len()).unwrap_or(u32::MAX) {
            tracing::warn!(
                issuer = follower.name,
                feed = source.authority,
                reason = %ended,
                "a feed of revocations is lost; the next one is asked"
            );
        }
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        tokio::time::sleep(pause(&ended, failures, feeds.len(), chance >> 33)).await;
    }
}

/// What remains when a feed fails.
#[derive(Default)]
struct Progress {
    /// Where to go on, at whichever feed.
    position: Option<Position>,
    /// Whether the feed at hand has told the end of its log.
    is_proven: bool,
}

/// None before every feed has had its turn, then a growing one, up to half of it sooner, so that
/// edges do not come in step.
fn pause(ended: &Ended, failures: u32, feeds: usize, chance: u64) -> Duration {
    if matches!(ended, Ended::Full(_)) {
        return PAUSE_FULL;
    }
    let rounds = failures / u32::try_from(feeds.max(1)).unwrap_or(u32::MAX);
    let Some(doublings) = rounds.checked_sub(1) else {
        return Duration::ZERO;
    };
    let whole = (PAUSE_MIN * 2_u32.pow(doublings.min(8))).min(PAUSE_MAX);
    whole - whole * u32::try_from(chance % 51).unwrap_or(0) / 100
}

/// Why a feed is not asked any further.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("it does not get on")]
    Stuck,
    #[error(transparent)]
    Full(#[from] Full),
}

/// Asks one feed until it fails.
async fn converse(
    follower: &Follower,
    source: &JwksSource,
    progress: &mut Progress,
) -> Result<Infallible, Ended> {
    let mut line = Line::open(source).await?;
    let mut is_behind = true;
    loop {
        let after = progress.position.as_ref();
        if after.is_none() {
            follower.set.begin_anew();
        }
        let wait = if is_behind { Duration::ZERO } else { HEARTBEAT };
        let asked = Instant::now();
        let answer = line.ask(&follower.follow, source, after, wait).await?;
        follower.metrics.connected.set(1);
        match answer {
            Answer::Gap if after.is_none() => return Err(Ended::Stuck),
            Answer::Gap => {
                tracing::warn!(
                    issuer = follower.name,
                    feed = source.authority,
                    "the revocations of a feed have another log; they are read from the beginning"
                );
                progress.position = None;
                is_behind = true;
            }
            Answer::Page(page) if !gets_on(&page, after) => return Err(Ended::Stuck),
            Answer::Page(page) => {
                let is_news = !page.records.is_empty();
                let taken_in = take_in(follower, &page, asked).await;
                taken_in.inspect_err(|_full| progress.position = None)?;
                is_behind = !page.is_last;
                progress.is_proven |= page.is_last;
                progress.position = Some(page.position);
                if !is_news && asked.elapsed() < ROUND_MIN {
                    tokio::time::sleep(ROUND_MIN).await;
                }
            }
        }
    }
}

/// Whoever has more to tell has to tell something, and to move.
fn gets_on(page: &Page, after: Option<&Position>) -> bool {
    let is_same_log = |after: &&Position| after.log == page.position.log;
    let moves = after
        .filter(is_same_log)
        .is_none_or(|after| page.position.sequence > after.sequence);
    page.is_last || (moves && !page.records.is_empty())
}

async fn take_in(follower: &Follower, page: &Page, asked: Instant) -> Result<(), Full> {
    for records in page.records.chunks(STEPS) {
        for record in records {
            follower.set.insert(record)?;
        }
        follower.metrics.records.inc_by(records.len() as u64);
        tokio::task::yield_now().await;
    }
    if page.is_last {
        follower
            .set
            .confirm(read_at(asked, page.read_ms, Instant::now()));
    }
    Ok(())
}

/// When the log was read. The question cannot have arrived before it was sent, so this is never too
/// late; a feed that says otherwise is not believed beyond the present.
fn read_at(asked: Instant, read_ms: i64, now: Instant) -> Instant {
    let distance = Duration::from_millis(read_ms.unsigned_abs());
    let read_at = match read_ms {
        0.. => asked.checked_add(distance),
        _ => asked.checked_sub(distance),
    };
    read_at.unwrap_or(asked).min(now)
}

/// Tells when the set is lost and when it is whole again, and forgets what has ended.
async fn keep_house(follower: &Follower) {
    let mut is_whole = false;
    let mut purged = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let age = follower.set.age(Instant::now());
        match (is_whole, age <= super::LOST_AFTER) {
            (false, true) => tracing::info!(
                issuer = follower.name,
                entries = follower.set.len(),
                "revocations are followed"
            ),
            (true, false) => tracing::error!(
                issuer = follower.name,
                age_ms = age.as_millis() as u64,
                "revocations are lost: tokens are treated as `when_lost` says"
            ),
            _ => {}
        }
        is_whole = age <= super::LOST_AFTER;
        if purged.elapsed() >= PURGE {
            purged = Instant::now();
            for (step, ()) in follower.set.purge(unix_seconds()).enumerate() {
                if step % STEPS == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests;
