//! Three instances on one PostgreSQL: secrets that are good once, and a server that is killed, stopped or started again
//! under load. Never looks at anything but answers and, at the end, at what was kept.

mod failover;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use portcullis_testkit::{Postgres, Response, wait_until};
use serde_json::json;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

/// Longer than any refusal takes: a connection, an answer and a login's patience are all shorter.
const BOUND: Duration = Duration::from_secs(12);

async fn three(installation: &Installation) -> [Instance; 3] {
    let start = |name| installation.start(name);
    let (a, b, c) = tokio::join!(start("a"), start("b"), start("c"));
    [a, b, c]
}

/// Runs one call for each number at once, through the instances in turn.
async fn sixty_four<T>(
    instances: &[Instance; 3],
    call: impl AsyncFn(&Instance, usize) -> T,
) -> Vec<T> {
    let mut calls = Vec::new();
    for number in 0..64 {
        calls.push(Box::pin(call(&instances[number % 3], number)));
    }
    join_all(calls).await
}

/// Polls all until all are done.
async fn join_all<F: Future + Unpin>(mut calls: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = calls.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (call, slot) in calls.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(call).poll(context)
            {
                *slot = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_e12_sixty_four_refreshes_through_three_instances_make_one_successor() {
    let installation = Installation::on_postgres().await;
    let instances = three(&installation).await;
    let mut current = instances[0].register_and_login().await;
    for _ in 0..5 {
        let spent = current.refresh.clone();
        let answers = sixty_four(&instances, async |instance: &Instance, _| {
            instance.refresh(&spent).await
        })
        .await;
        let tokens: Vec<Tokens> = answers.iter().map(Tokens::of).collect();
        let successors: BTreeSet<&str> = tokens.iter().map(|t| t.refresh.as_str()).collect();
        assert_eq!(successors.len(), 1, "one chain, not a tree");
        current = tokens[0].clone();
    }
    let server = installation.server.as_ref().unwrap();
    assert_eq!(server.query("SELECT count(*) FROM refresh_token"), "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_a10_sixty_four_uses_of_the_setup_token_make_one_administrator() {
    // All of them come from one network.
    let any = [("AUTH_RATE_LIMIT_REGISTER", "0")];
    let installation = Installation::on_postgres_with(&any).await;
    let instances = three(&installation).await;
    let answers = sixty_four(&instances, async |instance: &Instance, number| {
        let email = format!("admin-{number}@example.com");
        let body = json!({ "setup_token": installation.setup_token, "email": email, "password": PASSWORD });
        instance.post("/api/v1/auth/setup", body).await
    })
    .await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert!(matches!(refused.status, 403 | 503), "{}", refused.text());
    }
    let server = installation.server.as_ref().unwrap();
    assert_eq!(server.query("SELECT count(*) FROM account"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_registrations_of_one_address_make_one_account() {
    let as_many_as_come = [("AUTH_RATE_LIMIT_REGISTER", "0")];
    let installation = Installation::on_postgres_with(&as_many_as_come).await;
    let instances = three(&installation).await;
    let answers = sixty_four(&instances, async |instance: &Instance, number| {
        let password = format!("{PASSWORD} {number}");
        (instance.register(EMAIL, &password).await, password)
    })
    .await;
    for (answer, _) in &answers {
        assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
    }
    let server = installation.server.as_ref().unwrap();
    assert_eq!(server.query("SELECT count(*) FROM account"), "1");
    // One password opens it, and it is of one of those that were told so.
    let off = [("AUTH_RATE_LIMIT_ENABLED", "false")];
    let patient = installation.start_with("d", &off).await;
    let mut opened = 0;
    for (_, password) in answers.iter().filter(|(answer, _)| answer.status == 202) {
        opened += usize::from(patient.try_login(EMAIL, password).await.status == 200);
    }
    assert_eq!(opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_e12_sixty_four_uses_of_a_spent_token_end_the_session_and_give_nothing() {
    let installation = Installation::on_postgres().await;
    let instances = three(&installation).await;
    let first = instances[0].register_and_login().await;
    let second = Tokens::of(&instances[1].refresh(&first.refresh).await);
    let third = Tokens::of(&instances[2].refresh(&second.refresh).await);
    assert_eq!(instances[0].verify(&third.access).await.status, 200);
    let answers = sixty_four(&instances, async |instance: &Instance, _| {
        instance.refresh(&first.refresh).await
    })
    .await;
    for answer in &answers {
        assert_problem(answer, 401, "invalid_refresh_token");
    }
    for instance in &instances {
        assert_eq!(instance.refresh(&third.refresh).await.status, 401);
        for tokens in [&first, &second, &third] {
            assert_eq!(instance.verify(&tokens.access).await.status, 401);
        }
    }
    let server = installation.server.as_ref().unwrap();
    let told = "SELECT count(*) FROM audit WHERE event = 'refresh_reused'";
    assert_eq!(server.query(told), "1", "once, not 64 times");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_e12_no_refresh_beside_a_logout_outlives_it() {
    let installation = Installation::on_postgres().await;
    let instances = three(&installation).await;
    instances[0].register(EMAIL, PASSWORD).await;
    for round in 0..5 {
        let session = instances[round % 3].login().await;
        let answers = sixty_four(&instances, async |instance: &Instance, number| {
            match number == 20 {
                true => instance.logout(&session.access).await,
                false => instance.refresh(&session.refresh).await,
            }
        })
        .await;
        assert_eq!(answers[20].status, 204, "{}", answers[20].text());
        let refreshed = answers.iter().filter(|answer| answer.status == 200);
        let mut given: Vec<Tokens> = refreshed.map(Tokens::of).collect();
        given.push(session);
        for instance in &instances {
            for tokens in &given {
                assert_eq!(instance.verify(&tokens.access).await.status, 401);
                assert_eq!(instance.refresh(&tokens.refresh).await.status, 401);
            }
        }
    }
}

/// On a busy machine the server may not let 64 in within their time: whoever supervises starts those again.
async fn start_until_let_in(config: portcullis_auth::Config) -> Result<(), String> {
    let mut refused = String::new();
    for _ in 0..5 {
        refused = match portcullis_auth::prepare(&config).await {
            Ok(_) => return Ok(()),
            Err(error) => format!("{error:?}"),
        };
        if !refused.contains("TimedOut") {
            break;
        }
    }
    Err(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_cold_starts_make_one_first_key() {
    let small = [("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0")];
    let server = Postgres::start_with(&[("max_connections", "200")]).await;
    let directory = tempfile::tempdir().unwrap();
    let url = server.url();
    let settings = [small[0], small[1], ("DATABASE_URL", url.as_str())];
    let config = crate::harness::config(directory.path(), "a", &settings);
    let starts: Vec<_> = (0..64)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(start_until_let_in(config))
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let active = "SELECT count(*) FROM signing_key WHERE state = 'active'";
    assert_eq!(server.query(active), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_tokens_are_verified_and_writes_refused_soon() {
    let mut installation = Installation::on_postgres().await;
    let [a, b, _] = three(&installation).await;
    let tokens = a.register_and_login().await;
    installation.server.as_mut().unwrap().kill().await;

    let began = Instant::now();
    let login = b.try_login(EMAIL, PASSWORD).await;
    let refresh = b.refresh(&tokens.refresh).await;
    assert!(began.elapsed() < 2 * BOUND, "{:?}", began.elapsed());
    for refused in [&login, &refresh] {
        assert_problem(refused, 503, "store_unavailable");
        assert!(refused.field("retry-after").is_some());
        assert!(!refused.text().contains("127.0.0.1"), "{}", refused.text());
    }
    assert_eq!(b.verify(&tokens.access).await.status, 200);
    assert_eq!(b.get("/.well-known/jwks.json").await.status, 200);
    assert_eq!(b.get("/health").await.status, 200);
    let unready = wait_until("readiness to fail", async || {
        Some(b.get("/health/ready").await).filter(|answer| answer.status == 503)
    })
    .await;
    assert_eq!(unready.field("x-health-cause"), Some("database"));
    let detailed = b.get("/health/detailed").await.json();
    assert_eq!(detailed["checks"]["database"], "unhealthy", "{detailed}");
    assert_eq!(
        detailed["data"]["services"]["postgresql"]["status"], "unhealthy",
        "{detailed}"
    );

    installation.server.as_mut().unwrap().restart().await;
    wait_until("readiness", async || {
        (b.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    let next = wait_until("a refresh", async || {
        Some(b.refresh(&tokens.refresh).await).filter(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(a.verify(&Tokens::of(&next).access).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn detailed_health_counts_the_connections_to_postgresql_and_shows_its_breaker() {
    let mut installation = Installation::on_postgres().await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let healthy = instance.get("/health/detailed").await.json();
    let server = &healthy["data"]["services"]["postgresql"];
    assert_eq!(server["status"], "healthy", "{healthy}");
    let count = |name: &str| server["metrics"][name].as_u64().unwrap();
    assert!(count("total") > 0 && count("max") == 22, "{healthy}");
    assert_eq!(count("total"), count("active") + count("idle"), "{healthy}");
    let breaker = &healthy["data"]["circuitBreakers"]["database"];
    assert_eq!(
        (&breaker["state"], &breaker["failures"]),
        (&json!("CLOSED"), &json!(0))
    );
    installation.server.as_mut().unwrap().kill().await;
    let open = wait_until("the breaker to open", async || {
        let refreshes = (0..6).map(|_| Box::pin(instance.refresh(&tokens.refresh)));
        for refused in join_all(refreshes.collect()).await {
            assert_problem(&refused, 503, "store_unavailable");
        }
        let detailed = instance.get("/health/detailed").await.json();
        let breaker = detailed["data"]["circuitBreakers"]["database"].clone();
        (breaker["state"] == "OPEN").then_some(breaker)
    })
    .await;
    assert!(open["failures"].as_u64().unwrap() >= 5, "{open}");
}

/// What a client was told while the server came and went.
#[derive(Default)]
struct Told {
    accepted: Vec<String>,
    refused: usize,
    slowest: Duration,
}

impl Told {
    fn take(&mut self, email: String, answer: &Response, took: Duration) {
        self.slowest = self.slowest.max(took);
        match answer.status {
            202 => self.accepted.push(email),
            503 => {
                assert!(answer.field("retry-after").is_some());
                self.refused += 1;
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
}

/// Registers one address after another until the trouble is over.
async fn register_until(instance: &Instance, name: &str, is_over: &std::cell::Cell<bool>) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        if is_over.get() {
            break;
        }
        let email = format!("{name}-{number}@example.com");
        let began = Instant::now();
        let answer = instance.register(&email, PASSWORD).await;
        told.take(email, &answer, began.elapsed());
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_the_server_is_killed_stopped_and_started_again() {
    // A short breaker: how soon writes come back is its affair, and tested beside it.
    let breaker = [("CIRCUIT_BREAKER_TIMEOUT", "200")];
    let mut installation = Installation::on_postgres_with(&breaker).await;
    let instances = three(&installation).await;
    let tokens = instances[0].register_and_login().await;
    let mut server = installation.server.take().unwrap();
    let is_over = std::cell::Cell::new(false);
    let count = |server: &Postgres| -> u64 {
        let rows = server.query("SELECT count(*) FROM account");
        rows.parse().unwrap()
    };
    let trouble = async {
        for round in 0..3 {
            let before = count(&server);
            wait_until("registrations", async || {
                (count(&server) > before + 2).then_some(())
            })
            .await;
            match round {
                0 => server.kill().await,
                1 => {
                    server.pause();
                    // Somebody is refused while it is silent.
                    let login = instances[1].try_login(EMAIL, PASSWORD).await;
                    assert_eq!(login.status, 503, "{}", login.text());
                    server.resume();
                }
                _ => {}
            }
            let verified = instances[2].verify(&tokens.access).await;
            assert_eq!(verified.status, 200);
            if round != 1 {
                server.restart().await;
            }
        }
        let before = count(&server);
        wait_until("registrations", async || {
            (count(&server) > before + 2).then_some(())
        })
        .await;
        is_over.set(true);
    };
    let (told, other, ()) = tokio::join!(
        register_until(&instances[0], "a", &is_over),
        register_until(&instances[1], "b", &is_over),
        trouble,
    );
    let kept = server.query("SELECT email FROM account");
    let kept: BTreeSet<&str> = kept.lines().collect();
    for told in [told, other] {
        assert!(told.slowest < BOUND, "{:?}", told.slowest);
        assert!(told.accepted.len() > 3, "{} refused", told.refused);
        for email in &told.accepted {
            assert!(kept.contains(email.as_str()), "{email} was acknowledged");
        }
    }
}
