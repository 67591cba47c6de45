//! Attacks through three instances at once, on a file and on a Redis beside a PostgreSQL. Never hashes what only has to
//! be counted, so that hundreds of attackers take a second.
//!
//! Redis ends its entries by its own clock, whatever ours says: a lock of two seconds may be over before a slow machine
//! looks at it. What is asserted of locks holds for later, longer ones too.

use portcullis_testkit::Postgres;
use portcullis_testkit::redis::Redis;
use tempfile::TempDir;

use super::*;
use crate::server::tests::{Inside, inside_as};

/// Makes two tests of each case, one for each kind of state that instances share.
macro_rules! on_every_shared_state {
    ($($case:ident,)*) => {
        mod on_a_file {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(super::Site::on_a_file().await).await;
                }
            )*
        }
        mod on_redis_and_postgresql {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(super::Site::on_redis_and_postgresql().await).await;
                }
            )*
        }
    };
}

on_every_shared_state!(
    sec_a11_failures_of_a_pair_lock_it_everywhere,
    sec_a11_failures_of_an_account_lock_it_everywhere,
    sec_a11_failures_of_an_address_stop_it_everywhere,
    sec_a11_failures_of_64_bits_of_ipv6_stop_all_of_them_everywhere,
    sec_a12_a_success_elsewhere_does_not_clear_a_network,
    sec_a13_a_lock_grows_and_ends_and_the_owner_passes_it_everywhere,
    sec_a15_one_password_for_a_thousand_accounts_is_tried_a_hundred_times,
    sec_a15_five_hundred_addresses_get_few_guesses_at_one_account,
);

/// Three instances on one state.
struct Site {
    instances: [Inside; 3],
    _servers: Option<(Redis, Postgres)>,
    _directory: TempDir,
}

impl Site {
    async fn on_a_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            instances: three(&directory, &[]).await,
            _servers: None,
            _directory: directory,
        }
    }

    async fn on_redis_and_postgresql() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (redis, postgres) = tokio::join!(Redis::start(), Postgres::start());
        let (shared, database) = (redis.url(), postgres.url());
        let settings = [
            ("REDIS_URL", shared.as_str()),
            ("DATABASE_URL", database.as_str()),
            ("DATABASE_POOL_SIZE", "2"),
        ];
        Self {
            instances: three(&directory, &settings).await,
            _servers: Some((redis, postgres)),
            _directory: directory,
        }
    }

    fn app(&self, turn: usize) -> &App {
        self.instances[turn % 3].app()
    }

    async fn register(&self) {
        let registered = self.app(0).register(EMAIL, PASSWORD, at(0, OWNER)).await;
        registered.unwrap();
    }

    /// What each instance says to a login of [`EMAIL`] from there.
    async fn locked(&self, client: &str) -> [bool; 3] {
        let origin = at(1, client);
        let locked = |turn: usize| is_locked(self.app(turn), origin);
        let (a, b, c) = tokio::join!(locked(0), locked(1), locked(2));
        [a, b, c]
    }

    /// Whether each instance turns away whoever comes from there, before it looks at anything else.
    async fn stopped(&self, client: &str) -> [bool; 3] {
        let stops = async |turn: usize| {
            let email = Email::parse("somebody@example.com").unwrap();
            let attempt = self.app(turn).attempt(&email, at(1, client)).await;
            matches!(attempt, Err(Refusal::TooManyAttempts { .. }))
        };
        let (a, b, c) = tokio::join!(stops(0), stops(1), stops(2));
        [a, b, c]
    }

    /// Fails until all three have locked [`EMAIL`] for somebody from there; the first time after `free` failures.
    async fn fail_until_locked(&self, free: u32, attacker: impl Fn(u32) -> String, seen_by: &str) {
        for n in 0..free {
            assert_eq!(self.locked(seen_by).await, [false; 3], "after {n}");
            fail(self.app(n as usize), EMAIL, at(1, &attacker(n))).await;
        }
        let mut next = free;
        wait_until("a lock on all three", async || {
            let is_everywhere = self.locked(seen_by).await == [true; 3];
            if !is_everywhere {
                fail(self.app(next as usize), EMAIL, at(1, &attacker(next))).await;
                next += 1;
            }
            is_everywhere.then_some(())
        })
        .await;
    }
}

async fn three(directory: &TempDir, settings: &[(&str, &str)]) -> [Inside; 3] {
    [
        inside_as(directory, settings).await,
        inside_as(directory, settings).await,
        inside_as(directory, settings).await,
    ]
}

async fn sec_a11_failures_of_a_pair_lock_it_everywhere(site: Site) {
    site.fail_until_locked(FREE_PER_PAIR, |_| ATTACKER.to_owned(), ATTACKER)
        .await;
    assert_eq!(site.locked(OWNER).await, [false; 3], "another pair");
}

async fn sec_a11_failures_of_an_account_lock_it_everywhere(site: Site) {
    let attacker = |n: u32| format!("203.0.113.{}", n % 256);
    site.fail_until_locked(FREE_PER_ACCOUNT, attacker, "192.0.2.1")
        .await;
}

async fn sec_a11_failures_of_an_address_stop_it_everywhere(site: Site) {
    for n in 0..MAX_PER_NETWORK {
        assert_eq!(site.stopped(ATTACKER).await, [false; 3], "after {n}");
        let victim = format!("victim{n}@example.com");
        fail(site.app(n as usize), &victim, at(1, ATTACKER)).await;
    }
    assert_eq!(site.stopped(ATTACKER).await, [true; 3]);
    assert_eq!(
        site.stopped("203.0.113.10").await,
        [false; 3],
        "its neighbour"
    );
}

async fn sec_a11_failures_of_64_bits_of_ipv6_stop_all_of_them_everywhere(site: Site) {
    for n in 0..MAX_PER_NETWORK {
        let client = format!("2001:db8:1:2:{n:x}::{n:x}");
        assert_eq!(site.stopped(&client).await, [false; 3], "after {n}");
        let victim = format!("victim{n}@example.com");
        fail(site.app(n as usize), &victim, at(1, &client)).await;
    }
    assert_eq!(site.stopped("2001:db8:1:2:ffff::1").await, [true; 3]);
    assert_eq!(site.stopped("2001:db8:1:3::1").await, [false; 3]);
}

async fn sec_a12_a_success_elsewhere_does_not_clear_a_network(site: Site) {
    site.register().await;
    for n in 0..MAX_PER_NETWORK {
        if n % 40 == 20 {
            let login = log_in(site.app(n as usize + 1), at(1, ATTACKER)).await;
            login.expect("its own account");
        }
        let victim = format!("victim{n}@example.com");
        fail(site.app(n as usize), &victim, at(1, ATTACKER)).await;
    }
    assert_eq!(site.stopped(ATTACKER).await, [true; 3]);
    let refused = log_in(site.app(0), at(1, ATTACKER)).await;
    assert!(
        matches!(refused, Err(Refusal::TooManyAttempts { .. })),
        "its own account, too"
    );
}

async fn sec_a13_a_lock_grows_and_ends_and_the_owner_passes_it_everywhere(site: Site) {
    site.register().await;
    let login = log_in(site.app(0), at(0, OWNER)).await;
    login.expect("known from now on");
    // Long enough a lock for a slow machine: 20 failures are free, and each one after it doubles two seconds.
    let mut seconds = 1;
    for n in 0..FREE_PER_ACCOUNT + 6 {
        let attacker = format!("203.0.113.{n}");
        while is_locked(site.app(n as usize), at(seconds, &attacker)).await {
            seconds *= 2;
        }
        fail(site.app(n as usize), EMAIL, at(seconds, &attacker)).await;
    }
    let stranger = at(seconds, "192.0.2.1");
    assert!(is_locked(site.app(1), stranger).await, "strangers wait");
    for turn in 0..3 {
        let login = log_in(site.app(turn), at(seconds, OWNER)).await;
        login.expect("the owner does not");
    }
    let later = at(seconds + LONGEST_LOCK.as_secs(), "192.0.2.1");
    for turn in 0..3 {
        assert!(
            !is_locked(site.app(turn), later).await,
            "no lock is for good"
        );
    }
}

async fn sec_a15_one_password_for_a_thousand_accounts_is_tried_a_hundred_times(site: Site) {
    let mut tried = 0;
    for n in 0..1000 {
        let app = site.app(n);
        let victim = Email::parse(&format!("victim{n}@example.com")).unwrap();
        let origin = at(1, ATTACKER);
        match app.attempt(&victim, origin).await {
            Ok(attempt) => {
                tried += 1;
                app.attempt_failed(&attempt, origin.now).await.unwrap();
            }
            Err(Refusal::TooManyAttempts { retry_after }) => assert_eq!(retry_after, WINDOW),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    assert_eq!(tried, MAX_PER_NETWORK);
}

async fn sec_a15_five_hundred_addresses_get_few_guesses_at_one_account(site: Site) {
    let email = Email::parse(EMAIL).unwrap();
    let mut guesses = 0;
    for n in 0..500 {
        let app = site.app(n);
        let origin = at(1, &format!("203.{}.113.{}", n / 250, n % 250));
        let attempt = app.attempt(&email, origin).await.unwrap();
        guesses += u32::from(!attempt.is_locked);
        app.attempt_failed(&attempt, origin.now).await.unwrap();
    }
    // Where locks end while this runs, each lets one more through and doubles.
    assert!(
        (FREE_PER_ACCOUNT..=FREE_PER_ACCOUNT + 8).contains(&guesses),
        "{guesses} of 500 guesses were looked at"
    );
}
