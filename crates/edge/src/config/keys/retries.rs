//! Keys of retries. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table};

use super::{Default, count, key};

pub(super) static RETRIES: Table = Table {
    keys: &[
        key("count", count(0, 10), Default("1"), "Further attempts of one request; only what is safe to repeat is repeated."),
        key("backoff", WAIT, Default("25ms"), "The longest wait before the first of them, twice as long before each next one; none after a connection that was not made, if there is another endpoint."),
        key("max_backoff", WAIT, Default("250ms"), "The longest wait of all, and for how long an endpoint's Retry-After is waited out if there is no other."),
        key("budget_percent", count(0, 1000), Default("20"), "How many may run at once in the cluster, in percent of its requests in flight."),
        key("budget_min", count(0, 100_000), Default("3"), "So many may always run."),
    ],
};

const WAIT: Kind = Kind::Scalar(Scalar::Duration(Duration::ZERO, Duration::from_secs(60)));
