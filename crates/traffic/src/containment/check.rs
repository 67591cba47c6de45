//! What the probes of one check say about one endpoint: rise and fall counting. Never compares endpoints.

use std::time::Instant;

use super::{CheckPolicy, CheckReport, Trouble, Verdict};

/// One check of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) verdict: Verdict,
    pub(super) since: Instant,
    /// Passes in a row.
    pub(super) passes: u32,
    /// Failures in a row.
    failures: u32,
    /// When the last trouble was first seen in this row.
    trouble_since: Instant,
    last: Option<(Instant, Result<(), Trouble>)>,
    is_held: bool,
}

/// A check that has failed often enough, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Falling<'a> {
    pub(super) trouble: &'a Trouble,
    /// Since when it fails for this.
    pub(super) since: Instant,
    /// It has failed so often that nothing is waited for any more.
    pub(super) is_overdue: bool,
}

impl Check {
    /// A check without results.
    pub(super) fn new(verdict: Verdict, now: Instant) -> Self {
        Self {
            verdict,
            since: now,
            passes: 0,
            failures: 0,
            trouble_since: now,
            last: None,
            is_held: false,
        }
    }

    /// A probe passed; `rise` passes in a row turn a failing check. True if the verdict changed.
    pub(super) fn passed(&mut self, rise: u32, now: Instant) -> bool {
        self.passes = self.passes.saturating_add(1);
        self.failures = 0;
        self.is_held = false;
        self.last = Some((now, Ok(())));
        let turns = match self.verdict {
            Verdict::Unproven => true,
            Verdict::Passing => false,
            Verdict::Failing => self.passes >= rise,
        };
        if turns {
            (self.verdict, self.since) = (Verdict::Passing, now);
        }
        turns
    }

    /// A probe failed. Whether that takes effect depends on the others: see [`Check::falling`].
    pub(super) fn failed(&mut self, trouble: Trouble, now: Instant) {
        self.passes = 0;
        let is_same = matches!(&self.last, Some((_, Err(last))) if *last == trouble);
        if !is_same {
            self.trouble_since = now;
            if std::mem::take(&mut self.is_held) {
                // What was held for one cause says nothing about another.
                self.failures = 0;
            }
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some((now, Err(trouble)));
    }

    /// What it fails for, if it has failed `fall` times in a row without being failing yet.
    pub(super) fn falling(&self, policy: &CheckPolicy) -> Option<Falling<'_>> {
        if self.failures < policy.fall.get() || self.verdict == Verdict::Failing {
            return None;
        }
        Some(Falling {
            trouble: self.trouble()?,
            since: self.trouble_since,
            is_overdue: self.failures >= policy.fall.get().saturating_mul(PATIENCE),
        })
    }

    /// The verdict is failing from now on.
    pub(super) fn fall(&mut self, now: Instant) {
        (self.verdict, self.since) = (Verdict::Failing, now);
        self.is_held = false;
    }

    /// Its failures are for a cause that all share: they are held against nobody.
    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    /// The cause that was shared is over: whoever fails on has its own reason, and `fall` more
    /// tries.
    pub(super) fn release(&mut self, cause: &Trouble) {
        if self.verdict != Verdict::Failing && self.trouble() == Some(cause) {
            (self.failures, self.is_held) = (0, false);
        }
    }

    /// The endpoint says that it is leaving, so the last probe says nothing any more.
    pub(super) fn forget(&mut self) {
        (self.passes, self.failures) = (0, 0);
        (self.last, self.is_held) = (None, false);
    }

    /// When and how the last probe ended.
    pub(super) fn last(&self) -> Option<(Instant, Result<(), &Trouble>)> {
        let (at, result) = self.last.as_ref()?;
        Some((*at, result.as_ref().copied()))
    }

    /// What the last probe failed for.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.last.as_ref()?.1.as_ref().err()
    }

    pub(super) fn report(&self, policy: &CheckPolicy) -> CheckReport {
        CheckReport {
            role: policy.role,
            verdict: self.verdict,
            since: self.since,
            passes: self.passes,
            failures: self.failures,
            last: self.last.clone(),
            is_held: self.is_held,
        }
    }
}

/// So many times `fall` a check may fail while it is unknown whether the others do. The others are
/// probed meanwhile; this bounds the wait should they not be.
const PATIENCE: u32 = 4;

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    fn play(check: &mut Check, results: &[Result<(), Trouble>]) -> Vec<Verdict> {
        let (policy, now) = (CheckPolicy::new(2, 3, Role::Eject), Instant::now());
        let verdict_after = |result: &Result<(), Trouble>| {
            match result {
                Ok(()) => _ = check.passed(policy.rise.get(), now),
                Err(trouble) => check.failed(trouble.clone(), now),
            }
            if check.falling(&policy).is_some() {
                check.fall(now);
            }
            check.verdict
        };
        results.iter().map(verdict_after).collect()
    }

    const PASS: Result<(), Trouble> = Ok(());
    const FAIL: Result<(), Trouble> = Err(Trouble::Timeout);

    #[test]
    fn the_first_pass_proves_an_endpoint_even_after_failures() {
        let mut check = Check::new(Verdict::Unproven, Instant::now());
        let verdicts = play(&mut check, &[FAIL, FAIL, PASS]);
        assert_eq!(verdicts[1..], [Verdict::Unproven, Verdict::Passing]);
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let mut check = Check::new(Verdict::Passing, Instant::now());
        let verdicts = play(&mut check, &[FAIL, FAIL, PASS, FAIL, FAIL]);
        assert!(verdicts.iter().all(|v| *v == Verdict::Passing));
        assert_eq!(play(&mut check, &[FAIL]), [Verdict::Failing]);
    }

    #[test]
    fn recovery_needs_passes_in_a_row() {
        let mut check = Check::new(Verdict::Passing, Instant::now());
        play(&mut check, &[FAIL, FAIL, FAIL]);
        let verdicts = play(&mut check, &[PASS, FAIL, PASS, PASS]);
        assert_eq!(verdicts[2..], [Verdict::Failing, Verdict::Passing]);
    }

    #[test]
    fn held_failures_do_not_count_for_another_cause() {
        let (policy, now) = (CheckPolicy::new(2, 2, Role::Eject), Instant::now());
        let mut check = Check::new(Verdict::Passing, now);
        for _ in 0..5 {
            check.failed(Trouble::Status(503), now);
            check.hold();
        }
        check.failed(Trouble::Timeout, now);
        assert!(check.falling(&policy).is_none());
        check.failed(Trouble::Timeout, now);
        assert!(check.falling(&policy).is_some());
    }
}
