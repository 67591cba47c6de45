//! What slows requests down that come too often. Never how counters are kept.

use std::num::{NonZeroU32, NonZeroUsize};

use super::values::Values;
use super::{Flags, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "AUTH_RATE_LIMIT_ENABLED",
        "true",
        "slow down password guessing per account and network, and apply the limits below: true or false",
    ),
    var(
        "AUTH_RATE_LIMIT_LOGIN",
        "600",
        "logins a minute of one network and of one account, over all instances; 0 for no limit",
    ),
    var(
        "AUTH_RATE_LIMIT_REGISTER",
        "60",
        "registrations a minute of one network, and a tenth of what all may; set-up tokens tried by one network; 0 for no limit",
    ),
    var(
        "AUTH_RATE_LIMIT_REFRESH",
        "6000",
        "refreshes a minute of one network, over all instances; 0 for no limit",
    ),
    var(
        "AUTH_RATE_LIMIT_CHECK",
        "6000",
        "permission checks a minute of one free caller; anonymous a tenth, pro 10 times, enterprise 100 times as many, internal any number; 0 for no limit",
    ),
    var(
        "AUTH_RATE_LIMIT_MAIL",
        "30",
        "requests for mail a minute of one network and of one address, and tokens of mails tried by one network; 0 for no limit",
    ),
    var(
        "MAX_REQUESTS_IN_FLIGHT",
        "2000",
        "requests under way at once; registrations have 60 % of that, logins 75 %, verification all",
    ),
];

/// Beyond it a limit limits nothing.
const HIGHEST_RATE: u64 = 10_000_000;

/// What is limited.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether password guessing is slowed down.
    pub slows_guessing: bool,
    /// What may be asked for how often.
    pub rates: Rates,
    /// Requests under way at once; `None` for as many as there are connections.
    pub in_flight: Option<NonZeroUsize>,
}

/// Requests a minute; `None` for as many as come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Logins of one network, and of one account.
    pub logins: Option<NonZeroU32>,
    /// Registrations of one network; all together may make ten times as many.
    pub registrations: Option<NonZeroU32>,
    /// Refreshes of one network.
    pub refreshes: Option<NonZeroU32>,
    /// Permission checks of one caller of the free tier.
    pub checks: Option<NonZeroU32>,
    /// Requests for mail of one network and of one address, and uses of tokens of mails.
    pub mails: Option<NonZeroU32>,
}

impl Limits {
    pub(super) fn read(v: &mut Values<'_>, flags: Flags) -> Self {
        let is_on = v.switch("AUTH_RATE_LIMIT_ENABLED", true);
        let in_flight = v.number("MAX_REQUESTS_IN_FLIGHT", 2000, 1..=100_000) as usize;
        let mut rate = |name, default| {
            let rate = v.number(name, default, 0..=HIGHEST_RATE) as u32;
            NonZeroU32::new(rate).filter(|_| is_on)
        };
        Self {
            in_flight: NonZeroUsize::new(in_flight).filter(|_| flags.prioritized_rate_limit),
            slows_guessing: is_on,
            rates: Rates {
                logins: rate("AUTH_RATE_LIMIT_LOGIN", 600),
                registrations: rate("AUTH_RATE_LIMIT_REGISTER", 60),
                refreshes: rate("AUTH_RATE_LIMIT_REFRESH", 6000),
                checks: rate("AUTH_RATE_LIMIT_CHECK", 6000),
                mails: rate("AUTH_RATE_LIMIT_MAIL", 30),
            },
        }
    }
}
