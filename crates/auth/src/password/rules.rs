//! What the hashing threads go by: costs, peppers, and what nobody may choose. Never changes while they run, but for the
//! costs that accounts are seen to have.

use std::sync::Arc;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use super::breached::Breached;
use super::pepper::Peppers;
use super::phc::HashCost;
use super::stored::{Mix, Stored};
use crate::domain::PasswordHash;

/// See the module.
pub(super) struct Rules {
    pub(super) cost: HashCost,
    pub(super) peppers: Peppers,
    pub(super) mix: ArcSwap<Mix>,
    pub(super) breached: Option<Arc<Breached>>,
    /// In lower case.
    forbidden: Vec<String>,
}

impl Rules {
    pub(super) fn new(cost: HashCost, peppers: Peppers) -> Self {
        let mix = ArcSwap::from_pointee(Mix::of(cost, peppers.current()));
        Self {
            cost,
            peppers,
            mix,
            breached: None,
            forbidden: Vec::new(),
        }
    }

    /// New passwords are held against these.
    pub(super) fn refusing(self, breached: Option<Arc<Breached>>, forbidden: &[String]) -> Self {
        Self {
            breached,
            forbidden: forbidden.iter().map(|word| word.to_lowercase()).collect(),
            ..self
        }
    }

    /// Takes over the costs of a sample of the stored hashes.
    pub(super) fn learn(&self, sample: &[PasswordHash]) {
        let mix = Mix::like(sample, self.cost, self.peppers.current());
        self.mix.store(Arc::new(mix));
    }

    /// Whether a hash is as it would be made today.
    pub(super) fn is_current(&self, stored: &Stored) -> bool {
        let pepper = self.peppers.current().map(|pepper| pepper.id());
        match stored {
            Stored::Own(phc) => phc.cost == self.cost && phc.pepper == pepper,
            Stored::Foreign(_) => false,
        }
    }

    pub(super) fn has_pepper_of(&self, stored: &Stored) -> bool {
        match stored {
            Stored::Own(phc) => phc.pepper.is_none_or(|id| self.peppers.find(id).is_some()),
            Stored::Foreign(_) => true,
        }
    }

    /// Whether a password is one of the words, with digits and signs around it or without.
    pub(super) fn is_forbidden(&self, password: &str) -> bool {
        let folded = Zeroizing::new(password.to_lowercase());
        let stem = folded.trim_matches(|c: char| !c.is_alphabetic());
        let mut words = self.forbidden.iter();
        words.any(|word| *word == *folded || word == stem)
    }
}
