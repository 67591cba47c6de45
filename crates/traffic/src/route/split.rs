//! Which of several targets a user gets, by weights. Never remembers a user: the same key gets the
//! same target as long as the weights allow it.
//!
//! Every target draws a number from its name and the key; the weighted numbers are compared
//! (weighted rendezvous hashing). So when one weight grows and others shrink, keys move towards
//! the grown target only, no more of them than the shares say, and the order of targets does not
//! matter.

/// The position of the target that `key` gets: each by its name and weight. `None` if no target
/// has a weight.
///
/// ```
/// use portcullis_traffic::route::split::choose;
///
/// let share = |green: u16| {
///     let targets = [("blue", 100 - green), ("green", green)];
///     (0..10_000u64).filter(move |key| choose(targets, *key) == Some(1))
/// };
/// let (few, more): (Vec<_>, Vec<_>) = (share(5).collect(), share(20).collect());
/// assert!((400..600).contains(&few.len()) && (1_800..2_200).contains(&more.len()));
/// assert!(few.iter().all(|key| more.contains(key)), "nobody goes back");
/// ```
pub fn choose<'n>(targets: impl IntoIterator<Item = (&'n str, u16)>, key: u64) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (position, (name, weight)) in targets.into_iter().enumerate() {
        if weight == 0 {
            continue;
        }
        // In (0, 1]: so many bits as a float holds exactly, and never the zero.
        let drawn = (mixed(hash(name.as_bytes()) ^ mixed(key)) >> 11) + 1;
        let unit = drawn as f64 / (1_u64 << 53) as f64;
        let score = -unit.ln() / f64::from(weight);
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, position));
        }
    }
    best.map(|(_, position)| position)
}

/// A key from what identifies a user. The same everywhere: on every edge and after every restart.
pub fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a, then mixed: values that differ in one character must not be neighbours.
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finish of SplitMix64: every bit of the input reaches every bit of the output.
pub(crate) fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 20_000;

    fn chosen(targets: &[(&str, u16)]) -> Vec<&'static str> {
        let all = ["blue", "green", "red"];
        let name = |position: Option<usize>| {
            let name = targets[position.unwrap()].0;
            *all.iter().find(|known| **known == name).unwrap()
        };
        (0..KEYS)
            .map(|key| name(choose(targets.iter().copied(), hash(&key.to_be_bytes()))))
            .collect()
    }

    #[test]
    fn shares_follow_weights() {
        let chosen = chosen(&[("blue", 700), ("green", 200), ("red", 100)]);
        for (name, share) in [("blue", 0.7), ("green", 0.2), ("red", 0.1)] {
            let count = chosen.iter().filter(|one| **one == name).count() as f64;
            let off = (count / KEYS as f64 - share).abs();
            assert!(off < 0.015, "{name}: {count}");
        }
    }

    #[test]
    fn a_growing_target_takes_users_and_gives_none() {
        let mut before = chosen(&[("blue", 100), ("green", 0)]);
        for green in [1, 5, 20, 50, 99, 100] {
            let after = chosen(&[("blue", 100 - green), ("green", green)]);
            let moved = before.iter().zip(&after).filter(|(a, b)| a != b);
            assert!(moved.clone().all(|(_, to)| *to == "green"), "{green} %");
            before = after;
        }
        assert!(before.iter().all(|name| *name == "green"));
    }

    #[test]
    fn with_three_targets_the_one_that_stays_loses_only_to_the_one_that_grows() {
        let before = chosen(&[("blue", 80), ("green", 10), ("red", 10)]);
        let after = chosen(&[("red", 10), ("green", 30), ("blue", 60)]);
        for (from, to) in before.iter().zip(&after) {
            assert!(
                from == to
                    || (*from, *to) == ("blue", "green")
                    || *to == "red" && *from == "blue"
                    || (*from, *to) == ("red", "green"),
                "{from} to {to}"
            );
        }
        let kept = before.iter().zip(&after).filter(|(a, b)| a == b).count() as f64;
        assert!(kept / KEYS as f64 > 0.75, "{kept}");
    }

    #[test]
    fn without_weights_there_is_nobody() {
        assert_eq!(choose([("blue", 0), ("green", 0)], 1), None);
        assert_eq!(choose([], 1), None);
        assert_eq!(choose([("blue", 0), ("green", 1)], 1), Some(1));
    }

    #[test]
    fn keys_are_the_same_on_every_machine() {
        assert_eq!(hash(b""), mixed(0xcbf2_9ce4_8422_2325));
        let golden: Vec<_> = ["ann", "bob", "carol", "dave", "eve", "frank"]
            .into_iter()
            .map(|user| choose([("blue", 50), ("green", 50)], hash(user.as_bytes())).unwrap())
            .collect();
        assert_eq!(golden, [0, 1, 1, 1, 0, 0]);
    }
}
