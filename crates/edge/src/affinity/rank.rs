//! Rendezvous hashing: which endpoint a value points at. Never remembers anything, so all edges agree.
//!
//! When an endpoint leaves, only its own values go elsewhere, spread over all others; when one
//! comes, it takes its share from each.

/// The endpoint that a hash points at among those with their weights. None of weight 0; `None` if
/// there is no other.
///
/// Each endpoint draws a number from the value, a heavier one with better luck: the share of each
/// is its weight's (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005).
pub(crate) fn first_choice(hash: u64, endpoints: impl Iterator<Item = (u64, u32)>) -> Option<u64> {
    let scored = endpoints
        .filter(|(_, weight)| *weight > 0)
        .map(|(endpoint, weight)| (score(hash, endpoint, weight), endpoint));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    best.map(|(_, endpoint)| endpoint)
}

fn score(hash: u64, endpoint: u64, weight: u32) -> f64 {
    let bits = mixed(hash ^ mixed(endpoint)) >> 11;
    // In (0, 1]: 53 bits, as many as the mantissa holds.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let drawn = (bits + 1) as f64 / (1_u64 << 53) as f64;
    // Of a draw of 1 the logarithm is 0: the quotient is infinite, which wins, as it should.
    -f64::from(weight) / drawn.ln()
}

/// The finalizer of `SplitMix64`: every bit of the input changes half of those of the output.
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const ENDPOINTS: [(u64, u32); 4] = [(11, 1), (22, 1), (33, 1), (44, 1)];

    fn choices(endpoints: &[(u64, u32)]) -> Vec<u64> {
        (0..10_000_u64)
            .map(|value| first_choice(mixed(value + 1), endpoints.iter().copied()).unwrap())
            .collect()
    }

    fn counts(choices: &[u64]) -> HashMap<u64, usize> {
        choices.iter().fold(HashMap::new(), |mut counts, choice| {
            *counts.entry(*choice).or_default() += 1;
            counts
        })
    }

    #[test]
    fn values_spread_evenly() {
        for (endpoint, count) in counts(&choices(&ENDPOINTS)) {
            assert!((2_350..2_650).contains(&count), "{endpoint}: {count}");
        }
    }

    #[test]
    fn weights_share_the_values() {
        let counts = counts(&choices(&[(11, 1), (22, 3), (33, 0)]));
        assert!((2_350..2_650).contains(&counts[&11]), "{counts:?}");
        assert_eq!(counts.get(&33), None, "no weight, no values");
    }

    #[test]
    fn order_does_not_matter() {
        let mut turned = ENDPOINTS;
        turned.reverse();
        assert_eq!(choices(&ENDPOINTS), choices(&turned));
    }

    #[test]
    fn only_values_of_an_endpoint_that_leaves_move() {
        let before = choices(&ENDPOINTS);
        let after = choices(&ENDPOINTS[..3]);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == 44);
        }
    }

    #[test]
    fn an_endpoint_that_comes_takes_its_share_alone() {
        let before = choices(&ENDPOINTS[..3]);
        let after = choices(&ENDPOINTS);
        let moved: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after)
            .collect();
        assert!(moved.iter().all(|(_, after)| **after == 44));
        assert!((2_350..2_650).contains(&moved.len()), "{}", moved.len());
    }

    #[test]
    fn nobody_is_nobodys_choice() {
        assert_eq!(first_choice(1, std::iter::empty()), None);
        assert_eq!(first_choice(1, [(11, 0)].into_iter()), None);
    }
}
