//! Known answers of other implementations, and bounds.

use super::*;

/// `correct horse`, by libxcrypt and by Python's hashlib.
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
const PBKDF2: &str =
    "$pbkdf2-sha256$i=1000,l=32$AAECAwQFBgcICQoLDA0ODw$yRTMTwbMbo9G0VfjobWqerzuuxe7BETNTErBbKKumGQ";
const PASSLIB: &str =
    "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$yRTMTwbMbo9G0VfjobWqerzuuxe7BETNTErBbKKumGQ";
const DJANGO: &str = "pbkdf2_sha256$1000$salty$DzvaoPDWHNlO+0p5E04mScIUiNVjJ8YpgYitYTNqHo8=";
const SCRYPT: &str =
    "$scrypt$ln=4,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$Q7EcH175P/kcU7JE2HRU+qTRrq/BS6UbCRYPdBaC5y8";
/// `password`, from test.c of the PHC reference code.
const ARGON2: &str =
    "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc";

fn is_of(text: &str, password: &str) -> bool {
    let foreign = Foreign::parse(text).unwrap_or_else(|| panic!("{text}"));
    foreign.is_of(password, &mut Arena::default())
}

#[test]
fn sec_b02_hashes_of_other_systems_verify() {
    for text in [BCRYPT, PBKDF2, PASSLIB, DJANGO, SCRYPT] {
        assert!(is_of(text, "correct horse"), "{text}");
        assert!(!is_of(text, "Correct horse"), "{text}");
        assert!(!is_of(text, ""), "{text}");
    }
    assert!(is_of(&BCRYPT.replace("2b", "2y"), "correct horse"));
    assert!(is_of(ARGON2, "password") && !is_of(ARGON2, "correct horse"));
}

#[test]
fn bcrypt_looks_at_72_bytes_as_it_always_did() {
    let text = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
    assert!(is_of(text, &"x".repeat(80)) && is_of(text, &"x".repeat(72)));
    assert!(!is_of(text, &"x".repeat(71)));
}

#[test]
fn sec_b02_costs_beyond_the_bounds_are_not_run() {
    for (good, from, to) in [
        (BCRYPT, "$04$", "$31$"),
        (BCRYPT, "$04$", "$15$"),
        (BCRYPT, "$04$", "$03$"),
        (BCRYPT, "$04$", "$4$"),
        (PBKDF2, "i=1000", "i=2000001"),
        (PBKDF2, "i=1000", "i=4294967296"),
        (PBKDF2, "i=1000", "i=0"),
        (DJANGO, "$1000$", "$99999999$"),
        (SCRYPT, "ln=4", "ln=18"),
        (SCRYPT, "ln=4", "ln=63"),
        (SCRYPT, "ln=4", "ln=255"),
        (SCRYPT, "ln=4,r=8", "ln=1,r=4294967295"),
        (SCRYPT, "p=1", "p=1000000"),
        (ARGON2, "m=256", "m=131073"),
        (ARGON2, "t=2", "t=4294967295"),
        (ARGON2, "m=256,t=2", "m=131072,t=9"),
        (ARGON2, "p=2", "p=17"),
        (ARGON2, "p=2", "p=0"),
        (ARGON2, "m=256", "m=8"),
    ] {
        assert!(Foreign::parse(good).is_some());
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        assert!(Foreign::parse(&text).is_none(), "{text}");
    }
}

#[test]
fn anything_else_is_refused() {
    for good in [BCRYPT, PBKDF2, DJANGO, SCRYPT, ARGON2] {
        for length in 0..good.len() {
            // Shorter tags are tags as well, as long as nobody can guess them.
            let cut = Foreign::parse(&good[..length]);
            assert!(cut.is_none_or(|cut| cut.tag.len() >= 16), "{length} {good}");
        }
        for text in [
            format!("{good}$"),
            format!("{good}$AAAA"),
            format!("{good} "),
            format!("x{good}"),
            good.replacen('$', "$$", 1),
            format!("{good}{}", "A".repeat(600)),
        ] {
            assert!(Foreign::parse(&text).is_none(), "{text}");
        }
    }
    for text in [
        "",
        "$",
        "$$",
        "$1$abcdefgh$9oPEQ0rBTHzpKOOdZwUmA0",
        "{SSHA}abcd",
        "$2x$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$argon2d$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        "5f4dcc3b5aa765d61d8327deb882cf99",
    ] {
        assert!(Foreign::parse(text).is_none(), "{text}");
    }
}

#[test]
fn one_that_nothing_matches_costs_the_same() {
    for text in [BCRYPT, PBKDF2, SCRYPT, ARGON2] {
        let good = Foreign::parse(text).unwrap();
        let dummy = Foreign::unmatchable(good.scheme);
        assert_eq!(dummy.scheme, good.scheme);
        assert!(!dummy.is_of("correct horse", &mut Arena::default()));
    }
}
