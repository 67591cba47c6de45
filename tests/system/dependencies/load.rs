//! Clients of three auth instances while something is wrong behind them. Never forgives an answer: each is what was
//! asked for, a refusal that is right, or 503 with a stable code and a time to come again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_testkit::{Connection, Response, wait_until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub(super) const PASSWORD: &str = "correct horse battery staple";
/// Clients at once.
const CLIENTS: usize = 6;
/// A client's pause between two requests, so that refusals do not come back as fast as they can be made.
pub(super) const PACE: Duration = Duration::from_millis(5);
/// Why an instance may say that it cannot at present.
const REASONS: [&str; 4] = [
    "store_unavailable",
    "shared_state_unavailable",
    "busy",
    "timeout",
];

/// What a login gives.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) access: String,
    pub(super) refresh: String,
}

impl Session {
    pub(super) fn of(answer: &Response) -> Session {
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Session {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Answer {
    Done(Response),
    /// 401.
    Refused,
    /// 503, for this reason.
    Away(String),
}

impl Answer {
    /// Nothing else may come back from an instance, whatever is wrong behind it.
    pub(super) fn of(response: Response) -> Answer {
        match response.status {
            200..=299 => Answer::Done(response),
            401 => Answer::Refused,
            503 => {
                let after = response.field("retry-after").map(str::parse::<u32>);
                assert!(matches!(after, Some(Ok(1..=60))), "{response:?}");
                let media = response.field("content-type");
                assert_eq!(media, Some("application/problem+json"));
                let json = response.json();
                let reason = json["code"].as_str().unwrap();
                assert!(REASONS.contains(&reason), "{json}");
                Answer::Away(reason.to_owned())
            }
            status => panic!("{status}: {}", response.text()),
        }
    }
}

/// One request on a connection of its own.
pub(super) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: Option<&Value>,
) -> Response {
    let path = format!("/api/v1/auth/{path}");
    let mut connection = Connection::open(address).await.unwrap();
    let answer = match body {
        Some(body) => connection.post_json(&path, body).await,
        None => connection.request(method, &path, fields, b"").await,
    };
    answer.unwrap_or_else(|error| panic!("{method} {path} at {address}: {error}"))
}

pub(super) async fn with_token(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
) -> Response {
    let bearer = format!("Bearer {token}");
    ask(address, method, path, &[("Authorization", &bearer)], None).await
}

pub(super) async fn post(address: SocketAddr, path: &str, body: &Value) -> Response {
    ask(address, "POST", path, &[], Some(body)).await
}

/// What clients were told: from then on it holds.
#[derive(Default)]
pub(super) struct Told {
    /// Sessions whose end was acknowledged.
    pub(super) ended: Vec<Session>,
    /// Addresses whose registration was acknowledged.
    pub(super) registered: Vec<String>,
    /// Sessions that go on, each with a refresh token that was never used.
    pub(super) live: Vec<Session>,
    /// Refusals by reason.
    pub(super) refusals: BTreeMap<String, usize>,
}

/// A running load.
pub(super) struct Load {
    told: Arc<Mutex<Told>>,
    turns: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Begins; the accounts exist before anything goes wrong.
    pub(super) async fn start(addresses: [SocketAddr; 3]) -> Load {
        let mut load = Load {
            told: Arc::default(),
            turns: Arc::default(),
            is_over: Arc::default(),
            clients: JoinSet::new(),
        };
        for number in 0..CLIENTS {
            let email = format!("client-{number}@example.com");
            let account = json!({ "email": email, "password": PASSWORD });
            let registered = post(addresses[number % 3], "register", &account).await;
            assert_eq!(registered.status, 202, "{}", registered.text());
            let client = Client {
                addresses,
                account,
                number,
                turn: 0,
                told: Arc::clone(&load.told),
                pace: tokio::time::interval(PACE),
            };
            let (turns, is_over) = (Arc::clone(&load.turns), Arc::clone(&load.is_over));
            load.clients.spawn(client.run(turns, is_over));
        }
        load
    }

    /// Waits until `count` more sessions were tried, with or without success.
    pub(super) async fn wait_for(&self, count: usize) {
        let goal = self.turns.load(Ordering::Relaxed) + count;
        // One wait for each few, since a server that is silent holds everybody up for seconds.
        for step in (0..=count).rev().step_by(2) {
            wait_until("clients to go on", async || {
                (self.turns.load(Ordering::Relaxed) + step >= goal).then_some(())
            })
            .await;
        }
    }

    /// Ends it and returns what the clients were told.
    pub(super) async fn finish(mut self) -> Told {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

struct Client {
    addresses: [SocketAddr; 3],
    account: Value,
    number: usize,
    turn: usize,
    told: Arc<Mutex<Told>>,
    pace: tokio::time::Interval,
}

impl Client {
    async fn run(mut self, turns: Arc<AtomicUsize>, is_over: Arc<AtomicBool>) {
        while !is_over.load(Ordering::Relaxed) {
            self.session().await;
            self.check_ended().await;
            self.register().await;
            turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next instance, another each time.
    async fn next(&mut self) -> SocketAddr {
        self.pace.tick().await;
        self.turn += 1;
        self.addresses[(self.number + self.turn + self.turn / 7) % 3]
    }

    fn answer(&self, response: Response) -> Answer {
        let answer = Answer::of(response);
        if let Answer::Away(reason) = &answer {
            let mut told = self.told.lock().unwrap();
            *told.refusals.entry(reason.clone()).or_default() += 1;
        }
        answer
    }

    /// Logs in, uses the session and ends it, or keeps it.
    async fn session(&mut self) {
        let address = self.next().await;
        let login = post(address, "login", &self.account).await;
        let mut session = match self.answer(login) {
            Answer::Done(login) => Session::of(&login),
            Answer::Refused => panic!("the right password is refused"),
            Answer::Away(_) => return,
        };
        for _ in 0..2 {
            self.verify(&session).await;
            match self.refresh(&session).await {
                Some(next) => session = next,
                None => return,
            }
        }
        self.verify(&session).await;
        if self.turn.is_multiple_of(5) {
            self.told.lock().unwrap().live.push(session);
            return;
        }
        let address = self.next().await;
        let logout = with_token(address, "POST", "logout", &session.access).await;
        match self.answer(logout) {
            Answer::Done(_) => self.told.lock().unwrap().ended.push(session),
            Answer::Refused => panic!("a live session is refused"),
            // It may have ended or not.
            Answer::Away(_) => {}
        }
    }

    async fn verify(&mut self, session: &Session) {
        let address = self.next().await;
        let verified = with_token(address, "GET", "verify", &session.access).await;
        let verified = self.answer(verified);
        assert!(
            !matches!(verified, Answer::Refused),
            "a live session is refused"
        );
    }

    /// The successor; `None` where an answer got lost, and trying again came too late or too soon.
    async fn refresh(&mut self, session: &Session) -> Option<Session> {
        let spent = json!({ "refresh_token": session.refresh });
        for attempt in 0..3 {
            let address = self.next().await;
            let refreshed = post(address, "refresh", &spent).await;
            match self.answer(refreshed) {
                Answer::Done(next) => return Some(Session::of(&next)),
                // What was refused as unavailable may have happened.
                Answer::Refused if attempt > 0 => return None,
                Answer::Refused => panic!("an unused refresh token is refused"),
                Answer::Away(_) => {}
            }
        }
        None
    }

    /// Looks at sessions that have ended, the last ones and some others.
    async fn check_ended(&mut self) {
        let chosen: Vec<Session> = {
            let ended = &self.told.lock().unwrap().ended;
            let some = (0..3).filter_map(|_| fastrand::choice(ended));
            ended.iter().rev().take(2).chain(some).cloned().collect()
        };
        for session in chosen {
            let address = self.next().await;
            let verified = with_token(address, "GET", "verify", &session.access).await;
            let verified = self.answer(verified);
            assert!(
                !matches!(verified, Answer::Done(_)),
                "accepted after its logout at {address}"
            );
        }
    }

    async fn register(&mut self) {
        let address = self.next().await;
        let email = format!("new-{}-{}@example.com", self.number, self.turn);
        let account = json!({ "email": email, "password": PASSWORD });
        let registered = post(address, "register", &account).await;
        match self.answer(registered) {
            Answer::Done(_) => self.told.lock().unwrap().registered.push(email),
            Answer::Refused => panic!("a registration is no login"),
            Answer::Away(_) => {}
        }
    }
}
