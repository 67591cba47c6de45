//! Slows down whoever guesses passwords, across all instances. Never locks an
//! owner out for good, and never tells whether an account exists: counters are
//! kept for addresses that nobody registered too.
//!
//! Failures count three ways, because each alone can be walked around: per pair
//! of account and network (a person mistyping), per account (many networks, one
//! victim) and per network (one password, many accounts). The first two end in a
//! lock that grows with every further failure; attempts during a lock neither
//! extend it nor are checked. Networks an account has logged in from pass its
//! account lock. The third is answered 429, before any hash.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::{App, Origin, Outcome, Refusal};
use crate::domain::{Email, UnixMillis};
use crate::shared::CounterKey;

/// Failures are forgotten this long after the first.
pub(super) const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Failures of one account from one network before the first lock: a person who mistypes.
const FREE_PER_PAIR: u32 = 5;
/// Failures of one account from anywhere before its first lock.
const FREE_PER_ACCOUNT: u32 = 20;
/// Failures of one network against any accounts: an office behind one address.
const MAX_PER_NETWORK: u32 = 100;
const FIRST_LOCK: Duration = Duration::from_secs(2);
const LONGEST_LOCK: Duration = Duration::from_secs(15 * 60);
/// How long a network stays known to an account.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 3600);

/// One login attempt, and what its past allows.
#[derive(Debug)]
pub(super) struct Attempt {
    keys: Keys,
    is_counted: bool,
    /// The password must not be looked at: refuse, after the same work.
    pub(super) is_locked: bool,
    is_known: bool,
    has_failed_before: bool,
}

/// The counters that one attempt touches.
#[derive(Debug)]
struct Keys {
    network: CounterKey,
    account: CounterKey,
    pair: CounterKey,
    account_lock: CounterKey,
    pair_lock: CounterKey,
    known: CounterKey,
}

impl Keys {
    fn of(email: &Email, client: IpAddr) -> Self {
        let (email, network) = (email.as_str(), network(client));
        let pair = [email, network.as_str()];
        Self {
            network: CounterKey::new("login failures of a network", &[&network]),
            account: CounterKey::new("login failures of an account", &[email]),
            pair: CounterKey::new("login failures of a pair", &pair),
            account_lock: CounterKey::new("login lock of an account", &[email]),
            pair_lock: CounterKey::new("login lock of a pair", &pair),
            known: CounterKey::new("login network of an account", &pair),
        }
    }
}

impl App {
    /// Looks up what happened before; an error refuses the attempt unhashed.
    pub(super) async fn attempt(&self, email: &Email, origin: Origin) -> Outcome<Attempt> {
        let keys = Keys::of(email, origin.client);
        if !self.policy.limits_logins {
            return Ok(Attempt {
                keys,
                is_counted: false,
                is_locked: false,
                is_known: false,
                has_failed_before: false,
            });
        }
        let asked = [
            keys.network,
            keys.pair,
            keys.pair_lock,
            keys.account_lock,
            keys.known,
        ];
        let found = self.shared.counters(&asked, origin.now).await?;
        let [network, pair, pair_lock, account_lock, known] = found.as_slice() else {
            return Err(Refusal::internal(
                "the shared state gave another number of counters",
            ));
        };
        if network.count >= MAX_PER_NETWORK {
            let retry_after = network.resets_at.since(origin.now);
            return Err(Refusal::TooManyAttempts { retry_after });
        }
        let is_known = known.count > 0;
        Ok(Attempt {
            keys,
            is_counted: true,
            is_locked: pair_lock.count > 0 || (account_lock.count > 0 && !is_known),
            is_known,
            has_failed_before: pair.count > 0,
        })
    }

    /// Counts a failure, and locks when there were too many.
    pub(super) async fn attempt_failed(&self, attempt: &Attempt, now: UnixMillis) -> Outcome<()> {
        if !attempt.is_counted {
            return Ok(());
        }
        let keys = &attempt.keys;
        if attempt.is_locked {
            self.shared.count(&[keys.network], WINDOW, now).await?;
            return Ok(());
        }
        let counted = [keys.network, keys.account, keys.pair];
        let found = self.shared.count(&counted, WINDOW, now).await?;
        let [_, account, pair] = found.as_slice() else {
            return Err(Refusal::internal(
                "the shared state gave another number of counters",
            ));
        };
        for (failures, free, lock) in [
            (account.count, FREE_PER_ACCOUNT, keys.account_lock),
            (pair.count, FREE_PER_PAIR, keys.pair_lock),
        ] {
            if let Some(length) = lock_length(failures, free) {
                self.shared.count(&[lock], length, now).await?;
            }
        }
        Ok(())
    }

    /// Counts a failure of the network alone: of a guess that has counters of its own.
    pub(super) async fn network_failed(&self, origin: Origin) -> Outcome<()> {
        if self.policy.limits_logins {
            let network = network(origin.client);
            let key = CounterKey::new("login failures of a network", &[&network]);
            self.shared.count(&[key], WINDOW, origin.now).await?;
        }
        Ok(())
    }

    /// Forgets the pair's failures and knows its network from now on. What the
    /// network did to other accounts stays counted.
    pub(super) async fn attempt_succeeded(
        &self,
        attempt: &Attempt,
        now: UnixMillis,
    ) -> Outcome<()> {
        if !attempt.is_counted {
            return Ok(());
        }
        if attempt.has_failed_before {
            self.shared.reset(&attempt.keys.pair).await?;
        }
        if !attempt.is_known {
            self.shared.count(&[attempt.keys.known], KNOWN, now).await?;
        }
        Ok(())
    }
}

/// Doubles with every failure beyond the free ones.
pub(super) fn lock_length(failures: u32, free: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(free)?.min(20);
    Some((FIRST_LOCK * 2_u32.pow(doublings)).min(LONGEST_LOCK))
}

/// One IPv4 address, or the 64 bits of IPv6 that one customer gets.
pub(super) fn network(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }
}

#[cfg(test)]
mod tests;
