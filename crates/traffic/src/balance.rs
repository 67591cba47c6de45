//! What the algorithms of [`select`](crate::select) are made of. Never knows members, standings or places.
//!
//! Turns among those with the least score, one or two drawn by weight, latencies as peak EWMA, and the
//! ring of consistent hashing.

pub(crate) mod chance;
pub(crate) mod draw;
pub(crate) mod latency;
pub(crate) mod parts;
pub(crate) mod ring;
pub(crate) mod turns;
