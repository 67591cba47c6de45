//! Tries a running deployment as a stranger would, over HTTP alone. Never sees inside: what it cannot
//! learn from answers it does not know.
//!
//! A [`Plan`] says what to try, [`run`] does it and tells [`Event`]s on the way, a [`Report`] says what was
//! found. Each check is one file in `checks/`: it asks, and a pure function beside it judges what came
//! back, so that every verdict can be tried on invented answers.

mod checks;
mod client;
mod cookie;
mod plan;
mod report;
mod statistics;
mod target;
mod trust;
mod visit;

pub use client::Trouble;
pub use plan::{Account, AuthPaths, Check, Disturbance, Plan, Trust};
pub use report::{Event, Finding, Remark, Report, Verdict};
pub use target::{Target, TargetError};
pub use trust::TrustError;
pub use visit::{CannotVisit, run};
