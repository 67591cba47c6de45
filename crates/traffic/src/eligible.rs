//! Whether an endpoint may be picked now, combined in one place. Never decides any of its parts.

/// Everything that must hold before an endpoint takes a request.
///
/// ```
/// use portcullis_traffic::eligible::Eligibility;
///
/// let endpoint = Eligibility { healthy: true, not_ejected: true, not_draining: true };
/// assert!(endpoint.is_eligible());
/// assert!(!Eligibility { not_draining: false, ..endpoint }.is_eligible());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eligibility {
    /// Probes say [`Health::Healthy`](crate::health::Health::Healthy), or there are no probes.
    pub healthy: bool,
    /// Not put aside by failures of real traffic ([`crate::eject`]).
    pub not_ejected: bool,
    /// Not put aside by the operator.
    pub not_draining: bool,
}

impl Eligibility {
    /// Whether the endpoint may be picked now.
    pub fn is_eligible(self) -> bool {
        self.healthy && self.not_ejected && self.not_draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_three_together_make_an_endpoint_eligible() {
        for bits in 0..8_u8 {
            let eligibility = Eligibility {
                healthy: bits & 1 != 0,
                not_ejected: bits & 2 != 0,
                not_draining: bits & 4 != 0,
            };
            assert_eq!(eligibility.is_eligible(), bits == 7, "{eligibility:?}");
        }
    }
}
