//! What names an endpoint and what it may be given now. Never says why: that is `containment`'s.

/// Names an endpoint for as long as the process knows it; never used again for another.
///
/// Endpoints come, go and change places in their clusters while requests are under way, so neither
/// a position nor an address would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u32);

/// What an endpoint may be given now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Eligible.
    In {
        /// Scales the endpoint's weight: 100 as a rule, less while it is degraded. Zero takes no
        /// new clients; above 100 counts as 100.
        share_percent: u8,
    },
    /// Put aside by the operator or by its own announcement: serves clients bound to it and takes
    /// no new ones.
    Draining,
    /// Not eligible.
    Out {
        /// It accepts connections, so it is better than nothing when nobody is eligible. One that
        /// refuses them never is.
        is_last_resort: bool,
    },
}

impl Standing {
    /// Eligible with its whole weight.
    pub const FULL: Self = Self::In { share_percent: 100 };

    /// Whether new clients may be sent to it.
    pub fn is_eligible(self) -> bool {
        self.share_percent() > 0
    }

    /// The percentage of its weight that counts now; zero unless it is eligible.
    pub fn share_percent(self) -> u8 {
        match self {
            Self::In { share_percent } => share_percent.min(100),
            Self::Draining | Self::Out { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_endpoint_that_is_in_has_a_share() {
        assert_eq!(Standing::FULL.share_percent(), 100);
        assert_eq!(Standing::In { share_percent: 25 }.share_percent(), 25);
        assert_eq!(Standing::In { share_percent: 255 }.share_percent(), 100);
        for none in [
            Standing::In { share_percent: 0 },
            Standing::Draining,
            Standing::Out {
                is_last_resort: true,
            },
        ] {
            assert!(!none.is_eligible(), "{none:?}");
        }
    }
}
