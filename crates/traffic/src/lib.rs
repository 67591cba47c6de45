//! Pure traffic decisions: which route, which endpoint, may it be tried again. Never does IO, reads a clock or logs.

pub mod route;
