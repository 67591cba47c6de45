//! What an authority says of a certificate, given to clients with it.

use std::fs;
use std::sync::{Arc, Mutex};

use portcullis_testkit::certificates::ocsp_of;
use portcullis_testkit::{Authority, Connection, Endpoint, wait_until};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::json;

use crate::harness::Edge;
use crate::native::Setup;

/// Trusts everybody, and remembers the staple.
#[derive(Debug, Default)]
struct Staple(Mutex<Vec<u8>>);

impl ServerCertVerifier for Staple {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = ocsp_response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

async fn stapled(edge: &Edge) -> Vec<u8> {
    let staple = Arc::new(Staple::default());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&staple) as _)
        .with_no_client_auth();
    let opened = Connection::open_tls(edge.listener(1), "app.example", config);
    opened.await.unwrap();
    staple.0.lock().unwrap().clone()
}

#[tokio::test]
async fn a_staple_goes_with_its_certificate_and_follows_its_file() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let app = authority.issue("app", &["app.example"]);
    let other = authority.issue("other", &["app.example"]);
    let file = authority.directory().join("app.ocsp");
    let first = ocsp_of(&app, true, "20990101000000Z");
    fs::write(&file, &first).unwrap();
    let entry = json!({ "cert": app.cert, "key": app.key, "ocsp": file });
    let keys = json!({ "tls": { "certificates": [entry] } });
    let edge = Setup::new(&[&a]).listener("tls", &keys).start().await;
    assert_eq!(stapled(&edge).await, first);

    let reloads = "portcullis_edge_tls_reloads_total";
    let bad = [
        ocsp_of(&other, true, "20990101000000Z"),
        ocsp_of(&app, false, "20990101000000Z"),
        ocsp_of(&app, true, "20200102000000Z"),
        b"garbage".to_vec(),
    ];
    for (count, bytes) in bad.iter().enumerate() {
        fs::write(&file, bytes).unwrap();
        let failed = [("result", "failed")];
        edge.wait_for_metric(reloads, &failed, (count + 1) as f64)
            .await;
        assert_eq!(stapled(&edge).await, first, "the old one stays");
    }
    let second = ocsp_of(&app, true, "20990102000000Z");
    fs::write(&file, &second).unwrap();
    wait_until("the new staple", async || {
        (stapled(&edge).await == second).then_some(())
    })
    .await;
}
