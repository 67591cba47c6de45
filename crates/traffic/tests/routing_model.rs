//! The router against its definition: of all rules that match, the greatest. Never asks the router how it works.

use std::collections::HashSet;
use std::net::IpAddr;

use http::{HeaderName, Method, header};
use portcullis_traffic::flag::FlagId;
use portcullis_traffic::route::{
    Condition, Conditions, Details, HostPattern, Part, PathPattern, Pattern, Regex, Router, Rule,
    ValuePattern, hidden,
};

/// Few parts, so that rules overlap in every way.
const LABELS: [&str; 4] = ["a", "b", "B", "example"];
const SEGMENTS: [&str; 6] = ["a", "ab", "b", "", "%61", "\u{e9}"];
const EXPRESSIONS: [&str; 9] = [
    "/a.*",
    "/.*",
    "/a/b",
    "(?i)/A",
    "/[ab]+(/b)?",
    ".*b",
    "/a|/b",
    "/ab?/.",
    "x",
];
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::PUT];
const HEADERS: [HeaderName; 3] = [header::ACCEPT, header::RANGE, header::FROM];
const NAMES: [&str; 3] = ["a", "b", "c"];
const VALUES: [&str; 4] = ["1", "2", "x y", ""];
const NETWORKS: [&str; 4] = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "2001:db8::/32"];
const ADDRESSES: [&str; 4] = ["10.1.2.3", "10.9.9.9", "2001:db8::1", "192.0.2.1"];

fn one<'a, T>(rng: &mut fastrand::Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(..all.len())]
}

fn joined(rng: &mut fastrand::Rng, parts: &[&str], separator: &str, most: usize) -> String {
    let count = rng.usize(0..=most);
    (0..count)
        .map(|_| *one(rng, parts))
        .collect::<Vec<_>>()
        .join(separator)
}

fn random_path(rng: &mut fastrand::Rng) -> String {
    let slash = if rng.u8(..8) == 0 { "" } else { "/" };
    format!("{slash}{}", joined(rng, &SEGMENTS, "/", 4))
}

fn expression(rng: &mut fastrand::Rng, sources: &[&str]) -> Regex {
    let source: &&str = one(rng, sources);
    Regex::new(source).expect("it is sound")
}

fn random_condition(rng: &mut fastrand::Rng) -> Condition {
    let name = (*one(rng, &NAMES)).to_owned();
    let part = match rng.u8(..3) {
        0 => Part::Header(one(rng, &HEADERS).clone()),
        1 => Part::Query(name),
        _ => Part::Cookie(name),
    };
    let value = match rng.u8(..4) {
        0 => ValuePattern::Present,
        1 => ValuePattern::Matches(expression(rng, &["[0-9]", ".*", "1|x y"])),
        _ => ValuePattern::Exact((*one(rng, &VALUES)).to_owned()),
    };
    Condition { part, value }
}

fn random_conditions(rng: &mut fastrand::Rng) -> Conditions {
    if rng.u8(..3) == 0 {
        return Conditions::default();
    }
    let some = |rng: &mut fastrand::Rng| match rng.u8(..4) {
        0 => rng.usize(1..3),
        _ => 0,
    };
    let methods = (0..some(rng)).map(|_| one(rng, &METHODS).clone()).collect();
    let sources = (0..some(rng)).map(|_| one(rng, &NETWORKS).parse().expect("it is sound"));
    let sources = sources.collect();
    let values = (0..rng.usize(..3)).map(|_| random_condition(rng)).collect();
    let flags = (0..some(rng)).map(|_| FlagId(rng.usize(..2))).collect();
    Conditions::new(methods, values, sources).with_flags(flags)
}

fn random_pattern(rng: &mut fastrand::Rng) -> Pattern {
    let name = joined(rng, &LABELS, ".", 3).to_lowercase();
    let host = match rng.u8(..3) {
        0 => HostPattern::Any,
        1 => HostPattern::Exact(name),
        _ => HostPattern::Wildcard(name),
    };
    let path = random_path(rng);
    let path = match rng.u8(..3) {
        0 => PathPattern::Exact(path),
        1 => PathPattern::Prefix(path),
        _ => PathPattern::Regex(expression(rng, &EXPRESSIONS)),
    };
    Pattern {
        host,
        path,
        conditions: random_conditions(rng),
    }
}

/// A request beyond host and path.
#[derive(Debug)]
struct Sent {
    method: Method,
    fields: Vec<(HeaderName, String)>,
    query: Option<String>,
    source: IpAddr,
    flags: [bool; 2],
}

impl Sent {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let field =
            |rng: &mut fastrand::Rng| (one(rng, &HEADERS).clone(), (*one(rng, &VALUES)).to_owned());
        let mut fields: Vec<_> = (0..rng.usize(..4)).map(|_| field(rng)).collect();
        let pairs = |rng: &mut fastrand::Rng, separator: &str| {
            let pair = |rng: &mut fastrand::Rng| {
                format!(
                    "{}={}",
                    one(rng, &NAMES),
                    one(rng, &["1", "2", "x+y", "x y", ""])
                )
            };
            let pairs: Vec<_> = (0..rng.usize(..3)).map(|_| pair(rng)).collect();
            pairs.join(separator)
        };
        fields.push((header::COOKIE, pairs(rng, "; ")));
        Self {
            method: one(rng, &METHODS).clone(),
            fields,
            query: rng.bool().then(|| pairs(rng, "&")),
            source: one(rng, &ADDRESSES).parse().expect("it is sound"),
            flags: [rng.bool(), rng.bool()],
        }
    }
}

impl Details for Sent {
    fn method(&self) -> Option<&Method> {
        Some(&self.method)
    }

    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let named = self.fields.iter().filter(move |field| field.0 == *name);
        named.map(|field| field.1.as_bytes())
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn source(&self) -> Option<IpAddr> {
        Some(self.source)
    }

    fn has_flag(&self, flag: FlagId) -> bool {
        self.flags[flag.0]
    }
}

/// The definition, as slow and plain as can be.
fn greatest_match<'a>(
    patterns: &'a [Pattern],
    host: Option<&str>,
    path: &str,
    sent: &Sent,
) -> Option<&'a Pattern> {
    let matching = patterns.iter();
    matching
        .filter(|pattern| pattern.matches(host, path, sent))
        .max()
}

#[test]
fn the_router_finds_the_greatest_rule_that_matches() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let size = rng.usize(0..60);
        let patterns: HashSet<_> = (0..size).map(|_| random_pattern(&mut rng)).collect();
        let patterns: Vec<_> = patterns.into_iter().collect();
        let hidden = hidden(&patterns.iter().collect::<Vec<_>>());
        let unreached: HashSet<_> = hidden.iter().map(|hidden| &patterns[hidden.rule]).collect();
        let as_rule = |pattern: &Pattern| Rule {
            pattern: pattern.clone(),
            target: pattern.clone(),
        };
        let router = Router::build(patterns.iter().map(as_rule)).unwrap();
        for _ in 0..300 {
            let host = (rng.u8(..8) > 0).then(|| joined(&mut rng, &LABELS, ".", 4));
            let (path, sent) = (random_path(&mut rng), Sent::random(&mut rng));
            let found = router.find(host.as_deref(), &path, &sent);
            assert_eq!(
                found,
                greatest_match(&patterns, host.as_deref(), &path, &sent),
                "seed {seed}, host {host:?}, path {path:?}, {sent:?}"
            );
            assert!(
                found.is_none_or(|found| !unreached.contains(found)),
                "seed {seed}: {found:?} was said to be unreachable"
            );
        }
    }
}
