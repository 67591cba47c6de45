//! An endpoint leaves while requests go on, and nobody notices. Never stops anything itself: it watches
//! while somebody else does, and sends requests that may be repeated.

mod judge;

use std::time::{Duration, Instant};

use http::HeaderName;
use http::header::COOKIE;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::client::{Ask, Visitor};
use crate::cookie::SetCookie;
use crate::plan::Plan;
use crate::report::{Event, Finding};
use crate::visit::{Visit, instance};

/// One request of the watch.
#[derive(Clone, Debug)]
struct Sample {
    /// Since the watch began.
    sent: Duration,
    took: Duration,
    /// Who answered with which status, or why nobody did.
    result: Result<(u16, Option<String>), String>,
    /// Whether the answer gave the client a cookie that binds it.
    has_new_cookie: bool,
}

/// All that was seen.
struct Seen {
    /// Until then nobody was told that an endpoint may leave.
    calm: Duration,
    watch: Duration,
    /// Clients without a cookie, all together.
    free: Vec<Sample>,
    /// Clients that send their cookie back, one list each.
    bound: Vec<Vec<Sample>>,
}

/// How one client goes about it.
struct Round {
    visitor: Visitor,
    ask: Ask,
    began: Instant,
    until: Instant,
    first: Instant,
    pause: Duration,
    /// The cookie to send back, if it is a client that does.
    cookie_name: Option<String>,
    instance_header: Option<HeaderName>,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Vec<Finding> {
    let disturbance = visit.plan.disturbance;
    let began = Instant::now();
    let until = began + disturbance.watch;
    let calm = disturbance.watch / 3;
    let pause = Duration::from_secs(WORKERS.into()) / disturbance.rate.max(1);
    let cookie_name = visit.plan.affinity_cookie.clone();
    let cookie_name = cookie_name.unwrap_or_else(|| Plan::AFFINITY_COOKIE.to_owned());
    let round = |visit: &Visit<'_>, pause: Duration, cookie_name| Round {
        visitor: visit.visitor(),
        ask: visit.ask(),
        began,
        until,
        // In step with each other they would always meet the same endpoints.
        first: began + pause.mul_f64(fastrand::f64()),
        pause,
        cookie_name,
        instance_header: visit.plan.instance_header.clone(),
    };
    let (mut free, mut bound) = (JoinSet::new(), JoinSet::new());
    for _ in 0..WORKERS {
        free.spawn(go_round(round(visit, pause, None)));
    }
    for _ in 0..BOUND_CLIENTS {
        let cookie_name = Some(cookie_name.clone());
        bound.spawn(go_round(round(visit, BOUND_PAUSE, cookie_name)));
    }
    // The watch goes on beside it, in the tasks.
    tokio::time::sleep(calm).await;
    let left = until.saturating_duration_since(Instant::now());
    (visit.tell)(Event::EndpointMayGo { left });
    let mut seen = Seen {
        calm,
        watch: disturbance.watch,
        free: free.join_all().await.concat(),
        bound: bound.join_all().await,
    };
    seen.free.sort_by_key(|sample| sample.sent);
    judge::judge(&seen)
}

/// Sends a request at every tick until the watch is over. One that waits loses its ticks, the others go on.
async fn go_round(mut round: Round) -> Vec<Sample> {
    let mut ticks = interval_at(round.first.into(), round.pause.max(PAUSE_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut cookie: Option<SetCookie> = None;
    let mut samples = Vec::new();
    loop {
        ticks.tick().await;
        if Instant::now() >= round.until {
            return samples;
        }
        let ask = match &cookie {
            Some(cookie) => round.ask.clone().with(COOKIE, &cookie.pair()),
            None => round.ask.clone(),
        };
        let sent = round.began.elapsed();
        let answer = round.visitor.ask(&ask).await;
        let took = round.began.elapsed().saturating_sub(sent);
        let given = match (&answer, &round.cookie_name) {
            (Ok(answer), Some(name)) => {
                let mut all = SetCookie::all(&answer.headers).into_iter();
                all.find(|cookie| cookie.name == *name)
            }
            _ => None,
        };
        let has_new_cookie = given.is_some();
        cookie = given.or(cookie);
        let result = match answer {
            Ok(answer) => {
                let name = instance(round.instance_header.as_ref(), &answer);
                Ok((answer.status, name))
            }
            Err(trouble) => Err(trouble.to_string()),
        };
        samples.push(Sample {
            sent,
            took,
            result,
            has_new_cookie,
        });
        // No cookie: affinity is off, and there is nothing to follow.
        if round.cookie_name.is_some() && cookie.is_none() {
            return Vec::new();
        }
    }
}

/// Share the rate of clients without a cookie.
const WORKERS: u32 = 16;
/// Enough that one of them is bound to whatever leaves.
const BOUND_CLIENTS: u32 = 24;
const BOUND_PAUSE: Duration = Duration::from_millis(500);
/// An interval of zero would panic.
const PAUSE_MIN: Duration = Duration::from_millis(1);
