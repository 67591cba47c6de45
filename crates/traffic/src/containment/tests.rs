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
    assert_eq!(cluster.standing(IDS[0]), NOTHING);
    let changes = cluster.probed(IDS[0], 0, Ok(()), now);
    assert_eq!(whats(&changes), [What::Healthy]);
    assert_eq!(changes[0].endpoint, Some((IDS[0], IN)));
}

#[test]
fn without_checks_an_endpoint_is_taken_for_healthy() {
    let cluster = Containment::new(Policy::default(), &IDS, Instant::now());
    assert_eq!(cluster.standing(IDS[2]), IN);
    assert_eq!(cluster.standing(EndpointId(9)), NOTHING);
}

#[test]
fn an_ejection_ends_by_itself_and_leaves_a_clean_slate() {
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
    for _ in 0..2 {
        assert_eq!(cluster.ended(IDS[0], Err(Trouble::Reset), end), []);
    }
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

const DB_DOWN: fn() -> Trouble = || Trouble::Dependency(DependencyName::new("database").unwrap());
const LAST_RESORT: Standing = Standing::Out {
    is_last_resort: true,
};

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

/// Three proven endpoints.
fn proven(policy: Policy, now: Instant) -> Containment {
    let mut cluster = Containment::new(policy, &IDS, now);
    for id in IDS {
        for check in 0..cluster.policy.checks.len() {
            cluster.probed(id, check, Ok(()), now);
        }
    }
    assert_eq!(IDS.map(|id| cluster.standing(id)), [IN; 3]);
    cluster
}

/// Probes of one endpoint that fail a second apart; what they change.
fn fail(
    cluster: &mut Containment,
    id: EndpointId,
    trouble: &Trouble,
    seconds: impl IntoIterator<Item = u64>,
    start: Instant,
) -> Vec<What> {
    let probe = |s| cluster.probed(id, 0, Err(trouble.clone()), after(start, s));
    seconds
        .into_iter()
        .flat_map(probe)
        .map(|change| change.what)
        .collect()
}

#[test]
fn fall_failures_take_an_endpoint_out_and_rise_passes_bring_it_back() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    assert_eq!(
        fail(&mut cluster, IDS[0], &Trouble::Timeout, 1..=2, start),
        []
    );
    let changes = cluster.probed(IDS[0], 0, Err(Trouble::Timeout), after(start, 3));
    assert_eq!(whats(&changes), [What::Unhealthy]);
    assert_eq!(changes[0].reason, Reason::Trouble(Trouble::Timeout));
    assert_eq!(changes[0].endpoint, Some((IDS[0], LAST_RESORT)));
    assert_eq!(cluster.probed(IDS[0], 0, Ok(()), after(start, 4)), []);
    let back = cluster.probed(IDS[0], 0, Ok(()), after(start, 5));
    assert_eq!(whats(&back), [What::Healthy]);
}

#[test]
fn every_ejecting_check_must_pass_and_none_may_fail() {
    let start = Instant::now();
    let two = Policy {
        checks: vec![CheckPolicy::new(1, 1, Role::Eject); 2],
        ..Policy::default()
    };
    let mut cluster = Containment::new(two, &IDS, start);
    assert_eq!(cluster.probed(IDS[0], 0, Ok(()), start), []);
    assert_eq!(cluster.standing(IDS[0]), NOTHING);
    assert_eq!(
        whats(&cluster.probed(IDS[0], 1, Ok(()), start)),
        [What::Healthy]
    );
    let changes = cluster.probed(IDS[0], 1, Err(Trouble::Timeout), start);
    assert_eq!(whats(&changes)[0], What::Unhealthy);
    assert_eq!(
        cluster.probed(IDS[0], 7, Ok(()), start),
        [],
        "no such check"
    );
}

#[test]
fn a_new_endpoint_that_answers_is_a_last_resort_but_not_one_that_hangs() {
    let start = Instant::now();
    let mut cluster = Containment::new(checked(), &IDS, start);
    assert_eq!(
        fail(&mut cluster, IDS[0], &Trouble::Timeout, 1..=1, start),
        []
    );
    let changes = cluster.probed(IDS[1], 0, Err(DB_DOWN()), start);
    assert_eq!(whats(&changes), [What::Shifted, What::PanicBegan]);
    assert_eq!(cluster.standing(IDS[1]), LAST_RESORT);
    let proven = cluster.probed(IDS[2], 0, Ok(()), start);
    assert_eq!(whats(&proven), [What::Healthy, What::PanicEnded]);
}

#[test]
fn a_degrading_check_takes_weight_and_never_ejects() {
    let start = Instant::now();
    let deep = Policy {
        checks: vec![
            CheckPolicy::new(2, 3, Role::Eject),
            CheckPolicy::new(1, 2, Role::Degrade { share_percent: 25 }),
        ],
        ..Policy::default()
    };
    let mut cluster = proven(deep, start);
    for _ in 0..2 {
        cluster.probed(IDS[0], 1, Err(Trouble::Timeout), start);
    }
    assert_eq!(cluster.standing(IDS[0]), Standing::In { share_percent: 25 });
    let obstacles = cluster.report(IDS[0], start).unwrap().obstacles;
    assert_eq!(obstacles[0].kind, ObstacleKind::Degraded { check: 1 });
    let back = cluster.probed(IDS[0], 1, Ok(()), start);
    assert_eq!(whats(&back), [What::Restored]);
}

#[test]
fn a_refused_endpoint_is_no_last_resort_until_it_accepts_again() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    fail(&mut cluster, IDS[0], &Trouble::Refused, 1..=3, start);
    assert_eq!(cluster.standing(IDS[0]), NOTHING);
    let changes = cluster.probed(IDS[0], 0, Err(Trouble::Timeout), after(start, 4));
    assert_eq!(whats(&changes), [What::Shifted]);
    assert_eq!(cluster.standing(IDS[0]), LAST_RESORT);
    cluster.ended(IDS[0], Err(Trouble::Refused), after(start, 5));
    assert_eq!(cluster.standing(IDS[0]), NOTHING);
    cluster.ended(IDS[0], Ok(()), after(start, 6));
    assert_eq!(
        cluster.standing(IDS[0]),
        NOTHING,
        "its attempt may be an old one"
    );
}

#[test]
fn a_shared_dependency_down_takes_nobody_out_though_probes_are_jittered() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    // The first is probed faster and has failed often enough before the others are asked at all.
    assert_eq!(fail(&mut cluster, IDS[0], &DB_DOWN(), 1..=4, start), []);
    assert_eq!(fail(&mut cluster, IDS[1], &DB_DOWN(), 5..=5, start), []);
    let changes = cluster.probed(IDS[2], 0, Err(DB_DOWN()), after(start, 6));
    assert_eq!(whats(&changes), [What::SharedCause]);
    assert_eq!(changes[0].reason, Reason::Trouble(DB_DOWN()));
    for id in IDS {
        assert_eq!(fail(&mut cluster, id, &DB_DOWN(), 10..=30, start), []);
    }
    assert_eq!(IDS.map(|id| cluster.standing(id)), [IN; 3]);
    assert!(cluster.report(IDS[0], start).unwrap().checks[0].is_held);
    // Over with the first that passes; the others have not been asked again yet.
    let over = cluster.probed(IDS[1], 0, Ok(()), after(start, 31));
    assert_eq!(whats(&over), [What::SharedCauseOver]);
    assert_eq!(fail(&mut cluster, IDS[0], &DB_DOWN(), 32..=33, start), []);
    assert_eq!(
        fail(&mut cluster, IDS[0], &DB_DOWN(), 34..=34, start),
        [What::Unhealthy]
    );
}

#[test]
fn a_dependency_that_only_one_endpoint_misses_is_its_own_trouble() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    assert_eq!(fail(&mut cluster, IDS[0], &DB_DOWN(), 1..=3, start), []);
    let changes = cluster.probed(IDS[1], 0, Ok(()), after(start, 4));
    assert_eq!(whats(&changes), [What::Unhealthy]);
    assert_eq!(changes[0].endpoint.map(|e| e.0), Some(IDS[0]));
}

#[test]
fn two_processes_dead_and_the_dependency_of_the_third_down_leave_the_third_in() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    for id in [IDS[0], IDS[1]] {
        assert_eq!(
            fail(&mut cluster, id, &Trouble::Refused, 1..=3, start),
            [What::Unhealthy]
        );
    }
    assert_eq!(
        fail(&mut cluster, IDS[2], &DB_DOWN(), 1..=9, start),
        [What::SharedCause]
    );
    let standings = IDS.map(|id| cluster.standing(id));
    assert_eq!(standings, [NOTHING, NOTHING, IN]);
}

#[test]
fn the_same_bare_status_from_all_is_shared_but_from_one_of_one_it_is_not() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    for second in 1..=3 {
        for id in IDS {
            fail(&mut cluster, id, &Trouble::Status(503), [second], start);
        }
    }
    assert_eq!(cluster.shared_cause(), Some(&Trouble::Status(503)));
    assert_eq!(IDS.map(|id| cluster.standing(id)), [IN; 3]);
    let mut alone = Containment::new(checked(), &IDS[..1], start);
    alone.probed(IDS[0], 0, Ok(()), start);
    let changes = fail(&mut alone, IDS[0], &Trouble::Status(503), 1..=3, start);
    assert_eq!(changes, [What::Unhealthy, What::PanicBegan]);
}

#[test]
fn all_dead_is_no_panic_and_the_first_pass_serves_again() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    for id in IDS {
        assert_eq!(
            fail(&mut cluster, id, &Trouble::Refused, 1..=3, start),
            [What::Unhealthy]
        );
    }
    assert!(!cluster.is_panicking());
    let back = cluster.probed(IDS[1], 0, Ok(()), after(start, 4));
    assert_eq!(
        whats(&back),
        [What::Healthy],
        "one pass, since nobody is eligible"
    );
    assert_eq!(
        cluster.probed(IDS[0], 0, Ok(()), after(start, 4))[0].what,
        What::Shifted
    );
    assert_eq!(
        cluster.standing(IDS[0]),
        LAST_RESORT,
        "now `rise` passes are needed"
    );
}

#[test]
fn an_ejected_endpoint_returns_early_if_it_was_refused_and_passes_again() {
    let start = Instant::now();
    let policy = Policy {
        ejection: Some(eject::Policy::default()),
        ..checked()
    };
    for (trouble, returns) in [(Trouble::Refused, true), (Trouble::Reset, false)] {
        let mut cluster = proven(policy.clone(), start);
        for _ in 0..3 {
            cluster.ended(IDS[0], Err(trouble.clone()), start);
        }
        assert!(matches!(cluster.standing(IDS[0]), Standing::Out { .. }));
        cluster.probed(IDS[0], 0, Ok(()), after(start, 1));
        let changes = cluster.probed(IDS[0], 0, Ok(()), after(start, 2));
        assert_eq!(
            whats(&changes).contains(&What::EjectionOver),
            returns,
            "{trouble}"
        );
    }
}

#[test]
fn ejection_keeps_the_cap_and_counts_those_that_are_out_anyway() {
    let start = Instant::now();
    let policy = Policy {
        ejection: Some(eject::Policy::default()),
        ..Policy::default()
    };
    let mut cluster = proven(policy, start);
    cluster.drain(IDS[2], true, start);
    for _ in 0..9 {
        assert_eq!(cluster.ended(IDS[0], Err(Trouble::Reset), start), []);
    }
    cluster.drain(IDS[2], false, start);
    let changes = cluster.ended(IDS[0], Err(Trouble::Reset), start);
    assert_eq!(
        changes.len(),
        1,
        "asked again at the next failure: {changes:?}"
    );
}

#[test]
fn gateway_errors_of_all_eject_nobody_until_one_gets_by() {
    let start = Instant::now();
    let policy = Policy {
        ejection: Some(eject::Policy::default()),
        breaker: Some(breaker::Policy::default()),
        ..Policy::default()
    };
    let mut cluster = proven(policy, start);
    let mut told = Vec::new();
    for round in 0..40 {
        for id in IDS {
            told.extend(cluster.ended(id, Err(Trouble::Status(503)), after(start, round)));
        }
    }
    assert_eq!(whats(&told), [What::SharedCause]);
    assert_eq!(IDS.map(|id| cluster.standing(id)), [IN; 3]);
    for id in [IDS[1], IDS[2]] {
        (0..9).for_each(|_| _ = cluster.ended(id, Ok(()), after(start, 45)));
    }
    let changes = cluster.ended(IDS[0], Err(Trouble::Status(503)), after(start, 46));
    let kinds = whats(&changes);
    assert_eq!(kinds[0], What::SharedCauseOver);
    assert!(
        matches!(kinds[1], What::Ejected { times: 1, .. }),
        "{kinds:?}"
    );
    assert_eq!(kinds[2], What::BreakerOpened);
}

#[test]
fn one_endpoint_that_answers_503_is_ejected_while_the_others_serve() {
    let start = Instant::now();
    let policy = Policy {
        ejection: Some(eject::Policy::default()),
        ..Policy::default()
    };
    let mut cluster = proven(policy, start);
    let mut told = Vec::new();
    for second in 0..5 {
        cluster.ended(IDS[1], Ok(()), after(start, second));
        cluster.ended(IDS[2], Ok(()), after(start, second));
        told.extend(cluster.ended(IDS[0], Err(Trouble::Status(503)), after(start, second)));
    }
    assert!(
        matches!(whats(&told)[..], [What::Ejected { .. }]),
        "{told:?}"
    );
}

#[test]
fn a_shared_cause_seen_in_traffic_is_over_when_it_is_seen_no_more() {
    let start = Instant::now();
    let policy = Policy {
        ejection: Some(eject::Policy::default()),
        ..Policy::default()
    };
    let mut cluster = proven(policy, start);
    for _ in 0..5 {
        for id in IDS {
            cluster.ended(id, Err(Trouble::Status(503)), start);
        }
    }
    assert!(cluster.shared_cause().is_some());
    let end = cluster.next_change().unwrap();
    assert_eq!(end, after(start, 30));
    assert_eq!(whats(&cluster.tick(end)), [What::SharedCauseOver]);
}

#[test]
fn an_announcement_acts_at_once_and_ends_after_rise_passes() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    let changes = cluster.announced_draining(IDS[0], start);
    assert_eq!(whats(&changes), [What::Draining]);
    assert_eq!(changes[0].reason, Reason::Announced);
    assert_eq!(cluster.probed(IDS[0], 0, Ok(()), start), []);
    assert_eq!(cluster.announced_draining(IDS[0], start), []);
    assert_eq!(cluster.probed(IDS[0], 0, Ok(()), start), []);
    assert_eq!(
        whats(&cluster.probed(IDS[0], 0, Ok(()), start)),
        [What::Undrained]
    );
    let mut unchecked = proven(Policy::default(), start);
    assert_eq!(
        unchecked.announced_draining(IDS[0], start),
        [],
        "nothing could end it"
    );
}

#[test]
fn a_drained_endpoint_that_dies_is_out_and_no_last_resort() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    cluster.drain(IDS[0], true, start);
    fail(&mut cluster, IDS[0], &Trouble::Timeout, 1..=3, start);
    assert_eq!(cluster.standing(IDS[0]), NOTHING);
    let report = cluster.report(IDS[0], after(start, 3)).unwrap();
    let kinds: Vec<ObstacleKind> = report.obstacles.iter().map(|o| o.kind).collect();
    let unhealthy = ObstacleKind::Unhealthy { check: 0 };
    assert_eq!(kinds, [unhealthy, ObstacleKind::Drained]);
    assert_eq!(report.obstacles[0].trouble, Some(Trouble::Timeout));
}

#[test]
fn a_half_open_breaker_takes_its_endpoint_out_while_all_trials_run() {
    let start = Instant::now();
    let policy = Policy {
        breaker: Some(breaker::Policy::default()),
        ..Policy::default()
    };
    let mut cluster = proven(policy, start);
    for _ in 0..5 {
        cluster.ended(IDS[0], Err(Trouble::Reset), start);
    }
    assert_eq!(
        cluster.standing(IDS[0]),
        NOTHING,
        "an open breaker is no last resort"
    );
    let half = after(start, 60);
    assert_eq!(cluster.next_change(), Some(half));
    assert_eq!(whats(&cluster.tick(half)), [What::BreakerHalfOpen]);
    let told: Vec<Change> = (0..5)
        .flat_map(|_| cluster.attempted(IDS[0], half))
        .collect();
    assert_eq!(whats(&told), [What::Shifted]);
    assert_eq!(cluster.standing(IDS[0]), NOTHING);
    let told: Vec<Change> = (0..5)
        .flat_map(|_| cluster.ended(IDS[0], Ok(()), half))
        .collect();
    assert_eq!(whats(&told), [What::Shifted, What::BreakerClosed]);
    assert_eq!(cluster.standing(IDS[0]), IN);
}

#[test]
fn a_breaker_that_watches_reports_and_rejects_nothing() {
    let start = Instant::now();
    let policy = Policy {
        breaker: Some(breaker::Policy {
            mode: breaker::Mode::Monitor,
            ..breaker::Policy::default()
        }),
        ..Policy::default()
    };
    let mut cluster = proven(policy, start);
    let fail = |cluster: &mut Containment, at| cluster.ended(IDS[0], Err(Trouble::Reset), at);
    let told: Vec<Change> = (0..5).flat_map(|_| fail(&mut cluster, start)).collect();
    assert_eq!(whats(&told), [What::BreakerWouldOpen]);
    assert_eq!(cluster.standing(IDS[0]), IN);
    (0..3).for_each(|_| _ = cluster.attempted(IDS[0], start));
    let report = cluster.report(IDS[0], start).unwrap().breaker.unwrap();
    assert_eq!(
        (report.state, report.would_have_rejected),
        (breaker::State::Open, 3)
    );
    assert_eq!(cluster.tick(after(start, 60)), []);
    assert_eq!(
        fail(&mut cluster, after(start, 60)),
        [],
        "to its reader it stayed open"
    );
    let told: Vec<Change> = (0..5)
        .flat_map(|_| cluster.ended(IDS[0], Ok(()), after(start, 120)))
        .collect();
    assert_eq!(whats(&told), [What::BreakerWouldClose]);
}

#[test]
fn a_changed_policy_keeps_what_is_known_and_ends_what_it_no_longer_has() {
    let start = Instant::now();
    let policy = Policy {
        ejection: Some(eject::Policy::default()),
        ..checked()
    };
    let mut cluster = proven(policy, start);
    (0..3).for_each(|_| _ = cluster.ended(IDS[0], Err(Trouble::Reset), start));
    fail(&mut cluster, IDS[1], &Trouble::Refused, 1..=3, start);
    let ids = [IDS[0], IDS[1], EndpointId(7)];
    let changes = cluster.reshape(checked(), &ids, after(start, 4));
    assert_eq!(whats(&changes), [What::EjectionOver]);
    assert_eq!(ids.map(|id| cluster.standing(id)), [IN, NOTHING, NOTHING]);
    assert_eq!(cluster.report(IDS[2], start), None);
    let changes = cluster.reshape(Policy::default(), &ids, after(start, 5));
    assert_eq!(
        whats(&changes),
        [What::Healthy; 2],
        "nobody probes them any more"
    );
    let added = cluster.reshape(checked(), &ids, after(start, 6));
    assert_eq!(
        added,
        [],
        "proven by what they were, until a probe says otherwise"
    );
}

#[test]
fn a_report_tells_how_much_of_the_time_an_endpoint_could_be_used() {
    let start = Instant::now();
    let mut cluster = proven(checked(), start);
    fail(&mut cluster, IDS[0], &Trouble::Timeout, 10..=12, start);
    let report = cluster.report(IDS[0], after(start, 16)).unwrap();
    assert_eq!(report.availability.overall_percent, 75.0);
    assert_eq!(report.since, after(start, 12));
    assert_eq!(report.accepts_connections, Some(true));
}
