//! The servers behind the store, the part each of them plays, and places in the history that they share. Never an address
//! with a password in it.

use std::time::Duration;

/// What a server is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The only one there is: nobody asks it what it is.
    Single,
    /// Takes writes, and every read that may not lag.
    Primary,
    /// Answers reads that may lag.
    Replica,
    /// Follows the primary, but too far behind, or on a branch of history of which nobody knows yet that it is ours.
    Lagging,
    /// Takes itself for a primary although another one leads or might: nothing is asked of it.
    Fenced,
    /// Another database altogether.
    Stranger,
    /// Does not answer.
    Away,
}

impl Role {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::Single,
        Self::Primary,
        Self::Replica,
        Self::Lagging,
        Self::Fenced,
        Self::Stranger,
        Self::Away,
    ];

    /// The word in health answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Lagging => "lagging",
            Self::Fenced => "fenced",
            Self::Stranger => "stranger",
            Self::Away => "away",
        }
    }
}

/// One server as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// Host and port.
    pub name: String,
    /// What it is good for.
    pub role: Role,
    /// How old what it answers may be; `None` for a primary, and where it is not known.
    pub lag: Option<Duration>,
    /// Open connections to it, and how many of them are idle.
    pub connections: (u32, u32),
}

/// The servers, and what was asked of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Each server; none where the store is a file.
    pub endpoints: Vec<EndpointView>,
    /// Reads that may lag, answered by replicas.
    pub replica_reads: u64,
    /// Reads that may lag, answered by the primary.
    pub primary_reads: u64,
    /// How often another server began to lead.
    pub failovers: u64,
}

/// A place in the history of one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalPosition {
    /// The branch of history; each promotion begins another.
    pub timeline: i64,
    /// How far along it.
    pub position: i64,
}

impl WalPosition {
    /// Whether a server that is here holds everything up to `other`.
    pub fn holds(self, other: Self) -> bool {
        self.timeline >= other.timeline && self.position >= other.position
    }

    /// As text: `timeline:position`.
    pub fn to_text(self) -> String {
        format!("{}:{}", self.timeline, self.position)
    }

    /// Reads what [`WalPosition::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (timeline, position) = text.split_once(':')?;
        Some(Self {
            timeline: timeline.parse().ok()?,
            position: position.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_held_only_by_who_is_as_far_on_as_late_a_branch() {
        let at = |timeline, position| WalPosition { timeline, position };
        assert!(at(1, 5).holds(at(1, 5)) && at(1, 6).holds(at(1, 5)) && at(2, 5).holds(at(1, 5)));
        assert!(!at(1, 4).holds(at(1, 5)));
        assert!(!at(1, 9).holds(at(2, 5)), "of the branch that was left");
        assert!(
            !at(2, 4).holds(at(1, 5)),
            "what was lost is waited for in vain"
        );
        assert!(at(2, 1) > at(1, 9), "the later branch counts");
    }

    #[test]
    fn places_are_read_as_they_were_written() {
        let place = WalPosition {
            timeline: 3,
            position: i64::MAX,
        };
        assert_eq!(WalPosition::parse(&place.to_text()), Some(place));
        for text in ["", "3", "3:", ":4", "a:b", "3:4:5"] {
            assert_eq!(WalPosition::parse(text), None, "{text}");
        }
    }
}
