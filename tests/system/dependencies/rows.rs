//! What each operation of an instance does while PostgreSQL, Redis or both are away, row by row, at every instance.
//! Waits for what a row says, never for a time; a token that was taken back is accepted at no moment.

use std::net::SocketAddr;

use portcullis_testkit::{Response, client, wait_until};
use serde_json::json;

use super::load::{Answer, PASSWORD, Session, ask, post, with_token};

const EMAIL: &str = "rows@example.com";

/// Sessions from before the trouble.
pub(super) struct Rows {
    addresses: [SocketAddr; 3],
    live: Session,
    cookie: String,
    /// Ended before.
    ended: Session,
}

impl Rows {
    pub(super) async fn before(addresses: [SocketAddr; 3]) -> Rows {
        let account = json!({ "email": EMAIL, "password": PASSWORD });
        assert_eq!(post(addresses[0], "register", &account).await.status, 202);
        let (live, ended) = (
            post(addresses[1], "login", &account).await,
            post(addresses[2], "login", &account).await,
        );
        let cookie = live.field("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let ended = Session::of(&ended);
        let logout = with_token(addresses[0], "POST", "logout", &ended.access).await;
        assert_eq!(logout.status, 204, "{}", logout.text());
        Rows {
            addresses,
            live: Session::of(&live),
            cookie,
            ended,
        }
    }

    pub(super) async fn verify(&self, address: SocketAddr) -> Response {
        with_token(address, "GET", "verify", &self.live.access).await
    }

    /// Login, refresh and logout suffice with the database; revocations are looked up there.
    pub(super) async fn hold_without_redis(&self) {
        for address in self.addresses {
            self.verification_is(address, 200).await;
            self.writes_go_on(address).await;
            self.keys_are_published(address).await;
            self.is_detailed_as_unhealthy(address, "redis").await;
            wait_until("readiness to say what is missing", async || {
                let ready = client::get(address, "/health/ready").await.unwrap();
                assert_eq!(ready.status, 200, "{}", ready.text());
                (ready.json()["degraded"] == json!(["redis"])).then_some(())
            })
            .await;
        }
    }

    /// As without it, but for those who balance: what answers is up.
    pub(super) async fn hold_without_room_in_redis(&self) {
        for address in self.addresses {
            self.verification_is(address, 200).await;
            self.writes_go_on(address).await;
            self.keys_are_published(address).await;
            self.is_detailed_as_unhealthy(address, "redis").await;
        }
    }

    /// Nothing can be made durable; whoever verifies needs nothing of the kind.
    pub(super) async fn hold_without_writes_to_postgres(&self) {
        for address in self.addresses {
            self.verification_is(address, 200).await;
            self.writes_are_refused(address, "store_unavailable").await;
            self.keys_are_published(address).await;
            self.is_detailed_as_unhealthy(address, "database").await;
        }
    }

    /// What was issued is verified, and nothing is issued or ended.
    pub(super) async fn hold_without_postgres(&self) {
        for address in self.addresses {
            self.verification_is(address, 200).await;
            self.writes_are_refused(address, "store_unavailable").await;
            self.keys_are_published(address).await;
            self.is_unready(address).await;
        }
    }

    /// Nobody knows what was taken back, so nothing is accepted.
    pub(super) async fn hold_without_both(&self) {
        for address in self.addresses {
            self.verification_is(address, 503).await;
            self.writes_are_refused(address, "store_unavailable").await;
            self.keys_are_published(address).await;
            self.is_unready(address).await;
        }
    }

    /// After the trouble.
    pub(super) async fn hold_again(&self) {
        for address in self.addresses {
            self.verification_is(address, 200).await;
            self.writes_go_on(address).await;
            let ready = client::get(address, "/health/ready").await.unwrap();
            assert_eq!(ready.status, 200, "{}", ready.text());
        }
        let unused = json!({ "refresh_token": self.live.refresh });
        let refreshed = post(self.addresses[0], "refresh", &unused).await;
        assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    }

    pub(super) async fn accept_nothing_that_ended(&self) {
        for address in self.addresses {
            let verified = with_token(address, "GET", "verify", &self.ended.access).await;
            assert!(!matches!(Answer::of(verified), Answer::Done(_)));
        }
    }

    /// Tokens and cookies alike: those that live get `status`, and those that ended are never accepted.
    async fn verification_is(&self, address: SocketAddr, status: u16) {
        wait_until(&format!("{status} for tokens at {address}"), async || {
            self.accept_nothing_that_ended().await;
            let by_token = self.verify(address).await;
            let fields = [("Cookie", self.cookie.as_str())];
            let by_cookie = ask(address, "GET", "verify", &fields, None).await;
            let found = (by_token.status, by_cookie.status);
            for answer in [by_token, by_cookie] {
                let answer = Answer::of(answer);
                assert!(!matches!(answer, Answer::Refused), "a live session");
            }
            (found == (status, status)).then_some(())
        })
        .await;
        if status == 200 {
            wait_until("ended ones to be refused as such", async || {
                let verified = with_token(address, "GET", "verify", &self.ended.access).await;
                matches!(Answer::of(verified), Answer::Refused).then_some(())
            })
            .await;
        }
    }

    async fn writes_go_on(&self, address: SocketAddr) {
        let account = json!({ "email": EMAIL, "password": PASSWORD });
        // Hashing gives way on a busy machine.
        let login = done("a login", async || post(address, "login", &account).await).await;
        let session = Session::of(&login);
        let spent = json!({ "refresh_token": session.refresh });
        let next = done("a refresh", async || post(address, "refresh", &spent).await).await;
        let next = Session::of(&next);
        let logout = async || with_token(address, "POST", "logout", &next.access).await;
        assert_eq!(done("a logout", logout).await.status, 204);
        for other in self.addresses {
            for ended in [&session, &next] {
                let verified = with_token(other, "GET", "verify", &ended.access).await;
                let verified = Answer::of(verified);
                assert!(matches!(verified, Answer::Refused), "{verified:?}");
            }
        }
        let number = fastrand::u64(..);
        let new = json!({ "email": format!("row-{number}@example.com"), "password": PASSWORD });
        done("a registration", async || {
            post(address, "register", &new).await
        })
        .await;
    }

    async fn writes_are_refused(&self, address: SocketAddr, reason: &str) {
        let account = json!({ "email": EMAIL, "password": PASSWORD });
        let new = json!({ "email": "nobody@example.com", "password": PASSWORD });
        for (path, body) in [("login", &account), ("register", &new)] {
            wait_until(&format!("{path} to be refused"), async || {
                is_away(post(address, path, body).await, reason).then_some(())
            })
            .await;
        }
        // Of a session that has ended: neither its end nor its refresh may count as done.
        let spent = json!({ "refresh_token": self.ended.refresh });
        let refreshed = Answer::of(post(address, "refresh", &spent).await);
        assert!(!matches!(refreshed, Answer::Done(_)), "{refreshed:?}");
        // Nothing may come of it but 503: what is not durable is not acknowledged.
        let unknown = json!({ "refresh_token": format!("pcr_{}", "A".repeat(43)) });
        let refreshed = Answer::of(post(address, "refresh", &unknown).await);
        assert!(!matches!(refreshed, Answer::Done(_)), "{refreshed:?}");
    }

    async fn keys_are_published(&self, address: SocketAddr) {
        for path in [
            "/.well-known/jwks.json",
            "/.well-known/openid-configuration",
            "/health",
            "/health/live",
        ] {
            let answer = client::get(address, path).await.unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    }

    /// For people; balancers must not act on it.
    async fn is_detailed_as_unhealthy(&self, address: SocketAddr, dependency: &str) {
        wait_until("details to say what is missing", async || {
            let detailed = client::get(address, "/health/detailed").await.unwrap();
            let is_told = detailed.json()["checks"][dependency] == "unhealthy";
            (detailed.status == 503 && is_told).then_some(())
        })
        .await;
    }

    async fn is_unready(&self, address: SocketAddr) {
        let unready = wait_until("readiness to fail", async || {
            let ready = client::get(address, "/health/ready").await.unwrap();
            (ready.status == 503).then_some(ready)
        })
        .await;
        assert_eq!(unready.field("x-health-cause"), Some("database"));
    }
}

/// Repeats what was told to come again.
async fn done(what: &str, call: impl AsyncFn() -> Response) -> Response {
    wait_until(what, async || match Answer::of(call().await) {
        Answer::Done(response) => Some(response),
        Answer::Refused => panic!("{what} is refused"),
        Answer::Away(_) => None,
    })
    .await
}

fn is_away(response: Response, expected: &str) -> bool {
    matches!(Answer::of(response), Answer::Away(reason) if reason == expected)
}
