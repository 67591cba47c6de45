//! A simulated endpoint: how it behaves. Never decides anything.

use std::time::Duration;

use portcullis_traffic::containment::Trouble;
use portcullis_traffic::retry::Failure;
use portcullis_traffic::select::Member;

const RESPONSE_TIME: Duration = Duration::from_millis(20);
const CONNECT_TIME: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_millis(500);

/// The mood of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Up,
    /// Ten times slower.
    Slow,
    /// Accepts and never answers.
    Hanging,
    /// No process behind the port.
    Refusing,
    /// Answers 503.
    Erring,
    /// Serves, but says that it is about to leave.
    Leaving,
}

pub(crate) const CONDITIONS: [Condition; 6] = [
    Condition::Up,
    Condition::Slow,
    Condition::Hanging,
    Condition::Refusing,
    Condition::Erring,
    Condition::Leaving,
];

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) member: Member,
    pub(crate) is_member: bool,
    pub(crate) condition: Condition,
    pub(crate) served: u64,
    pub(crate) is_drained: bool,
}

/// How an attempt ended: for containment, and for the retry.
pub(crate) type Ending = Result<(), (Trouble, Failure)>;

impl Endpoint {
    pub(crate) fn new(member: Member) -> Self {
        Self {
            member,
            is_member: true,
            condition: Condition::Up,
            served: 0,
            is_drained: false,
        }
    }

    /// What an attempt that begins now will come to, and after how long.
    pub(crate) fn respond(&self, rng: &mut fastrand::Rng) -> (Duration, Ending) {
        let time = RESPONSE_TIME.mul_f64(0.5 + rng.f64());
        match self.condition {
            Condition::Up | Condition::Leaving => (time, Ok(())),
            Condition::Slow => (time * 10, Ok(())),
            Condition::Hanging => (TIMEOUT, Err((Trouble::Timeout, Failure::Timeout))),
            Condition::Refusing => (CONNECT_TIME, Err((Trouble::Refused, Failure::Connect))),
            Condition::Erring => (time, Err((Trouble::Status(503), Failure::Status(503)))),
        }
    }

    /// What a probe that ends now gets.
    pub(crate) fn answer_probe(&self) -> Result<(), Trouble> {
        match self.condition {
            Condition::Up | Condition::Slow | Condition::Leaving => Ok(()),
            Condition::Hanging => Err(Trouble::Timeout),
            Condition::Refusing => Err(Trouble::Refused),
            Condition::Erring => Err(Trouble::Status(503)),
        }
    }
}
