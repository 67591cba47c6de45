//! Which limits somebody has. Never a permission: a tier says how often, not what.

/// From the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// Every new account and client.
    Free,
    /// Pays.
    Pro,
    /// Pays for much.
    Enterprise,
    /// Services of our own: not limited.
    Internal,
}

/// A word that is no tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tier is anonymous, free, pro, enterprise or internal")]
pub struct InvalidTier;

impl Tier {
    /// Every tier, from the least to the most.
    pub const ALL: [Self; 5] = [
        Self::Anonymous,
        Self::Free,
        Self::Pro,
        Self::Enterprise,
        Self::Internal,
    ];

    /// The stored word, which is also the claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
            Self::Internal => "internal",
        }
    }

    /// Reads what an operator typed.
    ///
    /// # Errors
    /// If it is no tier.
    pub fn parse(text: &str) -> Result<Self, InvalidTier> {
        let found = Self::ALL.into_iter().find(|tier| tier.as_str() == text);
        found.ok_or(InvalidTier)
    }

    /// Reads what is stored. A word that another release wrote is the least: nobody gets more by mistake.
    pub fn read(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }

    /// How many times the allowance of [`Tier::Free`] it has, in tenths; `None`: as much as there is.
    pub fn tenths(self) -> Option<u32> {
        match self {
            Self::Anonymous => Some(1),
            Self::Free => Some(10),
            Self::Pro => Some(100),
            Self::Enterprise => Some(1000),
            Self::Internal => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_j03_an_unknown_tier_is_the_lowest() {
        for word in ["", "gold", "PRO", "pro ", "internal\0"] {
            assert_eq!(Tier::parse(word), Err(InvalidTier), "{word:?}");
            assert_eq!(Tier::read(word), Tier::Anonymous, "{word:?}");
        }
        for tier in Tier::ALL {
            assert_eq!(Tier::read(tier.as_str()), tier);
        }
    }

    #[test]
    fn a_higher_tier_never_has_less() {
        let shares = Tier::ALL.map(|tier| tier.tenths().unwrap_or(u32::MAX));
        assert!(
            shares.windows(2).all(|pair| pair[0] < pair[1]),
            "{shares:?}"
        );
        assert!(Tier::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
