//! Whether a feature is on for somebody. Never remembers anybody: who has a feature at some percentage
//! has it at every higher one, on every edge and after every restart.
//!
//! Each flag gives every key a place among ten thousand, by a hash of its name and the key; the
//! feature is on for the places below the percentage. Other names make other places, so that the same
//! people are not the first to try everything.

use std::collections::HashSet;
use std::fmt;

use crate::route::split::{hash, mixed};

/// Position of a flag among those of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlagId(pub usize);

/// A share of all keys, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

/// For whom a feature is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// For nobody, whatever is said of single keys.
    Off,
    /// For everybody, whatever is said of single keys.
    On,
    /// For this share, beside what is said of single keys.
    Share(Percent),
}

/// One feature: its name, and what is said of single keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Decides, with the key, who comes first.
    pub name: String,
    /// Keys that have it at every share, even the least.
    pub on: HashSet<Vec<u8>>,
    /// Keys that have it at no share, even the greatest.
    pub off: HashSet<Vec<u8>>,
}

/// Places that keys may have.
const PLACES: u16 = 10_000;

impl Percent {
    /// Nobody.
    pub const NONE: Self = Self(0);
    /// Everybody.
    pub const ALL: Self = Self(PLACES);

    /// `None` beyond a hundred percent.
    pub fn from_hundredths(hundredths: u16) -> Option<Self> {
        (hundredths <= PLACES).then_some(Self(hundredths))
    }

    /// From 0 to 10,000.
    pub fn hundredths(self) -> u16 {
        self.0
    }
}

/// Without zeros that say nothing: `20`, `12.5`, `0.25`.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(f, "{whole}"),
            (_, 0) => write!(f, "{whole}.{}", rest / 10),
            _ => write!(f, "{whole}.{rest:02}"),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On => f.write_str("on"),
            Self::Share(percent) => write!(f, "{percent} %"),
        }
    }
}

impl Rollout {
    /// Whether the feature is on for a key. Who shows none has it only where everybody has.
    ///
    /// ```
    /// use portcullis_traffic::flag::{Percent, Rollout, Setting};
    ///
    /// let rollout = Rollout { name: "new_search".to_owned(), ..Rollout::default() };
    /// let with = |hundredths| {
    ///     let share = Setting::Share(Percent::from_hundredths(hundredths).unwrap());
    ///     let users = (0..10_000_u32).map(u32::to_be_bytes);
    ///     users.filter(|user| rollout.is_on(share, Some(user))).collect::<Vec<_>>()
    /// };
    /// let (few, more) = (with(500), with(2_000));
    /// assert!((400..600).contains(&few.len()) && (1_800..2_200).contains(&more.len()));
    /// assert!(few.iter().all(|user| more.contains(user)), "nobody loses it");
    /// ```
    pub fn is_on(&self, setting: Setting, key: Option<&[u8]>) -> bool {
        let percent = match setting {
            Setting::Off => return false,
            Setting::On => return true,
            Setting::Share(percent) => percent,
        };
        let Some(key) = key else {
            return percent == Percent::ALL;
        };
        match (self.on.contains(key), self.off.contains(key)) {
            (true, _) => true,
            (_, true) => false,
            _ => place(&self.name, key) < percent.0,
        }
    }
}

/// A key's place under a flag, below [`PLACES`].
fn place(name: &str, key: &[u8]) -> u16 {
    // The salt keeps flags apart from clusters of the same name, which users are split over by the same hash.
    let drawn = mixed(hash(name.as_bytes()) ^ mixed(hash(key) ^ SALT));
    u16::try_from(drawn % u64::from(PLACES)).unwrap_or(0)
}

const SALT: u64 = 0x666c_6167_666c_6167;

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u32 = 100_000;

    fn rollout(name: &str) -> Rollout {
        Rollout {
            name: name.to_owned(),
            ..Rollout::default()
        }
    }

    fn share(hundredths: u16) -> Setting {
        Setting::Share(Percent::from_hundredths(hundredths).unwrap())
    }

    /// Names as people have them: neighbours that differ in one character.
    fn decisions(name: &str, hundredths: u16) -> Vec<bool> {
        let rollout = rollout(name);
        let is_on = |user: u32| {
            let key = format!("user-{user}");
            rollout.is_on(share(hundredths), Some(key.as_bytes()))
        };
        (0..KEYS).map(is_on).collect()
    }

    fn count(decisions: &[bool]) -> f64 {
        decisions.iter().filter(|is_on| **is_on).count() as f64
    }

    fn assert_share(found: f64, expected: f64, what: &str) {
        let keys = f64::from(KEYS);
        let sigma = (keys * expected * (1.0 - expected)).sqrt();
        let off = (found - keys * expected).abs();
        assert!(off <= 3.0 * sigma, "{what}: {found}, off by {off}");
    }

    #[test]
    fn as_many_have_it_as_the_percentage_says() {
        for hundredths in [1, 10, 25, 100, 1_000, 2_050, 5_000, 9_000, 9_999] {
            let found = count(&decisions("new_search", hundredths));
            let expected = f64::from(hundredths) / 10_000.0;
            assert_share(found, expected, &format!("{hundredths} hundredths"));
        }
        assert_eq!(count(&decisions("new_search", 0)), 0.0);
        assert_eq!(count(&decisions("new_search", 10_000)), f64::from(KEYS));
    }

    #[test]
    fn raising_the_percentage_only_adds_people() {
        let mut before = decisions("new_search", 0);
        for hundredths in [1, 50, 500, 1_000, 5_000, 9_999, 10_000] {
            let now = decisions("new_search", hundredths);
            let lost = before.iter().zip(&now).filter(|(was, is)| **was && !**is);
            assert_eq!(lost.count(), 0, "{hundredths}");
            before = now;
        }
    }

    #[test]
    fn flags_know_nothing_of_each_other() {
        for (one, other) in [("a", "b"), ("new_search", "new_searcj"), ("x", "xx")] {
            let (one, other) = (decisions(one, 2_000), decisions(other, 3_000));
            let both = one
                .iter()
                .zip(&other)
                .filter(|(one, other)| **one && **other);
            assert_share(both.count() as f64, 0.06, "both");
        }
    }

    #[test]
    fn a_flag_is_no_split_of_the_same_name() {
        use crate::route::split::choose;

        let flag = decisions("green", 5_000);
        let users = (0..KEYS).map(|user| hash(format!("user-{user}").as_bytes()));
        let green = users.map(|user| choose([("blue", 50), ("green", 50)], user) == Some(1));
        let both = flag
            .iter()
            .zip(green)
            .filter(|(flag, green)| **flag && *green);
        assert_share(both.count() as f64, 0.25, "both");
    }

    #[test]
    fn single_keys_go_before_the_share_and_switches_before_both() {
        let named = Rollout {
            on: HashSet::from([b"ada".to_vec()]),
            off: HashSet::from([b"bob".to_vec()]),
            ..rollout("x")
        };
        let all = Setting::Share(Percent::ALL);
        let none = Setting::Share(Percent::NONE);
        for (setting, ada, bob, carol, nobody) in [
            (none, true, false, false, false),
            (all, true, false, true, true),
            (Setting::On, true, true, true, true),
            (Setting::Off, false, false, false, false),
        ] {
            assert_eq!(named.is_on(setting, Some(b"ada")), ada, "{setting}");
            assert_eq!(named.is_on(setting, Some(b"bob")), bob, "{setting}");
            assert_eq!(named.is_on(setting, Some(b"carol")), carol, "{setting}");
            assert_eq!(named.is_on(setting, None), nobody, "{setting}");
        }
        assert!(!named.is_on(share(9_999), None));
    }

    #[test]
    fn places_are_the_same_on_every_machine() {
        let users = ["ann", "bob", "carol", "dave", "eve", "frank"];
        let places = users.map(|user| place("new_search", user.as_bytes()));
        assert_eq!(places, GOLDEN);
    }

    const GOLDEN: [u16; 6] = [240, 1_175, 9_900, 7_145, 8_332, 3_306];

    #[test]
    fn percentages_are_written_without_idle_zeros() {
        for (hundredths, text) in [
            (0, "0"),
            (5, "0.05"),
            (25, "0.25"),
            (1_250, "12.5"),
            (2_000, "20"),
            (10_000, "100"),
        ] {
            let percent = Percent::from_hundredths(hundredths).unwrap();
            assert_eq!(percent.to_string(), text);
        }
        assert_eq!(Percent::from_hundredths(10_001), None);
    }
}
