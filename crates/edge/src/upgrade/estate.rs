//! What operators did and what checks found, from one process to the next. Never of use to anybody
//! but an edge, of this version or another: what is not understood is left out.

use std::net::SocketAddr;
use std::time::Instant;

use ipnet::IpNet;
use portcullis_traffic::flag::{Percent, Setting};
use serde_json::{Value, json};

use crate::audit::Record;
use crate::cluster::EndpointPast;
use crate::state::{Edge, RoutePast, Said, Share};

/// All that the next process may want to know, and the line of the audit that it came by. It tells
/// nothing secret.
pub(super) fn of(edge: &Edge, upgraded: &Record, now: Instant) -> Value {
    let snapshot = edge.snapshot.load();
    let bans = edge.bans.list().into_iter();
    let bans = bans.map(|(network, until)| json!([network.to_string(), until]));
    let routes = snapshot.routes.iter().filter_map(|route| {
        let past = route.targets.as_ref()?.past()?;
        Some(json!({
            "route": route.name,
            "written": told(&past.written),
            "now": told(&past.now),
            "before": past.before.as_deref().map(told),
        }))
    });
    let endpoints = snapshot.clusters.iter().flat_map(|cluster| {
        let known = cluster.past(now).into_iter();
        known.map(|(address, past)| {
            json!({
                "cluster": cluster.name(),
                "endpoint": address.to_string(),
                "weight": past.weight.map(|(written, weight)| [written, weight]),
                "drained": past.is_drained,
                "leaving": past.is_leaving,
                "passes": past.passes,
            })
        })
    });
    let flags = snapshot.flags.all().into_iter();
    let flags = flags.filter(|flag| flag.said() == Said::Operator);
    let flags = flags.map(|flag| {
        json!({
            "flag": flag.name(),
            "written": words(flag.config().written()),
            "to": words(flag.setting()),
        })
    });
    let mut audit = edge.audit.latest();
    audit.reverse();
    audit.push(edge.audit.told(upgraded));
    json!({
        "revision": edge.audit.revision(),
        "audit": audit,
        "flags": flags.collect::<Vec<_>>(),
        "bans": bans.collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// Goes on where the process before was, as far as the configuration still has what it is about.
pub(super) fn resume(edge: &Edge, estate: &Value, now: Instant) {
    if let Some(revision) = estate["revision"].as_u64() {
        let entries = list(&estate["audit"]).iter().cloned();
        edge.audit.resume(revision, entries);
    }
    for ban in list(&estate["bans"]) {
        let network = ban[0].as_str().and_then(|text| text.parse::<IpNet>().ok());
        if let (Some(network), Some(until)) = (network, ban[1].as_u64()) {
            // There is room for as many as there was there.
            let _ = edge.bans.add(network, until);
        }
    }
    for route in list(&estate["routes"]) {
        if let (Some(name), Some(past)) = (route["route"].as_str(), route_past(route)) {
            edge.resume_targets(name, past);
        }
    }
    let snapshot = edge.snapshot.load();
    for flag in list(&estate["flags"]) {
        let name = flag["flag"].as_str().unwrap_or_default();
        let known = snapshot.flags.named(name);
        let is_same = known.is_some_and(|known| words(known.config().written()) == flag["written"]);
        if let (true, Some(to)) = (is_same, setting(&flag["to"])) {
            // It is there.
            let _ = edge.set_flag(name, Some(to));
        }
    }
    for endpoint in list(&estate["endpoints"]) {
        let cluster = endpoint["cluster"].as_str();
        let cluster = cluster.and_then(|name| snapshot.cluster_named(name));
        let address = endpoint["endpoint"].as_str();
        let address = address.and_then(|text| text.parse::<SocketAddr>().ok());
        if let (Some(cluster), Some(address)) = (cluster, address) {
            cluster.resume(address, &endpoint_past(endpoint), now);
        }
    }
}

fn told(shares: &[Share]) -> Value {
    let shares = shares.iter();
    shares
        .map(|share| json!([share.cluster, share.weight]))
        .collect()
}

fn route_past(route: &Value) -> Option<RoutePast> {
    Some(RoutePast {
        written: shares(&route["written"])?,
        now: shares(&route["now"])?,
        before: shares(&route["before"]),
    })
}

fn shares(value: &Value) -> Option<Vec<Share>> {
    let shares = value.as_array()?.iter();
    shares
        .map(|share| {
            Some(Share {
                cluster: share[0].as_str()?.to_owned(),
                weight: number(&share[1])?,
            })
        })
        .collect()
}

fn endpoint_past(endpoint: &Value) -> EndpointPast {
    let weight = &endpoint["weight"];
    let passes = list(&endpoint["passes"]).iter();
    EndpointPast {
        weight: number(&weight[0]).zip(number(&weight[1])),
        is_drained: endpoint["drained"] == true,
        is_leaving: endpoint["leaving"] == true,
        passes: passes.map(|passes| *passes == true).collect(),
    }
}

/// Hundredths of a percent, or a word.
fn words(setting: Setting) -> Value {
    match setting {
        Setting::On => json!("on"),
        Setting::Off => json!("off"),
        Setting::Share(percent) => json!(percent.hundredths()),
    }
}

fn setting(words: &Value) -> Option<Setting> {
    match words.as_str() {
        Some("on") => Some(Setting::On),
        Some("off") => Some(Setting::Off),
        Some(_) => None,
        None => Percent::from_hundredths(number(words)?).map(Setting::Share),
    }
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Outcome, Who};
    use crate::config;

    const TEXT: &str = "\
listeners: [{ address: '127.0.0.1:0' }]
admin: off
access_log: off
clusters:
  blue: { endpoints: ['127.0.0.1:1', '127.0.0.1:2'], health: { path: /up } }
  green: { endpoints: ['127.0.0.1:3'] }
flags: { beta: { percent: 5 }, gamma: { percent: 1 } }
routes:
  - { name: all, path: /, cluster: blue }
  - { name: split, path: /split, split: [{ cluster: blue, weight: 9 }, { cluster: green, weight: 1 }] }
";

    fn edge(text: &str) -> Edge {
        Edge::build(&config::parse("edge.yaml", text).unwrap().config).unwrap()
    }

    fn endpoint(edge: &Edge, cluster: &str, position: usize, now: Instant) -> (String, u16) {
        let snapshot = edge.snapshot.load();
        let status = snapshot.cluster_named(cluster).unwrap().status(now);
        let endpoint = &status.endpoints[position];
        (endpoint.state().to_owned(), endpoint.weight)
    }

    /// An edge that was operated on for a while.
    fn old(now: Instant) -> Edge {
        let edge = edge(TEXT);
        let snapshot = edge.snapshot.load_full();
        let blue = snapshot.cluster_named("blue").unwrap();
        for endpoint in blue.endpoints() {
            for _ in 0..3 {
                blue.probed(endpoint, 0, Ok(()), now);
            }
        }
        blue.drain(&blue.endpoints()[0], true, now);
        blue.set_weight(&blue.endpoints()[1], 7, now);
        edge.bans
            .add("10.0.0.0/8".parse().unwrap(), u64::MAX)
            .unwrap();
        edge.switch("all", "green").unwrap();
        let share = Percent::from_hundredths(1_250).map(Setting::Share);
        edge.set_flag("beta", share).unwrap();
        edge.set_flag("gamma", Some(Setting::On)).unwrap();
        edge.audit.record(upgraded(edge.audit.revise()));
        edge
    }

    fn upgraded(revision: u64) -> Record {
        Record {
            who: Who::itself("sigusr2"),
            what: "upgrade".to_owned(),
            before: Value::Null,
            after: Value::Null,
            outcome: Outcome::Done(revision),
        }
    }

    fn estate(now: Instant) -> Value {
        let old = old(now);
        let revision = old.revise();
        of(&old, &upgraded(revision), now)
    }

    #[test]
    fn what_operators_did_and_what_checks_found_goes_over() {
        let now = Instant::now();
        let next = edge(TEXT);
        assert_eq!(endpoint(&next, "blue", 1, now).0, "out", "not asked yet");
        resume(&next, &estate(now), now);
        assert_eq!(endpoint(&next, "blue", 0, now), ("draining".to_owned(), 1));
        assert_eq!(endpoint(&next, "blue", 1, now), ("in".to_owned(), 7));
        assert_eq!(
            next.bans.list(),
            [("10.0.0.0/8".parse().unwrap(), u64::MAX)]
        );
        assert_eq!(next.audit.revision(), 3);
        let since: Vec<_> = next
            .audit
            .since(1)
            .iter()
            .map(|one| one["revision"].clone())
            .collect();
        assert_eq!(since, [2, 3], "and who did it");
        let snapshot = next.snapshot.load_full();
        let flag = |name| snapshot.flags.named(name).unwrap();
        assert_eq!(flag("beta").setting().to_string(), "12.5 %");
        assert_eq!(
            (flag("gamma").setting(), flag("gamma").said()),
            (Setting::On, Said::Operator)
        );
        let back = next.switch_back("all").unwrap();
        assert_eq!(
            (&*back.before[0].cluster, &*back.now[0].cluster),
            ("green", "blue")
        );
        let split = next.set_split("split", &[]).unwrap();
        assert_eq!(
            split.before[0].weight, 9,
            "what nobody changed is as it is written"
        );
    }

    #[test]
    fn what_the_file_says_otherwise_by_now_holds() {
        let now = Instant::now();
        let text = TEXT
            .replace(
                "endpoints: ['127.0.0.1:1', '127.0.0.1:2']",
                "endpoints: [{ address: '127.0.0.1:2', weight: 3 }]",
            )
            .replace("path: /, cluster: blue", "path: /, cluster: green")
            .replace("beta: { percent: 5 }", "beta: { percent: 6 }");
        let next = edge(&text);
        resume(&next, &estate(now), now);
        assert_eq!(endpoint(&next, "blue", 0, now), ("in".to_owned(), 3));
        assert_eq!(
            next.snapshot.load().flags.named("beta").unwrap().said(),
            Said::File
        );
        assert!(
            next.switch_back("all").is_err(),
            "nobody has changed this route"
        );
    }

    #[test]
    fn words_of_another_version_are_passed_over() {
        let next = edge(TEXT);
        for strange in [
            json!(null),
            json!([1]),
            json!({ "bans": [["x", 1], 7, ["10.0.0.0/8"]], "routes": [{}, { "route": "all", "written": [[1, 2]] }] }),
            json!({ "revision": 1, "audit": [1, {}, { "revision": "x" }] }),
            json!({ "flags": [{}, { "flag": "beta", "written": 500, "to": "maybe" }] }),
            json!({ "endpoints": [{ "cluster": "blue", "endpoint": "127.0.0.1:1", "weight": ["a", 9], "passes": "yes" }] }),
        ] {
            resume(&next, &strange, Instant::now());
        }
        assert!(next.bans.list().is_empty() && next.audit.latest().is_empty());
        assert_eq!(
            next.snapshot.load().flags.named("beta").unwrap().said(),
            Said::File
        );
        assert_eq!(next.audit.revision(), 1);
        assert_eq!(
            endpoint(&next, "blue", 0, Instant::now()),
            ("out".to_owned(), 1)
        );
    }
}
