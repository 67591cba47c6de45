//! What carries bytes between client and endpoint. Engines know sockets and framing, never policy:
//! every decision is asked of the [`pipeline`](crate::pipeline).

mod control;
mod guard;
mod h1;
mod pingora;
mod refusal;

pub(crate) use control::Control;
pub(crate) use guard::Guard;
#[cfg(any(test, feature = "fuzzing"))]
pub use h1::fuzzing;
pub(crate) use pingora::Engine;
pub(crate) use refusal::{refusal, to_http1};
