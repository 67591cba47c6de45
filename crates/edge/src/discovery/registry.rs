//! Who is registered, by what a registry says at each look. Never asks it.
//!
//! An entry that has ended or says that its instance leaves takes the endpoint away at once. One that is
//! gone without a word was lost by the registry: it was emptied, and instances come back into it one by
//! one. Until they have, those that were known hold.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use serde_json::Value;

use crate::config::{Endpoint, EndpointDefaults};

/// How long an endpoint holds that the registry has lost: three heartbeats of 5 s.
const HOLD: Duration = Duration::from_secs(15);
/// Longer entries are not ours.
const ENTRY_BYTES_MAX: usize = 16 * 1024;
const WEIGHT_MAX: u64 = 1000;

/// What lies under one id of the index.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    /// `None` if it has ended.
    pub(super) text: Option<String>,
}

/// All who are registered.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    endpoint: Endpoint,
    seen: Instant,
}

/// What an entry says.
enum Said {
    Lives(Endpoint),
    Leaves,
}

impl Registry {
    /// Takes in what the registry says now. Returns what is wrong with an entry, if one is.
    pub(super) fn take(
        &mut self,
        entries: Vec<Entry>,
        defaults: &EndpointDefaults,
        now: Instant,
    ) -> Option<String> {
        let mut problem = None;
        for Entry { id, text } in entries {
            let Some(text) = text else {
                self.known.remove(&id);
                continue;
            };
            match read(&text, defaults) {
                Ok(Said::Lives(endpoint)) => {
                    let known = Known {
                        endpoint,
                        seen: now,
                    };
                    self.known.insert(id, known);
                }
                Ok(Said::Leaves) => {
                    self.known.remove(&id);
                }
                // Another release may have written it: what is known of it holds.
                Err(why) => {
                    if let Some(known) = self.known.get_mut(&id) {
                        known.seen = now;
                    }
                    let id: String = id.chars().take(64).filter(|c| !c.is_control()).collect();
                    problem.get_or_insert(format!("the entry of {id} {why}"));
                }
            }
        }
        let is_held = |known: &Known| now.saturating_duration_since(known.seen) < HOLD;
        self.known.retain(|_, known| is_held(known));
        problem
    }

    /// Those that are there.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.known
            .values()
            .map(|one| one.endpoint.clone())
            .collect()
    }
}

fn read(text: &str, defaults: &EndpointDefaults) -> Result<Said, &'static str> {
    if text.len() > ENTRY_BYTES_MAX {
        return Err("is too long");
    }
    let entry: Value = serde_json::from_str(text).map_err(|_| "is not JSON")?;
    match entry["state"].as_str() {
        None | Some("ready") => {}
        Some("draining" | "left") => return Ok(Said::Leaves),
        Some(_) => return Err("is in a state that this release does not know"),
    }
    let address = entry["address"].as_str();
    let address = address.and_then(|text| text.parse::<SocketAddr>().ok());
    let address = address.ok_or("has no `address` such as 10.0.1.7:8000")?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err("names an address that nobody can reach: give its instance ADVERTISED_ADDRESS");
    }
    let weight = match &entry["weight"] {
        Value::Null => defaults.weight,
        weight => {
            let weight = weight.as_u64().filter(|weight| *weight <= WEIGHT_MAX);
            let weight = weight.and_then(|weight| u16::try_from(weight).ok());
            weight.ok_or("has a `weight` that is not a number up to 1000")?
        }
    };
    let zone = entry["zone"].as_str().map(str::to_owned);
    Ok(Said::Lives(Endpoint {
        address,
        host: Some(ServerName::from(address.ip())),
        weight,
        priority: defaults.priority,
        zone: zone.or_else(|| defaults.zone.clone()),
        max_requests: defaults.max_requests,
    }))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn defaults() -> EndpointDefaults {
        EndpointDefaults {
            weight: 2,
            priority: 1,
            zone: None,
            max_requests: NonZeroU32::MIN,
        }
    }

    fn lives(id: &str, port: u16) -> Entry {
        let text = format!(r#"{{"id":"{id}","address":"127.0.0.1:{port}","state":"ready"}}"#);
        entry(id, Some(&text))
    }

    fn entry(id: &str, text: Option<&str>) -> Entry {
        Entry {
            id: id.to_owned(),
            text: text.map(str::to_owned),
        }
    }

    fn ports(registry: &Registry) -> Vec<u16> {
        let endpoints = registry.endpoints();
        let mut ports: Vec<u16> = endpoints.iter().map(|one| one.address.port()).collect();
        ports.sort_unstable();
        ports
    }

    /// One that knows `a` and `b`, and when it learnt of them.
    fn known() -> (Registry, Instant) {
        let (mut registry, now) = (Registry::default(), Instant::now());
        let problem = registry.take(vec![lives("a", 1), lives("b", 2)], &defaults(), now);
        assert_eq!(problem, None);
        assert_eq!(ports(&registry), [1, 2]);
        (registry, now)
    }

    #[test]
    fn who_fell_silent_or_leaves_is_gone_at_once() {
        for gone in [
            None,
            Some(r#"{"state":"draining","address":"127.0.0.1:2"}"#),
            Some(r#"{"state":"left"}"#),
        ] {
            let (mut registry, now) = known();
            registry.take(vec![lives("a", 1), entry("b", gone)], &defaults(), now);
            assert_eq!(ports(&registry), [1], "{gone:?}");
        }
    }

    #[test]
    fn who_was_lost_with_the_registry_holds_until_everybody_is_back() {
        let (mut registry, now) = known();
        registry.take(vec![], &defaults(), now + HOLD / 3);
        registry.take(vec![lives("a", 1)], &defaults(), now + HOLD / 2);
        assert_eq!(ports(&registry), [1, 2]);
        registry.take(vec![lives("a", 1)], &defaults(), now + HOLD);
        assert_eq!(ports(&registry), [1]);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_told_and_changes_nothing() {
        let long = format!(
            r#"{{"address":"127.0.0.1:9","x":"{}"}}"#,
            "x".repeat(20_000)
        );
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"address":"127.0.0.1"}"#,
            r#"{"address":"0.0.0.0:8000"}"#,
            r#"{"address":"127.0.0.1:0"}"#,
            r#"{"address":"127.0.0.1:9","state":"odd"}"#,
            r#"{"address":"127.0.0.1:9","weight":-1}"#,
            r#"{"address":"127.0.0.1:9","weight":1001}"#,
            &long,
        ] {
            let (mut registry, now) = known();
            let entries = vec![lives("a", 1), entry("b", Some(bad)), entry("c", Some(bad))];
            let problem = registry.take(entries, &defaults(), now + HOLD);
            assert!(problem.unwrap().starts_with("the entry of b "), "{bad}");
            assert_eq!(ports(&registry), [1, 2], "{bad}");
        }
    }

    #[test]
    fn an_entry_may_say_its_weight_and_zone() {
        let mut registry = Registry::default();
        let text = r#"{"address":"[::1]:5","weight":7,"zone":"b"}"#;
        registry.take(vec![entry("a", Some(text))], &defaults(), Instant::now());
        let found = registry.endpoints();
        assert_eq!((found[0].weight, found[0].priority), (7, 1));
        assert_eq!(found[0].zone.as_deref(), Some("b"));
    }
}
