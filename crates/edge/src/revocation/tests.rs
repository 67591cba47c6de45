//! The set: every record takes back what it names, and age is never told too young.

use std::time::{Duration, Instant};

use portcullis_token::revocation::Record;

use super::{Facts, HELD_SECONDS, KEYS_MAX, LOST_AFTER, RevocationSet, Verdict};

const NOW: i64 = 1_800_000_000;
const UNTIL: i64 = NOW + 600;

fn facts() -> Facts<'static> {
    Facts {
        kid: "key-1",
        jti: Some("token-1"),
        sid: Some("session-1"),
        sub: Some("subject-1"),
        iat: Some(NOW),
    }
}

fn bare() -> Facts<'static> {
    Facts {
        kid: "key-1",
        jti: None,
        sid: None,
        sub: None,
        iat: None,
    }
}

fn records(name: impl Fn(&str) -> String, until: i64) -> [Record; 4] {
    [
        Record::Token {
            jti: name("token"),
            until,
        },
        Record::Session {
            sid: name("session"),
            until,
        },
        Record::Subject {
            sub: name("subject"),
            not_before: NOW + 1,
            until,
        },
        Record::Key {
            kid: name("key"),
            until,
        },
    ]
}

fn first(kind: &str) -> String {
    format!("{kind}-1")
}

/// A set that is whole at the returned instant.
fn whole() -> (RevocationSet, Instant) {
    let now = Instant::now();
    let set = RevocationSet::new(now);
    set.confirm(now);
    (set, now)
}

fn purge(set: &RevocationSet, now: i64) {
    set.purge(now).for_each(drop);
}

#[test]
fn each_kind_of_record_revokes_the_token_it_names() {
    for record in records(first, UNTIL) {
        let (set, now) = whole();
        assert_eq!(set.is_revoked(now, &facts()), Verdict::Clear);
        set.insert(&record).unwrap();
        assert_eq!(
            set.is_revoked(now, &facts()),
            Verdict::Revoked,
            "{record:?}"
        );
    }
}

#[test]
fn records_name_nothing_of_another_kind_and_no_part_of_a_name() {
    let (set, now) = whole();
    for wrong in ["token-1", "session-1", "subject-1", "key-1", "", "token-11"] {
        for record in records(|_| wrong.to_owned(), UNTIL) {
            if records(first, UNTIL).contains(&record) {
                continue;
            }
            set.insert(&record).unwrap();
        }
    }
    assert_eq!(set.is_revoked(now, &facts()), Verdict::Clear);
    assert_eq!(
        set.is_revoked(
            now,
            &Facts {
                sub: Some(""),
                ..facts()
            }
        ),
        Verdict::Revoked
    );
}

#[test]
fn sec_d04_a_cut_revokes_older_tokens_and_those_without_a_time_of_issue() {
    let (set, now) = whole();
    set.insert(&records(first, UNTIL)[2]).unwrap();
    for (iat, verdict) in [
        (Some(NOW), Verdict::Revoked),
        (Some(NOW + 1), Verdict::Clear),
        (Some(i64::MIN), Verdict::Revoked),
        (Some(i64::MAX), Verdict::Clear),
        (None, Verdict::Revoked),
    ] {
        assert_eq!(
            set.is_revoked(now, &Facts { iat, ..facts() }),
            verdict,
            "{iat:?}"
        );
    }
}

#[test]
fn an_older_record_never_weakens_a_newer_one() {
    let (set, now) = whole();
    for record in records(first, UNTIL).iter().chain(&records(first, NOW - 1)) {
        set.insert(record).unwrap();
    }
    let earlier = Record::Subject {
        sub: first("subject"),
        not_before: 5,
        until: 6,
    };
    set.insert(&earlier).unwrap();
    assert_eq!(set.len(), 4);
    purge(&set, UNTIL + HELD_SECONDS - 1);
    assert_eq!(set.len(), 4);
    let only_subject = Facts {
        sub: Some("subject-1"),
        iat: Some(NOW),
        kid: "other",
        ..bare()
    };
    assert_eq!(set.is_revoked(now, &only_subject), Verdict::Revoked);
}

#[test]
fn sec_d02_a_purge_forgets_what_no_tolerance_for_clocks_keeps_alive() {
    let (set, now) = whole();
    for record in records(first, UNTIL) {
        set.insert(&record).unwrap();
    }
    purge(&set, UNTIL + HELD_SECONDS - 1);
    assert_eq!(set.len(), 4);
    purge(&set, UNTIL + HELD_SECONDS);
    assert!(set.is_empty());
    assert_eq!(set.is_revoked(now, &facts()), Verdict::Clear);
}

#[test]
fn a_set_that_was_never_whole_knows_no_clear_token() {
    let now = Instant::now();
    let set = RevocationSet::new(now);
    let never = Verdict::Unknown { age: Duration::MAX };
    assert_eq!(set.is_revoked(now, &facts()), never);
    assert!(!set.has_been_whole());
    set.insert(&records(first, UNTIL)[0]).unwrap();
    assert_eq!(
        set.is_revoked(now, &facts()),
        Verdict::Revoked,
        "that much is known"
    );
    assert_eq!(set.is_revoked(now, &bare()), never);
}

#[test]
fn a_lost_feed_makes_tokens_unknown_and_keeps_revoked_ones_revoked() {
    let (set, now) = whole();
    set.insert(&records(first, UNTIL)[0]).unwrap();
    let late = now + LOST_AFTER;
    assert_eq!(set.is_revoked(late, &bare()), Verdict::Clear);
    let late = late + Duration::from_millis(1);
    let age = LOST_AFTER + Duration::from_millis(1);
    assert_eq!(set.is_revoked(late, &bare()), Verdict::Unknown { age });
    assert_eq!(set.is_revoked(late, &facts()), Verdict::Revoked);
    set.confirm(now);
    assert_eq!(
        set.is_revoked(late, &bare()),
        Verdict::Unknown { age },
        "old news"
    );
    set.confirm(late);
    assert_eq!(set.is_revoked(late, &bare()), Verdict::Clear);
}

#[test]
fn a_full_set_is_not_whole_until_it_was_read_anew() {
    let (set, now) = whole();
    let key = |n: usize| Record::Key {
        kid: format!("k{n}"),
        until: UNTIL,
    };
    for n in 0..KEYS_MAX {
        set.insert(&key(n)).unwrap();
    }
    set.insert(&key(0)).expect("known already");
    assert!(set.insert(&key(KEYS_MAX)).is_err());
    let late = now + LOST_AFTER * 2;
    set.confirm(late);
    assert!(matches!(
        set.is_revoked(late, &bare()),
        Verdict::Unknown { .. }
    ));
    purge(&set, UNTIL + HELD_SECONDS);
    set.begin_anew();
    set.insert(&key(KEYS_MAX)).unwrap();
    set.confirm(late);
    assert_eq!(set.is_revoked(late, &bare()), Verdict::Clear);
}

#[test]
fn times_beyond_what_an_entry_holds_stay_on_the_safe_side() {
    let (set, now) = whole();
    let endless = Record::Subject {
        sub: first("subject"),
        not_before: i64::MAX,
        until: i64::MAX,
    };
    set.insert(&endless).unwrap();
    set.insert(&Record::Token {
        jti: "gone".into(),
        until: i64::MIN,
    })
    .unwrap();
    purge(&set, NOW);
    assert_eq!(set.len(), 1);
    assert_eq!(set.is_revoked(now, &facts()), Verdict::Revoked);
}

#[test]
fn readers_beside_a_writer_never_miss_what_was_confirmed() {
    let start = Instant::now();
    let set = RevocationSet::new(start);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        // `confirm` below says one nanosecond for each token that is in.
                        let known = LOST_AFTER.as_nanos() as u64;
                        let age = set.age(start + Duration::from_nanos(known));
                        if age == Duration::MAX {
                            continue;
                        }
                        let confirmed = known - age.as_nanos() as u64;
                        let jti = format!("t{confirmed}");
                        let token = Facts {
                            jti: Some(&jti),
                            ..bare()
                        };
                        assert_eq!(set.is_revoked(start, &token), Verdict::Revoked, "{jti}");
                        if confirmed == 20_000 {
                            return;
                        }
                    }
                })
            })
            .collect();
        for n in 1..=20_000_u64 {
            set.insert(&Record::Token {
                jti: format!("t{n}"),
                until: UNTIL,
            })
            .unwrap();
            set.confirm(start + Duration::from_nanos(n));
            if n % 5_000 == 0 {
                purge(&set, NOW);
            }
        }
        for reader in readers {
            reader.join().expect("no reader failed");
        }
    });
}

#[test]
fn an_entry_takes_about_forty_bytes() {
    let (set, _) = whole();
    for n in 0..200_000 {
        set.insert(&Record::Token {
            jti: format!("t{n}"),
            until: UNTIL,
        })
        .unwrap();
    }
    let per_entry = set.bytes() / set.len();
    assert!((25..=65).contains(&per_entry), "{per_entry} bytes");
    purge(&set, UNTIL + HELD_SECONDS);
    assert!(
        set.bytes() < 100_000,
        "memory is given back: {}",
        set.bytes()
    );
}
