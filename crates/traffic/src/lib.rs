//! Pure traffic decisions: which route, which endpoint, may it be tried again. Never does IO, reads a clock or logs.
//!
//! Every function is a decision over its arguments: time and chance come from the caller, and what
//! follows from a decision is the caller's to do. So a whole cluster can be played through in a
//! test, years of it in a second.
//!
//! In the order a request meets them:
//!
//! 1. [`route`]: host and path to a target; [`flag`]: whether somebody has a feature already.
//! 2. [`rate`]: whether its client comes too often.
//! 3. [`containment`]: which endpoints may be picked now, from probes, failures of real traffic,
//!    breakers and the operator's wish.
//! 4. [`select`]: which of those takes this request; and who waits in the
//!    [`queue`] while all of them are full.
//! 5. [`retry`]: whether a failed attempt is made again.

mod balance;
pub mod breaker;
pub mod containment;
pub mod endpoint;
pub mod flag;
pub mod queue;
pub mod rate;
pub mod retry;
pub mod route;
pub mod select;
pub mod share;
