//! Cost of the look beside every request, with a million live revocations, and their memory. Never
//! measures the feed: it runs beside requests.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_edge::revocation::{Facts, RevocationSet, Verdict};
use portcullis_token::revocation::Record;

const ENTRIES: usize = 1_000_000;
const UNTIL: i64 = 2_000_000_000;
/// Tokens that are looked up in turn, so that no answer stays in the processor's cache.
const TOKENS: usize = 65_536;

/// Names as auth draws them: 22 characters.
fn name(kind: char, number: usize) -> String {
    format!("{kind}{number:021}")
}

/// Some of each kind, as a day of logouts leaves them.
fn record(number: usize) -> Record {
    let until = UNTIL;
    match number % 4 {
        0 | 1 => Record::Session {
            sid: name('s', number),
            until,
        },
        2 => Record::Token {
            jti: name('t', number),
            until,
        },
        _ => Record::Subject {
            sub: name('u', number),
            not_before: UNTIL - 600,
            until,
        },
    }
}

fn lookups(criterion: &mut Criterion) {
    let now = Instant::now();
    let set = RevocationSet::new(now);
    for number in 0..ENTRIES {
        set.insert(&record(number)).expect("there is room");
    }
    set.confirm(now);
    let bytes = set.bytes() as f64 / set.len() as f64;
    print_line(&format!("{} entries, {bytes:.1} bytes each", set.len()));
    let purge = Instant::now();
    let slowest = set
        .purge(0)
        .fold((Duration::ZERO, purge), |(slowest, since), ()| {
            let now = Instant::now();
            (slowest.max(now - since), now)
        });
    print_line(&format!(
        "purge: {:?}, longest piece {:?}",
        purge.elapsed(),
        slowest.0
    ));

    for (what, shift, expected) in [
        ("clear", ENTRIES, Verdict::Clear),
        ("revoked", 0, Verdict::Revoked),
    ] {
        let tokens: Vec<[String; 3]> = (0..TOKENS)
            .map(|turn| shift + turn * 4 * (ENTRIES / TOKENS / 4))
            .map(|number| {
                [
                    name('t', number + 2),
                    name('s', number),
                    name('u', number + 3),
                ]
            })
            .collect();
        let mut turns = tokens.iter().cycle();
        criterion.bench_function(&format!("look/{what}"), |bencher| {
            bencher.iter(|| {
                let [jti, sid, sub] = turns.next().expect("they go round");
                let facts = Facts {
                    kid: "key-1",
                    jti: Some(jti),
                    sid: Some(sid),
                    sub: Some(sub),
                    iat: Some(UNTIL - 900),
                };
                assert_eq!(set.is_revoked(black_box(now), &facts), expected);
            });
        });
    }
}

#[expect(clippy::print_stdout, reason = "this is the report")]
fn print_line(text: &str) {
    println!("{text}");
}

fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! { name = benches; config = brief(); targets = lookups }
criterion_main!(benches);
