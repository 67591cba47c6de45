//! The independent account: what the changes say, put beside what was told and what is answered. Never reuses the code it judges.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use portcullis_traffic::breaker::Mode;
use portcullis_traffic::containment::{Change, Containment, Policy, Reason, Trouble, What};
use portcullis_traffic::endpoint::{EndpointId, Standing};

use crate::account::{Account, Breaker, check_report, is_checked};
use crate::probes::{History, common_cause, needed};

/// What the world did.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Probed {
        id: EndpointId,
        check: usize,
        result: Result<(), Trouble>,
    },
    Announced {
        id: EndpointId,
    },
    Ended {
        id: EndpointId,
        result: Result<(), Trouble>,
    },
    Reshaped {
        policy: Policy,
        ids: Vec<EndpointId>,
    },
    /// What says nothing by itself: a drain, the begin of an attempt, time.
    Other,
    /// Time passed, but not up to one.
    Early,
}

/// How often something happened, by name.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// Whether every kind of change happened at least ten times.
    pub(crate) fn is_everything(&self) -> bool {
        self.0.len() == KINDS && self.0.values().all(|count| *count >= 10)
    }
}

/// Kinds of changes there are.
const KINDS: usize = 18;

pub(crate) struct Witness {
    policy: Policy,
    endpoints: BTreeMap<EndpointId, Account>,
    shared: Option<Trouble>,
    is_panicking: bool,
    seen: Seen,
}

impl Witness {
    pub(crate) fn new(policy: &Policy, ids: &[EndpointId], now: Instant) -> Self {
        let mut witness = Self {
            policy: policy.clone(),
            endpoints: BTreeMap::new(),
            shared: None,
            is_panicking: false,
            seen: Seen::default(),
        };
        witness.join(ids, now);
        witness
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    fn join(&mut self, ids: &[EndpointId], now: Instant) {
        let standing = match is_checked(&self.policy) {
            true => Standing::Out {
                is_last_resort: false,
            },
            false => Standing::In { share_percent: 100 },
        };
        self.endpoints.retain(|id, _| ids.contains(id));
        for id in ids {
            let new = || Account::new(&self.policy, standing, now);
            self.endpoints.entry(*id).or_insert_with(new);
        }
    }

    /// Takes what happened and what was told about it into account, and compares.
    pub(crate) fn check(
        &mut self,
        event: &Event,
        cluster: &Containment,
        changes: &[Change],
        now: Instant,
    ) {
        if matches!(event, Event::Early) {
            assert_eq!(changes, [], "nothing was due");
        }
        let was_in = self.eligible();
        self.note(event, now);
        for change in changes {
            *self.seen.0.entry(change.what.name()).or_default() += 1;
            self.follow(change, cluster, now);
        }
        if !matches!(event, Event::Reshaped { .. }) {
            self.check_probes(event, changes, was_in);
            self.check_overdue(cluster, now);
        }
        self.check_standings(changes, cluster, now);
        assert_eq!(cluster.is_panicking(), self.is_panicking);
        assert_eq!(cluster.shared_cause(), self.shared.as_ref());
    }

    fn eligible(&self) -> usize {
        let is_in = |a: &&Account| matches!(a.standing, Standing::In { .. });
        self.endpoints.values().filter(is_in).count()
    }

    /// What the event itself says.
    fn note(&mut self, event: &Event, now: Instant) {
        let has_probes = !self.policy.checks.is_empty();
        match event {
            Event::Probed { id, check, result } => {
                let Some(account) = self.endpoints.get_mut(id) else {
                    return;
                };
                if let Some(history) = account.checks.get_mut(*check) {
                    history.push(result.clone());
                    account.is_refused = matches!(result, Err(t) if t.is_connect());
                }
            }
            Event::Ended { id, result } => {
                let Some(account) = self.endpoints.get_mut(id) else {
                    return;
                };
                account.traffic.push_back((now, result.clone()));
                let is_old = |at: Instant| now.saturating_duration_since(at).as_secs() >= 30;
                while account.traffic.front().is_some_and(|(at, _)| is_old(*at)) {
                    account.traffic.pop_front();
                }
                match result {
                    Err(trouble) if trouble.is_connect() => account.is_refused = true,
                    Err(trouble) if !trouble.is_answer() => {}
                    _ if !has_probes => account.is_refused = false,
                    _ => {}
                }
            }
            Event::Announced { id } if is_checked(&self.policy) => {
                if let Some(account) = self.endpoints.get_mut(id) {
                    account.checks.iter_mut().for_each(History::clear);
                }
            }
            Event::Reshaped { policy, ids } => {
                let is_same = policy.checks == self.policy.checks;
                self.policy = policy.clone();
                for account in self.endpoints.values_mut() {
                    // A check that is new has proven nothing, so its first pass is enough.
                    account.was_unhealthy &= is_same;
                    let checks = &mut account.checks;
                    checks.resize_with(policy.checks.len(), History::default);
                }
                self.join(ids, now);
            }
            _ => {}
        }
    }

    fn follow(&mut self, change: &Change, cluster: &Containment, now: Instant) {
        let Some((id, standing)) = change.endpoint else {
            return self.follow_cluster(change);
        };
        assert_eq!(standing, cluster.standing(id), "{change:?}");
        if let What::Ejected { duration, times } = change.what {
            self.check_ejection(id, duration, times, now);
        }
        if let (What::Ejected { .. } | What::BreakerOpened, Reason::Trouble(trouble)) =
            (change.what, &change.reason)
        {
            self.check_own(id, trouble, now);
        }
        if let Some(account) = self.endpoints.get_mut(&id) {
            account.told = standing;
            account.follow(change, now);
        }
    }

    fn follow_cluster(&mut self, change: &Change) {
        match (change.what, &change.reason) {
            (What::PanicBegan, _) => assert!(!std::mem::replace(&mut self.is_panicking, true)),
            (What::PanicEnded, _) => assert!(std::mem::replace(&mut self.is_panicking, false)),
            (What::SharedCause, Reason::Trouble(cause)) => {
                assert!(cause.is_answer());
                assert_ne!(self.shared.replace(cause.clone()).as_ref(), Some(cause));
            }
            (What::SharedCauseOver, _) => assert!(self.shared.take().is_some()),
            _ => panic!("{change:?} is an endpoint's"),
        }
    }

    /// Somebody is left, the cap is kept, the length is within its bounds.
    fn check_ejection(&self, id: EndpointId, duration: Duration, times: u32, now: Instant) {
        let policy = self.policy.ejection.expect("there is a policy");
        let is_in = |(other, account): &(&EndpointId, &Account)| {
            **other != id && matches!(account.told, Standing::In { .. })
        };
        let (total, left) = (
            self.endpoints.len(),
            self.endpoints.iter().filter(is_in).count(),
        );
        assert!(left > 0, "the last one was ejected");
        assert!((total - left) * 100 <= total * usize::from(policy.max_percent));
        let (before, ended) = self.endpoints[&id].last_ejection;
        let is_quiet = |end| now.saturating_duration_since(end) >= policy.max_duration;
        let growth = if ended.is_none_or(is_quiet) {
            0
        } else {
            before
        };
        assert_eq!(times, growth + 1);
        assert_eq!(duration, (policy.duration * times).min(policy.max_duration));
    }

    /// An answer that all others give too, and nothing else, condemns nobody.
    fn check_own(&self, id: EndpointId, trouble: &Trouble, now: Instant) {
        let takes_traffic = |a: &&Account| !matches!(a.told, Standing::Out { .. });
        let others = self.endpoints.iter().filter(|(other, _)| **other != id);
        let mut others = others
            .map(|(_, account)| account)
            .filter(takes_traffic)
            .filter(|account| !account.is_refused)
            .peekable();
        let is_shared =
            others.peek().is_some() && others.all(|account| account.only_fails_for(trouble, now));
        assert!(
            !trouble.is_answer() || !is_shared,
            "{id:?} is out for {trouble}"
        );
    }

    /// Verdicts follow from results, counted plainly, and a cause that all share condemns nobody.
    fn check_probes(&self, event: &Event, changes: &[Change], was_in: usize) {
        for (id, account) in &self.endpoints {
            let policies = self.policy.checks.iter();
            let mut checks = account.checks.iter().zip(policies);
            assert!(
                !account.is_healthy || !checks.clone().any(|(h, policy)| h.condemns(policy)),
                "{id:?} is still healthy: {account:?}"
            );
            let is_told = |c: &&Change| c.endpoint.is_some_and(|e| e.0 == *id);
            for change in changes.iter().filter(is_told) {
                match (change.what, event) {
                    (What::Unhealthy, _) => assert!(
                        checks.any(|(h, policy)| h.may_condemn(policy)),
                        "{account:?}"
                    ),
                    (What::Healthy, Event::Probed { check, .. }) => {
                        let rise = needed(self.policy.checks[*check].rise.get());
                        let is_quick = was_in == 0 || !account.was_unhealthy || checks.len() > 1;
                        assert!(account.checks[*check].passes() >= rise || is_quick);
                    }
                    (What::Healthy, _) => panic!("{change:?} without a probe"),
                    _ => {}
                }
            }
        }
        for position in 0..self.policy.checks.len() {
            let reachable = self.endpoints.values().filter(|a| !a.is_refused);
            let Some(cause) = common_cause(reachable.map(|a| &a.checks[position])) else {
                continue;
            };
            let event_is_of_it = matches!(event, Event::Probed { check, .. } if *check == position);
            let condemned = changes.iter().find(|change| {
                change.what == What::Unhealthy && change.reason == Reason::Trouble(cause.clone())
            });
            assert!(
                condemned.is_none() || !event_is_of_it,
                "{condemned:?} for what all share"
            );
        }
    }

    /// What was to happen by now has happened.
    fn check_overdue(&self, cluster: &Containment, now: Instant) {
        assert!(cluster.next_change().is_none_or(|next| next > now));
        for account in self.endpoints.values() {
            assert!(
                account.ejected_until.is_none_or(|until| until > now),
                "{account:?}"
            );
        }
    }

    fn check_standings(&mut self, changes: &[Change], cluster: &Containment, now: Instant) {
        let enforces = self.policy.breaker.is_some_and(|p| p.mode == Mode::Enforce);
        for (id, account) in &mut self.endpoints {
            let standing = cluster.standing(*id);
            let is_told = |c: &Change| c.endpoint.is_some_and(|e| e.0 == *id);
            if standing != account.standing {
                assert!(
                    changes.iter().any(is_told),
                    "{id:?}: nobody told of {standing:?}"
                );
            }
            // What time shifted may be shifted back by what the call was about.
            let shifted = |c: &Change| c.what == What::Shifted && c.reason != Reason::Elapsed;
            let mut told = changes.iter().filter(|change| is_told(change));
            if told.next().is_some_and(shifted) && told.next().is_none() {
                assert_ne!(standing, account.standing, "{changes:?}");
            }
            if standing != account.standing {
                account.account(now);
                (account.standing, account.told) = (standing, standing);
            }
            if !enforces {
                account.breaker = Breaker::Closed;
            }
            assert!(
                account.allows(standing),
                "{id:?} is {standing:?}: {account:?}"
            );
            check_report(account, *id, cluster, now);
        }
        let last_resort = Standing::Out {
            is_last_resort: true,
        };
        let has_last_resort = self.endpoints.values().any(|a| a.standing == last_resort);
        assert_eq!(
            cluster.is_panicking(),
            self.eligible() == 0 && has_last_resort
        );
    }
}
