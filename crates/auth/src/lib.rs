//! The stateless authentication service. Never keeps in memory what another instance must see.

pub mod config;
