//! The native engine: HTTP/1.1 from clients to endpoints, with no library between. Never decides
//! what the pipeline decides.

mod codec;

#[cfg(any(test, feature = "fuzzing"))]
pub use codec::fuzzing;
