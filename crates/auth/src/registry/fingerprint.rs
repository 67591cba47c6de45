//! Short digests of the settings that must agree between instances. Never long enough to find a secret by trying.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::{Config, SharedState};

/// Longest text that is read: what another version writes may differ, but not without end.
const BYTES_MAX: usize = 1024;

/// One digest of eight digits for each setting, by the setting's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// That of an instance which was given this key, or none.
    pub(crate) fn of(config: &Config, given_key: Option<&str>) -> Self {
        let tokens = &config.tokens;
        let sessions = &config.sessions;
        let pepper = config.passwords.pepper.as_ref();
        let pepper = pepper.map_or("", |pepper| pepper.expose().as_str());
        let lifetimes = [
            tokens.access_ttl,
            tokens.refresh_idle_ttl,
            tokens.refresh_absolute_ttl,
            sessions.ttl,
            sessions.idle_ttl,
        ]
        .map(|lifetime| lifetime.as_secs().to_string())
        .join(" ");
        let database = place(config.database.file(), &config.database.place);
        let shared_state = match &config.shared_state {
            SharedState::File(file) => place(Some(file), &""),
            SharedState::Redis(options) => options.place(),
        };
        // Through which server it goes is each instance's affair; that it goes, and where links lead, is not.
        let mail = config.mail.as_ref();
        let sends_mail = mail.map_or("", |_| "set");
        let links = mail.map_or_else(String::new, |mail| {
            format!("{} {}", mail.reset_url, mail.verify_url)
        });
        let all = [
            // Where they are, and nothing of who asks: passwords change one instance after the other.
            ("DATABASE_URL", database.as_str()),
            ("REDIS_URL", shared_state.as_str()),
            ("ISSUER_URL", tokens.issuer.as_str()),
            ("TOKEN_AUDIENCE", tokens.audience.as_str()),
            ("SECURITY_SALT", pepper),
            ("JWT_ALGORITHM", config.keys.algorithm.name()),
            ("JWT_PRIVATE_KEY", given_key.unwrap_or("")),
            ("lifetimes", lifetimes.as_str()),
            ("SESSION_COOKIE_NAME", sessions.cookie_name.as_str()),
            ("SMTP_HOST", sends_mail),
            ("MAIL_RESET_URL", links.as_str()),
        ];
        let digested = |(name, value): (&str, &str)| (name.to_owned(), digest(name, value));
        Self(all.into_iter().map(digested).collect())
    }

    /// As it travels: `name=digits`, separated by spaces.
    pub(crate) fn to_text(&self) -> String {
        let parts: Vec<String> = self
            .parts()
            .map(|(name, of)| format!("{name}={of}"))
            .collect();
        parts.join(" ")
    }

    /// Reads what [`Fingerprint::to_text`] wrote. Of other text, a version before names for one, as much as fits.
    pub(crate) fn parse(text: &str) -> Self {
        let text = if text.len() > BYTES_MAX { "" } else { text };
        let parts = text.split(' ').filter_map(|part| part.split_once('='));
        let owned = |(name, of): (&str, &str)| (name.to_owned(), of.to_owned());
        Self(parts.map(owned).collect())
    }

    /// Names and digests, in order of the name.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, of)| (name.as_str(), of.as_str()))
    }

    /// Names of the settings that are not the same. What only one of the two knows is no difference: versions differ
    /// while they are rolled out.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let differs = |(name, of): &(&str, &str)| other.0.get(*name).is_some_and(|it| it != of);
        self.parts()
            .filter(differs)
            .map(|(name, _)| name.to_owned())
            .collect()
    }
}

/// The same for two instances on one machine, wherever they were started.
fn place(file: Option<&Path>, server: &dyn Display) -> String {
    let Some(file) = file else {
        return server.to_string();
    };
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    file.display().to_string()
}

/// Eight digits; the name goes in, so that equal values of two settings look different.
fn digest(name: &str, value: &str) -> String {
    let mut context = Context::new(&SHA256);
    for part in [name, value] {
        context.update(&part.len().to_le_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    digest
        .as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)], given: Option<&str>) -> Fingerprint {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Fingerprint::of(&Config::from_env(lookup).unwrap(), given)
    }

    #[test]
    fn each_setting_that_must_agree_is_named_when_it_does_not() {
        let base = of(&[], None);
        for (pairs, names) in [
            (
                &[
                    ("ISSUER_URL", "http://a.test"),
                    ("TOKEN_AUDIENCE", "http://localhost:8000"),
                ][..],
                &["ISSUER_URL"][..],
            ),
            (&[("TOKEN_AUDIENCE", "api")], &["TOKEN_AUDIENCE"]),
            (
                &[("SECURITY_SALT", "pZ7vQ2mX9cL4bN8tR1wK6yH3jF5dS0gA-uE")],
                &["SECURITY_SALT"],
            ),
            (&[("JWT_ALGORITHM", "ES256")], &["JWT_ALGORITHM"]),
            (&[("ACCESS_TOKEN_TTL", "601")], &["lifetimes"]),
            (&[("SESSION_TTL", "86401")], &["lifetimes"]),
            (&[("SESSION_COOKIE_NAME", "s")], &["SESSION_COOKIE_NAME"]),
            (
                &[("SMTP_HOST", "mail.test"), ("SMTP_FROM", "a@b.test")],
                &["MAIL_RESET_URL", "SMTP_HOST"],
            ),
        ] {
            assert_eq!(of(pairs, None).differences(&base), names);
        }
        assert_eq!(of(&[], Some("kid")).differences(&base), ["JWT_PRIVATE_KEY"]);
        let free = [
            ("LOG_LEVEL", "debug"),
            ("HASH_WORKERS", "3"),
            ("INSTANCE_ID", "b"),
        ];
        assert!(of(&free, None).differences(&base).is_empty());
    }

    #[test]
    fn another_database_or_redis_is_named_and_another_password_is_not() {
        let at = |database: &str, redis: &str| {
            of(&[("DATABASE_URL", database), ("REDIS_URL", redis)], None)
        };
        let base = at(
            "postgres://app:one@db:5432/auth",
            "redis://:one@cache:6379/0",
        );
        for (database, redis, names) in [
            (
                "postgres://app:one@db2:5432/auth",
                "redis://:one@cache:6379/0",
                vec!["DATABASE_URL"],
            ),
            (
                "postgres://app:one@db:5433/auth",
                "redis://:one@cache:6379/0",
                vec!["DATABASE_URL"],
            ),
            (
                "postgres://app:one@db:5432/other",
                "redis://:one@cache:6379/0",
                vec!["DATABASE_URL"],
            ),
            (
                "postgres://app:one@db:5432/auth",
                "redis://:one@cache2:6379/0",
                vec!["REDIS_URL"],
            ),
            (
                "postgres://app:one@db:5432/auth",
                "redis://:one@cache:6379/1",
                vec!["REDIS_URL"],
            ),
            (
                "sqlite://auth.db",
                "redis://:one@cache:6379/0",
                vec!["DATABASE_URL"],
            ),
            (
                "postgres://ops:two@db/auth?sslmode=require",
                "redis://:two@cache",
                vec![],
            ),
        ] {
            assert_eq!(
                at(database, redis).differences(&base),
                names,
                "{database} {redis}"
            );
        }
        let file = of(&[("SHARED_STATE_URL", "sqlite:///run/a.db")], None);
        let other = of(&[("SHARED_STATE_URL", "sqlite:///run/b.db")], None);
        assert_eq!(file.differences(&other), ["REDIS_URL"]);
    }

    #[test]
    fn it_survives_the_journey_and_shows_no_value() {
        let salt = "pZ7vQ2mX9cL4bN8tR1wK6yH3jF5dS0gA-uE";
        let fingerprint = of(&[("SECURITY_SALT", salt)], Some("thumbprint"));
        let text = fingerprint.to_text();
        assert_eq!(Fingerprint::parse(&text), fingerprint);
        assert!(text.len() < BYTES_MAX && !text.contains("pZ7v"), "{text}");
        assert!(fingerprint.parts().all(|(_, digits)| digits.len() == 8));
    }

    #[test]
    fn another_version_is_no_difference() {
        let ours = of(&[], None);
        for text in ["", "f00dfeed", "NEW=00000000", &"x=y ".repeat(1000)] {
            let theirs = Fingerprint::parse(text);
            assert!(ours.differences(&theirs).is_empty(), "{text:.20}");
            assert!(theirs.differences(&ours).is_empty(), "{text:.20}");
        }
    }
}
