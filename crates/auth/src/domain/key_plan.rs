//! When a signing key is made, signs, stops signing and is forgotten. Never reads the clock and never touches a key.
//!
//! A key is published long before it signs, so that every verifier knows it by then, and stays published until nothing
//! it signed can still be valid. One key is always published ahead, for the day the active one must go at once.

use std::time::Duration;

use super::{KeyState, SigningKeyRecord, UnixMillis};

/// How long verifiers may keep the key set before they fetch it again: `max-age` of the JWKS answer.
const JWKS_MAX_AGE: Duration = Duration::from_secs(300);
/// An instance may be this late in noticing what another has stored.
const POLL: Duration = Duration::from_secs(30);
/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(30);
/// Every verifier that fetches the key set as it says knows a key after this time.
pub const PUBLISHED_AHEAD: Duration =
    Duration::from_secs(JWKS_MAX_AGE.as_secs() + POLL.as_secs() + SKEW.as_secs());
/// Most keys that are published at once, half of what our own verifiers accept. Instances that disagree on the
/// algorithm would otherwise add keys until nobody can read the set.
const PUBLISHED_MAX: usize = 16;

/// What the settings of an instance ask of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// Algorithm of keys to come (`RS256`, …).
    pub algorithm: String,
    /// How long a key signs before the next one takes over; `None`: until somebody says so.
    pub interval: Option<Duration>,
    /// The longest life of anything the keys sign.
    pub longest_token: Duration,
    /// The key that the operator gave by name; it takes over as soon as verifiers know it.
    pub given: Option<String>,
}

/// One change of the ring. Each is a compare-and-set of the store, so that any number of instances may try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// Make a key of the plan's algorithm and publish it.
    Add,
    /// This `next` key signs from now on; its predecessor no more.
    Activate {
        /// Which.
        kid: String,
    },
    /// Nothing signed with this key can be valid any more.
    Retire {
        /// Which.
        kid: String,
    },
}

impl KeyPlan {
    /// The one change that is due, if any. Asked again after each.
    pub fn due(&self, ring: &[SigningKeyRecord], now: UnixMillis) -> Option<KeyStep> {
        let over = ring.iter().find(|key| {
            key.state == KeyState::Retiring && now.since(key.changed_at) >= self.kept_for()
        });
        if let Some(key) = over {
            return Some(KeyStep::Retire {
                kid: key.kid.clone(),
            });
        }
        let Some(successor) = self.successor(ring) else {
            let published = ring.iter().filter(|key| key.state.is_published()).count();
            return (published < PUBLISHED_MAX).then_some(KeyStep::Add);
        };
        let is_due = self.wants_to_turn(ring, successor, now);
        (is_due && wait_until_known(successor, now).is_none()).then(|| KeyStep::Activate {
            kid: successor.kid.clone(),
        })
    }

    /// The key that would sign next: the one given by the operator, else the oldest `next` of the right algorithm.
    pub fn successor<'a>(&self, ring: &'a [SigningKeyRecord]) -> Option<&'a SigningKeyRecord> {
        let mut next = ring.iter().filter(|key| key.state == KeyState::Next);
        let given = next
            .clone()
            .find(|key| Some(&key.kid) == self.given.as_ref());
        given.or_else(|| next.find(|key| key.algorithm == self.algorithm))
    }

    /// How long a key that signs no more stays published.
    pub fn kept_for(&self) -> Duration {
        self.longest_token + SKEW + POLL
    }

    fn wants_to_turn(
        &self,
        ring: &[SigningKeyRecord],
        successor: &SigningKeyRecord,
        now: UnixMillis,
    ) -> bool {
        let Some(active) = ring.iter().find(|key| key.state == KeyState::Active) else {
            return true;
        };
        if Some(&successor.kid) == self.given.as_ref() {
            return true;
        }
        let is_old = self
            .interval
            .is_some_and(|interval| now.since(active.changed_at) >= interval);
        // A given key stays active whatever its algorithm; it was checked against the setting when it was read.
        let is_given = Some(&active.kid) == self.given.as_ref();
        !is_given && (is_old || active.algorithm != self.algorithm)
    }
}

/// How much longer verifiers need until they all know a key; `None` when they do.
pub fn wait_until_known(key: &SigningKeyRecord, now: UnixMillis) -> Option<Duration> {
    let known = now.since(key.created_at);
    (known < PUBLISHED_AHEAD).then(|| PUBLISHED_AHEAD - known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(1_800_000_000_000);
    const DAY: u64 = 86_400;

    fn key(kid: &str, state: KeyState, since: u64) -> SigningKeyRecord {
        SigningKeyRecord {
            kid: kid.to_owned(),
            algorithm: "RS256".to_owned(),
            state,
            sealed_private_key: Vec::new(),
            created_at: at(since),
            changed_at: at(since),
        }
    }

    fn at(seconds: u64) -> UnixMillis {
        START.plus(Duration::from_secs(seconds))
    }

    fn plan() -> KeyPlan {
        KeyPlan {
            algorithm: "RS256".to_owned(),
            interval: Some(Duration::from_secs(90 * DAY)),
            longest_token: Duration::from_secs(3600),
            given: None,
        }
    }

    fn activate(kid: &str) -> Option<KeyStep> {
        Some(KeyStep::Activate {
            kid: kid.to_owned(),
        })
    }

    fn retire(kid: &str) -> Option<KeyStep> {
        Some(KeyStep::Retire {
            kid: kid.to_owned(),
        })
    }

    #[test]
    fn a_key_is_always_published_ahead() {
        let ring = [key("a", KeyState::Active, 0)];
        assert_eq!(plan().due(&ring, at(0)), Some(KeyStep::Add));
        let ring = [ring[0].clone(), key("b", KeyState::Next, 0)];
        assert_eq!(plan().due(&ring, at(90 * DAY - 1)), None);
    }

    #[test]
    fn sec_c17_no_key_takes_over_before_every_verifier_knows_it() {
        let added = 90 * DAY;
        let ring = [
            key("a", KeyState::Active, 0),
            key("b", KeyState::Next, added),
        ];
        assert_eq!(plan().due(&ring, at(added + 359)), None);
        assert_eq!(plan().due(&ring, at(added + 360)), activate("b"));
        let wait = wait_until_known(&ring[1], at(added + 300));
        assert_eq!(wait, Some(Duration::from_secs(60)));
        assert_eq!(wait_until_known(&ring[1], at(added + 360)), None);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_key_known() {
        let ring = [
            key("a", KeyState::Active, 0),
            key("b", KeyState::Next, 91 * DAY),
        ];
        assert_eq!(plan().due(&ring, at(90 * DAY)), None);
    }

    #[test]
    fn sec_c17_a_key_stays_until_nothing_it_signed_can_be_valid() {
        let ring = [
            key("a", KeyState::Retiring, 100),
            key("b", KeyState::Active, 100),
            key("c", KeyState::Next, 100),
        ];
        assert_eq!(plan().due(&ring, at(100 + 3659)), None);
        assert_eq!(plan().due(&ring, at(100 + 3660)), retire("a"));
    }

    #[test]
    fn without_an_interval_nothing_turns_by_itself() {
        let plan = KeyPlan {
            interval: None,
            ..plan()
        };
        let ring = [key("a", KeyState::Active, 0), key("b", KeyState::Next, 0)];
        assert_eq!(plan.due(&ring, at(10_000 * DAY)), None);
    }

    #[test]
    fn another_algorithm_takes_over_once_its_key_is_known() {
        let plan = KeyPlan {
            algorithm: "ES256".to_owned(),
            ..plan()
        };
        let mut ring = vec![key("a", KeyState::Active, 0), key("b", KeyState::Next, 0)];
        assert_eq!(plan.due(&ring, at(1000)), Some(KeyStep::Add));
        let other = SigningKeyRecord {
            algorithm: "ES256".to_owned(),
            ..key("c", KeyState::Next, 1000)
        };
        ring.push(other);
        assert_eq!(plan.due(&ring, at(1359)), None);
        assert_eq!(plan.due(&ring, at(1360)), activate("c"));
    }

    #[test]
    fn a_given_key_takes_over_and_stays() {
        let plan = KeyPlan {
            given: Some("ours".to_owned()),
            ..plan()
        };
        let mut ring = vec![
            key("a", KeyState::Active, 0),
            key("b", KeyState::Next, 0),
            key("ours", KeyState::Next, 1000),
        ];
        assert_eq!(plan.due(&ring, at(1359)), None);
        assert_eq!(plan.due(&ring, at(1360)), activate("ours"));
        ring[0].state = KeyState::Retiring;
        ring[0].changed_at = at(1360);
        ring[2].state = KeyState::Active;
        assert_eq!(plan.due(&ring, at(1360)), None);
        ring.remove(0);
        assert_eq!(plan.due(&ring, at(900 * DAY)), None);
    }

    #[test]
    fn instances_that_disagree_do_not_fill_the_set() {
        let ring: Vec<_> = (0..PUBLISHED_MAX)
            .map(|n| key(&format!("k{n}"), KeyState::Retiring, 0))
            .collect();
        assert_eq!(plan().due(&ring, at(1)), None);
        assert_eq!(plan().due(&ring[1..], at(1)), Some(KeyStep::Add));
    }

    #[test]
    fn played_through_a_year_tokens_always_verify() {
        let mut ring = vec![key("k0", KeyState::Active, 0)];
        let (mut published, mut turns) = (1, 0);
        for hour in 0..365 * 24 {
            let now = at(hour * 3600);
            while let Some(step) = plan().due(&ring, now) {
                match step {
                    KeyStep::Add => {
                        ring.push(SigningKeyRecord {
                            created_at: now,
                            changed_at: now,
                            ..key(&format!("k{published}"), KeyState::Next, 0)
                        });
                        published += 1;
                    }
                    KeyStep::Activate { kid } => {
                        turns += 1;
                        for key in &mut ring {
                            let to = match key.state {
                                KeyState::Active => KeyState::Retiring,
                                KeyState::Next if key.kid == kid => KeyState::Active,
                                _ => continue,
                            };
                            assert!(key.state.may_become(to));
                            (key.state, key.changed_at) = (to, now);
                        }
                    }
                    KeyStep::Retire { kid } => ring.retain(|key| key.kid != kid),
                }
            }
            let count = |state| ring.iter().filter(|key| key.state == state).count();
            assert_eq!((count(KeyState::Active), count(KeyState::Next)), (1, 1));
            assert!(ring.len() <= 3);
        }
        assert_eq!(turns, 4);
    }
}
