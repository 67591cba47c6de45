//! What carries bytes between client and endpoint. Engines know sockets and framing, never policy:
//! every decision is asked of the [`pipeline`](crate::pipeline).

mod buffer;
mod control;
mod deadline;
mod dial;
mod guard;
mod h1;
mod h2;
mod linger;
mod parts;
mod pingora;
mod refusal;
mod signal;
mod silence;
mod stream;
mod text;
mod tunnel;

use std::time::Duration;

pub(crate) use control::Control;
pub(crate) use dial::{connect, connect_with};
pub(crate) use guard::{Abuse, Guard};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use h1::fuzzing;
pub(crate) use h1::{Engine as NativeEngine, Pool, requests, responses};
pub(crate) use h2::{Bridge, Engine as Http2Engine};
pub(crate) use linger::linger;
pub(crate) use pingora::Engine as PingoraEngine;
pub(crate) use refusal::{refusal, to_http1};
pub(crate) use signal::Signal;
pub(crate) use stream::{Stream, TlsOverTcp};
pub(crate) use tunnel::tunnel;

/// A pooled connection idle for longer than this may be closed by its endpoint at the very moment
/// it is used: servers allow a few seconds at least. What cannot be repeated gets none of these.
const FRESH: Duration = Duration::from_secs(1);
