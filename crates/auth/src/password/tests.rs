//! Hashing as a whole: equal work, peppers, upgrades, overload. Never compares wall-clock times.

use super::*;
use crate::domain::Email;

fn config(workers: usize) -> HasherConfig {
    HasherConfig {
        cost: HashCost::CHEAP,
        ..HasherConfig::new(NonZeroUsize::new(workers).unwrap(), Peppers::none())
    }
}

fn start(config: HasherConfig) -> PasswordHasher {
    PasswordHasher::start(config).unwrap()
}

fn new_password(text: &str) -> NewPassword {
    NewPassword::parse(text, &Email::parse("a@example.com").unwrap()).unwrap()
}

fn presented(text: &str) -> PresentedPassword {
    PresentedPassword::parse(text).unwrap()
}

fn pepper(text: &str) -> Pepper {
    Pepper::new(&Secret::new(text.repeat(32)))
}

async fn is_right(hasher: &PasswordHasher, stored: Option<&PasswordHash>, text: &str) -> bool {
    hasher
        .verify_or_dummy(stored, presented(text))
        .await
        .unwrap()
        .is_right
}

#[tokio::test]
async fn sec_b01_new_hashes_have_the_recommended_cost_and_a_fresh_salt() {
    let workers = NonZeroUsize::MIN;
    let hasher = start(HasherConfig::new(workers, Peppers::none()));
    let hash = hasher.hash(new_password("correct horse")).await.unwrap();
    let again = hasher.hash(new_password("correct horse")).await.unwrap();
    assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_ne!(hash.expose(), again.expose());
    assert!(is_right(&hasher, Some(&hash), "correct horse").await);
    assert!(!is_right(&hasher, Some(&hash), "Correct horse").await);
}

#[tokio::test]
async fn sec_a06_passwords_are_neither_cut_nor_folded() {
    let hasher = start(config(1));
    let long = "🔒".repeat(128);
    for text in [long.as_str(), " spaced out ", "Straßenbahn\u{301}"] {
        let hash = hasher.hash(new_password(text)).await.unwrap();
        assert!(is_right(&hasher, Some(&hash), text).await);
        let mut shorter = text.to_owned();
        shorter.pop();
        for other in [shorter.as_str(), text.trim(), &text.to_lowercase()] {
            assert_eq!(
                is_right(&hasher, Some(&hash), other).await,
                other == text,
                "{other:?}"
            );
        }
    }
}

#[tokio::test]
async fn sec_a01_every_login_costs_exactly_one_run() {
    let hasher = start(config(1));
    let hash = hasher.hash(new_password("correct horse")).await.unwrap();
    let unreadable = PasswordHash::from_phc("$2b$12$somebody-elses".to_owned());
    let cases = [
        (Some(&hash), "correct horse", true),
        (Some(&hash), "wrong", false),
        (None, "wrong", false),
        (None, "", false),
        (Some(&unreadable), "x", false),
    ];
    for (stored, text, expected) in cases {
        let before = hasher.metrics().hashes_total;
        assert_eq!(is_right(&hasher, stored, text).await, expected, "{text}");
        assert_eq!(hasher.metrics().hashes_total - before, 1, "{text}");
    }
    assert_eq!(hasher.metrics().unusable_total, 1);
}

#[tokio::test]
async fn sec_b02_an_older_hash_is_upgraded_at_a_right_login_only() {
    let old = start(config(1))
        .hash(new_password("correct horse"))
        .await
        .unwrap();
    let hasher = start(HasherConfig::new(NonZeroUsize::MIN, Peppers::none()));
    let wrong = hasher
        .verify_or_dummy(Some(&old), presented("wrong"))
        .await
        .unwrap();
    assert!(!wrong.is_right && !wrong.is_outdated);
    let before = hasher.metrics().hashes_total;
    let right = hasher
        .verify_or_dummy(Some(&old), presented("correct horse"))
        .await
        .unwrap();
    assert!(right.is_right && right.is_outdated);
    assert_eq!(
        hasher.metrics().hashes_total - before,
        1,
        "the second run waits until the login was granted"
    );
    let upgraded = hasher.rehash(presented("correct horse")).await.unwrap();
    assert!(upgraded.expose().contains("m=19456,t=2"));
    let after = hasher
        .verify_or_dummy(Some(&upgraded), presented("correct horse"))
        .await
        .unwrap();
    assert!(after.is_right && !after.is_outdated);
}

#[tokio::test]
async fn sec_b03_without_the_pepper_the_right_password_does_not_verify() {
    let peppered = start(HasherConfig {
        peppers: Peppers::new(pepper("a"), Vec::new()),
        ..config(1)
    });
    let hash = peppered.hash(new_password("correct horse")).await.unwrap();
    assert!(is_right(&peppered, Some(&hash), "correct horse").await);
    for peppers in [Peppers::none(), Peppers::new(pepper("b"), Vec::new())] {
        let other = start(HasherConfig {
            peppers,
            ..config(1)
        });
        assert!(!is_right(&other, Some(&hash), "correct horse").await);
        assert_eq!(other.metrics().unusable_total, 1);
    }
    // Nor when somebody strips the note which pepper it needs.
    let bare = hash
        .expose()
        .replace(&format!(",keyid={}", pepper("a").id()), "");
    assert_ne!(bare, hash.expose());
    assert!(
        !is_right(
            &peppered,
            Some(&PasswordHash::from_phc(bare)),
            "correct horse"
        )
        .await
    );
}

#[tokio::test]
async fn sec_b03_a_previous_pepper_still_verifies_and_is_rewritten() {
    let old = start(HasherConfig {
        peppers: Peppers::new(pepper("a"), Vec::new()),
        ..config(1)
    });
    let plain = start(config(1));
    let rotated = start(HasherConfig {
        peppers: Peppers::new(pepper("b"), vec![pepper("a")]),
        ..config(1)
    });
    for hasher in [&old, &plain] {
        let hash = hasher.hash(new_password("correct horse")).await.unwrap();
        let right = rotated
            .verify_or_dummy(Some(&hash), presented("correct horse"))
            .await
            .unwrap();
        assert!(right.is_right && right.is_outdated);
        let upgraded = rotated.rehash(presented("correct horse")).await.unwrap();
        assert!(upgraded.expose().contains(&pepper("b").id().to_string()));
        assert!(!is_right(&old, Some(&upgraded), "correct horse").await);
        assert!(is_right(&rotated, Some(&upgraded), "correct horse").await);
    }
}

/// A hasher whose only thread is held by jobs that were given to it, until they are done.
async fn flood(hasher: &PasswordHasher, jobs: usize) -> Vec<Result<Verification, HashError>> {
    let tasks: Vec<_> = (0..jobs)
        .map(|_| {
            let hasher = hasher.clone();
            tokio::spawn(async move { hasher.verify_or_dummy(None, presented("x")).await })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test]
async fn sec_a08_a_full_queue_sheds_at_once_and_recovers() {
    let hasher = start(HasherConfig {
        queue_limit: 2,
        cost: HashCost::RECOMMENDED,
        ..config(1)
    });
    let results = flood(&hasher, 20).await;
    let shed = results
        .iter()
        .filter(|result| matches!(result, Err(HashError::Overloaded)))
        .count();
    // Two wait, one may have begun, and a slow machine may get some more done meanwhile.
    assert!((10..=18).contains(&shed), "{shed} shed");
    assert_eq!(hasher.metrics().overloaded_total, shed as u64);
    assert!(hasher.verify_or_dummy(None, presented("x")).await.is_ok());
}

#[tokio::test]
async fn sec_a08_waiting_ends_at_the_deadline() {
    let hasher = start(HasherConfig {
        deadline: Duration::ZERO,
        cost: HashCost::RECOMMENDED,
        ..config(1)
    });
    let results = flood(&hasher, 10).await;
    let shed = results
        .iter()
        .filter(|result| matches!(result, Err(HashError::Overloaded)))
        .count();
    assert!(shed >= 5, "{shed} shed");
    assert_eq!(hasher.metrics().queued, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_work_along() {
    let hasher = start(HasherConfig {
        cost: HashCost::RECOMMENDED,
        ..config(1)
    });
    for _ in 0..50 {
        tokio::select! {
            biased;
            _ = hasher.verify_or_dummy(None, presented("x")) => panic!("hashed in no time"),
            () = std::future::ready(()) => {} // Polled once, so that it is queued, then dropped.
        }
    }
    assert!(hasher.verify_or_dummy(None, presented("x")).await.is_ok());
    assert!(hasher.metrics().hashes_total < 25, "{:?}", hasher.metrics());
}

#[tokio::test]
async fn threads_run_at_lower_priority_and_end_with_the_last_handle() {
    let hasher = start(config(2));
    assert_eq!(
        flood(&hasher, 8)
            .await
            .into_iter()
            .filter(Result::is_ok)
            .count(),
        8
    );
    let queue = Arc::clone(&hasher.inner.queue);
    let niceness = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| {
                let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
                let (name, rest) = stat.split_once(") ")?;
                // Field 19 of proc(5), counted from the one behind the name, which is the third.
                name.contains("(hash-")
                    .then(|| rest.split(' ').nth(16).unwrap().parse::<i32>().unwrap())
            })
            .collect::<Vec<_>>()
    };
    assert!(niceness().contains(&10), "{:?}", niceness());
    drop(hasher);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while Arc::strong_count(&queue) > 1 {
        assert!(
            std::time::Instant::now() < deadline,
            "the threads are still there"
        );
        tokio::task::yield_now().await;
    }
    let late = queue.push(Job::new(Work::Verify {
        stored: None,
        number: 0,
        password: presented("x"),
        reply: oneshot::channel().0,
    }));
    assert!(matches!(late, Err(HashError::Stopped)));
}

const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";

#[tokio::test]
async fn sec_b02_a_hash_of_another_system_is_right_once_and_then_rewritten() {
    let hasher = start(HasherConfig {
        peppers: Peppers::new(pepper("a"), Vec::new()),
        ..config(1)
    });
    let foreign = PasswordHash::from_phc(BCRYPT.to_owned());
    assert!(is_readable(foreign.expose()));
    assert!(!is_right(&hasher, Some(&foreign), "wrong").await);
    let found = hasher.verify_or_dummy(Some(&foreign), presented("correct horse"));
    let found = found.await.unwrap();
    assert!(found.is_right && found.is_outdated);
    let own = hasher.rehash(presented("correct horse")).await.unwrap();
    let found = hasher.verify_or_dummy(Some(&own), presented("correct horse"));
    let found = found.await.unwrap();
    assert!(found.is_right && !found.is_outdated);
    let hostile = PasswordHash::from_phc(BCRYPT.replace("$04$", "$31$"));
    assert!(!is_readable(hostile.expose()));
    let before = hasher.metrics();
    assert!(!is_right(&hasher, Some(&hostile), "correct horse").await);
    let after = hasher.metrics();
    assert_eq!(after.hashes_total - before.hashes_total, 1);
    assert_eq!(after.unusable_total - before.unusable_total, 1);
}

#[tokio::test]
async fn sec_a05_an_address_without_an_account_costs_what_accounts_cost() {
    let hasher = start(config(1));
    let foreign = PasswordHash::from_phc(BCRYPT.to_owned());
    hasher.learn_costs(&[foreign.clone(), foreign]);
    let micros = async |stored: Option<&PasswordHash>| {
        let before = hasher.metrics();
        let password = presented("wrong");
        let asked = hasher.verify_or_dummy_of(stored, u64::MAX / 2, password);
        assert!(!asked.await.unwrap().is_right);
        let after = hasher.metrics();
        assert_eq!(after.hashes_total - before.hashes_total, 1);
        after.hashing_micros_total - before.hashing_micros_total
    };
    // bcrypt's least cost takes a millisecond and more, the cheap argon2 of tests a few dozen microseconds.
    let mut quickest = u64::MAX;
    for _ in 0..5 {
        quickest = quickest.min(micros(None).await);
    }
    assert!(quickest > 300, "{quickest} us: not the cost of bcrypt");
}

#[tokio::test]
async fn sec_b08_a_stolen_password_is_refused_to_whoever_chooses_it() {
    let directory = tempfile::tempdir().unwrap();
    let (list, out) = (directory.path().join("list"), directory.path().join("out"));
    std::fs::write(&list, "correct horse\n").unwrap();
    breached::build(&list, &out, breached::BITS_PER_ENTRY).unwrap();
    let hasher = start(HasherConfig {
        breached: Some(Arc::new(Breached::open(&out).unwrap())),
        ..config(1)
    });
    let refused = hasher.hash(new_password("correct horse")).await;
    assert_eq!(refused.unwrap_err(), HashError::Breached);
    assert_eq!(hasher.metrics().breached_total, 1);
    assert!(hasher.hash(new_password("correct zebra")).await.is_ok());
    let old = hasher.rehash(presented("correct horse")).await;
    assert!(old.is_ok(), "whoever has it already still gets in");
    let file = std::fs::OpenOptions::new().write(true).open(&out).unwrap();
    file.set_len(10).unwrap();
    assert!(hasher.hash(new_password("correct horse")).await.is_ok());
    assert_eq!(hasher.metrics().unfiltered_total, 1, "open, and counted");
}

#[tokio::test]
async fn sec_b07_names_that_everybody_here_knows_are_refused() {
    let hasher = start(HasherConfig {
        forbidden: vec!["Acmecorp".to_owned()],
        ..config(1)
    });
    for text in ["acmecorp", "AcmeCorp2026!", "12acmecorp"] {
        let refused = hasher.hash(new_password(text)).await;
        assert_eq!(refused.unwrap_err(), HashError::Guessable, "{text}");
    }
    assert!(hasher.hash(new_password("acmecorp stapler")).await.is_ok());
}
