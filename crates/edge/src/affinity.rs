//! Affinity: which endpoint a client belongs to. Never trusts what a client sends, and never fails a request:
//! what cannot be read counts as absent.
//!
//! A cookie carries its binding itself, sealed ([`cookie`]). A header, a parameter of the query or a claim
//! of the bearer token has none to carry: its value is hashed under a key, the hash points at an endpoint
//! that every edge with the same secret agrees on ([`rank`]), and a bounded table remembers the choice so
//! that it outlives changes of membership ([`table`]). Values decide about placement, never about access.

use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use http::HeaderValue;

use crate::config::{self, AffinityBy, AffinityValue};
use crate::pipeline::Head;

pub(crate) mod claim;
mod cookie;
mod rank;
mod seal;
mod table;
mod value;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use cookie::fuzzing;
use cookie::{Cookie, CookieBinding};
pub(crate) use cookie::{hide as hide_cookies, values as cookie_values};
pub(crate) use rank::first_choice;
use table::Table;

/// Affinity of one cluster.
#[derive(Debug)]
pub struct Affinity {
    by: By,
    /// What all keys come from, if it was drawn here and not configured.
    drawn: Option<[u8; 32]>,
}

#[derive(Debug)]
enum By {
    Cookie(Cookie),
    Value {
        source: AffinityValue,
        key: Box<hmac::Key>,
        /// Shared by generations of the configuration.
        table: Arc<Table>,
    },
}

/// The system has no randomness to draw a key from.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw a key for affinity: the system's random source fails")]
pub struct KeyError;

/// Where the client of one request belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bond {
    /// Nowhere: there is no affinity, or nothing in the request to go by.
    #[default]
    None,
    /// Where its cookie says.
    Cookie(CookieBinding),
    /// Where the table says, else where the hash of its value points.
    Value { hash: u64, endpoint: Option<u64> },
}

impl Bond {
    /// [`crate::cluster::Endpoint::affinity_id`] of the endpoint it is bound to.
    pub(crate) fn endpoint(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Cookie(binding) => Some(binding.endpoint),
            Self::Value { endpoint, .. } => *endpoint,
        }
    }

    /// What points at its first choice, should it be bound to none that may be had.
    pub(crate) fn hash(&self) -> Option<u64> {
        match self {
            Self::Value { hash, .. } => Some(*hash),
            Self::None | Self::Cookie(_) => None,
        }
    }
}

impl Affinity {
    /// From the configuration. What was drawn or learned is kept from the previous generation, so
    /// that a reload does not end bindings, or else from the process before.
    pub(crate) fn build(
        config: &config::Affinity,
        cluster: &str,
        previous: Option<&Arc<Self>>,
        inherited: Option<[u8; 32]>,
    ) -> Result<Arc<Self>, KeyError> {
        let known = previous.and_then(|previous| previous.drawn).or(inherited);
        let drawn = match (&config.secret, known) {
            (Some(_), _) => None,
            (None, Some(drawn)) => Some(drawn),
            (None, None) => {
                let mut drawn = [0; 32];
                rand::fill(&mut drawn).map_err(|_| KeyError)?;
                Some(drawn)
            }
        };
        let configured = config
            .secret
            .as_ref()
            .map(|secret| secret.expose().as_bytes());
        let secret = configured
            .or(drawn.as_ref().map(<[u8; 32]>::as_slice))
            .unwrap_or_default();
        let by = match &config.by {
            AffinityBy::Cookie(cookie) => {
                By::Cookie(Cookie::build(config, cookie, cluster, secret)?)
            }
            AffinityBy::Value(source) => By::Value {
                source: source.clone(),
                key: Box::new(value::key(secret, cluster)),
                table: known_table(previous, config),
            },
        };
        Ok(Arc::new(Self { by, drawn }))
    }

    /// What all keys come from, if no configuration has it.
    pub(crate) fn drawn(&self) -> Option<[u8; 32]> {
        self.drawn
    }

    /// Where the client of this request belongs.
    pub(crate) fn recognise(&self, head: &impl Head, now_unix_seconds: u64) -> Bond {
        self.bond(head, now_unix_seconds, |table, hash| {
            table.find(hash, now_unix_seconds)
        })
    }

    /// The same for a request that does not count as a use.
    pub(crate) fn look_up(&self, head: &impl Head, now_unix_seconds: u64) -> Bond {
        self.bond(head, now_unix_seconds, |table, hash| {
            table.peek(hash, now_unix_seconds)
        })
    }

    fn bond(
        &self,
        head: &impl Head,
        now_unix_seconds: u64,
        find: impl FnOnce(&Table, u64) -> Option<u64>,
    ) -> Bond {
        match &self.by {
            By::Cookie(cookie) => cookie
                .read(head.fields(), now_unix_seconds)
                .map_or(Bond::None, Bond::Cookie),
            By::Value { source, key, table } => {
                value::hash(source, key, head).map_or(Bond::None, |hash| {
                    let endpoint = find(table, hash);
                    Bond::Value { hash, endpoint }
                })
            }
        }
    }

    /// The name of our cookie, to be [hidden](hide_cookies) from endpoints: it is none of the
    /// application's business.
    pub(crate) fn cookie_name(&self) -> Option<&str> {
        match &self.by {
            By::Cookie(cookie) => Some(cookie.name()),
            By::Value { .. } => None,
        }
    }

    /// The endpoint answered: the client belongs to it from now on. Returns the `Set-Cookie` value
    /// that tells the client, if it must be told.
    pub(crate) fn settle(
        &self,
        bond: Bond,
        endpoint: u64,
        now_unix_seconds: u64,
        is_https: bool,
    ) -> Option<HeaderValue> {
        match (&self.by, bond) {
            (By::Cookie(cookie), bond) => {
                let binding = match bond {
                    Bond::Cookie(binding) => Some(binding),
                    Bond::None | Bond::Value { .. } => None,
                };
                cookie.settle(binding, endpoint, now_unix_seconds, is_https)
            }
            (
                By::Value { table, .. },
                Bond::Value {
                    hash,
                    endpoint: known,
                },
            ) => {
                if known != Some(endpoint) {
                    table.remember(hash, endpoint, now_unix_seconds);
                }
                None
            }
            (By::Value { .. }, Bond::None | Bond::Cookie(_)) => None,
        }
    }
}

/// The table of the previous generation if it means the same: hashes of other values, or under
/// another key, are simply never asked for.
fn known_table(previous: Option<&Arc<Affinity>>, config: &config::Affinity) -> Arc<Table> {
    let known = previous.and_then(|previous| match &previous.by {
        By::Value { table, .. } => Some(table),
        By::Cookie(_) => None,
    });
    match known.filter(|table| table.lives(config.ttl, config.max_age)) {
        Some(table) => Arc::clone(table),
        None => Arc::new(Table::new(config.ttl, config.max_age)),
    }
}

/// A key for one purpose from a secret of any length.
fn derived(secret: &[u8], purpose: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose)
}

#[cfg(test)]
mod tests;
