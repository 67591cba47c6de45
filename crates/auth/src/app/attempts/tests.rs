//! Guessing on a clock of our own: no test waits for a lock.

mod everywhere;

use portcullis_testkit::wait_until;

use super::*;
use crate::app::Grant;
use crate::server::tests::{inside, inside_at};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";
const OWNER: &str = "198.51.100.7";
const ATTACKER: &str = "203.0.113.9";

fn at(seconds: u64, client: &str) -> Origin {
    let now = UnixMillis::from_seconds(1_800_000_000).plus(Duration::from_secs(seconds));
    Origin {
        now,
        client: client.parse().unwrap(),
        request: None,
    }
}

/// One wrong password, without the cost of hashing it.
async fn fail(app: &App, email: &str, origin: Origin) {
    let attempt = app
        .attempt(&Email::parse(email).unwrap(), origin)
        .await
        .unwrap();
    app.attempt_failed(&attempt, origin.now).await.unwrap();
}

async fn is_locked(app: &App, origin: Origin) -> bool {
    app.attempt(&Email::parse(EMAIL).unwrap(), origin)
        .await
        .unwrap()
        .is_locked
}

async fn log_in(app: &App, origin: Origin) -> Outcome<Grant> {
    app.log_in(EMAIL, PASSWORD, origin).await
}

#[tokio::test]
async fn sec_a11_failures_through_three_instances_lock_on_all_three() {
    let (directory, a) = inside().await;
    let (b, c) = (inside_at(&directory).await, inside_at(&directory).await);
    let apps = [a.app(), b.app(), c.app()];
    apps[0]
        .register(EMAIL, PASSWORD, at(0, OWNER))
        .await
        .unwrap();
    for n in 0..FREE_PER_PAIR {
        assert!(!is_locked(apps[0], at(1, ATTACKER)).await, "after {n}");
        fail(apps[n as usize % 3], EMAIL, at(1, ATTACKER)).await;
    }
    for app in apps {
        let refused = log_in(app, at(1, ATTACKER)).await;
        assert!(
            matches!(refused, Err(Refusal::BadCredentials)),
            "even the right password"
        );
    }
    log_in(apps[1], at(4, ATTACKER))
        .await
        .expect("the first lock is over");
}

#[tokio::test]
async fn sec_a11_guesses_sent_at_once_are_locked_like_those_sent_one_by_one() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0, OWNER)).await.unwrap();
    let guess = |password: &'static str| app.log_in(EMAIL, password, at(1, ATTACKER));
    let wrong = async {
        tokio::join!(
            guess("wrong 1"),
            guess("wrong 2"),
            guess("wrong 3"),
            guess("wrong 4"),
            guess("wrong 5"),
            guess("wrong 6"),
            guess("wrong 7"),
            guess("wrong 8"),
        )
    };
    let before = app.passwords.metrics().hashes_total;
    // One hashing thread takes them in the order of arrival: the right one behind the wrong ones.
    let right = async {
        wait_until(
            "the wrong guesses to be hashed or waiting for it",
            async || {
                let metrics = app.passwords.metrics();
                // The eighth may be between the queue and the count.
                (metrics.hashes_total - before + metrics.queued as u64 >= 7).then_some(())
            },
        )
        .await;
        guess(PASSWORD).await
    };
    let (_, right) = tokio::join!(wrong, right);
    assert!(
        matches!(right, Err(Refusal::BadCredentials)),
        "nobody gets a free guess by hurrying"
    );
}

#[tokio::test]
async fn sec_a12_a_success_does_not_clear_what_its_network_did_to_others() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0, OWNER)).await.unwrap();
    for n in 0..MAX_PER_NETWORK {
        if n == MAX_PER_NETWORK / 2 {
            log_in(app, at(1, ATTACKER)).await.unwrap();
        }
        fail(app, &format!("victim{n}@example.com"), at(1, ATTACKER)).await;
    }
    let before = app.passwords.metrics().hashes_total;
    let Err(Refusal::TooManyAttempts { retry_after }) = log_in(app, at(1, ATTACKER)).await else {
        panic!("sprayed on after {MAX_PER_NETWORK} failures");
    };
    assert_eq!(retry_after, WINDOW);
    assert_eq!(
        app.passwords.metrics().hashes_total,
        before,
        "refused before any hash"
    );
    log_in(app, at(1, OWNER))
        .await
        .expect("another network is not concerned");
    log_in(app, at(2 + WINDOW.as_secs(), ATTACKER))
        .await
        .expect("forgotten at the end");
}

#[tokio::test]
async fn sec_a13_the_owner_logs_in_from_a_known_network_during_an_attack() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0, OWNER)).await.unwrap();
    log_in(app, at(0, OWNER)).await.unwrap();
    for n in 0..FREE_PER_ACCOUNT {
        fail(app, EMAIL, at(1, &format!("203.0.113.{n}"))).await;
    }
    assert!(is_locked(app, at(1, "192.0.2.1")).await, "strangers wait");
    log_in(app, at(1, OWNER)).await.expect("the owner does not");
}

#[tokio::test]
async fn sec_a13_attempts_during_a_lock_neither_extend_nor_lengthen_it() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    for _ in 0..FREE_PER_PAIR + 50 {
        fail(app, EMAIL, at(1, ATTACKER)).await;
    }
    assert!(is_locked(app, at(1, ATTACKER)).await);
    assert!(!is_locked(app, at(1 + FIRST_LOCK.as_secs(), ATTACKER)).await);
}

#[tokio::test]
async fn a_success_forgets_the_pairs_failures() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0, OWNER)).await.unwrap();
    for _ in 0..3 {
        for _ in 1..FREE_PER_PAIR {
            fail(app, EMAIL, at(1, OWNER)).await;
        }
        log_in(app, at(1, OWNER))
            .await
            .expect("a person who mistypes is never locked");
    }
}

#[tokio::test]
async fn an_address_that_nobody_registered_is_locked_like_any_other() {
    let (_directory, inside) = inside().await;
    for _ in 0..FREE_PER_PAIR {
        fail(inside.app(), EMAIL, at(1, ATTACKER)).await;
    }
    assert!(is_locked(inside.app(), at(1, ATTACKER)).await);
}

#[test]
fn sec_a13_locks_double_and_have_an_end() {
    assert_eq!(lock_length(FREE_PER_PAIR - 1, FREE_PER_PAIR), None);
    let lengths = (5..9).filter_map(|failures| lock_length(failures, FREE_PER_PAIR));
    let lengths: Vec<u64> = lengths.map(|length| length.as_secs()).collect();
    assert_eq!(lengths, [2, 4, 8, 16]);
    assert_eq!(lock_length(u32::MAX, FREE_PER_PAIR), Some(LONGEST_LOCK));
}

#[test]
fn sec_a11_an_ipv6_customer_is_one_network() {
    let of = |address: &str| network(address.parse().unwrap());
    assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}
