//! What priorities and weights of SRV records (RFC 2782) are among endpoints. Never asks for one.

/// Our largest weight.
const WEIGHT_MAX: u32 = 1000;

/// Tier and weight of each record, given its priority and weight. Tiers count up from 0; weights keep
/// their proportions, and one of 0 gets as little as can be.
pub(super) fn tiers(records: &[(u16, u16)]) -> Vec<(u8, u16)> {
    let mut priorities: Vec<u16> = records.iter().map(|(priority, _)| *priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let largest = records.iter().map(|(_, weight)| u32::from(*weight)).max();
    let divisor = largest.unwrap_or_default().max(WEIGHT_MAX);
    let of_record = |(priority, weight): &(u16, u16)| {
        let tier = priorities.binary_search(priority).unwrap_or_default();
        let weight = (u32::from(*weight) * WEIGHT_MAX / divisor).max(1);
        (
            u8::try_from(tier).unwrap_or(u8::MAX),
            u16::try_from(weight).unwrap_or(1),
        )
    };
    records.iter().map(of_record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_become_tiers_in_their_order() {
        let tiers = tiers(&[(20, 1), (10, 1), (65_535, 1), (20, 1)]);
        let tiers: Vec<u8> = tiers.into_iter().map(|(tier, _)| tier).collect();
        assert_eq!(tiers, [1, 0, 2, 1]);
        let many: Vec<(u16, u16)> = (0..300).map(|priority| (priority, 1)).collect();
        assert_eq!(super::tiers(&many)[299].0, 255);
    }

    #[test]
    fn weights_keep_their_proportions_and_none_is_lost() {
        let weights = |records: &[(u16, u16)]| -> Vec<u16> {
            tiers(records)
                .into_iter()
                .map(|(_, weight)| weight)
                .collect()
        };
        assert_eq!(weights(&[(0, 5), (0, 10), (0, 0)]), [5, 10, 1]);
        assert_eq!(weights(&[(0, 60_000), (0, 30_000), (0, 1)]), [1000, 500, 1]);
        assert_eq!(weights(&[(0, 0), (0, 0)]), [1, 1]);
        assert!(weights(&[]).is_empty());
    }
}
