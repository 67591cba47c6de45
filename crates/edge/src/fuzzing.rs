//! What must hold of any bytes whatever, for everything that reads bytes of strangers: a fuzzer and
//! a seeded test throw them at these functions. Never compiled into the program.

pub use crate::affinity::fuzzing::cookies;
pub use crate::config::fuzzing::configuration;
pub use crate::engine::fuzzing::{chunked_body, request, response};
pub use crate::listener::fuzzing::{client_hello, proxy_header};

/// What a proxy says of the hops before it.
pub fn forwarded(bytes: &[u8]) {
    crate::pipeline::forwarded_holds(bytes);
}

#[cfg(test)]
mod tests;
