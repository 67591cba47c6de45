//! Attacks on the verifier, each a change to a valid token. Never a token that was invalid for a second reason.

mod claims;
mod envelope;
mod mutation;
mod signature;
