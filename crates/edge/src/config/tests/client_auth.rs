//! Files of client certificates, staples and ticket secrets, every way they can be wrong.

use std::fs;

use portcullis_testkit::Authority;
use portcullis_testkit::certificates::ocsp_response;

use super::*;

/// In the year 2035, with keys of `tls` behind the certificate.
fn with(keys: &str) -> (World, String) {
    let world = World::with_certificate();
    let text = format!(
        "listeners:\n  - address: 127.0.0.1:8443\n    tls:\n      certificates: [{{ cert: a.pem, key: a.key }}]\n\
         {keys}clusters:\n  auth:\n    endpoints: [127.0.0.1:4001]\nroutes:\n  - cluster: auth\n"
    );
    (world, text)
}

fn put(world: &World, authority: &Authority) {
    fs::copy(authority.root_file(), world.path().join("ca.pem")).unwrap();
}

#[test]
fn authorities_and_lists_that_cannot_be_used_are_told() {
    let rules = "      client_auth:\n        - { ca: ca.pem, crl: ca.crl }\n";
    let (world, text) = with(rules);
    let authority = Authority::new();
    world.write("ca.crl", "");
    world.write("ca.pem", "nothing");
    let errors = world.parse(&text).err().unwrap();
    let told: Vec<_> = errors.iter().map(|one| one.message.clone()).collect();
    assert!(
        told[0].contains("ca.pem holds no usable certificates"),
        "{told:?}"
    );
    assert!(
        told[1].contains("ca.crl holds no revocation list"),
        "{told:?}"
    );

    put(&world, &authority);
    let old = authority.write_crl_until("old.crl", &[], 2_000_000_000);
    fs::copy(old, world.path().join("ca.crl")).unwrap();
    world.one_error(&text, "6:30", &["ca.crl was to be renewed by", "2033"]);
    let good = authority.write_crl("good.crl", &[]);
    fs::copy(good, world.path().join("ca.crl")).unwrap();
    assert!(world.parse(&text).is_ok());
    fs::remove_file(world.path().join("ca.pem")).unwrap();
    world.one_error(&text, "6:17", &["there is no file", "ca.pem"]);
}

#[test]
fn rules_that_an_earlier_entry_hides_are_refused() {
    for (first, second) in [
        ("", "names: [a.test]"),
        ("names: ['*.a.test']", "names: [x.a.test]"),
        ("names: [a.test]", "names: [b.test, a.test]"),
    ] {
        let entry = |names: &str| format!("        - {{ ca: ca.pem, {names} }}\n");
        let rules = format!("      client_auth:\n{}{}", entry(first), entry(second));
        let (world, text) = with(&rules);
        put(&world, &Authority::new());
        let errors = world.parse(&text).err().unwrap_or_default();
        let told: Vec<_> = errors.iter().map(|one| one.message.clone()).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("an earlier entry"), "{told:?}");
    }
}

#[test]
fn ticket_secrets_must_be_there_and_long() {
    let (world, text) = with("      ticket_key_file: tickets\n");
    world.one_error(&text, "5:24", &["there is no file", "tickets"]);
    for (lines, words) in [
        ("# none\n\n", "holds no secret"),
        (
            "0123456789012345678901234567890123456789\nshort\n",
            "secret 2 of",
        ),
        (
            &"0123456789012345678901234567890123456789\n".repeat(5),
            "more than 4",
        ),
    ] {
        world.write("tickets", lines);
        world.one_error(&text, "5:24", &[words]);
    }
    world.write("tickets", &"s".repeat(32));
    assert!(world.parse(&text).is_ok());
}

#[test]
fn a_bad_staple_is_a_warning_and_the_certificate_serves_without() {
    let (world, text) = with("");
    let text = text.replace("key: a.key }", "key: a.key, ocsp: a.ocsp }");
    world.one_warning(&text, "4:55", &["there is no file", "a.ocsp"]);
    world.write("a.ocsp", "nothing");
    world.one_warning(&text, "4:55", &["a.ocsp holds no OCSP response"]);
    let strange = ocsp_response(&[9, 9], true, "20400101000000Z");
    fs::write(world.path().join("a.ocsp"), strange).unwrap();
    world.one_warning(&text, "4:55", &["for another certificate"]);
    let config = world.parse(&text).unwrap().config;
    let certificate = &config.listeners[0].tls.as_ref().unwrap().certificates[0];
    assert_eq!(
        (certificate.ocsp_until, &certificate.key.ocsp),
        (None, &None)
    );
}
