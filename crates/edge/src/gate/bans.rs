//! Clients that the operator keeps out while the edge runs. Never outlives the process, and never
//! grows beyond its bound.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use ipnet::IpNet;
use thiserror::Error;

use super::networks::NetworkSet;
use super::unix_seconds;

/// Bans at once. Whoever needs more has a file.
pub(crate) const BANS_MAX: usize = 10_000;

/// All bans of this process.
#[derive(Debug, Default)]
pub struct Bans {
    /// So that no request takes the lock while there are none.
    count: AtomicUsize,
    banned: RwLock<Banned>,
}

#[derive(Debug, Default)]
struct Banned {
    networks: NetworkSet,
    /// The same in order, for the operator.
    listed: BTreeMap<IpNet, u64>,
}

/// Why there is no ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BanError {
    #[error("there are {BANS_MAX} bans already: remove some, or use a `deny_file`")]
    Full,
    #[error("there is no such ban")]
    Unknown,
}

impl Bans {
    /// Whether there are none, as far as anybody knows without asking the clock.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether the client is kept out.
    pub(crate) fn contains(&self, client: IpAddr) -> bool {
        if self.is_empty() {
            return false;
        }
        let banned = self.banned.read().unwrap_or_else(PoisonError::into_inner);
        banned.networks.contains(client, unix_seconds())
    }

    /// Keeps a network out until a second since the Unix epoch.
    pub(crate) fn add(&self, network: IpNet, until: u64) -> Result<(), BanError> {
        self.change(|banned| {
            if banned.listed.len() >= BANS_MAX && !banned.listed.contains_key(&network) {
                return Err(BanError::Full);
            }
            banned.listed.insert(network, until);
            banned.networks.insert(network, until);
            Ok(())
        })
    }

    /// Lets a network in again.
    pub(crate) fn remove(&self, network: IpNet) -> Result<(), BanError> {
        self.change(|banned| {
            banned.listed.remove(&network).ok_or(BanError::Unknown)?;
            banned.networks.remove(network);
            Ok(())
        })
    }

    /// All of them with their ends.
    pub(crate) fn list(&self) -> Vec<(IpNet, u64)> {
        let now = unix_seconds();
        let banned = self.banned.read().unwrap_or_else(PoisonError::into_inner);
        let alive = banned.listed.iter().filter(|(_, until)| **until > now);
        alive.map(|(network, until)| (*network, *until)).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list().len()
    }

    /// Forgets what has ended first.
    fn change<T>(&self, change: impl FnOnce(&mut Banned) -> T) -> T {
        let now = unix_seconds();
        let mut banned = self.banned.write().unwrap_or_else(PoisonError::into_inner);
        banned.networks.purge(now);
        banned.listed.retain(|_, until| *until > now);
        let changed = change(&mut banned);
        self.count.store(banned.listed.len(), Ordering::Relaxed);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::NEVER;
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn contains(bans: &Bans, client: &str) -> bool {
        bans.contains(client.parse().unwrap())
    }

    #[test]
    fn a_ban_holds_until_its_end_or_its_removal() {
        let bans = Bans::default();
        assert!(!contains(&bans, "192.0.2.1"));
        bans.add(net("192.0.2.0/24"), NEVER).unwrap();
        bans.add(net("2001:db8::/64"), 1).unwrap();
        assert!(contains(&bans, "192.0.2.1"));
        assert!(!contains(&bans, "2001:db8::1"), "long over");
        assert_eq!(bans.list(), [(net("192.0.2.0/24"), NEVER)]);
        assert_eq!(bans.remove(net("192.0.2.0/25")), Err(BanError::Unknown));
        assert_eq!(bans.remove(net("192.0.2.0/24")), Ok(()));
        assert!(!contains(&bans, "192.0.2.1"));
        assert_eq!(bans.len(), 0);
    }

    #[test]
    fn there_are_so_many_bans_and_no_more() {
        let bans = Bans::default();
        let numbered = |number: usize| {
            let address = u32::try_from(number).unwrap();
            IpNet::from(IpAddr::V4(address.into()))
        };
        for number in 0..BANS_MAX {
            bans.add(numbered(number), NEVER).unwrap();
        }
        assert_eq!(bans.add(numbered(BANS_MAX), NEVER), Err(BanError::Full));
        assert_eq!(bans.add(numbered(0), 1), Ok(()), "it is there already");
        assert_eq!(bans.add(numbered(BANS_MAX), NEVER), Ok(()), "one is over");
    }
}
