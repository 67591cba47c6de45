//! The rules of this repository, kept by tests: what the tree looks like, who may import whom, which
//! words and links are true. Never starts a server.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the repository must fail loudly"
)]

mod documents;
mod image;
mod metrics;
mod requirements;
mod sources;
mod tree;
