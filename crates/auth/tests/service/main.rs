//! The auth service over real sockets and real files: every endpoint, good and bad
//! input. Never looks inside the service.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod accounts;
mod cookies;
mod guessing;
mod harness;
mod health;
mod input;
mod internal;
mod keys;
mod libraries;
mod lifecycle;
mod login;
mod operator;
mod published;
mod sessions;
