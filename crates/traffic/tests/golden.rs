//! Sequences, shares and choices that are known beforehand. Never draws chance.

use std::time::Instant;

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::select::{Ask, Balance, Member, Picked, Selector, Settings};

fn members(weights: &[u16]) -> Vec<Member> {
    (1..)
        .zip(weights)
        .map(|(id, weight)| Member {
            weight: *weight,
            ..Member::new(EndpointId(id), ([127, 0, 0, 1], 4_000).into())
        })
        .collect()
}

/// Serves one request after the other; ids of those picked.
fn serve(selector: &mut Selector, keys: impl Iterator<Item = Option<String>>) -> Vec<u32> {
    let now = Instant::now();
    let mut pick = |key: Option<String>| {
        let ask = Ask {
            bound: None,
            key: key.as_ref().map(String::as_bytes),
            tried: &[],
            now,
            chance: 0,
        };
        let Picked::Endpoint { id, .. } = selector.pick(&ask) else {
            panic!("everybody is idle and eligible")
        };
        selector.release(id, None, now);
        id.0
    };
    keys.map(&mut pick).collect()
}

/// Picks as letters: `a` is the first endpoint.
fn letters(balance: Balance, weights: &[u16], picks: usize) -> String {
    let mut selector = Selector::new(Settings::new(balance), &members(weights));
    serve(&mut selector, std::iter::repeat_n(None, picks))
        .into_iter()
        .map(|id| char::from(b"_abcdefgh"[id as usize]))
        .collect()
}

fn counts(weights: &[u16], picks: usize) -> Vec<usize> {
    let picks = letters(Balance::RoundRobin, weights, picks);
    let count = |letter| picks.matches(letter).count();
    ('a'..).take(weights.len()).map(count).collect()
}

/// As nginx picks, and as its commit of smooth weighted round robin says.
#[test]
fn smooth_weighted_round_robin_interleaves() {
    for (weights, round) in [
        (&[5, 1, 1][..], "aabacaa"),
        (&[1, 1, 1], "abc"),
        (&[4, 2, 1], "abacaba"),
        (&[2, 1], "aba"),
        (&[1, 0, 2], "cac"),
        (&[3, 3], "ababab"),
        (&[7], "a"),
    ] {
        let two_rounds = letters(Balance::RoundRobin, weights, 2 * round.len());
        assert_eq!(two_rounds, round.repeat(2), "weights {weights:?}");
    }
}

#[test]
fn idle_endpoints_take_the_same_turns_under_least_conn() {
    for weights in [&[5, 1, 1][..], &[1, 1, 1], &[4, 2, 1]] {
        assert_eq!(
            letters(Balance::LeastConn, weights, 70),
            letters(Balance::RoundRobin, weights, 70),
        );
    }
}

#[test]
fn ten_thousand_requests_over_three_equal_endpoints_differ_by_at_most_one() {
    assert_eq!(counts(&[1, 1, 1], 10_000), [3_334, 3_333, 3_333]);
}

#[test]
fn every_round_gives_each_endpoint_exactly_its_weight() {
    for rounds in [1, 2, 10] {
        let expected = [13, 1, 7, 40, 3].map(|weight| weight * rounds);
        assert_eq!(counts(&[13, 1, 7, 40, 3], 64 * rounds), expected);
    }
}

/// What nginx 1.22.1 picked by `hash $arg_key consistent` for the keys `user-1` to `user-60`: each
/// digit is the position of a server in its `upstream` block, counted from one.
#[test]
fn a_key_goes_where_nginx_sends_it() {
    for (servers, picks) in [
        (
            &[
                ("127.0.0.1:4001", 1),
                ("127.0.0.1:4002", 1),
                ("127.0.0.1:4003", 1),
            ][..],
            "133133133221112331113231223113132313233233113332323312322322",
        ),
        (
            &[
                ("10.0.0.1:443", 1),
                ("10.0.0.2:443", 2),
                ("10.0.0.3:8080", 5),
                ("10.0.0.4:443", 3),
            ],
            "144343444433331433132214331213332223214233331424333334234434",
        ),
    ] {
        let members: Vec<_> = (1..)
            .zip(servers)
            .map(|(id, (address, weight))| Member {
                weight: *weight,
                ..Member::new(EndpointId(id), address.parse().unwrap())
            })
            .collect();
        let balance = Balance::Hash {
            bounded_load_percent: Some(150),
        };
        let mut selector = Selector::new(Settings::new(balance), &members);
        let keys = (1..=60).map(|user| Some(format!("user-{user}")));
        let ours: String = serve(&mut selector, keys)
            .iter()
            .map(u32::to_string)
            .collect();
        assert_eq!(ours, picks);
    }
}
