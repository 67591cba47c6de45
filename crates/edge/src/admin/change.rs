//! Changes an operator may make while the edge runs: what a request asks for. Never makes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_ops::decode::parse_network;
use portcullis_traffic::flag::Setting;
use serde_json::{Map, Value};

use super::answer::Refused;
use super::flags;
use super::json::{self, NoObject};
use super::table::Kind;

/// Largest weight; the same as in the configuration.
const WEIGHT_MAX: u64 = 1_000;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// To one endpoint of a cluster.
    Endpoint {
        cluster: String,
        endpoint: SocketAddr,
        change: EndpointChange,
    },
    /// Keeps a network out, for a while or until the process ends.
    Ban {
        network: IpNet,
        ttl: Option<Duration>,
    },
    /// Lets it in again.
    Unban { network: IpNet },
    /// To whom a feature is on for; `None` is whom file and environment say.
    Flag { flag: String, to: Option<Setting> },
    /// To where a route's requests go.
    Route { route: String, change: RouteChange },
}

/// What happens to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointChange {
    /// It takes no new clients; those bound to it stay.
    Drain,
    /// It takes new clients again.
    Undrain,
    /// It gets another share of the traffic.
    Weight(u16),
}

/// What happens to a route's targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RouteChange {
    /// All requests go to one cluster.
    Switch(String),
    /// The weights before the last change are in force again.
    SwitchBack,
    /// These weights are in force; clusters left out keep theirs.
    Split(BTreeMap<String, u16>),
}

impl Change {
    /// Reads the steps of a request's path that stand for something, and its body.
    pub(super) fn parse(kind: Kind, steps: &[&str], body: &[u8]) -> Result<Self, Refused> {
        match (kind, steps) {
            (Kind::Drain | Kind::Undrain | Kind::Weight, [cluster, endpoint]) => {
                Ok(Self::Endpoint {
                    change: endpoint_change(kind, body)?,
                    cluster: decoded(cluster)?,
                    endpoint: address(&decoded(endpoint)?)?,
                })
            }
            (Kind::Switch | Kind::SwitchBack | Kind::Split, [route]) => Ok(Self::Route {
                change: route_change(kind, body)?,
                route: decoded(route)?,
            }),
            (Kind::SetFlag | Kind::ResetFlag, [flag]) => Ok(Self::Flag {
                to: flag_setting(kind, body)?,
                flag: decoded(flag)?,
            }),
            (Kind::Ban, []) => ban(body),
            (Kind::Unban, []) => {
                let fields = object(body, &["network"])?;
                network(&fields).map(|network| Self::Unban { network })
            }
            _ => Err(invalid("The path names too much or too little")),
        }
    }
}

fn endpoint_change(kind: Kind, body: &[u8]) -> Result<EndpointChange, Refused> {
    match kind {
        Kind::Weight => {
            let fields = object(body, &["weight"])?;
            let value = fields.get("weight").unwrap_or(&Value::Null);
            weight("weight", value).map(EndpointChange::Weight)
        }
        Kind::Drain => nothing(body).map(|()| EndpointChange::Drain),
        _ => nothing(body).map(|()| EndpointChange::Undrain),
    }
}

fn route_change(kind: Kind, body: &[u8]) -> Result<RouteChange, Refused> {
    match kind {
        Kind::Switch => match object(body, &["cluster"])?.get("cluster") {
            Some(Value::String(cluster)) => Ok(RouteChange::Switch(cluster.clone())),
            _ => Err(invalid("`cluster` must be the name of one of its clusters")),
        },
        Kind::Split => {
            let fields = object(body, &["weights"])?;
            let Some(Value::Object(weights)) = fields.get("weights") else {
                return Err(invalid("`weights` must give each cluster a number"));
            };
            if weights.is_empty() {
                return Err(invalid("`weights` names no cluster"));
            }
            let weights = weights
                .iter()
                .map(|(cluster, value)| Ok((cluster.clone(), weight(cluster, value)?)));
            weights.collect::<Result<_, _>>().map(RouteChange::Split)
        }
        _ => nothing(body).map(|()| RouteChange::SwitchBack),
    }
}

fn flag_setting(kind: Kind, body: &[u8]) -> Result<Option<Setting>, Refused> {
    if kind == Kind::ResetFlag {
        return nothing(body).map(|()| None);
    }
    let fields = object(body, &["to"])?;
    let to = fields.get("to").and_then(flags::setting);
    let expected = "`to` must be `on`, `off`, or a number from 0 to 100 in steps of 0.01";
    to.map(Some).ok_or_else(|| invalid(expected))
}

/// Which cluster to check: that of the path, else that of the body, else all.
pub(super) fn checked_cluster(steps: &[&str], body: &[u8]) -> Result<Option<String>, Refused> {
    if let [cluster] = steps {
        nothing(body)?;
        return decoded(cluster).map(Some);
    }
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match object(body, &["cluster"])?.remove("cluster") {
        None => Ok(None),
        Some(Value::String(cluster)) => Ok(Some(cluster)),
        Some(_) => Err(invalid("`cluster` must be the name of a cluster")),
    }
}

/// The only member that a body may have.
pub(super) fn member(body: &[u8], name: &str) -> Result<Option<Value>, Refused> {
    match body.trim_ascii().is_empty() {
        true => Ok(None),
        false => Ok(object(body, &[name])?.remove(name)),
    }
}

fn ban(body: &[u8]) -> Result<Change, Refused> {
    let fields = object(body, &["network", "ttl_seconds"])?;
    let ttl = match fields.get("ttl_seconds") {
        None => None,
        Some(seconds) => {
            let seconds = seconds.as_u64().filter(|seconds| *seconds > 0);
            let seconds =
                seconds.ok_or_else(|| invalid("`ttl_seconds` must be a whole number above 0"))?;
            Some(Duration::from_secs(seconds))
        }
    };
    network(&fields).map(|network| Change::Ban { network, ttl })
}

fn network(fields: &Map<String, Value>) -> Result<IpNet, Refused> {
    let text = fields.get("network").and_then(Value::as_str);
    let network = text.and_then(|text| parse_network(text).ok());
    network.ok_or_else(|| invalid("`network` must be one such as 203.0.113.0/24, or one address"))
}

fn invalid(detail: &str) -> Refused {
    Refused::Invalid(format!("{detail}."))
}

fn weight(name: &str, value: &Value) -> Result<u16, Refused> {
    value
        .as_u64()
        .filter(|weight| *weight <= WEIGHT_MAX)
        .and_then(|weight| u16::try_from(weight).ok())
        .ok_or_else(|| invalid(&format!("`{name}` must be a number from 0 to {WEIGHT_MAX}")))
}

/// No body, or an empty object.
pub(super) fn nothing(body: &[u8]) -> Result<(), Refused> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    object(body, &[]).map(drop)
}

/// A JSON object, whatever is in it.
pub(super) fn members(body: &[u8]) -> Result<Map<String, Value>, Refused> {
    json::object(body).map_err(|error| match error {
        NoObject::Twice => invalid("The body has a name twice: it must stand for one value"),
        NoObject::Other => invalid("The body must be a JSON object"),
    })
}

/// A JSON object without other keys.
fn object(body: &[u8], known: &[&str]) -> Result<Map<String, Value>, Refused> {
    let fields = members(body)?;
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(_) if known.is_empty() => Err(invalid("This change takes no values")),
        Some(_) => Err(invalid(&format!(
            "The body must hold `{}` and nothing else",
            known.join("`, `")
        ))),
        None => Ok(fields),
    }
}

fn address(text: &str) -> Result<SocketAddr, Refused> {
    text.parse()
        .map_err(|_| invalid("The endpoint must be an IP address and port, as /v1/status shows it"))
}

/// Percent-decoding (RFC 3986 section 2.1) of one step of the path.
fn decoded(step: &str) -> Result<String, Refused> {
    let mistake = || invalid("The path is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(step.len());
    let mut rest = step.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).ok_or_else(mistake)?;
        let digits = std::str::from_utf8(digits).map_err(|_| mistake())?;
        // `from_str_radix` would also take a sign.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(mistake());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| mistake())?);
        rest = rest.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| mistake())
}

#[cfg(test)]
mod tests {
    use super::super::table::{self, Does};
    use super::*;

    fn endpoint(change: EndpointChange) -> Change {
        Change::Endpoint {
            cluster: "auth".to_owned(),
            endpoint: "10.0.1.10:8000".parse().unwrap(),
            change,
        }
    }

    fn of_endpoint(verb: &str, body: &str) -> Result<Change, Refused> {
        asked(
            &format!("/v1/clusters/auth/endpoints/10.0.1.10:8000/{verb}"),
            body,
        )
    }

    fn asked(path: &str, body: &str) -> Result<Change, Refused> {
        let (operation, steps) = table::find(&http::Method::POST, path)?;
        let Does::Change(kind) = operation.does else {
            panic!("{path} changes nothing");
        };
        Change::parse(kind, &steps, body.as_bytes())
    }

    fn of_route(verb: &str, body: &str) -> Result<Change, Refused> {
        asked(&format!("/v1/routes/all/{verb}"), body)
    }

    #[test]
    fn each_change_of_an_endpoint_has_its_verb() {
        assert_eq!(
            of_endpoint("drain", ""),
            Ok(endpoint(EndpointChange::Drain))
        );
        assert_eq!(
            of_endpoint("undrain", "{}"),
            Ok(endpoint(EndpointChange::Undrain))
        );
        assert_eq!(
            of_endpoint("weight", r#"{"weight": 0}"#),
            Ok(endpoint(EndpointChange::Weight(0)))
        );
    }

    #[test]
    fn a_check_is_of_one_cluster_or_of_all() {
        let one = Ok(Some("auth".to_owned()));
        assert_eq!(checked_cluster(&["auth"], b" "), one);
        assert_eq!(checked_cluster(&[], br#"{"cluster": "auth"}"#), one);
        assert_eq!(checked_cluster(&[], b"{}"), Ok(None));
        assert_eq!(checked_cluster(&[], b""), Ok(None));
        for wrong in [&b"[]"[..], br#"{"cluster": 1}"#, br#"{"x": 1}"#] {
            assert!(matches!(
                checked_cluster(&[], wrong),
                Err(Refused::Invalid(_))
            ));
        }
    }

    #[test]
    fn each_change_of_a_route_has_its_verb() {
        let route = |change| {
            Ok(Change::Route {
                route: "all".to_owned(),
                change,
            })
        };
        assert_eq!(
            of_route("switch", r#"{"cluster": "green"}"#),
            route(RouteChange::Switch("green".to_owned()))
        );
        assert_eq!(of_route("switch-back", ""), route(RouteChange::SwitchBack));
        assert_eq!(
            of_route("split", r#"{"weights": {"blue": 95, "green": 5}}"#),
            route(RouteChange::Split(BTreeMap::from([
                ("blue".to_owned(), 95),
                ("green".to_owned(), 5)
            ])))
        );
    }

    #[test]
    fn a_flag_is_set_and_given_back() {
        let flag = |to| {
            let flag = "new_search".to_owned();
            Ok(Change::Flag { flag, to })
        };
        let set = |body| asked("/v1/flags/new_search/set", body);
        assert_eq!(set(r#"{"to": "off"}"#), flag(Some(Setting::Off)));
        assert_eq!(asked("/v1/flags/new_search/reset", ""), flag(None));
        for wrong in ["", "{}", r#"{"to": 101}"#, r#"{"to": "20"}"#] {
            assert!(matches!(set(wrong), Err(Refused::Invalid(_))), "{wrong}");
        }
    }

    #[test]
    fn an_address_with_brackets_may_be_encoded() {
        for address in ["[::1]:80", "%5B::1%5d:80"] {
            let path = format!("/v1/clusters/a/endpoints/{address}/drain");
            let Ok(Change::Endpoint { endpoint, .. }) = asked(&path, "") else {
                panic!("{address}");
            };
            assert_eq!(endpoint, "[::1]:80".parse().unwrap());
        }
    }

    #[test]
    fn every_mistake_says_what_is_expected() {
        for (verb, body, word) in [
            ("weight", "", "object"),
            ("weight", "[]", "object"),
            ("weight", "{}", "`weight`"),
            ("weight", r#"{"weight": 1001}"#, "1000"),
            ("weight", r#"{"weight": -1}"#, "1000"),
            ("weight", r#"{"weight": "1"}"#, "1000"),
            ("weight", r#"{"weight": 1, "x": 1}"#, "nothing else"),
            ("weight", r#"{"weight": 1, "weight": 2}"#, "twice"),
            ("drain", r#"{"x": 1}"#, "no values"),
            ("drain", "garbage", "object"),
        ] {
            match of_endpoint(verb, body) {
                Err(Refused::Invalid(detail)) => assert!(detail.contains(word), "{detail}"),
                other => panic!("{verb} {body}: {other:?}"),
            }
        }
        for (verb, body) in [
            ("switch", "{}"),
            ("switch", r#"{"cluster": 1}"#),
            ("split", r#"{"weights": 1}"#),
            ("split", r#"{"weights": {}}"#),
            ("split", r#"{"weights": {"blue": 1.5}}"#),
        ] {
            assert!(
                matches!(of_route(verb, body), Err(Refused::Invalid(_))),
                "{verb} {body}"
            );
        }
    }

    #[test]
    fn broken_paths_are_told() {
        for step in ["%", "%+1", "%ff", "%é"] {
            let path = format!("/v1/clusters/{step}/endpoints/1.2.3.4:5/drain");
            assert!(
                matches!(asked(&path, ""), Err(Refused::Invalid(_))),
                "{path}"
            );
        }
        let nowhere = asked("/v1/clusters/a/endpoints/nowhere/drain", "");
        assert!(matches!(nowhere, Err(Refused::Invalid(_))));
    }
}
