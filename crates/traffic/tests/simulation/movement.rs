//! Membership that changes, and the keys that move with it. Never has traffic.

use std::time::Instant;

use portcullis_traffic::endpoint::{EndpointId, Standing};
use portcullis_traffic::select::{Ask, Balance, Member, Picked, Selector, Settings};

const KEYS: u32 = 400;

fn member(id: u16) -> Member {
    Member::new(EndpointId(id.into()), ([10, 0, 0, 1], 4_000 + id).into())
}

/// Where each key goes.
fn owners(selector: &mut Selector, now: Instant) -> Vec<EndpointId> {
    let mut owner = |key: u32| {
        let key = format!("session-{key}");
        let ask = Ask {
            bound: None,
            key: Some(key.as_bytes()),
            tried: &[],
            now,
            chance: key.len() as u64,
        };
        let Picked::Endpoint { id, .. } = selector.pick(&ask) else {
            panic!("somebody is eligible")
        };
        selector.release(id, None, now);
        id
    };
    (0..KEYS).map(&mut owner).collect()
}

#[test]
fn only_the_keys_of_those_that_come_or_go_move() {
    super::for_each_seed(8, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let balance = Balance::Hash {
            bounded_load_percent: rng.bool().then_some(150),
        };
        let settings = Settings::new(balance);
        let mut members: Vec<_> = (0..rng.u16(2..9)).map(member).collect();
        let mut selector = Selector::new(settings.clone(), &members);
        let now = Instant::now();
        for next in 10..40 {
            let before = owners(&mut selector, now);
            let changed = match rng.u8(..3) {
                0 if members.len() > 2 => members.remove(rng.usize(..members.len())).id,
                1 => {
                    let out = members[rng.usize(..members.len())].id;
                    let standing = Standing::Out {
                        is_last_resort: false,
                    };
                    selector.set_standing(out, standing, now);
                    let without = owners(&mut selector, now);
                    check(&before, &without, out, members.len());
                    selector.set_standing(out, Standing::FULL, now);
                    assert_eq!(owners(&mut selector, now), before, "back as it was");
                    continue;
                }
                _ => {
                    members.insert(rng.usize(..=members.len()), member(next));
                    EndpointId(next.into())
                }
            };
            selector.reshape(settings.clone(), &members, now);
            check(&before, &owners(&mut selector, now), changed, members.len());
        }
    });
}

/// Whatever moved left the one that changed or went to it, and it is about its share.
fn check(before: &[EndpointId], after: &[EndpointId], changed: EndpointId, members: usize) {
    let moved: Vec<_> = before.iter().zip(after).filter(|(a, b)| a != b).collect();
    for (from, to) in &moved {
        assert!(
            [from, to].contains(&&&changed),
            "{from:?} to {to:?} for {changed:?}"
        );
    }
    let share = KEYS as usize / members;
    assert!(
        moved.len() <= 2 * share,
        "{} of {KEYS} with {members}",
        moved.len()
    );
}
