//! Which clients may come in: lists of a listener or a route, files of them, and bans made while
//! the edge runs. Never knows a request but by its client's address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

mod bans;
mod file;
pub(crate) mod follow;
mod networks;

pub(crate) use self::bans::{BANS_MAX, Bans};
pub(crate) use self::file::parse_until;
pub use self::file::{ListError, NetworkFile};
pub use self::networks::{NEVER, NetworkSet};
use crate::config::ClientLists;
use crate::metrics::GateMetrics;

/// The lists of one listener or route while they run.
#[derive(Debug)]
pub struct Gate {
    allow: Vec<List>,
    deny: Vec<List>,
    is_dry_run: bool,
    metrics: GateMetrics,
}

/// Networks of the configuration, or of a file that may change.
#[derive(Debug)]
enum List {
    Fixed(NetworkSet),
    File(Arc<NetworkFile>),
}

/// What a gate thinks of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// It may pass.
    Passes,
    /// It may pass because the gate runs dry.
    WouldBeRefused,
    /// It may not.
    Refused,
}

/// What a gate says of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may pass.
    Pass,
    /// It may not, and has been counted.
    Refused,
}

/// How many entries each side of a gate has, and which files it could not read again.
pub(crate) struct GateStatus {
    pub(crate) allow: usize,
    pub(crate) deny: usize,
    pub(crate) is_dry_run: bool,
    pub(crate) stale_files: Vec<String>,
}

impl Gate {
    /// Counts what it refuses.
    pub(crate) fn build(lists: &ClientLists, metrics: GateMetrics) -> Self {
        let side = |fixed: &NetworkSet, file: &Option<Arc<NetworkFile>>| {
            let fixed = (!fixed.is_empty()).then(|| List::Fixed(fixed.clone()));
            let file = file.clone().map(List::File);
            fixed.into_iter().chain(file).collect()
        };
        Self {
            allow: side(&lists.allow, &lists.allow_file),
            deny: side(&lists.deny, &lists.deny_file),
            is_dry_run: lists.is_dry_run,
            metrics,
        }
    }

    /// Whether the client may pass: it is on no `deny` list, and on an `allow` list if there are
    /// any. A gate that runs dry only counts.
    pub(crate) fn judge(&self, client: IpAddr) -> Verdict {
        match self.opinion(client) {
            Opinion::Passes => Verdict::Pass,
            Opinion::WouldBeRefused => {
                self.metrics.would_refuse.inc();
                Verdict::Pass
            }
            Opinion::Refused => {
                self.metrics.refused.inc();
                Verdict::Refused
            }
        }
    }

    /// The same without counting.
    pub(crate) fn opinion(&self, client: IpAddr) -> Opinion {
        match (self.lets_in(client, unix_seconds()), self.is_dry_run) {
            (true, _) => Opinion::Passes,
            (false, true) => Opinion::WouldBeRefused,
            (false, false) => Opinion::Refused,
        }
    }

    /// Whether it only counts. Then connections need not be asked, their requests are.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// For the operator.
    pub(crate) fn status(&self) -> GateStatus {
        let stale = self.files().filter(|file| file.is_stale());
        GateStatus {
            allow: self.allow.iter().map(List::len).sum(),
            deny: self.deny.iter().map(List::len).sum(),
            is_dry_run: self.is_dry_run,
            stale_files: stale
                .map(|file| file.path().display().to_string())
                .collect(),
        }
    }

    fn files(&self) -> impl Iterator<Item = &Arc<NetworkFile>> {
        let lists = self.allow.iter().chain(&self.deny);
        lists.filter_map(|list| match list {
            List::File(file) => Some(file),
            List::Fixed(_) => None,
        })
    }

    fn lets_in(&self, client: IpAddr, now: u64) -> bool {
        let is_on = |lists: &[List]| lists.iter().any(|list| list.contains(client, now));
        !is_on(&self.deny) && (self.allow.is_empty() || is_on(&self.allow))
    }
}

impl List {
    fn contains(&self, client: IpAddr, now: u64) -> bool {
        match self {
            Self::Fixed(networks) => networks.contains(client, now),
            Self::File(file) => file.networks().contains(client, now),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Fixed(networks) => networks.len(),
            Self::File(file) => file.networks().len(),
        }
    }
}

/// Entries end by the calendar's clock: they are written by people, and outlive the process.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn set(networks: &[&str]) -> NetworkSet {
        let mut set = NetworkSet::default();
        for network in networks {
            set.insert(network.parse().unwrap(), NEVER);
        }
        set
    }

    fn gate(allow: &[&str], deny: &[&str], is_dry_run: bool) -> Gate {
        let lists = ClientLists {
            allow: set(allow),
            deny: set(deny),
            allow_file: None,
            deny_file: None,
            is_dry_run,
        };
        Gate::build(&lists, Metrics::new().gate("listener", "web"))
    }

    fn passes(gate: &Gate, client: &str) -> bool {
        gate.judge(client.parse().unwrap()) == Verdict::Pass
    }

    #[test]
    fn deny_is_stronger_than_allow() {
        let gate = gate(&["10.0.0.0/8"], &["10.1.0.0/16"], false);
        assert!(passes(&gate, "10.2.0.1"));
        assert!(passes(&gate, "::ffff:10.2.0.1"));
        assert!(!passes(&gate, "10.1.0.1"));
        assert!(!passes(&gate, "192.0.2.1"), "not allowed");
        assert_eq!(gate.metrics.refused.get(), 2);
    }

    #[test]
    fn without_an_allow_list_everybody_else_passes() {
        let gate = gate(&[], &["2001:db8::/32"], false);
        assert!(passes(&gate, "192.0.2.1"));
        assert!(!passes(&gate, "2001:db8::1"));
    }

    #[test]
    fn a_dry_run_only_counts() {
        let gate = gate(&[], &["192.0.2.0/24"], true);
        assert!(passes(&gate, "192.0.2.1"));
        assert_eq!(gate.metrics.would_refuse.get(), 1);
        assert_eq!(gate.metrics.refused.get(), 0);
    }
}
