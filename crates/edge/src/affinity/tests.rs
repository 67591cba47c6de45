//! Affinity as the pipeline sees it. Never starts an edge: times are arguments.

use std::time::Duration;

use http::header::COOKIE;
use portcullis_ops::Secret;

use super::*;
use crate::config::{AffinityCookie, AffinityValue, SameSite, Secure};
use crate::pipeline::HeaderEdit;
use crate::pipeline::fake::FakeHead;

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3_600;

/// One hour idle, one day in all, a cookie called `_a`.
fn config(secrets: &[&str]) -> config::Affinity {
    let mut secrets = secrets.iter().map(|text| Secret::new((*text).to_owned()));
    config::Affinity {
        by: AffinityBy::Cookie(AffinityCookie {
            name: "_a".to_owned(),
            accept: vec!["_old".to_owned()],
            path: "/".to_owned(),
            domain: None,
            same_site: SameSite::Lax,
            secure: Secure::Auto,
            is_partitioned: false,
        }),
        ttl: Duration::from_secs(HOUR),
        max_age: Some(Duration::from_secs(24 * HOUR)),
        secret: secrets.next(),
        previous_secrets: secrets.collect(),
    }
}

fn cookie_of(config: &mut config::Affinity) -> &mut AffinityCookie {
    match &mut config.by {
        AffinityBy::Cookie(cookie) => cookie,
        AffinityBy::Value(value) => panic!("{value:?} is no cookie"),
    }
}

fn build(config: &config::Affinity) -> Arc<Affinity> {
    Affinity::build(config, "auth", None, None).unwrap()
}

fn affinity() -> Arc<Affinity> {
    build(&config(&["one"]))
}

fn head(cookies: &[&str]) -> FakeHead {
    cookies.iter().fold(FakeHead::get("/"), |head, cookie| {
        head.with("cookie", cookie)
    })
}

fn bond(affinity: &Affinity, cookies: &[&str], now: u64) -> Bond {
    affinity.recognise(&head(cookies), now)
}

fn endpoint(affinity: &Affinity, cookies: &[&str], now: u64) -> Option<u64> {
    bond(affinity, cookies, now).endpoint()
}

/// The whole `Set-Cookie` value for a client that endpoint 7 served.
fn set_cookie(affinity: &Affinity, bond: Bond, now: u64) -> Option<String> {
    let value = affinity.settle(bond, 7, now, false)?;
    Some(value.to_str().unwrap().to_owned())
}

/// `_a=…` of a newcomer at endpoint 7.
fn fresh(affinity: &Affinity) -> String {
    pair(&set_cookie(affinity, Bond::None, NOW).unwrap())
}

fn pair(set_cookie: &str) -> String {
    set_cookie.split_once(';').unwrap().0.to_owned()
}

#[test]
fn cookie_names_its_endpoint_until_its_client_stays_away() {
    let affinity = affinity();
    let cookie = fresh(&affinity);
    assert_eq!(endpoint(&affinity, &[&cookie], NOW), Some(7));
    assert_eq!(endpoint(&affinity, &[&cookie], NOW + HOUR - 1), Some(7));
    assert_eq!(endpoint(&affinity, &[&cookie], NOW + HOUR), None);
}

#[test]
fn cookie_is_renewed_from_the_middle_of_its_idle_time() {
    let affinity = affinity();
    let cookie = fresh(&affinity);
    let renew = |now| set_cookie(&affinity, bond(&affinity, &[&cookie], now), now);
    assert_eq!(renew(NOW + HOUR / 2 - 1), None);
    let renewed = pair(&renew(NOW + HOUR / 2).expect("a new one"));
    assert_eq!(endpoint(&affinity, &[&renewed], NOW + HOUR), Some(7));
}

#[test]
fn a_busy_client_is_placed_anew_at_its_full_age() {
    let affinity = affinity();
    let mut cookie = fresh(&affinity);
    let mut now = NOW;
    while now + 2_000 < NOW + 24 * HOUR {
        now += 2_000;
        let bond = bond(&affinity, &[&cookie], now);
        assert_eq!(bond.endpoint(), Some(7), "after {} s", now - NOW);
        let text = set_cookie(&affinity, bond, now).expect("past the middle");
        let left = NOW + 24 * HOUR - now;
        let max_age = format!("Max-Age={}", left.min(HOUR));
        assert!(text.contains(&max_age), "{text} holds {max_age}");
        cookie = pair(&text);
    }
    assert_eq!(endpoint(&affinity, &[&cookie], NOW + 24 * HOUR), None);
}

#[test]
fn without_an_end_a_busy_client_stays() {
    let affinity = build(&config::Affinity {
        max_age: None,
        ..config(&["one"])
    });
    let mut cookie = fresh(&affinity);
    for hours in 1..1_000 {
        let now = NOW + hours * (HOUR - 1);
        let bond = bond(&affinity, &[&cookie], now);
        assert_eq!(bond.endpoint(), Some(7));
        cookie = pair(&set_cookie(&affinity, bond, now).unwrap());
    }
}

#[test]
fn who_moves_begins_anew() {
    let affinity = affinity();
    let cookie = fresh(&affinity);
    let later = NOW + HOUR / 2;
    let bond = bond(&affinity, &[&cookie], later);
    let moved = affinity.settle(bond, 8, later, false).expect("a new home");
    let moved = pair(moved.to_str().unwrap());
    assert_eq!(endpoint(&affinity, &[&moved], later + HOUR - 1), Some(8));
}

#[test]
fn times_to_come_are_believed_as_far_as_clocks_differ() {
    let affinity = affinity();
    let cookie = fresh(&affinity);
    assert_eq!(endpoint(&affinity, &[&cookie], NOW - 300), Some(7));
    assert_eq!(endpoint(&affinity, &[&cookie], NOW - 301), None);
}

#[test]
fn cookie_is_found_among_others() {
    let affinity = affinity();
    let cookie = fresh(&affinity);
    for cookies in [
        &[&*format!("x=1; {cookie}; y=2")][..],
        &["x=1", &cookie],
        &[&format!("_a=forged; {cookie}")],
        &[&format!("_ab=1;{cookie}")],
        &[&format!(";; ;=;  {cookie}  ;")],
    ] {
        assert_eq!(endpoint(&affinity, cookies, NOW), Some(7), "{cookies:?}");
    }
    let behind_many = format!("{}{cookie}", "_a=forged; ".repeat(4));
    assert_eq!(
        endpoint(&affinity, &[&behind_many], NOW),
        None,
        "nobody's browser"
    );
}

#[test]
fn forged_and_foreign_cookies_count_as_absent() {
    let affinity_here = affinity();
    let cookie = fresh(&affinity_here);
    let mut flipped = cookie.clone().into_bytes();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let shop = Affinity::build(&config(&["one"]), "shop", None, None).unwrap();
    for (forged, why) in [
        (String::from_utf8(flipped).unwrap(), "a digit changed"),
        (cookie[..cookie.len() - 1].to_owned(), "cut short"),
        (format!("{cookie}A"), "prolonged"),
        ("_a=".to_owned(), "empty"),
        ("_a".to_owned(), "no value"),
        (format!("_a={}", "!".repeat(64)), "not base64"),
        (format!("_a={}", "A".repeat(64)), "all zero"),
        (fresh(&build(&config(&["two"]))), "another secret"),
        (fresh(&shop), "another cluster"),
        (cookie.replace("_a=", "_b="), "another name"),
    ] {
        let bond = bond(&affinity_here, &[&forged], NOW);
        assert_eq!(bond, Bond::None, "{why}: {forged}");
        assert!(
            set_cookie(&affinity_here, bond, NOW).is_some(),
            "{why}: a new one"
        );
    }
}

/// Whatever bytes a client sends: no panic, no binding, and only our name is taken from the rest.
#[test]
fn no_bytes_bind_by_chance() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let affinity = affinity();
    let genuine = fresh(&affinity).into_bytes();
    for round in 0..20_000 {
        let mut bytes = if round % 2 == 0 {
            let length = random.usize(..200);
            (0..length)
                .map(|_| *random.choice(b"_a=; \t\"%AAzz09-\xff\xc3").unwrap())
                .collect()
        } else {
            let mut bytes = genuine.clone();
            let at = random.usize(3..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] ^= 1 << random.u8(..7),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.alphanumeric() as u8),
            }
            bytes
        };
        bytes.retain(|byte| *byte != 0x7f && (*byte >= b' ' || *byte == b'\t'));
        let Ok(value) = HeaderValue::from_bytes(&bytes) else {
            continue;
        };
        let mut fields = http::HeaderMap::new();
        fields.insert(COOKIE, value);
        let By::Cookie(cookie) = &affinity.by else {
            unreachable!()
        };
        let hide = |fields: &http::HeaderMap| hide_cookies(fields, &["_b", cookie.name()]);
        let told = || format!("seed {seed}: {:?}", bytes.escape_ascii().to_string());
        assert_eq!(cookie.read(&fields, NOW), None, "{}", told());
        if let Some(edit) = hide(&fields) {
            edit.apply(&mut fields);
            assert_eq!(hide(&fields), None, "{}", told());
        }
    }
}

#[test]
fn edges_with_one_secret_read_each_others_cookies() {
    let cookie = fresh(&affinity());
    assert_eq!(endpoint(&affinity(), &[&cookie], NOW), Some(7));
}

#[test]
fn cookies_of_previous_secrets_are_read_and_replaced() {
    let old = fresh(&build(&config(&["old"])));
    let rotated = build(&config(&["new", "older", "old"]));
    let bond = bond(&rotated, &[&old], NOW + 60);
    assert_eq!(bond.endpoint(), Some(7));
    let new = pair(&set_cookie(&rotated, bond, NOW + 60).expect("a new one"));
    let finished = build(&config(&["new"]));
    assert_eq!(endpoint(&finished, &[&old], NOW + 60), None);
    assert_eq!(endpoint(&finished, &[&new], NOW + 60), Some(7));
    assert_eq!(
        endpoint(&finished, &[&new], NOW + 60 + HOUR - 1),
        Some(7),
        "its idle time began again"
    );
}

#[test]
fn cookies_of_accepted_names_are_read_and_replaced() {
    let affinity = affinity();
    let old = fresh(&affinity).replace("_a=", "_old=");
    let bond = bond(&affinity, &[&old], NOW);
    assert_eq!(bond.endpoint(), Some(7));
    let new = set_cookie(&affinity, bond, NOW).expect("under the present name");
    assert!(new.starts_with("_a="), "{new}");
    assert_eq!(endpoint(&affinity, &["_old=theirs"], NOW), None);
}

#[test]
fn endpoints_get_all_cookies_but_ours() {
    let affinity = affinity();
    let hidden = |cookies: &[&str]| {
        let head = head(cookies);
        hide_cookies(head.fields(), &[affinity.cookie_name().unwrap(), "_own"])
    };
    let rest = |text: &'static str| Some(HeaderEdit::Set(COOKIE, HeaderValue::from_static(text)));
    assert_eq!(hidden(&[]), None);
    assert_eq!(hidden(&["x=1; _ab=2"]), None, "left as it is");
    assert_eq!(hidden(&["_a=1"]), Some(HeaderEdit::Remove(COOKIE)));
    assert_eq!(
        hidden(&["_a=1;", " _a=2 "]),
        Some(HeaderEdit::Remove(COOKIE))
    );
    assert_eq!(hidden(&["x=1; _a=forged; y=2"]), rest("x=1; y=2"));
    assert_eq!(hidden(&["_own=1; x=1; _a=2"]), rest("x=1"));
    assert_eq!(
        hidden(&["_own=1", "_a=2"]),
        Some(HeaderEdit::Remove(COOKIE))
    );
    assert_eq!(hidden(&["x=1", "_a=1", "y=2;z=3"]), rest("x=1; y=2; z=3"));
    assert_eq!(
        hidden(&["_old=1; _a=1"]),
        rest("_old=1"),
        "may be the application's"
    );
}

#[test]
fn drawn_key_and_learned_places_survive_a_reload() {
    let before = build(&config(&[]));
    let mut changed = config(&[]);
    changed.ttl = Duration::from_secs(60);
    let after = Affinity::build(&changed, "auth", Some(&before), None).unwrap();
    assert_eq!(endpoint(&after, &[&fresh(&before)], NOW), Some(7));
    assert_eq!(
        endpoint(&after, &[&fresh(&before)], NOW + 60),
        None,
        "the new life holds at once"
    );

    let mut by_header = config(&[]);
    by_header.by = AffinityBy::Value(AffinityValue::Query("u".to_owned()));
    let before = build(&by_header);
    let visit = FakeHead::get("/?u=1");
    before.settle(before.recognise(&visit, NOW), 7, NOW, false);
    let after = Affinity::build(&by_header, "auth", Some(&before), None).unwrap();
    assert_eq!(after.recognise(&visit, NOW).endpoint(), Some(7));
}

#[test]
fn attributes_are_those_configured() {
    let text = |change: fn(&mut AffinityCookie), is_https| {
        let mut config = config(&["one"]);
        change(cookie_of(&mut config));
        let cookie = build(&config).settle(Bond::None, 7, NOW, is_https).unwrap();
        let text = cookie.to_str().unwrap();
        text.split_once("; ").unwrap().1.to_owned()
    };
    let plain = "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax";
    assert_eq!(text(|_| (), false), plain);
    assert_eq!(text(|_| (), true), format!("{plain}; Secure"));
    assert_eq!(
        text(|cookie| cookie.secure = Secure::Always, false),
        format!("{plain}; Secure")
    );
    let all = |cookie: &mut AffinityCookie| {
        cookie.path = "/app".to_owned();
        cookie.domain = Some("example.com".to_owned());
        cookie.same_site = SameSite::None;
        cookie.is_partitioned = true;
    };
    assert_eq!(
        text(all, true),
        "Path=/app; Domain=example.com; Max-Age=3600; HttpOnly; SameSite=None; Partitioned; Secure"
    );
    assert!(text(|cookie| cookie.same_site = SameSite::Strict, false).ends_with("SameSite=Strict"));
}

#[test]
fn two_cookies_for_one_endpoint_look_unlike() {
    let affinity = affinity();
    assert_ne!(fresh(&affinity), fresh(&affinity));
}

#[test]
fn a_value_is_remembered_where_it_was_served() {
    let mut config = config(&["one"]);
    config.by = AffinityBy::Value(AffinityValue::Query("u".to_owned()));
    let affinity = build(&config);
    let visit = |user: &str| affinity.recognise(&FakeHead::get(&format!("/?u={user}")), NOW);
    let first = visit("1");
    assert!(first.hash().is_some() && first.endpoint().is_none());
    assert_eq!(affinity.settle(first, 7, NOW, true), None, "no cookie");
    assert_eq!(visit("1").endpoint(), Some(7));
    assert_eq!(visit("2").endpoint(), None);
    affinity.settle(visit("1"), 8, NOW, true);
    assert_eq!(visit("1").endpoint(), Some(8), "it moved");
    assert_eq!(affinity.recognise(&FakeHead::get("/"), NOW), Bond::None);
    assert_eq!(affinity.cookie_name(), None, "there is none of ours");
}
