//! What a cluster of three does about trouble, told as changes.

use std::time::Duration;

use super::*;

const IDS: [EndpointId; 3] = [EndpointId(1), EndpointId(2), EndpointId(3)];
const IN: Standing = Standing::In { share_percent: 100 };

fn checked() -> Policy {
    Policy {
        checks: vec![CheckPolicy::new(2, 3, Role::Eject)],
        ..Policy::default()
    }
}

fn whats(changes: &[Change]) -> Vec<What> {
    changes.iter().map(|change| change.what).collect()
}

#[test]
fn a_new_endpoint_is_out_until_its_check_passes_once() {
    let now = Instant::now();
    let mut cluster = Containment::new(checked(), &IDS, now);
    assert_eq!(cluster.standing(IDS[0]), NOBODY);
    let changes = cluster.probed(IDS[0], 0, Ok(()), now);
    assert_eq!(whats(&changes), [What::Healthy]);
    assert_eq!(changes[0].endpoint, Some((IDS[0], IN)));
}

#[test]
fn without_checks_an_endpoint_is_taken_for_healthy() {
    let cluster = Containment::new(Policy::default(), &IDS, Instant::now());
    assert_eq!(cluster.standing(IDS[2]), IN);
    assert_eq!(cluster.standing(EndpointId(9)), NOBODY);
}

#[test]
fn failures_in_a_row_eject_until_time_is_over() {
    let start = Instant::now();
    let policy = Policy {
        ejection: Some(eject::Policy::default()),
        ..Policy::default()
    };
    let mut cluster = Containment::new(policy, &IDS, start);
    for _ in 0..2 {
        assert_eq!(cluster.ended(IDS[0], Err(Trouble::Reset), start), []);
    }
    let changes = cluster.ended(IDS[0], Err(Trouble::Reset), start);
    let ejected = What::Ejected {
        duration: Duration::from_secs(30),
        times: 1,
    };
    assert_eq!(whats(&changes), [ejected]);
    let end = start + Duration::from_secs(30);
    assert_eq!(cluster.next_change(), Some(end));
    assert_eq!(whats(&cluster.tick(end)), [What::EjectionOver]);
    assert_eq!(cluster.standing(IDS[0]), IN);
}

#[test]
fn a_drained_endpoint_keeps_its_clients_until_it_is_taken_back() {
    let now = Instant::now();
    let mut cluster = Containment::new(Policy::default(), &IDS, now);
    assert_eq!(whats(&cluster.drain(IDS[0], true, now)), [What::Draining]);
    assert_eq!(cluster.drain(IDS[0], true, now), []);
    assert_eq!(cluster.standing(IDS[0]), Standing::Draining);
    assert_eq!(whats(&cluster.drain(IDS[0], false, now)), [What::Undrained]);
}
