//! What one line of an import says. Never repeats any of it in a complaint.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::app::authorization::administration::ROLES_MAX;
use crate::domain::{Email, PasswordHash, Role, Tier};
use crate::password::is_readable;

/// An account as it comes.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) email: Email,
    /// `None`: its owner chooses a password by mail.
    pub(super) password_hash: Option<PasswordHash>,
    pub(super) roles: BTreeSet<Role>,
    pub(super) tier: Tier,
    pub(super) is_verified: bool,
}

/// The members, of whatever kind; null is as good as absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    email: Option<Value>,
    password_hash: Option<Value>,
    roles: Option<Value>,
    tier: Option<Value>,
    verified: Option<Value>,
}

impl Line {
    /// Reads a line; `None` for an empty one. The error says what to write.
    pub(super) fn parse(text: String) -> Result<Option<Self>, String> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let is_object = text.trim_start().starts_with('{');
        let members: Members = match serde_json::from_str(&text) {
            Ok(members) if is_object => members,
            Err(error) if is_object => return Err(misread(&error)),
            _ => return Err(format!("it is no JSON object: {EXAMPLE}")),
        };
        let email = match members.email {
            Some(Value::String(email)) => {
                Email::parse(&email).map_err(|error| format!("`email`: {error}"))?
            }
            _ => return Err("`email` is missing or no text: every line has one".to_owned()),
        };
        let password_hash = match members.password_hash {
            None => None,
            Some(Value::String(hash)) if is_readable(&hash) => Some(PasswordHash::from_phc(hash)),
            Some(_) => return Err(STRANGE_HASH.to_owned()),
        };
        let tier = match members.tier {
            None => Tier::Free,
            Some(Value::String(tier)) => {
                Tier::parse(&tier).map_err(|error| format!("`tier`: {error}"))?
            }
            Some(_) => return Err("`tier` is no text: write it like \"free\"".to_owned()),
        };
        let is_verified = match members.verified {
            None => false,
            Some(Value::Bool(is_verified)) => is_verified,
            Some(_) => return Err("`verified` is true or false".to_owned()),
        };
        Ok(Some(Self {
            email,
            password_hash,
            roles: roles(members.roles)?,
            tier,
            is_verified,
        }))
    }
}

const EXAMPLE: &str =
    "write one a line, like {\"email\":\"ada@example.com\",\"password_hash\":\"$2b$…\"}";
const STRANGE_HASH: &str = "`password_hash` is of no scheme that is known here, or costs more than may be run: \
    docs/passwords.md has those that are; leave it out, and the owner chooses a password by mail";

/// In our words where the library would repeat what it read.
fn misread(error: &serde_json::Error) -> String {
    let says = error.to_string();
    match says
        .split_once('`')
        .and_then(|(_, rest)| rest.split_once('`'))
    {
        Some((name, _)) if says.starts_with("duplicate field") => {
            format!("`{name}` is there twice")
        }
        Some(_) if says.starts_with("unknown field") => {
            "a member is none of `email`, `password_hash`, `roles`, `tier` and `verified`"
                .to_owned()
        }
        _ => format!(
            "it is no JSON object, from column {} on: {EXAMPLE}",
            error.column()
        ),
    }
}

fn roles(value: Option<Value>) -> Result<BTreeSet<Role>, String> {
    let names = match value {
        None => return Ok(BTreeSet::new()),
        Some(Value::Array(names)) => names,
        Some(_) => return Err("`roles` is no list: write it like [\"clerk\"]".to_owned()),
    };
    let role = |name: &Value| match name.as_str() {
        Some(name) => Role::parse(name).map_err(|error| format!("`roles`: {error}")),
        None => Err("`roles` holds something that is no text".to_owned()),
    };
    let roles: BTreeSet<Role> = names.iter().map(role).collect::<Result<_, _>>()?;
    match roles.len() {
        0..=ROLES_MAX => Ok(roles),
        _ => Err(format!("`roles` has more than {ROLES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2y$12$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";

    fn refused(text: &str) -> String {
        Line::parse(text.to_owned()).unwrap_err()
    }

    #[test]
    fn a_line_says_what_it_must_and_may() {
        let all = format!(
            r#"{{"email":" Ada@Example.com","password_hash":"{BCRYPT}","roles":["b","a","a"],"tier":"pro","verified":true}}"#
        );
        let line = Line::parse(all).unwrap().unwrap();
        assert_eq!(line.email.as_str(), "ada@example.com");
        assert!(
            line.password_hash
                .is_some_and(|hash| hash.expose() == BCRYPT)
        );
        let roles: Vec<_> = line.roles.iter().map(Role::as_str).collect();
        assert_eq!(roles, ["a", "b"]);
        assert!(line.tier == Tier::Pro && line.is_verified);
        let least = r#"{"email":"ada@example.com","password_hash":null}"#;
        let line = Line::parse(least.to_owned()).unwrap().unwrap();
        assert!(line.password_hash.is_none() && line.roles.is_empty());
        assert!(line.tier == Tier::Free && !line.is_verified);
        assert!(Line::parse(" \t".to_owned()).unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_named_and_never_repeated() {
        let email = r#""email":"ada@example.com""#;
        let many: Vec<String> = (0..65).map(|n| format!("\"r{n}\"")).collect();
        for (line, says) in [
            ("SECRET".to_owned(), "no JSON object"),
            ("\"SECRET\"".to_owned(), "no JSON object"),
            ("[\"SECRET\"]".to_owned(), "no JSON object"),
            (format!("{{{email},\"SECRET\"}}"), "none of `email`"),
            (format!("{{{email}}} SECRET"), "no JSON object"),
            (format!("{{{email},\"SECRET\":1}}"), "none of `email`"),
            (format!("{{{email},{email}}}"), "`email` is there twice"),
            ("{}".to_owned(), "`email` is missing"),
            (r#"{"email":5}"#.to_owned(), "`email` is missing"),
            (r#"{"email":"SECRET"}"#.to_owned(), "name@domain"),
            (
                format!(r#"{{{email},"password_hash":"SECRET"}}"#),
                "docs/passwords.md",
            ),
            (
                format!(r#"{{{email},"password_hash":7}}"#),
                "docs/passwords.md",
            ),
            (format!(r#"{{{email},"roles":"SECRET"}}"#), "no list"),
            (format!(r#"{{{email},"roles":[1]}}"#), "no text"),
            (format!(r#"{{{email},"roles":["SECRET ROLE"]}}"#), "`roles`"),
            (
                format!(r#"{{{email},"roles":[{}]}}"#, many.join(",")),
                "more than 64",
            ),
            (format!(r#"{{{email},"tier":"SECRET"}}"#), "a tier is"),
            (format!(r#"{{{email},"tier":1}}"#), "`tier`"),
            (
                format!(r#"{{{email},"verified":"SECRET"}}"#),
                "true or false",
            ),
        ] {
            let told = refused(&line);
            assert!(told.contains(says), "{line}: {told}");
            assert!(!told.contains("SECRET"), "{line}: {told}");
        }
        assert!(refused(&"{\"email\":".repeat(10_000)).contains("no JSON object"));
    }
}
