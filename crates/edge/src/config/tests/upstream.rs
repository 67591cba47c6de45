//! Connections to endpoints from text to configuration: defaults, files, and keys that contradict each
//! other.

use std::sync::Arc;

use portcullis_testkit::Authority;
use rustls_pki_types::ServerName;

use super::mistakes::with_in_cluster;
use super::*;

fn tls(keys: &str) -> Arc<UpstreamTls> {
    let mut config = good(&with_in_cluster(&format!("tls: {keys}"))).config;
    config.clusters.remove(0).tls.unwrap()
}

fn message(keys: &str) -> String {
    let errors = errors(&with_in_cluster(&format!("tls: {keys}")));
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn endpoints_are_verified_unless_told_otherwise() {
    let authority = Authority::new();
    let ca = authority.root_file();
    let tls = tls(&format!("{{ ca: '{}' }}", ca.display()));
    let files = tls.live.files();
    assert!(files.is_verified && tls.server_name.is_none() && files.own.is_none());
    assert_eq!(tls.min_version, TlsVersion::Tls12);
    assert_eq!(files.ca.as_deref(), Some(ca.as_path()));
    let open = good(&with_in_cluster("tls: { verify: false }"));
    let warnings: Vec<String> = open.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("anyone between"), "{warnings:?}");
}

#[test]
fn whatever_changes_the_settings_changes_their_identity() {
    let (one, other) = (Authority::new(), Authority::new());
    let (a, b) = (one.issue("a", &["a"]), one.issue("b", &["b"]));
    let identity = |tls: &UpstreamTls| (tls.identity(), tls.live.current().identity);
    let with = |authority: &Authority, more: &str| {
        let ca = authority.root_file();
        identity(&tls(&format!("{{ ca: '{}', {more} }}", ca.display())))
    };
    let shows = |own: &portcullis_testkit::Identity| {
        format!(
            "cert: '{}', key: '{}'",
            own.cert.display(),
            own.key.display()
        )
    };
    let identities = [
        identity(&tls("{ verify: false }")),
        with(&one, ""),
        with(&other, ""),
        with(&one, "server_name: a.test"),
        with(&one, "min_version: '1.3'"),
        with(&one, &shows(&a)),
        with(&one, &shows(&b)),
    ];
    for (position, identity) in identities.iter().enumerate() {
        assert!(!identities[..position].contains(identity), "{position}");
    }
    assert_eq!(with(&one, ""), with(&one, ""));
}

#[test]
fn mistakes_in_tls_to_endpoints_are_found() {
    let authority = Authority::new();
    let (a, b) = (authority.issue("a", &["a"]), authority.issue("b", &["b"]));
    let expired = authority.issue_expired("old", &["a"]);
    let shows = |cert: &Path, key: &Path| {
        format!(
            "{{ verify: true, cert: '{}', key: '{}' }}",
            cert.display(),
            key.display()
        )
    };
    for (keys, expected) in [
        (
            format!("{{ ca: '{}' }}", a.key.display()),
            "no usable certificates",
        ),
        ("{ ca: /nowhere/ca.pem }".to_owned(), "/nowhere/ca.pem"),
        (
            format!("{{ cert: '{}' }}", a.cert.display()),
            "`cert` without `key`",
        ),
        (
            format!("{{ key: '{}' }}", a.key.display()),
            "`key` without `cert`",
        ),
        (shows(&a.cert, &b.key), "is not the key of the certificate"),
        (shows(&a.key, &a.key), "no usable certificate"),
        (shows(&a.cert, &a.cert), "no usable private key"),
        (shows(&expired.cert, &expired.key), "expired on"),
        (
            format!("{{ ca: '{}', verify: false }}", a.cert.display()),
            "has no effect",
        ),
        (
            "{ server_name: 'a b' }".to_owned(),
            "neither a host name nor an address",
        ),
    ] {
        let message = message(&keys);
        assert!(message.contains(expected), "{keys}: {message}");
    }
}

#[test]
fn checks_take_the_settings_of_their_cluster() {
    let health = |check: &str| {
        let keys = format!("tls: {{ verify: false, server_name: a.test }}\n    health: {check}");
        good(&with_in_cluster(&keys))
            .config
            .clusters
            .remove(0)
            .health
            .remove(0)
            .tls
    };
    let taken = health("{}").unwrap();
    assert!(taken.is_as_requests && !taken.live.files().is_verified);
    assert_eq!(taken.server_name, ServerName::try_from("a.test").ok());
    assert!(health("{ tls: off }").is_none());
    let own = health("{ tls: { verify: false } }").unwrap();
    assert!(!own.is_as_requests && own.server_name.is_none());
}

#[test]
fn http2_goes_with_tls_and_in_the_clear_without() {
    let cluster = |keys: &str| good(&with_in_cluster(keys)).config.clusters.remove(0);
    let with_tls = |protocol: &str| {
        with_in_cluster(&format!(
            "protocol: {protocol}\n    tls: {{ verify: false }}"
        ))
    };
    assert_eq!(cluster("protocol: h2c").protocol, Protocol::Http2Clear);
    assert_eq!(cluster("protocol: http1").protocol, Protocol::Http1);
    let secure = good(&with_tls("h2")).config.clusters.remove(0);
    assert_eq!(secure.protocol, Protocol::Http2);
    for (text, says) in [
        (with_in_cluster("protocol: h2"), "there is no `tls`"),
        (with_tls("h2c"), "there is `tls`"),
    ] {
        let found: Vec<String> = errors(&text).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(says), "{found:?}");
    }
}
