//! Who may do what: reading and changing need a token of that role. Never logs what was sent.

use std::net::SocketAddr;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::answer::Refused;
use super::table::Needs;
use crate::audit::Who;
use crate::config::{Admin, AdminRole};

/// What the configuration says of operators.
#[derive(Debug)]
pub(crate) struct Access {
    tokens: Vec<Token>,
    /// In lower case.
    pub(super) hosts: Vec<String>,
    has_open_metrics: bool,
}

#[derive(Debug)]
struct Token {
    name: String,
    role: AdminRole,
    /// Of digests, a comparison tells not even the length.
    digest: Digest,
}

impl Access {
    /// `None`: nothing listens.
    pub(crate) fn new(admin: Option<&Admin>) -> Self {
        let tokens = admin.map_or(&[][..], |admin| &admin.tokens);
        Self {
            tokens: tokens
                .iter()
                .map(|token| Token {
                    name: token.name.clone(),
                    role: token.role,
                    digest: digest(&SHA256, token.token.expose().as_bytes()),
                })
                .collect(),
            hosts: admin.map_or_else(Vec::new, |admin| {
                let hosts = admin.hosts.iter();
                hosts.map(|host| host.to_ascii_lowercase()).collect()
            }),
            has_open_metrics: admin.is_none_or(|admin| admin.has_open_metrics),
        }
    }

    /// Who asks, if they may ask for this. Without any token in the configuration everybody reads.
    pub(super) fn check(
        &self,
        needs: Needs,
        headers: &HeaderMap,
        address: SocketAddr,
    ) -> Result<Who, Refused> {
        let role = match needs {
            Needs::Nothing => return Ok(Who::stranger(address)),
            Needs::Metrics if self.has_open_metrics => return Ok(Who::stranger(address)),
            Needs::Metrics => AdminRole::Read,
            Needs::Role(role) => role,
        };
        if self.tokens.is_empty() {
            return match role {
                AdminRole::Read => Ok(Who::stranger(address)),
                AdminRole::Operate => Err(Refused::ReadOnly),
            };
        }
        let token = self.token(headers).ok_or(Refused::Unauthorized)?;
        if token.role < role {
            return Err(Refused::Role(token.name.clone()));
        }
        Ok(Who::operator(&token.name, token.role, address))
    }

    /// Whose token a request carries (RFC 6750 section 2.1). A browser that was lured here sends no
    /// such field unasked, so this also keeps strange pages out.
    fn token(&self, headers: &HeaderMap) -> Option<&Token> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return None;
        };
        let sent = field.as_bytes();
        let scheme = sent.get(..SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let sent = digest(&SHA256, sent.get(SCHEME.len()..).unwrap_or_default());
        let is_sent = |token: &&Token| {
            let (sent, known) = (sent.as_ref(), token.digest.as_ref());
            constant_time::verify_slices_are_equal(sent, known).is_ok()
        };
        self.tokens.iter().find(is_sent)
    }
}

const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use portcullis_ops::Secret;

    use super::*;
    use crate::config::AdminToken;

    const OPERATOR: &str = "0123456789abcdef0123456789abcdef";
    const READER: &str = "fedcba9876543210fedcba9876543210";

    fn access(tokens: &[(&str, AdminRole, &str)], has_open_metrics: bool) -> Access {
        let token = |(name, role, token): &(&str, AdminRole, &str)| AdminToken {
            name: (*name).to_owned(),
            role: *role,
            token: Secret::new((*token).to_owned()),
        };
        Access::new(Some(&Admin {
            address: "127.0.0.1:2019".parse().unwrap(),
            tokens: tokens.iter().map(token).collect(),
            hosts: Vec::new(),
            has_open_metrics,
        }))
    }

    fn both() -> Access {
        access(
            &[
                ("ada", AdminRole::Operate, OPERATOR),
                ("bob", AdminRole::Read, READER),
            ],
            false,
        )
    }

    fn address() -> SocketAddr {
        "127.0.0.1:5".parse().unwrap()
    }

    fn asked(access: &Access, needs: Needs, fields: &[&str]) -> Result<Who, Refused> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        }
        access.check(needs, &headers, address())
    }

    #[test]
    fn only_the_token_itself_opens() {
        let operate = Needs::Role(AdminRole::Operate);
        let ada = Ok(Who::operator("ada", AdminRole::Operate, address()));
        for right in [format!("Bearer {OPERATOR}"), format!("bearer {OPERATOR}")] {
            assert_eq!(asked(&both(), operate, &[&right]), ada);
        }
        for wrong in [
            "Bearer 0123456789abcdef0123456789abcdeF",
            "Bearer 0123456789abcdef0123456789abcde",
            "Bearer 0123456789abcdef0123456789abcdef ",
            "Bearer",
            "Bearer ",
            "",
            "Basic 0123456789abcdef0123456789abcdef",
            OPERATOR,
        ] {
            let refused = Err(Refused::Unauthorized);
            assert_eq!(asked(&both(), operate, &[wrong]), refused, "{wrong}");
        }
        let refused = Err(Refused::Unauthorized);
        assert_eq!(asked(&both(), operate, &[]), refused);
        let twice = format!("Bearer {OPERATOR}");
        assert_eq!(asked(&both(), operate, &[&twice, &twice]), refused);
    }

    #[test]
    fn a_reader_sees_and_does_not_change() {
        let reader = format!("Bearer {READER}");
        let bob = Ok(Who::operator("bob", AdminRole::Read, address()));
        let read = Needs::Role(AdminRole::Read);
        assert_eq!(asked(&both(), read, &[&reader]), bob);
        assert_eq!(asked(&both(), Needs::Metrics, &[&reader]), bob);
        assert_eq!(
            asked(&both(), Needs::Role(AdminRole::Operate), &[&reader]),
            Err(Refused::Role("bob".to_owned()))
        );
        assert_eq!(asked(&both(), read, &[]), Err(Refused::Unauthorized));
        assert_eq!(
            asked(&both(), Needs::Metrics, &[]),
            Err(Refused::Unauthorized)
        );
        assert!(asked(&both(), Needs::Nothing, &[]).is_ok());
        let open = access(&[("ada", AdminRole::Operate, OPERATOR)], true);
        assert!(asked(&open, Needs::Metrics, &[]).is_ok());
    }

    #[test]
    fn without_a_token_everything_may_be_read_and_nothing_changed() {
        let none = access(&[], false);
        assert!(asked(&none, Needs::Role(AdminRole::Read), &[]).is_ok());
        assert_eq!(
            asked(&none, Needs::Role(AdminRole::Operate), &[]),
            Err(Refused::ReadOnly)
        );
    }
}
