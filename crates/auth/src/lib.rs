//! The stateless authentication service. Never keeps in memory what another instance must see.

pub mod config;
pub mod domain;
pub mod keys;
pub mod password;
pub mod random;
pub mod shared;
pub mod store;
