//! Where revocations are told: on a safe way here, and not in vain. Never asks anybody.

use portcullis_ops::decode::Located;

use super::super::address::HttpAddress;
use super::super::file::{FileAuth, FileIssuer, FileRevocations};
use super::super::issuer::JwksSource;
use super::super::{Follow, WhenLost};
use super::Parser;

impl Parser<'_> {
    /// `None` after an error.
    pub(super) fn follow(&self, issuer: &FileIssuer, file: &FileRevocations) -> Option<Follow> {
        if let Some(token) = &file.token {
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
            token: file.token.as_ref().map(|token| token.value.clone()),
        })
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
