//! Verdicts about invented cookies. Never connects.

use http::HeaderMap;
use http::header::SET_COOKIE;

use super::*;
use crate::report::Verdict;

const GOOD: &str = "_a=Zm9yZ2VkPw0aG; Path=/; HttpOnly; SameSite=Lax; Secure";

fn set_cookie(text: &str) -> SetCookie {
    let mut headers = HeaderMap::new();
    headers.insert(SET_COOKIE, text.parse().unwrap());
    SetCookie::all(&headers).remove(0)
}

fn bound(cookie: &str, first: &str, later: &[&str]) -> Bound {
    let answer = |name: &&str| Ok((200, Some((*name).to_owned())));
    Bound {
        cookie: set_cookie(cookie),
        first: Some(first.to_owned()),
        later: later.iter().map(answer).collect(),
    }
}

fn seen(bound: Vec<Bound>, forged: Result<(u16, bool), String>) -> Seen {
    Seen {
        usual_status: 200,
        is_https: true,
        bound,
        forged: vec![Forged {
            what: "garbage",
            result: forged,
        }],
    }
}

fn verdict_of_cookie(cookie: &str) -> Verdict {
    let clients = vec![bound(cookie, "a", &["a"]), bound(cookie, "b", &["b"])];
    judge(&seen(clients, Ok((200, true)))).verdict
}

#[test]
fn clients_that_stay_with_an_opaque_cookie_are_good() {
    assert_eq!(verdict_of_cookie(GOOD), Verdict::Pass);
}

#[test]
fn a_client_that_moves_is_a_fault() {
    let clients = vec![bound(GOOD, "a", &["a", "b"]), bound(GOOD, "b", &["b"])];
    assert_eq!(
        judge(&seen(clients, Ok((200, true)))).verdict,
        Verdict::Fail
    );
}

#[test]
fn with_one_instance_nothing_can_be_said() {
    let clients = vec![bound(GOOD, "a", &["a"])];
    assert_eq!(
        judge(&seen(clients, Ok((200, true)))).verdict,
        Verdict::Warn
    );
}

#[test]
fn a_cookie_without_its_guards_is_a_fault() {
    for missing in ["; HttpOnly", "; SameSite=Lax", "; Secure"] {
        let cookie = GOOD.replace(missing, "");
        assert_eq!(verdict_of_cookie(&cookie), Verdict::Fail, "{missing}");
    }
    assert_eq!(
        verdict_of_cookie("_a=10.0.0.1:80; HttpOnly; SameSite=Lax; Secure"),
        Verdict::Fail
    );
}

#[test]
fn a_forged_cookie_leads_to_a_new_one_and_never_to_an_error() {
    for (result, verdict) in [
        (Ok((200, true)), Verdict::Pass),
        (Ok((200, false)), Verdict::Fail),
        (Ok((500, true)), Verdict::Fail),
        (Ok((400, true)), Verdict::Fail),
        (Err("reset".to_owned()), Verdict::Fail),
    ] {
        let clients = vec![bound(GOOD, "a", &["a"]), bound(GOOD, "b", &["b"])];
        assert_eq!(
            judge(&seen(clients, result.clone())).verdict,
            verdict,
            "{result:?}"
        );
    }
}

#[test]
fn forgeries_differ_from_what_was_given() {
    for value in ["A", "10.0.0.1:80", "Zm9yZ2VkPw0aG"] {
        let forgeries = forgeries(value);
        assert!(forgeries.len() >= 4, "{value}");
        assert!(forgeries.iter().all(|(_, forged)| forged != value));
    }
}
