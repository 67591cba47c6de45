//! Client certificates: who is let in, what endpoints are told, and hosts that ask for others.

use std::fs;

use portcullis_testkit::certificates::Identity;
use portcullis_testkit::client::Http2Connection;
use portcullis_testkit::{Authority, Connection, Endpoint, wait_until};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use super::{FAILURES, certificates, edge_with};
use crate::harness::Edge;
use crate::native::Setup;

const SPOOFED: &[(&str, &str)] = &[
    ("X-Client-Cert-Subject", "CN=root"),
    ("x_client_cert_serial", "1"),
    ("Client-Cert", ":MIIB:"),
    ("Client-Cert-Chain", ":MIIB:"),
];

/// The answer to a request with this certificate, or why there is none.
async fn ask(edge: &Edge, name: &str, config: rustls::ClientConfig) -> std::io::Result<Value> {
    let mut client = Connection::open_tls(edge.listener(1), name, config).await?;
    let answer = client.request("GET", "/", SPOOFED, b"").await?;
    assert_eq!(answer.status, 200);
    Ok(answer.json())
}

fn told(echo: &Value, name: &str) -> Vec<String> {
    let fields = echo["headers"].as_array().unwrap().iter();
    let named = fields.filter(|pair| pair[0] == name);
    named
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn only_clients_with_a_good_certificate_are_let_in() {
    let (a, authority, stranger) = (
        Endpoint::start("a").await,
        Authority::new(),
        Authority::new(),
    );
    let rules = json!({ "client_auth": [{ "ca": authority.root_file() }] });
    let edge = edge_with(&a, &authority, &rules).await;
    let known = authority.issue("client", &["client.example"]);
    let unknown = stranger.issue("client", &["client.example"]);
    for version in [&TLS12, &TLS13] {
        let echo = ask(
            &edge,
            "app.example",
            authority.client_as(&known, &[version]),
        );
        let echo = echo.await.unwrap();
        let serial: String = known
            .serial
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(told(&echo, "x-client-cert-serial"), [serial]);
        assert_eq!(told(&echo, "x-client-cert-san"), ["DNS:client.example"]);
        assert_eq!(
            told(&echo, "x-client-cert-subject"),
            ["CN=rcgen self signed cert"]
        );
        assert_eq!(told(&echo, "x-client-cert-fingerprint")[0].len(), 64);
        let certificate = told(&echo, "client-cert").remove(0);
        assert!(
            certificate.starts_with(":MII") && certificate.ends_with(':'),
            "{certificate}"
        );
        assert_eq!(told(&echo, "client-cert-chain"), [""; 0]);
        assert_eq!(told(&echo, "x_client_cert_serial"), [""; 0]);

        let config = authority.client_as(&unknown, &[version]);
        assert!(ask(&edge, "app.example", config).await.is_err());
        let config = authority.client_with_version(version);
        assert!(ask(&edge, "app.example", config).await.is_err());
    }
    for reason in ["bad_client_certificate", "no_client_certificate"] {
        edge.wait_for_metric(FAILURES, &[("reason", reason)], 2.0)
            .await;
    }
    edge.wait_for_outcome("refused_client_certificate", 4).await;
    assert_eq!(a.requests(), 2);
}

#[tokio::test]
async fn endpoints_are_told_of_the_chain_where_that_is_configured() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let root = authority.root_file();
    let known = authority.issue("client", &["client.example"]);
    let chain = [&known.cert, &root].map(|path| fs::read(path).unwrap());
    fs::write(&known.cert, chain.concat()).unwrap();
    let pem = String::from_utf8(fs::read(&root).unwrap()).unwrap();
    let base64: String = pem.lines().filter(|line| !line.contains('-')).collect();
    for (send_chain, expected) in [(true, vec![format!(":{base64}:")]), (false, Vec::new())] {
        let rules = json!({ "client_auth": [{ "ca": root, "send_chain": send_chain }] });
        let edge = edge_with(&a, &authority, &rules).await;
        let config = authority.client_as(&known, &[&TLS13]);
        let echo = ask(&edge, "app.example", config).await.unwrap();
        assert_eq!(told(&echo, "client-cert-chain"), expected);
        assert_eq!(told(&echo, "client-cert").len(), 1);
    }
}

#[tokio::test]
async fn where_a_certificate_is_optional_a_bad_one_is_still_refused() {
    let (a, authority, stranger) = (
        Endpoint::start("a").await,
        Authority::new(),
        Authority::new(),
    );
    let rules = json!({ "client_auth": [{ "mode": "optional", "ca": authority.root_file() }] });
    let edge = edge_with(&a, &authority, &rules).await;
    let echo = ask(&edge, "app.example", authority.client()).await.unwrap();
    for name in ["x-client-cert-subject", "client-cert", "client-cert-chain"] {
        assert_eq!(told(&echo, name), [""; 0], "{name}");
    }
    let unknown = stranger.issue("client", &["client.example"]);
    let config = authority.client_as(&unknown, &[&TLS13]);
    assert!(ask(&edge, "app.example", config).await.is_err());
    let known = authority.issue("client", &["client.example"]);
    let config = authority.client_as(&known, &[&TLS13]);
    let echo = ask(&edge, "app.example", config).await.unwrap();
    assert_eq!(told(&echo, "x-client-cert-san"), ["DNS:client.example"]);
}

/// A listener where `admin.example` asks for a certificate and `app.example` does not.
async fn two_names(engine: &str, endpoint: &Endpoint, authority: &Authority) -> (Edge, Identity) {
    let app = authority.issue("app", &["app.example", "admin.example"]);
    let rules = json!([{ "ca": authority.root_file(), "names": ["admin.example"] }]);
    let tls = json!({ "certificates": certificates(&[&app]), "client_auth": rules });
    let keys = json!({ "tls": tls, "engine": engine });
    let edge = Setup::new(&[endpoint]).listener("tls", &keys).start().await;
    (edge, authority.issue("client", &["client.example"]))
}

#[tokio::test]
async fn a_host_that_asks_for_another_certificate_than_the_connection_gets_421() {
    for engine in ["native", "pingora"] {
        let (a, authority) = (Endpoint::start("a").await, Authority::new());
        let (edge, client) = two_names(engine, &a, &authority).await;
        let open = async |name: &str, config| {
            Connection::open_tls(edge.listener(1), name, config)
                .await
                .unwrap()
        };
        let mut app = open("app.example", authority.client()).await;
        assert_eq!(app.get("/").await.unwrap().status, 200);
        for host in ["admin.example", "ADMIN.example.", "admin.example:443"] {
            app = app.with_host(host);
            let answer = app.get("/").await.unwrap();
            assert_eq!(answer.status, 421, "{engine}: {host}");
            let kind = "urn:portcullis:problem:refused_misdirected";
            assert_eq!(answer.json()["type"], kind);
        }
        app = app.with_host("app.example");
        assert_eq!(
            app.get("/").await.unwrap().status,
            200,
            "the connection lives on"
        );

        let config = authority.client_as(&client, &[&TLS13]);
        let mut admin = open("admin.example", config).await;
        assert_eq!(admin.get("/").await.unwrap().status, 200);
        admin = admin.with_host("app.example");
        assert_eq!(admin.get("/").await.unwrap().status, 421);

        let address = edge.listener(1);
        let joined = Http2Connection::open(address, "app.example", authority.client());
        let joined = joined.await.unwrap();
        assert_eq!(joined.get("/").await.unwrap().status, 200);
        let other = joined.clone().with_authority("admin.example");
        assert_eq!(other.get("/").await.unwrap().status, 421);
        assert_eq!(joined.get("/").await.unwrap().status, 200);
        edge.wait_for_outcome("refused_misdirected", 5).await;
    }
}

#[tokio::test]
async fn a_session_resumes_with_its_certificate_until_the_rules_change() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let client = authority.issue("client", &["client.example"]);
    let crl = authority.write_crl("clients.crl", &[]);
    let rules = json!({ "client_auth": [{ "ca": authority.root_file(), "crl": crl }] });
    let edge = edge_with(&a, &authority, &rules).await;
    for version in [&TLS12, &TLS13] {
        let config = authority.client_as(&client, &[version]);
        for expected in [false, true] {
            let opened = Connection::open_tls(edge.listener(1), "app.example", config.clone());
            let mut opened = opened.await.unwrap();
            assert_eq!(opened.tls().unwrap().is_resumed, expected, "{version:?}");
            let echo = opened.get("/").await.unwrap().json();
            assert_eq!(told(&echo, "x-client-cert-san"), ["DNS:client.example"]);
        }
    }
    let (old12, old13) = (
        authority.client_as(&client, &[&TLS12]),
        authority.client_as(&client, &[&TLS13]),
    );
    for config in [&old12, &old13] {
        assert!(ask(&edge, "app.example", config.clone()).await.is_ok());
    }
    authority.write_crl("clients.crl", &[&client]);
    let fresh = || authority.client_as(&client, &[&TLS13]);
    wait_until("the revocation to be known", async || {
        ask(&edge, "app.example", fresh())
            .await
            .is_err()
            .then_some(())
    })
    .await;
    for config in [old12, old13] {
        assert!(
            ask(&edge, "app.example", config).await.is_err(),
            "its session is of before"
        );
    }
    fs::remove_file(authority.directory().join("clients.crl")).unwrap();
    let labels = [("file", "clients.crl"), ("result", "failed")];
    let text = || edge.metric("portcullis_edge_tls_reloads_total", &labels[1..]);
    wait_until("the loss to be noticed", async || {
        (text().await == 1.0).then_some(())
    })
    .await;
    assert!(
        ask(&edge, "app.example", fresh()).await.is_err(),
        "the old list stays"
    );
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let rules = json!({ "client_auth": [{ "ca": authority.root_file() }] });
    let edge = edge_with(&a, &authority, &rules).await;
    for version in [&TLS12, &TLS13] {
        let config = authority.client_with_version(version);
        let error = ask(&edge, "app.example", config).await.unwrap_err();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let Some(rustls::Error::AlertReceived(_)) = inner else {
            panic!("{version:?}: {error:?}");
        };
    }
}
