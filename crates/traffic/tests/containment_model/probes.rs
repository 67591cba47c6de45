//! The witness's own account of probes: the last results of each check, counted plainly.

use std::collections::VecDeque;

use portcullis_traffic::containment::{CheckPolicy, Role, Trouble};

/// The last results of one check of one endpoint, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(VecDeque<Result<(), Trouble>>);

impl History {
    pub(crate) fn push(&mut self, result: Result<(), Trouble>) {
        self.0.push_back(result);
        if self.0.len() > 100 {
            self.0.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn last(&self) -> Option<&Result<(), Trouble>> {
        self.0.back()
    }

    pub(crate) fn passes(&self) -> usize {
        self.0.iter().rev().take_while(|r| r.is_ok()).count()
    }

    pub(crate) fn failures(&self) -> usize {
        self.0.iter().rev().take_while(|r| r.is_err()).count()
    }

    /// The failures at the end that nobody could have in common, since the endpoint said nothing.
    fn silent_failures(&self) -> usize {
        let is_silent = |r: &&Result<(), Trouble>| matches!(r, Err(t) if !t.is_answer());
        self.0.iter().rev().take_while(is_silent).count()
    }

    /// Whether an endpoint must be unhealthy for this check.
    pub(crate) fn condemns(&self, policy: &CheckPolicy) -> bool {
        policy.role == Role::Eject && self.silent_failures() >= needed(policy.fall.get())
    }

    /// Whether this check may have taken its endpoint out just now.
    pub(crate) fn may_condemn(&self, policy: &CheckPolicy) -> bool {
        self.failures() >= needed(policy.fall.get())
    }
}

pub(crate) fn needed(count: u32) -> usize {
    usize::try_from(count).expect("a small number")
}

/// The cause that all who have something to say name, if there is one.
pub(crate) fn common_cause<'a>(histories: impl Iterator<Item = &'a History>) -> Option<Trouble> {
    let said: Vec<&Result<(), Trouble>> = histories
        .filter_map(History::last)
        .filter(|last| last.as_ref().err().is_none_or(Trouble::is_answer))
        .collect();
    let cause = said.first()?.as_ref().err()?;
    let is_common = said.iter().all(|last| last.as_ref().err() == Some(cause));
    let is_enough = said.len() > 1 || matches!(cause, Trouble::Dependency(_));
    (is_common && is_enough).then(|| cause.clone())
}
