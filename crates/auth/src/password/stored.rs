//! A stored hash of whatever make, and what an account that does not exist looks like. Never tells one from the other by
//! the work: an address without an account costs what some account's hash costs, always the same for the same address.

use super::foreign::{Foreign, Scheme};
use super::pepper::Pepper;
use super::phc::{HashCost, Phc};
use crate::domain::PasswordHash;

/// What is in the store, taken apart.
#[derive(Clone)]
pub(super) enum Stored {
    /// Of today or of an earlier release.
    Own(Phc),
    /// Of another system.
    Foreign(Foreign),
}

/// What one run costs: all that time could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    Own(HashCost),
    Foreign(Scheme),
}

impl Stored {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let own = Phc::parse(text).map(Self::Own);
        own.or_else(|| Foreign::parse(text).map(Self::Foreign))
    }

    fn cost(&self) -> Cost {
        match self {
            Self::Own(phc) => Cost::Own(phc.cost),
            Self::Foreign(foreign) => Cost::Foreign(foreign.scheme),
        }
    }
}

impl Cost {
    fn unmatchable(self, pepper: Option<&Pepper>) -> Stored {
        match self {
            Self::Own(cost) => Stored::Own(Phc::unmatchable(cost, pepper)),
            Self::Foreign(scheme) => Stored::Foreign(Foreign::unmatchable(scheme)),
        }
    }
}

/// Hashes that no password leads to, each for as large a share of addresses as accounts have hashes of its cost.
pub(super) struct Mix {
    /// Up to which number an address gets which; ascending, and the last one ends at the end of all numbers.
    shares: Vec<(u64, Stored)>,
}

impl Mix {
    /// Only the cost of new hashes.
    pub(super) fn of(cost: HashCost, pepper: Option<&Pepper>) -> Self {
        let all = Cost::Own(cost).unmatchable(pepper);
        Self {
            shares: vec![(u64::MAX, all)],
        }
    }

    /// The costs of a sample of the stored hashes, in its proportions.
    pub(super) fn like(sample: &[PasswordHash], cost: HashCost, pepper: Option<&Pepper>) -> Self {
        let current = Cost::Own(cost);
        let costs = sample.iter().map(|hash| {
            // One that cannot be read is answered like none at all.
            Stored::parse(hash.expose()).map_or(current, |stored| stored.cost())
        });
        let mut counts: Vec<(Cost, u64)> = vec![(current, 0)];
        for cost in costs {
            match counts.iter_mut().find(|(known, _)| *known == cost) {
                Some((_, count)) => *count += 1,
                None => counts.push((cost, 1)),
            }
        }
        let total = sample.len().max(1) as u64;
        let mut shares = Vec::with_capacity(counts.len());
        let mut seen = 0;
        // The current cost comes last, so that it is the one which has whatever rounding leaves.
        for (cost, count) in counts.into_iter().rev() {
            seen += count;
            let upto = match cost == current {
                true => u64::MAX,
                false => u64::MAX / total * seen,
            };
            shares.push((upto, cost.unmatchable(pepper)));
        }
        Self { shares }
    }

    /// The one of an address, by a number that only it has.
    pub(super) fn pick(&self, number: u64) -> &Stored {
        let found = self.shares.iter().find(|(upto, _)| number <= *upto);
        let (_, stored) = found.unwrap_or_else(|| &self.shares[self.shares.len() - 1]);
        stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";

    #[test]
    fn sec_a05_unknown_addresses_have_the_costs_that_accounts_have() {
        let own = Phc::unmatchable(HashCost::CHEAP, None).to_password_hash();
        let foreign = PasswordHash::from_phc(BCRYPT.to_owned());
        let unusable = PasswordHash::from_phc("$2b$31$x".to_owned());
        let sample: Vec<_> = (0..100)
            .map(|n| match n % 10 {
                0..3 => foreign.clone(),
                3 => unusable.clone(),
                _ => own.clone(),
            })
            .collect();
        let mix = Mix::like(&sample, HashCost::CHEAP, None);
        let step = u64::MAX / 1000;
        let foreign = (0..1000).filter(|n| matches!(mix.pick(n * step), Stored::Foreign(_)));
        let foreign = foreign.count();
        assert!((295..=305).contains(&foreign), "{foreign} of 1000");
        for number in [0, 1, u64::MAX / 2, u64::MAX] {
            let (one, again) = (mix.pick(number).cost(), mix.pick(number).cost());
            assert_eq!(one, again, "always the same for an address");
        }
    }

    #[test]
    fn without_accounts_or_with_none_but_todays_there_is_one_cost() {
        let own = Phc::unmatchable(HashCost::CHEAP, None).to_password_hash();
        for sample in [&[][..], &[own.clone(), own]] {
            let mix = Mix::like(sample, HashCost::CHEAP, None);
            for number in [0, u64::MAX / 3, u64::MAX] {
                assert_eq!(mix.pick(number).cost(), Cost::Own(HashCost::CHEAP));
            }
        }
        let foreign = PasswordHash::from_phc(BCRYPT.to_owned());
        let mix = Mix::like(&[foreign], HashCost::CHEAP, None);
        for number in [0, u64::MAX / 3, u64::MAX - 1] {
            assert!(matches!(mix.pick(number), Stored::Foreign(_)), "{number}");
        }
    }
}
