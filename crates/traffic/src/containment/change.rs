//! What changed, with its reason: the words of the log, the metrics and the events. Never decides anything.

use std::fmt;
use std::time::Duration;

use super::Trouble;
use crate::endpoint::{EndpointId, Standing};

/// Everything that one call changed, in order. Mostly empty, and then nothing is allocated.
pub type Changes = Vec<Change>;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose standing it is; `None` if the change is the whole cluster's.
    pub endpoint: Option<(EndpointId, Standing)>,
    /// What changed.
    pub what: What,
    /// Why.
    pub reason: Reason,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Every check that ejects passes.
    Healthy,
    /// A check that ejects has failed `fall` times.
    Unhealthy,
    /// A check that degrades has failed `fall` times.
    Degraded {
        /// Percent of its weight the endpoint keeps.
        share_percent: u8,
    },
    /// No check that degrades fails any more.
    Restored,
    /// Put aside for failures of real traffic.
    Ejected {
        /// For how long.
        duration: Duration,
        /// The how-manieth time since it was last quiet.
        times: u32,
    },
    /// The ejection is over.
    EjectionOver,
    /// The breaker rejects.
    BreakerOpened,
    /// The breaker admits a few trial requests.
    BreakerHalfOpen,
    /// The breaker admits again.
    BreakerClosed,
    /// A breaker that only watches would reject now.
    BreakerWouldOpen,
    /// A breaker that only watches would admit again.
    BreakerWouldClose,
    /// Put aside by the operator or by its own announcement; the reason says by whom.
    Draining,
    /// The operator takes it back, or it passes its checks again after its announcement.
    Undrained,
    /// Nothing to tell but the standing: a half-open breaker is full or has room, an endpoint that
    /// is out was seen to refuse or to accept connections.
    Shifted,
    /// Nobody is eligible; from now on endpoints of last resort are used.
    PanicBegan,
    /// Somebody is eligible again, or no last resort is left.
    PanicEnded,
    /// All that can be reached fail for the same cause: verdicts are held, nobody goes out for it.
    SharedCause,
    /// Somebody gets by without it again, or nobody names it any more.
    SharedCauseOver,
}

impl What {
    /// A name for events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Degraded { .. } => "degraded",
            Self::Restored => "restored",
            Self::Ejected { .. } => "ejected",
            Self::EjectionOver => "ejection_over",
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerHalfOpen => "breaker_half_open",
            Self::BreakerClosed => "breaker_closed",
            Self::BreakerWouldOpen => "breaker_would_open",
            Self::BreakerWouldClose => "breaker_would_close",
            Self::Draining => "draining",
            Self::Undrained => "undrained",
            Self::Shifted => "shifted",
            Self::PanicBegan => "panic_began",
            Self::PanicEnded => "panic_ended",
            Self::SharedCause => "shared_cause",
            Self::SharedCauseOver => "shared_cause_over",
        }
    }

    /// Whether it is worth telling an operator. The rest is for `select` alone.
    pub fn is_event(self) -> bool {
        self != Self::Shifted
    }
}

/// Why something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This went wrong.
    Trouble(Trouble),
    /// Checks or attempts succeed.
    Passed,
    /// The operator wishes it.
    Operator,
    /// The endpoint announced that it is about to leave.
    Announced,
    /// Its time was over.
    Elapsed,
    /// The configuration changed.
    Configured,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => trouble.fmt(f),
            Self::Passed => f.write_str("it works again"),
            Self::Operator => f.write_str("the operator wishes it"),
            Self::Announced => f.write_str("it announced that it is draining"),
            Self::Elapsed => f.write_str("its time is over"),
            Self::Configured => f.write_str("the configuration changed"),
        }
    }
}
