//! The router against its definition: of all rules that match, the greatest. Never asks the router how it works.

use std::collections::HashSet;

use portcullis_traffic::route::{HostPattern, PathPattern, Router, Rule};

/// Few parts, so that rules overlap in every way.
const LABELS: [&str; 4] = ["a", "b", "B", "example"];
const SEGMENTS: [&str; 6] = ["a", "ab", "b", "", "%61", "\u{e9}"];

fn joined(rng: &mut fastrand::Rng, parts: &[&str], separator: &str, most: usize) -> String {
    let count = rng.usize(0..=most);
    (0..count)
        .map(|_| parts[rng.usize(..parts.len())])
        .collect::<Vec<_>>()
        .join(separator)
}

fn random_path(rng: &mut fastrand::Rng) -> String {
    let slash = if rng.u8(..8) == 0 { "" } else { "/" };
    format!("{slash}{}", joined(rng, &SEGMENTS, "/", 4))
}

fn random_patterns(rng: &mut fastrand::Rng) -> (HostPattern, PathPattern) {
    let name = joined(rng, &LABELS, ".", 3).to_lowercase();
    let host = match rng.u8(..3) {
        0 => HostPattern::Any,
        1 => HostPattern::Exact(name),
        _ => HostPattern::Wildcard(name),
    };
    let path = random_path(rng);
    let path = if rng.bool() {
        PathPattern::Exact(path)
    } else {
        PathPattern::Prefix(path)
    };
    (host, path)
}

/// The definition, as slow and plain as can be.
fn greatest_match<'a>(
    rules: &'a HashSet<(HostPattern, PathPattern)>,
    host: Option<&str>,
    path: &str,
) -> Option<&'a (HostPattern, PathPattern)> {
    rules
        .iter()
        .filter(|(h, p)| h.matches(host) && p.matches(path))
        .max()
}

#[test]
fn the_router_finds_the_greatest_rule_that_matches() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let size = rng.usize(0..60);
        let rules: HashSet<_> = (0..size).map(|_| random_patterns(&mut rng)).collect();
        let as_rule = |(host, path): &(HostPattern, PathPattern)| Rule {
            host: host.clone(),
            path: path.clone(),
            target: (host.clone(), path.clone()),
        };
        let router = Router::build(rules.iter().map(as_rule)).unwrap();
        for _ in 0..300 {
            let host = (rng.u8(..8) > 0).then(|| joined(&mut rng, &LABELS, ".", 4));
            let path = random_path(&mut rng);
            assert_eq!(
                router.find(host.as_deref(), &path),
                greatest_match(&rules, host.as_deref(), &path),
                "seed {seed}, host {host:?}, path {path:?}"
            );
        }
    }
}
