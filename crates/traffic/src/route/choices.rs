//! The rules of one host and path, which differ in their conditions only. Never sees either.
//!
//! Rules that ask for one exact value of a header, cookie or parameter are found by that value, so
//! that a thousand tenants told apart by a header cost one lookup. Only the others are tried one
//! after the other, the most specific first.

use std::collections::HashMap;

use super::conditions::Conditions;
use super::details::{Details, Part};

#[derive(Clone, Debug)]
pub(super) struct Choices<T> {
    conditional: Option<Box<Conditional<T>>>,
    /// The rule without conditions: the least specific.
    always: Option<T>,
}

type ByValue = HashMap<Box<[u8]>, Vec<usize>>;

#[derive(Clone, Debug)]
struct Conditional<T> {
    /// The most specific first.
    rules: Vec<(Conditions, T)>,
    /// Positions of rules by the exact value they ask for, for each thing they ask.
    by_value: Vec<(Part, ByValue)>,
    /// Positions of the rules that ask for no exact value.
    others: Vec<usize>,
}

impl<T> Default for Choices<T> {
    fn default() -> Self {
        Self {
            conditional: None,
            always: None,
        }
    }
}

impl<T> Choices<T> {
    /// Arranges rules that differ in their conditions.
    pub(super) fn new(rules: Vec<(Conditions, T)>) -> Self {
        let (mut conditional, mut always) = (Vec::new(), None);
        for (conditions, target) in rules {
            if conditions.is_empty() {
                always = Some(target);
            } else {
                conditional.push((conditions, target));
            }
        }
        Self {
            conditional: (!conditional.is_empty()).then(|| Box::new(Conditional::new(conditional))),
            always,
        }
    }

    /// Whether there is no rule.
    pub(super) fn is_empty(&self) -> bool {
        self.conditional.is_none() && self.always.is_none()
    }

    /// The target of the most specific rule whose conditions are fulfilled.
    #[inline]
    pub(super) fn find(&self, details: &impl Details) -> Option<&T> {
        match &self.conditional {
            None => self.always.as_ref(),
            Some(rules) => rules.find(details).or(self.always.as_ref()),
        }
    }
}

impl<T> Conditional<T> {
    fn new(mut rules: Vec<(Conditions, T)>) -> Self {
        rules.sort_by(|a, b| b.0.cmp(&a.0));
        let mut by_value: Vec<(Part, ByValue)> = Vec::new();
        let mut others = Vec::new();
        for (position, (conditions, _)) in rules.iter().enumerate() {
            let Some((part, value)) = conditions.key() else {
                others.push(position);
                continue;
            };
            let known = by_value.iter().position(|(known, _)| known == part);
            let at = known.unwrap_or_else(|| {
                by_value.push((part.clone(), HashMap::new()));
                by_value.len() - 1
            });
            let positions = by_value[at].1.entry(value.as_bytes().into());
            positions.or_default().push(position);
        }
        Self {
            rules,
            by_value,
            others,
        }
    }

    fn find(&self, details: &impl Details) -> Option<&T> {
        let mut best = self.rules.len();
        let mut improve = |positions: &[usize]| {
            let better = positions.iter().take_while(|position| **position < best);
            let fulfilled = |position: &usize| {
                let rule = self.rules.get(*position);
                rule.is_some_and(|(conditions, _)| conditions.matches(details))
            };
            if let Some(position) = better.copied().find(fulfilled) {
                best = position;
            }
        };
        for (part, by_value) in &self.by_value {
            part.any(details, |value| {
                if let Some(positions) = by_value.get(value) {
                    improve(positions);
                }
                false
            });
        }
        improve(&self.others);
        self.rules.get(best).map(|(_, target)| target)
    }
}
