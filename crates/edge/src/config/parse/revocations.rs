//! Where revocations are told: on a safe way here, and not in vain. Never asks anybody.

use portcullis_ops::decode::Located;
use portcullis_ops::{Secret, file};

use super::super::address::HttpAddress;
use super::super::file::{FileAuth, FileIssuer, FileRevocations};
use super::super::issuer::JwksSource;
use super::super::{Follow, WhenLost};
use super::Parser;

/// More is no token.
const TOKEN_BYTES_MAX: u64 = 4096;

impl Parser<'_> {
    /// `None` after an error.
    pub(super) fn follow(&self, issuer: &FileIssuer, file: &FileRevocations) -> Option<Follow> {
        let token = self.token_of(file.token.as_ref(), file.token_file.as_ref())?;
        if let Some(token) = &token {
            self.check_length_of_secret("token", token);
            if !token
                .value
                .expose()
                .bytes()
                .all(|byte| byte.is_ascii_graphic())
            {
                let hint = "visible characters without spaces: openssl rand -hex 32";
                self.report
                    .error_with_hint(token.span, "`token` cannot be sent", hint);
            }
        }
        let feeds = file.feeds.iter().map(|feed| self.feed(issuer, feed));
        Some(Follow {
            feeds: feeds.collect::<Option<_>>()?,
            token: token.map(|token| token.value),
        })
    }

    /// From the file that holds it, where one is named. `None` after an error.
    pub(super) fn token_of(
        &self,
        token: Option<&Located<Secret<String>>>,
        file: Option<&Located<String>>,
    ) -> Option<Option<Located<Secret<String>>>> {
        let Some(named) = file else {
            return Some(token.cloned());
        };
        if let Some(token) = token {
            let message = "`token` and `token_file` are both there";
            self.report
                .error_with_hint(token.span, message, "leave one of them out");
            return None;
        }
        let path = self.surroundings.directory.join(&named.value);
        match file::read(&path, TOKEN_BYTES_MAX) {
            Ok(bytes) => {
                let bytes = Secret::new(bytes);
                // What is no text is nothing that can be sent, either.
                let text = std::str::from_utf8(bytes.expose()).unwrap_or(" ");
                Some(Some(Located {
                    value: Secret::new(text.trim_end().to_owned()),
                    span: named.span,
                    is_written: true,
                }))
            }
            Err(error) => {
                match error.hint() {
                    Some(hint) => {
                        self.report
                            .error_with_hint(named.span, error.to_string(), hint);
                    }
                    None => self.report.error(named.span, error.to_string()),
                }
                None
            }
        }
    }

    fn feed(&self, issuer: &FileIssuer, feed: &Located<HttpAddress>) -> Option<JwksSource> {
        let address = &feed.value;
        if address.target != "/" {
            let message = "a feed has no path of its own";
            let hint = format!("write {} alone", address.authority);
            self.report.error_with_hint(feed.span, message, hint);
        }
        if !address.is_https && !address.is_of_this_machine() && !issuer.allow_http.value {
            let message = "revocations come over plain HTTP: whoever is between can hide them";
            let hint = "write https, with `authorities` for a private authority; or `allow_http: true` where nobody else is on the network";
            self.report.error_with_hint(feed.span, message, hint);
        }
        let tls = match address.is_https {
            true => Some(self.jwks_tls(issuer, address, feed.span)?),
            false => None,
        };
        Some(JwksSource {
            host: address.host.clone(),
            port: address.port,
            authority: address.authority.clone(),
            target: address.target.clone(),
            tls,
        })
    }

    /// What a route says, else its issuer.
    pub(super) fn when_lost(&self, file: &FileAuth, issuer: &FileIssuer) -> WhenLost {
        match (file.when_lost, &issuer.revocations) {
            (Some((_, when_lost)), Some(_)) => when_lost,
            (None, Some(revocations)) => revocations.when_lost,
            (Some((span, _)), None) => {
                let message = format!(
                    "`when_lost` has no effect: nobody tells revocations of `{}`",
                    issuer.name.value
                );
                let hint = "write `revocations` with the issuer, or leave it out";
                self.report.error_with_hint(span, message, hint);
                WhenLost::Closed
            }
            (None, None) => WhenLost::Closed,
        }
    }
}
