//! Choosing one endpoint among candidates. Never counts requests itself: the caller says what is in flight.

pub(crate) mod chance;
pub(crate) mod draw;
pub(crate) mod latency;
mod least_conn;
pub(crate) mod ring;
mod round_robin;
mod smooth;
pub(crate) mod turns;

use least_conn::LeastConn;
use round_robin::RoundRobin;

/// One endpoint as the balancer sees it. Its position in the list is its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Share of the traffic, relative to the others. Zero takes none.
    pub weight: u32,
    /// Requests it is working on.
    pub in_flight: u32,
    /// Whether it may be picked now: eligible ([`crate::eligible`]) and not tried yet.
    pub is_eligible: bool,
}

impl Candidate {
    /// The weight that counts now: zero is never picked.
    fn effective_weight(&self) -> u32 {
        if self.is_eligible { self.weight } else { 0 }
    }
}

/// How to choose, with what must be remembered from one pick to the next.
///
/// ```
/// use portcullis_traffic::balance::{Balancer, Candidate};
///
/// let idle = Candidate { weight: 1, in_flight: 0, is_eligible: true };
/// let failed = Candidate { is_eligible: false, ..idle };
/// let mut balancer = Balancer::round_robin(3);
/// let picks: Vec<_> = (0..4).map(|_| balancer.pick(&[idle, failed, idle])).collect();
/// assert_eq!(picks, [Some(0), Some(2), Some(0), Some(2)]);
/// assert_eq!(balancer.pick(&[failed, failed, failed]), None);
/// ```
#[derive(Clone, Debug)]
pub enum Balancer {
    /// Turns in proportion to the weights, spread evenly.
    RoundRobin(RoundRobin),
    /// The least busy for its weight; turns among equals.
    LeastConn(LeastConn),
}

impl Balancer {
    /// Smooth weighted round robin over `endpoints` endpoints.
    pub fn round_robin(endpoints: usize) -> Self {
        Self::RoundRobin(RoundRobin::new(endpoints))
    }

    /// Least connections over `endpoints` endpoints.
    pub fn least_conn(endpoints: usize) -> Self {
        Self::LeastConn(LeastConn::new(endpoints))
    }

    /// Picks one of the candidates; `None` if none may be picked.
    ///
    /// Candidates keep their positions between picks. Nothing is allocated, unless there are more
    /// of them than ever before.
    pub fn pick(&mut self, candidates: &[Candidate]) -> Option<usize> {
        match self {
            Self::RoundRobin(balancer) => balancer.pick(candidates),
            Self::LeastConn(balancer) => balancer.pick(candidates),
        }
    }
}
