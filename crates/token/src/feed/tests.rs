//! The wire of the feed: what was written is read, and nothing else.

use super::{ANSWER_BYTES_MAX, Answer, LogId, Malformed, Page, Position, RECORDS_MAX};
use crate::revocation::Record;

fn page(records: Vec<Record>) -> Page {
    Page {
        position: Position {
            log: LogId::parse("log-1").expect("a name"),
            sequence: 42,
        },
        is_last: true,
        read_ms: 17,
        records,
    }
}

fn records(count: usize) -> Vec<Record> {
    let until = 2_000_000_000;
    let record = |n: usize| match n % 4 {
        0 => Record::Token {
            jti: format!("t{n}"),
            until,
        },
        1 => Record::Session {
            sid: format!("s{n}"),
            until,
        },
        2 => Record::Subject {
            sub: format!("u{n}"),
            not_before: until - 600,
            until,
        },
        _ => Record::Key {
            kid: format!("k{n}"),
            until,
        },
    };
    (0..count).map(record).collect()
}

#[test]
fn what_was_written_is_read() {
    for count in [0, 1, 4, RECORDS_MAX] {
        for (is_last, read_ms) in [(true, 0), (false, -120_000), (true, 120_000)] {
            let page = Page {
                is_last,
                read_ms,
                ..page(records(count))
            };
            let text = page.encode();
            assert_eq!(Answer::decode(&text), Ok(Answer::Page(page)), "{count}");
        }
    }
    assert_eq!(Answer::decode(&Answer::Gap.encode()), Ok(Answer::Gap));
}

#[test]
fn the_wire_of_version_one_stays_as_it_is() {
    let text = "[1,\"page\",\"log-1\",42,1,17,1]\n[1,\"token\",\"t0\",2000000000]\n";
    assert_eq!(page(records(1)).encode(), text);
    assert_eq!(Answer::Gap.encode(), "[1,\"gap\"]\n");
}

#[test]
fn an_answer_that_was_cut_anywhere_is_refused() {
    let text = page(records(5)).encode();
    for length in 0..text.len() {
        assert!(Answer::decode(&text[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn other_text_is_no_answer() {
    let record = "[1,\"token\",\"t\",1]\n";
    let too_many = format!(
        "[1,\"page\",\"l\",1,1,0,{}]\n{}",
        RECORDS_MAX + 1,
        record.repeat(RECORDS_MAX + 1)
    );
    for text in [
        "\n",
        "{}\n",
        "[]\n",
        "<html>\n",
        "[1]\n",
        "[2,\"gap\"]\n",
        "[\"1\",\"gap\"]\n",
        "[1,\"gap\",0]\n",
        "[1,\"gap\"]\n[1,\"gap\"]\n",
        "[1,\"page\"]\n",
        "[1,\"page\",\"\",1,1,0,0]\n",
        "[1,\"page\",\"a b\",1,1,0,0]\n",
        "[1,\"page\",7,1,1,0,0]\n",
        "[1,\"page\",\"l\",-1,1,0,0]\n",
        "[1,\"page\",\"l\",1.5,1,0,0]\n",
        "[1,\"page\",\"l\",1,2,0,0]\n",
        "[1,\"page\",\"l\",1,true,0,0]\n",
        "[1,\"page\",\"l\",1,1,120001,0]\n",
        "[1,\"page\",\"l\",1,1,-9223372036854775808,0]\n",
        "[1,\"page\",\"l\",1,1,0,-1]\n",
        "[1,\"page\",\"l\",1,1,0,9223372036854775807]\n",
        "[1,\"page\",\"l\",1,1,0,0,0]\n",
        "[1,\"page\",\"l\",1,1,0,1]\n[2,\"token\",\"t\",1]\n",
        "[1,\"page\",\"l\",1,1,0,1]\n\n",
        &format!("[1,\"page\",\"l\",1,1,0,0]\n{record}"),
        &format!("[1,\"page\",\"l\",1,1,0,1]\n{record}{record}"),
        &format!("[1,\"page\",\"l\",1,1,0,2]\n{record}"),
        &too_many,
    ] {
        let shown: String = text.chars().take(60).collect();
        assert!(Answer::decode(text).is_err(), "{shown}");
    }
    let endless = "\n".repeat(ANSWER_BYTES_MAX + 1);
    assert_eq!(Answer::decode(&endless), Err(Malformed("the length")));
}

#[test]
fn positions_survive_their_text_and_others_are_refused() {
    for text in ["a.0", "log-1_A.9223372036854775807"] {
        let position: Position = text.parse().expect("a position");
        assert_eq!(position.to_string(), text);
    }
    let long = format!("{}.1", "a".repeat(65));
    for text in [
        "",
        ".",
        "a",
        "a.",
        ".1",
        "a.-1",
        "a.+1",
        "a.1.2",
        "a b.1",
        "a.9223372036854775808",
        &long,
    ] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
}
