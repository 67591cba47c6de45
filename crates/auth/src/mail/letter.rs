//! What stands in mail: plain text, ASCII lines, and links that the settings alone decide. Never a word that somebody
//! outside chose.

use portcullis_ops::Secret;

use crate::domain::{MailKind, MailToken};

/// Where links lead.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    /// The public address of this service, as its name.
    pub(super) issuer: String,
    pub(super) reset: String,
    pub(super) verify: String,
}

impl Pages {
    /// Subject and text.
    pub(super) fn letter(
        &self,
        kind: MailKind,
        token: &MailToken,
    ) -> (&'static str, Secret<String>) {
        let issuer = &self.issuer;
        let (subject, text) = match kind {
            MailKind::VerifyEmail => (
                "Confirm your email address",
                format!(
                    "somebody, hopefully you, registered this address at\n{issuer}\n\n\
                     To confirm within 24 hours that it is yours, open\n\n{}\n\n\
                     If it was not you, there is nothing to do.",
                    link(&self.verify, token)
                ),
            ),
            MailKind::ResetPassword => (
                "Reset your password",
                format!(
                    "somebody, hopefully you, forgot the password of this address at\n{issuer}\n\n\
                     To choose another one within 15 minutes, open\n\n{}\n\n\
                     If it was not you, there is nothing to do: your password is as before.",
                    link(&self.reset, token)
                ),
            ),
            MailKind::RegisteredAgain => (
                "You have an account already",
                format!(
                    "somebody, perhaps you, wanted to register this address at\n{issuer}\n\n\
                     You have an account there. Log in to it, or reset the password if you\n\
                     forgot it. If it was not you, there is nothing to do."
                ),
            ),
            MailKind::PasswordChanged => (
                "Your password was changed",
                format!(
                    "the password of your account was changed at\n{issuer}\n\n\
                     All sessions that were begun with the old one have ended.\n\n\
                     If it was not you, reset the password at once, and see who else reads\n\
                     your mail."
                ),
            ),
            MailKind::SessionStolen => (
                "A session of your account was ended",
                format!(
                    "a session of your account was used from two places at\n{issuer}\n\n\
                     Somebody may have a copy of what keeps you logged in. That session has\n\
                     ended; log in again. If you find sessions that are not yours, log out\n\
                     everywhere and change your password."
                ),
            ),
        };
        (subject, Secret::new(format!("Hello,\n\n{text}\n")))
    }
}

/// Behind `#`, so that the token stays in the browser: servers, their logs and pages that are linked to never see it.
fn link(page: &str, token: &MailToken) -> String {
    format!("{page}#token={}", token.reveal().expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_g06_only_mail_that_proves_something_carries_a_token() {
        let pages = Pages {
            issuer: "https://auth.acme.example".to_owned(),
            reset: "https://www.acme.example/forgot?a=b".to_owned(),
            verify: "https://www.acme.example/verify".to_owned(),
        };
        let token = MailToken::from_random([7; 32]);
        for kind in MailKind::ALL {
            let (subject, text) = pages.letter(kind, &token);
            let text = text.expose();
            assert!(subject.is_ascii() && !subject.contains(['\r', '\n']));
            assert!(
                text.lines()
                    .all(|line| line.is_ascii() && line.len() <= 120),
                "{text}"
            );
            assert!(text.contains("https://auth.acme.example\n"), "{text}");
            let carries = text.contains(token.reveal().expose());
            assert_eq!(carries, kind.token_ttl().is_some(), "{text}");
        }
        let (_, text) = pages.letter(MailKind::ResetPassword, &token);
        let link = format!(
            "https://www.acme.example/forgot?a=b#token={}",
            token.reveal().expose()
        );
        assert!(text.expose().lines().any(|line| line == link));
    }
}
