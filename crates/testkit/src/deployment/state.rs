//! What the three instances share, and what they wrongly do not. Never forgets a cookie.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Flaw;

/// Names as a balancer shows them.
pub(super) const INSTANCES: [&str; 3] = ["site-one", "site-two", "site-three"];

pub(super) struct State {
    flaw: Option<Flaw>,
    pub(super) is_https: bool,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    turn: usize,
    next_id: u64,
    /// Cookie values that were given, with the instance each binds to.
    bound: HashMap<String, usize>,
    /// Tokens that are good, and those that one instance alone still takes for good.
    tokens: HashSet<String>,
    forgotten: HashSet<String>,
    /// Wrong guesses, in all and of each instance.
    guesses: [usize; 3],
    gone: Option<usize>,
    /// Requests that are still to fail since one left.
    to_fail: usize,
}

/// Who answers, and what becomes of the client's binding.
pub(super) enum Picked {
    /// The client's own instance: nothing to be said.
    Bound(usize),
    /// Another, with the cookie that binds the client to it, if it gets one.
    New(usize, Option<String>),
    /// Nobody, because of a flaw.
    Fails(u16),
}

impl State {
    pub(super) fn new(flaw: Option<Flaw>, is_https: bool) -> State {
        State {
            flaw,
            is_https,
            memory: Mutex::default(),
        }
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) fn stop_an_instance(&self) {
        let mut memory = self.memory();
        memory.gone = Some(1);
        memory.to_fail = 10;
    }

    /// Never the same twice.
    pub(super) fn id(&self) -> String {
        let mut memory = self.memory();
        memory.next_id += 1;
        format!("{:08x}", memory.next_id)
    }

    pub(super) fn pick(&self, cookie: Option<&str>) -> Picked {
        let mut memory = self.memory();
        let bound = cookie.and_then(|value| memory.bound.get(value).copied());
        if let Some(instance) = bound.filter(|_| !self.has(Flaw::CookieIsNotRead)) {
            if memory.gone != Some(instance) {
                return Picked::Bound(instance);
            }
            if self.has(Flaw::BoundClientsFailWhenTheirInstanceLeaves) {
                return Picked::Fails(503);
            }
            if self.has(Flaw::BoundClientsMoveWithoutNewCookie) {
                return Picked::New(0, None);
            }
        } else if cookie.is_some() {
            if self.has(Flaw::ForgedCookieIsAnError) {
                return Picked::Fails(500);
            }
            if self.has(Flaw::ForgedCookieGetsNoNewOne) {
                return Picked::New(self.balance(&mut memory), None);
            }
        } else if memory.to_fail > 0 && self.has(Flaw::RequestsFailWhenAnInstanceLeaves) {
            memory.to_fail -= 1;
            return Picked::Fails(502);
        }
        let instance = self.balance(&mut memory);
        let value = match self.has(Flaw::CookieNamesAnAddress) {
            true => format!("10.0.0.{}:4001", instance + 1),
            false => (0..32).map(|_| fastrand::alphanumeric()).collect(),
        };
        memory.bound.insert(value.clone(), instance);
        Picked::New(instance, Some(value))
    }

    fn balance(&self, memory: &mut Memory) -> usize {
        let order: &[usize] = if self.has(Flaw::OneInstanceIsPreferred) {
            &[0, 0, 1, 0, 0, 2]
        } else if self.has(Flaw::OneInstanceGetsNothing) {
            &[0, 1]
        } else {
            &[0, 1, 2]
        };
        loop {
            memory.turn = (memory.turn + 1) % order.len();
            let instance = order[memory.turn];
            if memory.gone != Some(instance) {
                return instance;
            }
        }
    }

    pub(super) fn log_in(&self) -> String {
        let token = format!("token-{}", self.id());
        self.memory().tokens.insert(token.clone());
        token
    }

    pub(super) fn is_good(&self, token: &str, instance: usize) -> bool {
        let is_last = instance == 2;
        let memory = self.memory();
        if is_last && self.has(Flaw::OneInstanceRefusesFreshTokens) {
            return false;
        }
        memory.tokens.contains(token) || (is_last && memory.forgotten.contains(token))
    }

    pub(super) fn log_out(&self, token: &str) {
        let mut memory = self.memory();
        if memory.tokens.remove(token) && self.has(Flaw::OneInstanceForgetsLogouts) {
            memory.forgotten.insert(token.to_owned());
        }
    }

    /// Counts a wrong guess; whether it is refused.
    pub(super) fn guess(&self, instance: usize) -> bool {
        let mut memory = self.memory();
        memory.guesses[instance] += 1;
        if self.has(Flaw::GuessesAreNotCounted) {
            false
        } else if self.has(Flaw::GuessesAreCountedByEachInstanceAlone) {
            // They do not come to their ends together: each allows a little more than the one before.
            memory.guesses[instance] > 10 + 5 * instance
        } else {
            memory.guesses.iter().sum::<usize>() > 20
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
