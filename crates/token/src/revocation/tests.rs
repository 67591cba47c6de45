//! Revocation: every record takes back what it names, nothing else, for as long as it must.

use super::{DecodeError, Record, Revocations};
use crate::Verified;
use crate::testing::{NOW, claims};

fn token() -> Verified {
    Verified {
        claims: claims(),
        kid: "key-1".into(),
    }
}

fn records(until: i64) -> [Record; 4] {
    [
        Record::Token {
            jti: claims().jti,
            until,
        },
        Record::Session {
            sid: claims().sid,
            until,
        },
        Record::Subject {
            sub: claims().sub,
            not_before: NOW + 1,
            until,
        },
        Record::Key {
            kid: "key-1".into(),
            until,
        },
    ]
}

fn is_revoked_by(record: Record) -> bool {
    let mut revocations = Revocations::default();
    revocations.insert(record).expect("room");
    revocations.is_revoked(&token())
}

#[test]
fn each_kind_of_record_revokes_the_token_it_names() {
    assert!(!Revocations::default().is_revoked(&token()));
    for record in records(NOW + 600) {
        assert!(is_revoked_by(record.clone()), "{record:?}");
    }
}

#[test]
fn a_record_of_one_kind_does_not_revoke_by_another() {
    let until = NOW + 600;
    for value in [claims().jti, claims().sid, claims().sub, "key-1".into()] {
        let named = [
            (
                Record::Token {
                    jti: value.clone(),
                    until,
                },
                value == claims().jti,
            ),
            (
                Record::Session {
                    sid: value.clone(),
                    until,
                },
                value == claims().sid,
            ),
            (
                Record::Subject {
                    sub: value.clone(),
                    not_before: NOW + 1,
                    until,
                },
                value == claims().sub,
            ),
            (
                Record::Key {
                    kid: value.clone(),
                    until,
                },
                value == "key-1",
            ),
        ];
        for (record, revokes) in named {
            assert_eq!(is_revoked_by(record.clone()), revokes, "{record:?}");
        }
    }
}

#[test]
fn sec_d04_a_cut_revokes_tokens_issued_before_it() {
    let cut = |not_before| Record::Subject {
        sub: claims().sub,
        not_before,
        until: NOW + 600,
    };
    assert!(is_revoked_by(cut(NOW + 1)));
    assert!(!is_revoked_by(cut(NOW)));
}

#[test]
fn sec_d02_records_are_forgotten_when_their_time_has_come() {
    let mut revocations = Revocations::default();
    for record in records(NOW + 600) {
        revocations.insert(record).expect("room");
    }
    revocations.purge(NOW + 599);
    assert_eq!(revocations.len(), 4);
    revocations.purge(NOW + 600);
    assert!(revocations.is_empty());
    assert!(!revocations.is_revoked(&token()));
}

#[test]
fn an_older_record_never_weakens_a_newer_one() {
    let mut revocations = Revocations::default();
    let all = records(NOW + 600).into_iter().chain(records(NOW + 10));
    let earlier_cut = Record::Subject {
        sub: claims().sub,
        not_before: NOW - 9,
        until: NOW + 9,
    };
    for record in all.chain([earlier_cut]) {
        revocations.insert(record).expect("room");
    }
    assert_eq!(revocations.len(), 4);
    revocations.purge(NOW + 500);
    assert_eq!(revocations.len(), 4);
    assert!(is_revoked_by(records(NOW + 600)[2].clone()));
}

#[test]
fn records_survive_encoding() {
    let strange = Record::Subject {
        sub: "\"a,]\\\u{e9}".into(),
        not_before: 0,
        until: i64::MAX,
    };
    for record in records(NOW).into_iter().chain([strange]) {
        let text = record.encode();
        assert!(!text.contains('\n'), "one line");
        assert_eq!(Record::decode(&text), Ok(record));
    }
    assert_eq!(
        records(7)[0].encode(),
        format!(r#"[1,"token","{}",7]"#, claims().jti)
    );
}

#[test]
fn other_text_is_not_a_record() {
    for text in [
        "",
        "{}",
        "[]",
        "[1]",
        r#"[2,"token","a",1]"#,
        r#"["1","token","a",1]"#,
        r#"[1,"token","a"]"#,
        r#"[1,"token","a",1,2]"#,
        r#"[1,"subject","a",1]"#,
        r#"[1,"token",1,1]"#,
        r#"[1,"token","a",1.5]"#,
        r#"[1,"token","a","1"]"#,
        r#"[1,"other","a",1]"#,
        r#"[1,"token","a",1]x"#,
        &format!(r#"[1,"token","{}",1]"#, "a".repeat(1024)),
    ] {
        assert_eq!(Record::decode(text), Err(DecodeError), "{text}");
    }
}
