//! Clients in a closed loop: what each asks for and waits for. Never decides anything.

use std::time::{Duration, Instant};

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::queue::Ticket;
use portcullis_traffic::retry::Permit;
use portcullis_traffic::select::Ask;

/// How long a client waits before its next request.
pub(crate) const THINK_TIME: Duration = Duration::from_millis(1);

/// And after a failure, lest a refusing cluster fill the simulation with nothing else.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(100);

/// The request a client waits for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) is_idempotent: bool,
    pub(crate) since: Duration,
    pub(crate) attempts: u32,
    pub(crate) unconnected: u32,
    pub(crate) tried: Vec<EndpointId>,
    pub(crate) ticket: Option<Ticket>,
    /// Held while a retry runs.
    pub(crate) permit: Option<Permit>,
    bound: Option<EndpointId>,
    key: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(rng: &mut fastrand::Rng, bound_percent: u8, since: Duration) -> Self {
        let is_bound = rng.u8(..100) < bound_percent;
        Self {
            is_idempotent: rng.bool(),
            since,
            bound: is_bound.then(|| EndpointId(rng.u32(..12))),
            key: (rng.u8(..8) > 0).then(|| format!("user-{}", rng.u8(..60)).into_bytes()),
            ..Self::default()
        }
    }

    pub(crate) fn ask(&self, now: Instant, chance: u64) -> Ask<'_> {
        Ask {
            bound: self.bound,
            key: self.key.as_deref(),
            tried: &self.tried,
            now,
            chance,
        }
    }
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) attempts: u64,
    pub(crate) waited: u64,
    pub(crate) failed: u64,
    pub(crate) failed_idempotent: u64,
    /// How long each that was served took.
    pub(crate) times: Vec<Duration>,
}

impl Totals {
    pub(crate) fn p99(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }
}
