//! How mail leaves: the server, who it is from, where its links lead. Never repeats a password in a message.

use std::path::PathBuf;

use portcullis_ops::Secret;

use super::values::Values;
use super::{Environment, Variable, var};
use crate::domain::Email;

pub(super) const VARIABLES: &[Variable] = &[
    var(
        HOST,
        "none",
        "mail server; without one nobody can reset a forgotten password or verify an address",
    ),
    var(PORT, "587, or 465 with SMTP_TLS=tls", "its port"),
    var(
        TLS,
        "starttls",
        "starttls (never goes on in the clear), tls from the first byte, or none",
    ),
    var(USER, "none", "name to log in to the mail server with"),
    var(PASSWORD, "none", "password for it"),
    var(PASSWORD_FILE, "none", "file holding the same"),
    var(
        FROM,
        "none",
        "whom mail is from: no-reply@acme.example or Acme <no-reply@acme.example>; needed with SMTP_HOST",
    ),
    var(
        CA_FILE,
        "none",
        "PEM certificates of authorities to trust instead of the public ones",
    ),
    var(
        RESET_URL,
        "<ISSUER_URL>/reset-password",
        "page where a forgotten password is replaced; mail links to it with the token behind #token=",
    ),
    var(
        VERIFY_URL,
        "<ISSUER_URL>/verify-email",
        "page where an address is verified; mail links to it with the token behind #token=",
    ),
];

const HOST: &str = "SMTP_HOST";
const PORT: &str = "SMTP_PORT";
const TLS: &str = "SMTP_TLS";
const USER: &str = "SMTP_USER";
const PASSWORD: &str = "SMTP_PASSWORD";
const PASSWORD_FILE: &str = "SMTP_PASSWORD_FILE";
const FROM: &str = "SMTP_FROM";
const CA_FILE: &str = "SMTP_CA_FILE";
const RESET_URL: &str = "MAIL_RESET_URL";
const VERIFY_URL: &str = "MAIL_VERIFY_URL";

/// How mail leaves.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is kept private.
    pub tls: MailTls,
    /// Name and password, where the server wants any.
    pub login: Option<(String, MailPassword)>,
    /// Name, if there is one, and address that mail is from.
    pub from: (Option<String>, Email),
    /// Authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Page that resets a password.
    pub reset_url: String,
    /// Page that verifies an address.
    pub verify_url: String,
}

/// How the way to the mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// After a first word in the clear; a server that cannot is not used.
    StartTls,
    /// From the first byte.
    Tls,
    /// Not at all.
    None,
}

/// Where the password for the mail server is.
#[derive(Debug, Clone)]
pub enum MailPassword {
    /// Given in the environment.
    Inline(Secret<String>),
    /// Read from a file.
    File(PathBuf),
}

impl Mail {
    /// `None` without a server.
    pub(super) fn read(v: &mut Values<'_>, environment: Environment, issuer: &str) -> Option<Self> {
        let Some(host) = v.get(HOST) else {
            without(v, environment);
            return None;
        };
        let host = host.trim().to_owned();
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.len() > 253 || !host.chars().all(is_host) {
            v.error(
                HOST,
                "is not the name or address of a server",
                "use a name such as smtp.acme.example, and SMTP_PORT for the port",
            );
        }
        let tls = tls(v, environment, &host);
        let default = if tls == MailTls::Tls { 465 } else { 587 };
        let port = v.number(PORT, default, 1..=65_535) as u16;
        let login = login(v);
        if login.is_some() && tls == MailTls::None && !is_of_this_machine(&host) {
            v.error(
                TLS,
                "is none, and SMTP_PASSWORD would be sent in the clear",
                "use starttls or tls",
            );
        }
        Some(Self {
            port,
            tls,
            login,
            from: from(v)?,
            ca_file: v.get(CA_FILE).map(PathBuf::from),
            reset_url: page(v, environment, RESET_URL, issuer, "reset-password"),
            verify_url: page(v, environment, VERIFY_URL, issuer, "verify-email"),
            host,
        })
    }
}

fn without(v: &mut Values<'_>, environment: Environment) {
    let rest = [
        PORT,
        TLS,
        USER,
        PASSWORD,
        PASSWORD_FILE,
        FROM,
        CA_FILE,
        RESET_URL,
        VERIFY_URL,
    ];
    if let Some(name) = rest.into_iter().find(|name| v.get(name).is_some()) {
        v.warnings.push(format!(
            "{name} is set, but SMTP_HOST is not: no mail is sent"
        ));
    } else if environment.is_production() {
        let warning = "SMTP_HOST is not set: forgotten passwords cannot be reset, addresses not verified, owners not warned";
        v.warnings.push(warning.to_owned());
    }
}

fn tls(v: &mut Values<'_>, environment: Environment, host: &str) -> MailTls {
    let text = v.get(TLS).unwrap_or_else(|| "starttls".to_owned());
    match text.trim() {
        "starttls" => MailTls::StartTls,
        "tls" => MailTls::Tls,
        "none" => {
            if environment.is_production() && !is_of_this_machine(host) {
                v.error(
                    TLS,
                    "is none: whoever is on the way could reset passwords",
                    "use starttls or tls; none is for a server on this machine",
                );
            }
            MailTls::None
        }
        _ => {
            v.error(
                TLS,
                format!("{text:?} is not a way to speak to a mail server"),
                "use starttls, tls or none",
            );
            MailTls::StartTls
        }
    }
}

fn is_of_this_machine(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn login(v: &mut Values<'_>) -> Option<(String, MailPassword)> {
    let password = match (v.get(PASSWORD), v.get(PASSWORD_FILE)) {
        (Some(_), Some(_)) => {
            v.error(
                PASSWORD,
                "is set together with SMTP_PASSWORD_FILE",
                "set one of the two",
            );
            None
        }
        (Some(password), None) => Some(MailPassword::Inline(Secret::new(password))),
        (None, Some(file)) => Some(MailPassword::File(file.into())),
        (None, None) => None,
    };
    match (v.get(USER), password) {
        (Some(user), Some(password)) => Some((user, password)),
        (Some(_), None) => {
            v.error(
                USER,
                "is set without a password",
                "set SMTP_PASSWORD_FILE, or unset it for a server that wants no login",
            );
            None
        }
        (None, Some(_)) => {
            v.error(
                PASSWORD,
                "is set without SMTP_USER",
                "set the name that it belongs to",
            );
            None
        }
        (None, None) => None,
    }
}

/// `address`, or `Name <address>`. Nothing that could begin another header.
fn from(v: &mut Values<'_>) -> Option<(Option<String>, Email)> {
    const HINT: &str = "write it like no-reply@acme.example or Acme <no-reply@acme.example>";
    let Some(text) = v.get(FROM) else {
        v.error(FROM, "is not set, and mail is from somebody", HINT);
        return None;
    };
    let (name, address) = match text
        .trim()
        .strip_suffix('>')
        .and_then(|rest| rest.split_once('<'))
    {
        Some((name, address)) => (
            Some(name.trim().trim_matches('"').to_owned()),
            address.to_owned(),
        ),
        None => (None, text.trim().to_owned()),
    };
    let name = name.filter(|name| !name.is_empty());
    let is_plain = |name: &String| {
        name.len() <= 64
            && !name
                .chars()
                .any(|c| c.is_control() || "<>\"\\@".contains(c))
    };
    match Email::parse(&address) {
        Ok(address) if name.as_ref().is_none_or(is_plain) => Some((name, address)),
        _ => {
            v.error(FROM, "is not an address with or without a name", HINT);
            None
        }
    }
}

/// Where a link leads is decided here and nowhere else: no header of a request comes near it.
fn page(
    v: &mut Values<'_>,
    environment: Environment,
    name: &'static str,
    issuer: &str,
    path: &str,
) -> String {
    let Some(text) = v.get(name) else {
        return format!("{issuer}/{path}");
    };
    let text = text.trim().to_owned();
    let is_page = text.len() <= 512
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"<>\"#\\".contains(c))
        && text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
    if !is_page || text.contains('@') {
        v.error(
            name,
            "is not an http(s) address without user and fragment",
            format!("write it like https://www.acme.example/{path}"),
        );
    } else if environment.is_production() && !text.starts_with("https://") {
        v.error(
            name,
            "is not https, which production requires",
            "tokens that reset passwords go there",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigErrors, MailPassword, MailTls};

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::from_env(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        // The first of a name counts.
        let base = [
            ("SMTP_HOST", "smtp.acme.example"),
            ("SMTP_FROM", "no-reply@acme.example"),
            ("ISSUER_URL", "https://auth.acme.example"),
        ];
        [more, &base[..]].concat()
    }

    #[test]
    fn a_mail_server_is_named_with_all_that_mail_needs() {
        let mail = from(&with(&[])).unwrap().mail.unwrap();
        assert_eq!(
            (mail.host.as_str(), mail.port, mail.tls),
            ("smtp.acme.example", 587, MailTls::StartTls)
        );
        assert!(mail.login.is_none() && mail.ca_file.is_none());
        assert_eq!(mail.reset_url, "https://auth.acme.example/reset-password");
        assert_eq!(mail.verify_url, "https://auth.acme.example/verify-email");
        let more = [
            ("SMTP_TLS", "tls"),
            ("SMTP_USER", "acme"),
            ("SMTP_PASSWORD", "mail secret"),
            ("SMTP_FROM", "Acme Ltd. <Auth@acme.example>"),
            ("SMTP_CA_FILE", "/etc/ca.pem"),
            ("MAIL_RESET_URL", "https://www.acme.example/forgot?lang=en"),
        ];
        let mail = from(&with(&more)).unwrap().mail.unwrap();
        assert_eq!((mail.port, mail.tls), (465, MailTls::Tls));
        assert_eq!(
            (mail.from.0.as_deref(), mail.from.1.as_str()),
            (Some("Acme Ltd."), "auth@acme.example")
        );
        assert_eq!(mail.reset_url, "https://www.acme.example/forgot?lang=en");
        assert!(matches!(&mail.login, Some((user, MailPassword::Inline(_))) if user == "acme"));
        assert!(!format!("{mail:?}").contains("mail secret"));
        let port = from(&with(&[("SMTP_PORT", "2525")]))
            .unwrap()
            .mail
            .unwrap()
            .port;
        assert_eq!(port, 2525);
        let file = from(&with(&[
            ("SMTP_USER", "acme"),
            ("SMTP_PASSWORD_FILE", "/run/p"),
        ]))
        .unwrap();
        assert!(matches!(
            file.mail.unwrap().login,
            Some((_, MailPassword::File(_)))
        ));
    }

    #[test]
    fn without_a_mail_server_there_is_no_mail_and_whoever_meant_one_is_told() {
        let config = from(&[]).unwrap();
        assert!(
            config.mail.is_none() && config.warnings.is_empty(),
            "{:?}",
            config.warnings
        );
        let config = from(&[("SMTP_FROM", "a@b.example")]).unwrap();
        assert!(config.mail.is_none() && config.warnings[0].contains("SMTP_HOST"));
    }

    #[test]
    fn sec_g07_settings_of_mail_that_cannot_be_used_are_refused_by_name() {
        for (name, value) in [
            ("SMTP_HOST", "smtp.acme.example:587/x"),
            ("SMTP_HOST", "a b"),
            ("SMTP_PORT", "0"),
            ("SMTP_PORT", "65536"),
            ("SMTP_TLS", "ssl"),
            ("SMTP_USER", "acme"),
            ("SMTP_PASSWORD", "x"),
            ("SMTP_FROM", "nobody"),
            ("SMTP_FROM", "a@b.example\r\nBcc: eve@evil.example"),
            ("SMTP_FROM", "A\nB <a@b.example>"),
            ("SMTP_FROM", "A <a@b.example> <c@d.example>"),
            ("MAIL_RESET_URL", "ftp://acme.example"),
            ("MAIL_RESET_URL", "https://acme.example/#x"),
            ("MAIL_RESET_URL", "https://acme.example@evil.example/"),
            ("MAIL_VERIFY_URL", "/verify"),
            ("MAIL_VERIFY_URL", "https://acme.example/\r\nx"),
        ] {
            let errors = from(&with(&[(name, value)])).unwrap_err().0;
            assert_eq!(errors.len(), 1, "{name}={value:?}: {errors:?}");
            assert_eq!(errors[0].variable, name, "{errors:?}");
        }
        let both = [
            ("SMTP_USER", "u"),
            ("SMTP_PASSWORD", "x"),
            ("SMTP_PASSWORD_FILE", "y"),
        ];
        assert!(from(&with(&both)).is_err());
        let clear = [
            ("SMTP_USER", "u"),
            ("SMTP_PASSWORD", "x"),
            ("SMTP_TLS", "none"),
        ];
        assert_eq!(from(&with(&clear)).unwrap_err().0[0].variable, "SMTP_TLS");
        let near = [
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_USER", "u"),
            ("SMTP_PASSWORD", "x"),
            ("SMTP_TLS", "none"),
        ];
        assert!(from(&with(&near)).is_ok());
        let nobody = from(&[("SMTP_HOST", "localhost")]).unwrap_err().0;
        assert_eq!(nobody[0].variable, "SMTP_FROM");
    }

    #[test]
    fn production_sends_no_token_in_the_clear() {
        for (name, value) in [
            ("SMTP_TLS", "none"),
            ("MAIL_RESET_URL", "http://www.acme.example/reset"),
        ] {
            let pairs = with(&[("APP_ENV", "production"), (name, value)]);
            let errors = from(&pairs).unwrap_err().0;
            assert!(
                errors.iter().any(|error| error.variable == name),
                "{errors:?}"
            );
        }
        let errors = from(&[("APP_ENV", "production")]).unwrap_err().0;
        assert!(
            errors.iter().all(|error| error.variable != "SMTP_HOST"),
            "it is no mistake to have none"
        );
    }
}
