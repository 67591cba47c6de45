//! Certificate and key files, every way they can be wrong. Keys are made for each test.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

const WITH_TLS: &str = "\
listeners:
  - address: 127.0.0.1:8443
    tls:
      certificates:
        - { cert: a.pem, key: a.key }
clusters:
  auth:
    endpoints: [127.0.0.1:4001]
routes:
  - cluster: auth
";

impl World {
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// `STEM.pem` and `STEM.key`, valid through all of 2030 to 2039.
    fn issue(&self, stem: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().unwrap();
        self.write(
            &format!("{stem}.pem"),
            &params.self_signed(&key).unwrap().pem(),
        );
        self.write(&format!("{stem}.key"), &key.serialize_pem());
    }

    /// In the year 2035.
    pub(super) fn with_certificate() -> Self {
        let mut world = Self::new();
        world.now = UNIX_EPOCH + Duration::from_secs(2_050_000_000);
        world.issue("a", &["Auth.test", "*.auth.test"]);
        world
    }

    pub(super) fn one_error(&self, text: &str, place: &str, words: &[&str]) {
        let errors = self.parse(text).err().unwrap_or_default();
        assert_one(&told(&errors), place, words);
    }

    pub(super) fn one_warning(&self, text: &str, place: &str, words: &[&str]) {
        let parsed = self.parse(text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_one(&told(&parsed.warnings), place, words);
    }
}

#[test]
fn certificate_is_read_with_names_and_validity() {
    let world = World::with_certificate();
    let Parsed {
        config, warnings, ..
    } = world.parse(WITH_TLS).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.min_version, TlsVersion::Tls12);
    let certificate = &tls.certificates[0];
    let names = [
        NamePattern::Exact("auth.test".to_owned()),
        NamePattern::Wildcard("auth.test".to_owned()),
    ];
    assert_eq!(certificate.names, names);
    assert_eq!(certificate.not_after_unix_seconds, 2_208_988_800);
    assert_eq!(certificate.files.cert, world.path().join("a.pem"));
    assert_eq!(certificate.files.key, world.path().join("a.key"));
    assert_eq!(certificate.key.cert.len(), 1);
}

#[test]
fn absolute_paths_stay_absolute() {
    let world = World::with_certificate();
    let text = WITH_TLS.replace("a.pem", &world.path().join("a.pem").display().to_string());
    assert!(world.parse(&text).is_ok());
}

#[test]
fn every_common_kind_of_key_works() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let world = World::with_certificate();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        world.write("a.pem", &params.self_signed(&key).unwrap().pem());
        world.write("a.key", &key.serialize_pem());
        assert!(world.parse(WITH_TLS).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn missing_files_are_both_told() {
    let world = World::new();
    let told = told(&world.parse(WITH_TLS).unwrap_err());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("5:19: there is no file") && told[0].contains("a.pem"),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("5:31: there is no file") && told[1].contains("a.key"),
        "{told:?}"
    );
}

#[test]
fn directory_is_no_certificate() {
    let world = World::with_certificate();
    fs::remove_file(world.path().join("a.pem")).unwrap();
    fs::create_dir(world.path().join("a.pem")).unwrap();
    world.one_error(WITH_TLS, "5:19", &["is a directory"]);
}

#[test]
fn files_that_are_no_pem() {
    let world = World::with_certificate();
    world.write("a.pem", "hello\n");
    world.one_error(
        WITH_TLS,
        "5:19",
        &["holds no certificate", "BEGIN CERTIFICATE"],
    );
    let world = World::with_certificate();
    world.write("a.key", "hello\n");
    world.one_error(
        WITH_TLS,
        "5:31",
        &["holds no private key", "BEGIN PRIVATE KEY"],
    );
    let world = World::with_certificate();
    world.write("a.pem", "");
    world.one_error(WITH_TLS, "5:19", &["it is empty"]);
}

#[test]
fn damaged_pem_is_told() {
    let world = World::with_certificate();
    let pem = fs::read_to_string(world.path().join("a.pem")).unwrap();
    world.write("a.pem", &pem.replace("-----END", "----END"));
    world.one_error(WITH_TLS, "5:19", &["a.pem"]);
}

#[test]
fn pem_around_something_else_is_told() {
    let world = World::with_certificate();
    world.write(
        "a.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    world.one_error(WITH_TLS, "5:19", &["cannot be read"]);
    let world = World::with_certificate();
    world.write(
        "a.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    world.one_error(WITH_TLS, "5:31", &["key that cannot be used", "2048"]);
}

#[test]
fn swapped_files_are_recognised() {
    let world = World::with_certificate();
    let text = WITH_TLS.replace("cert: a.pem, key: a.key", "cert: a.key, key: a.pem");
    let told = told(&world.parse(&text).unwrap_err());
    assert!(
        told[0].contains("no certificate, but a private key"),
        "{told:?}"
    );
    assert!(
        told[1].contains("no private key, but a certificate"),
        "{told:?}"
    );
}

#[test]
fn key_of_another_certificate() {
    let world = World::with_certificate();
    world.issue("b", &["b.test"]);
    let text = WITH_TLS.replace("key: a.key", "key: b.key");
    world.one_error(
        &text,
        "5:31",
        &["does not belong to the first certificate", "chain"],
    );
}

#[test]
fn encrypted_key_is_told() {
    let world = World::with_certificate();
    let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    world.write("a.key", text);
    world.one_error(WITH_TLS, "5:31", &["passphrase"]);
}

#[test]
fn chain_is_kept_and_bounded() {
    let world = World::with_certificate();
    let pem = fs::read_to_string(world.path().join("a.pem")).unwrap();
    world.write("a.pem", &pem.repeat(10));
    let config = world.parse(WITH_TLS).unwrap().config;
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].key.cert.len(), 10);
    world.write("a.pem", &pem.repeat(11));
    world.one_error(WITH_TLS, "5:19", &["more than 10"]);
}

#[test]
fn expired_certificate_is_refused() {
    let mut world = World::with_certificate();
    world.now = UNIX_EPOCH + Duration::from_secs(2_208_988_801);
    world.one_error(WITH_TLS, "5:19", &["expired on", "2040"]);
    world.now -= Duration::from_secs(1);
    assert!(world.parse(WITH_TLS).is_ok());
}

#[test]
fn certificate_about_to_expire_warns() {
    let mut world = World::with_certificate();
    let until = UNIX_EPOCH + Duration::from_secs(2_208_988_800);
    let day = Duration::from_secs(24 * 60 * 60);
    world.now = until - day * 30;
    assert!(world.parse(WITH_TLS).unwrap().warnings.is_empty());
    world.now += Duration::from_secs(1);
    world.one_warning(WITH_TLS, "5:19", &["expires in 29 days"]);
}

#[test]
fn certificate_of_the_future_warns() {
    let mut world = World::with_certificate();
    world.now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    world.one_warning(WITH_TLS, "5:19", &["not valid before", "clock"]);
    world.now = UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    assert!(world.parse(WITH_TLS).unwrap().warnings.is_empty());
}

#[test]
fn certificate_without_names_warns() {
    let world = World::with_certificate();
    world.issue("a", &[]);
    world.one_warning(WITH_TLS, "5:19", &["no DNS names"]);
}

#[test]
fn address_is_no_dns_name() {
    let world = World::with_certificate();
    world.issue("a", &["10.0.0.1", "a.test"]);
    let config = world.parse(WITH_TLS).unwrap().config;
    let certificate = &config.listeners[0].tls.as_ref().unwrap().certificates[0];
    assert_eq!(certificate.names, [NamePattern::Exact("a.test".to_owned())]);
}

#[test]
fn key_that_everybody_may_read_warns() {
    let world = World::with_certificate();
    let mode = |mode| {
        fs::set_permissions(world.path().join("a.key"), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    world.one_warning(WITH_TLS, "5:31", &["every user", "chmod"]);
    mode(0o640);
    assert!(world.parse(WITH_TLS).unwrap().warnings.is_empty());
}

#[test]
fn certificate_behind_another_with_the_same_names_warns() {
    let world = World::with_certificate();
    world.issue("b", &["auth.test"]);
    world.issue("c", &["auth.test", "c.test"]);
    let second = |stem: &str| {
        let line = "        - { cert: a.pem, key: a.key }\n";
        WITH_TLS.replace(
            line,
            &format!("{line}        - {{ cert: {stem}.pem, key: {stem}.key }}\n"),
        )
    };
    world.one_warning(&second("b"), "6:19", &["every name"]);
    assert!(world.parse(&second("c")).unwrap().warnings.is_empty());
}

#[test]
fn certificate_for_a_name_that_is_passed_through_warns() {
    let world = World::with_certificate();
    let text = |sni: &str| {
        WITH_TLS.replace(
            "    tls:",
            &format!("    passthrough: [{{ sni: {sni}, cluster: legacy }}]\n    tls:"),
        ) + "  - { path: /x, cluster: auth }\n"
    };
    let text = |sni: &str| {
        text(sni).replace(
            "routes:",
            "  legacy: { endpoints: [127.0.0.1:4002] }\nroutes:",
        )
    };
    world.one_warning(&text("auth.test"), "3:26", &["never used"]);
    assert!(
        world
            .parse(&text("other.test"))
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn tls_needs_a_certificate() {
    let text = WITH_TLS.replace(
        "certificates:\n        - { cert: a.pem, key: a.key }",
        "min_version: 1.3",
    );
    let told = told(&errors(&text));
    assert!(told[0].contains("`tls` has no `certificates`"), "{told:?}");
}

#[test]
fn host_without_a_certificate_warns_where_tls_is_the_only_way_in() {
    let world = World::with_certificate();
    let text = |host: &str| WITH_TLS.replace("- cluster", &format!("- host: {host}\n    cluster"));
    world.one_warning(&text("b.test"), "10:5", &["no certificate", "`b.test`"]);
    world.one_warning(&text("a.b.auth.test"), "10:5", &["no certificate"]);
    for covered in ["auth.test", "x.auth.test", "\"*\"", "\"*.b.test\""] {
        let warnings = world.parse(&text(covered)).unwrap().warnings;
        assert!(warnings.is_empty(), "{warnings}");
    }
    let plain = text("b.test").replace("clusters:", "  - address: 127.0.0.1:8080\nclusters:");
    assert!(world.parse(&plain).unwrap().warnings.is_empty());
}
