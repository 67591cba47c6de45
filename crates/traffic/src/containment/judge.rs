//! What follows for the cluster from what is known of its endpoints: who falls, who is held, is there panic.

use std::time::Instant;

use super::cause::{Ruling, Survey};
use super::member::is_available;
use super::{Change, Changes, Containment, Reason, Trouble, What};
use crate::endpoint::Standing;

impl Containment {
    /// Decides about those that have failed a check often enough, and whether a cause that was
    /// shared still is.
    pub(super) fn judge(&mut self, check: usize, now: Instant, changes: &mut Changes) {
        let Some(policy) = self.policy.checks.get(check).copied() else {
            return;
        };
        let shared = self.shared.checks.get(check).cloned().flatten();
        let states = self.members.iter().filter_map(|m| m.checks.get(check));
        let somebody_falls = states
            .into_iter()
            .any(|state| state.falling(&policy).is_some());
        if shared.is_none() && !somebody_falls {
            return;
        }
        let reachable = self.members.iter().filter(|m| m.accepts != Some(false));
        let survey = Survey::new(reachable.filter_map(|m| m.checks.get(check)?.last()));
        if let Some(cause) = shared
            && !survey.upholds(&cause)
        {
            self.shared.checks[check] = None;
            let states = self.members.iter_mut();
            let states = states.filter_map(|m| m.checks.get_mut(check));
            states.for_each(|state| state.release(&cause));
        }
        for member in &mut self.members {
            let Some(state) = member.checks.get_mut(check) else {
                continue;
            };
            let Some(falling) = state.falling(&policy) else {
                continue;
            };
            let (ruling, trouble) = (survey.rule(&falling), falling.trouble.clone());
            match ruling {
                Ruling::Open => {}
                Ruling::Own => member.fall(check, &self.policy, trouble, now, changes),
                Ruling::Shared => {
                    state.hold();
                    self.shared.checks[check] = Some(trouble);
                    // Probes know it better.
                    self.shared.traffic = None;
                }
            }
        }
    }

    /// Tells of a shared cause that is not what it was.
    pub(super) fn tell_shared(
        &self,
        before: Option<Trouble>,
        reason: Reason,
        changes: &mut Changes,
    ) {
        let (what, reason) = match (before, self.shared.cause()) {
            (Some(before), Some(after)) if before == *after => return,
            (None, None) => return,
            (_, Some(after)) => (What::SharedCause, Reason::Trouble(after.clone())),
            (Some(_), None) => (What::SharedCauseOver, reason),
        };
        changes.push(Change {
            endpoint: None,
            what,
            reason,
        });
    }

    /// [`Containment::settle`] after something that concerns this endpoint alone, unless the
    /// changes say otherwise.
    pub(super) fn settle_one(
        &mut self,
        position: usize,
        changes: Changes,
        reason: &Reason,
        now: Instant,
    ) -> Changes {
        let member = &self.members[position];
        if changes.is_empty() && member.present_standing(&self.policy) == member.standing {
            return changes;
        }
        self.settle(changes, reason, now)
    }

    /// Brings standings, panic and the next change by time up to date, and tells what that changes.
    pub(super) fn settle(
        &mut self,
        mut changes: Changes,
        reason: &Reason,
        now: Instant,
    ) -> Changes {
        for member in &mut self.members {
            let standing = member.present_standing(&self.policy);
            if standing == member.standing {
                continue;
            }
            member.uptime.turn(is_available(standing), now);
            (member.standing, member.since) = (standing, now);
            let is_it = |change: &Change| change.endpoint.is_some_and(|e| e.0 == member.id);
            if !changes.iter().any(is_it) {
                changes.push(member.change(What::Shifted, reason.clone()));
            }
        }
        for (id, standing) in changes.iter_mut().filter_map(|c| c.endpoint.as_mut()) {
            *standing = self.standing(*id);
        }
        self.eligible = self.members.iter().filter(|m| m.is_in()).count();
        self.tell_panic(reason, &mut changes);
        self.refresh_next();
        changes
    }

    /// Time has something to do at another instant than before.
    pub(super) fn refresh_next(&mut self) {
        let members = self.members.iter();
        let members = members.filter_map(|member| member.next_change(&self.policy));
        let shared = self.shared.traffic.as_ref().map(|(_, until)| *until);
        self.next = members.chain(shared).min();
    }

    fn tell_panic(&mut self, reason: &Reason, changes: &mut Changes) {
        let last_resort = Standing::Out {
            is_last_resort: true,
        };
        let is_panicking =
            self.eligible == 0 && self.members.iter().any(|m| m.standing == last_resort);
        if std::mem::replace(&mut self.is_panicking, is_panicking) != is_panicking {
            let what = match is_panicking {
                true => What::PanicBegan,
                false => What::PanicEnded,
            };
            changes.push(Change {
                endpoint: None,
                what,
                reason: reason.clone(),
            });
        }
    }
}
