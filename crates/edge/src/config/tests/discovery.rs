//! Sources of endpoints: what they mean, and where mistakes are told.

use std::sync::Arc;

use super::*;
use crate::config::{DnsQuestion, Family, Place, RedisPlace};

/// A cluster with this after `discover: `.
fn file(discover: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:8080 }}]\n\
         routes: [{{ cluster: blue }}]\n\
         clusters:\n  blue:\n    discover: {discover}\n"
    )
}

fn redis(keys: &str) -> RedisPlace {
    let mut config = good(&file(&format!("[{{ redis: {{ {keys} }} }}]"))).config;
    let source = config.clusters.remove(0).discover.sources.remove(0);
    match Arc::into_inner(source).unwrap().place {
        Place::Redis(redis) => redis,
        place => panic!("{place:?}"),
    }
}

#[test]
fn a_registry_in_redis_has_defaults_and_shows_no_password() {
    let place = redis("url: 'redis://edge:p%40ss@cache.test/3'");
    assert_eq!(place.shown, "redis://cache.test:6379/3");
    assert_eq!(
        (place.registry.as_str(), place.interval),
        ("inst", Duration::from_secs(1))
    );
    assert!(!format!("{place:?}").contains("p%40ss"));
    let other = redis("url: 'redis://edge:p%40ss@cache.test/3', registry: orders, interval: 9s");
    assert_eq!(
        (other.registry.as_str(), other.interval),
        ("orders", Duration::from_secs(9))
    );
    assert_ne!(place, other);
}

#[test]
fn an_address_that_is_none_of_a_redis_is_refused_and_not_repeated() {
    for url in [
        "http://:hunter2@cache",
        "redis+unix:///hunter2",
        "redis://:hunter2@cache:99999",
        "rediss://:hunter2@cache/#insecure",
        "hunter2",
    ] {
        let text = file(&format!("[{{ redis: {{ url: '{url}' }} }}]"));
        let errors = errors(&text);
        assert_eq!(errors.len(), 1, "{url}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
    let with_ca = |scheme: &str| {
        file(&format!(
            "[{{ redis: {{ url: '{scheme}://a', ca: none.pem }} }}]"
        ))
    };
    let told = told(&errors(&with_ca("redis")));
    assert!(
        told.iter().any(|one| one.contains("without TLS")),
        "{told:?}"
    );
    one_error(&with_ca("rediss"), "5:", &["there is no file"]);
}

#[test]
fn names_are_asked_for_in_bounds_and_by_whom_is_said() {
    let dns = |keys: &str| {
        let mut config = good(&file(&format!("[{{ {keys} }}]"))).config;
        let source = config.clusters.remove(0).discover.sources.remove(0);
        match Arc::into_inner(source).unwrap().place {
            Place::Dns(dns) => dns,
            place => panic!("{place:?}"),
        }
    };
    let seconds = Duration::from_secs;
    let host = DnsQuestion::Addresses {
        host: "app.test".to_owned(),
        port: 8000,
    };
    let plain = dns("dns: App.test:8000");
    assert_eq!(
        (&plain.question, plain.family, plain.resolver),
        (&host, Family::All, None)
    );
    assert_eq!((plain.min_ttl, plain.max_ttl), (seconds(1), seconds(300)));
    let other =
        dns("dns: app.test:8000, family: ipv6, resolver: '127.0.0.1:53', min_ttl: 9s, max_ttl: 9s");
    assert_eq!(
        (other.family, other.resolver),
        (Family::Ipv6, "127.0.0.1:53".parse().ok())
    );
    assert_eq!((other.min_ttl, other.max_ttl), (seconds(9), seconds(9)));
    let service = dns("srv: _http._tcp.app.test").question;
    assert_eq!(
        service,
        DnsQuestion::Service("_http._tcp.app.test".to_owned())
    );
}

#[test]
fn names_that_cannot_be_asked_for_are_refused() {
    for (keys, words) in [
        ("dns: app.test", "no port"),
        ("dns: '10.0.0.1:80'", "no name"),
        ("srv: app.test", "not the name of a service"),
        ("srv: _http.app.test", "not the name of a service"),
        ("srv: _http._tcp", "not the name of a service"),
        ("dns: 'a.test:1', min_ttl: 9s, max_ttl: 2s", "shorter"),
        ("file: none.yaml, resolver: '127.0.0.1:53'", "no effect"),
    ] {
        one_error(&file(&format!("[{{ {keys} }}]")), "5:", &[words]);
    }
}

#[test]
fn a_source_is_one_place_and_named_once() {
    one_error(&file("[{ weight: 2 }]"), "5:", &["where to look"]);
    let two = "[{ file: a.yaml, redis: { url: 'redis://a' } }]";
    one_error(&file(two), "5:", &["one source is one place"]);
    let twice = "[{ redis: { url: 'redis://a:x@h' } }, { redis: { url: 'redis://b:y@h' } }]";
    one_error(&file(twice), "5:", &["redis://h:6379/0/inst", "already"]);
    let many = (0..17).map(|n| format!("{{ redis: {{ url: 'redis://h/{n}' }} }}"));
    let many = format!("[{}]", many.collect::<Vec<_>>().join(", "));
    one_error(&file(&many), "5:", &["at most 16"]);
}

#[test]
fn a_cluster_without_any_endpoint_or_source_is_refused() {
    one_error(&file("[]"), "4:", &["has no endpoints"]);
    one_warning(&file("[{ file: none.yaml }]"), "5:", &["there is no file"]);
}
