//! The pure parts of following: when, how long, and what is believed.

use portcullis_token::feed::LogId;
use portcullis_token::revocation::Record;

use super::*;

#[test]
fn what_is_known_is_dated_by_the_question_and_never_beyond_the_present() {
    let asked = Instant::now();
    let ms = Duration::from_millis;
    let now = asked + ms(300);
    assert_eq!(read_at(asked, 250, now), asked + ms(250));
    assert_eq!(read_at(asked, 0, now), asked);
    assert_eq!(read_at(asked, 400, now), now, "no feed sees the future");
    assert_eq!(read_at(asked, i64::MAX, now), now);
    let later = asked + ms(500);
    assert_eq!(read_at(later, -100, later), later - ms(100));
}

#[test]
fn every_feed_gets_its_turn_at_once_and_then_pauses_grow_to_a_bound() {
    let lost = Ended::Stuck;
    for failures in 1..3 {
        assert_eq!(pause(&lost, failures, 3, 0), Duration::ZERO);
    }
    assert_eq!(pause(&lost, 3, 3, 0), PAUSE_MIN);
    assert_eq!(pause(&lost, 6, 3, 0), PAUSE_MIN * 2);
    assert_eq!(pause(&lost, 1, 1, 0), PAUSE_MIN);
    assert_eq!(pause(&lost, u32::MAX, 1, 0), PAUSE_MAX);
    for chance in 0..200 {
        let pause = pause(&lost, u32::MAX, 1, chance);
        assert!((PAUSE_MAX / 2..=PAUSE_MAX).contains(&pause), "{pause:?}");
    }
    assert_eq!(pause(&Ended::Full(Full), 1, 1, 0), PAUSE_FULL);
}

#[test]
fn a_feed_that_repeats_itself_is_found_out() {
    let at = |log: &str, sequence| Position {
        log: LogId::parse(log).unwrap(),
        sequence,
    };
    let record = Record::Key {
        kid: "k".into(),
        until: 1,
    };
    let page = |position, is_last, records| Page {
        position,
        is_last,
        read_ms: 0,
        records,
    };
    let more = |position| page(position, false, vec![record.clone()]);
    assert!(gets_on(&more(at("a", 5)), None));
    assert!(gets_on(&more(at("a", 5)), Some(&at("a", 4))));
    assert!(!gets_on(&more(at("a", 5)), Some(&at("a", 5))));
    assert!(gets_on(&more(at("b", 5)), Some(&at("a", 5))));
    assert!(
        !gets_on(&page(at("a", 5), false, vec![]), None),
        "nothing, and more of it"
    );
    assert!(
        gets_on(&page(at("a", 5), true, vec![]), Some(&at("a", 5))),
        "a heartbeat"
    );
}
