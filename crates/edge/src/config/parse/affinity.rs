//! Affinity: values that must fit together, and the rules of browsers. Never draws a key.

use std::time::Duration;

use portcullis_ops::decode::Located;
use portcullis_ops::diagnostic::Span;

use super::super::file::{By, FileAffinity, FileCookie};
use super::super::{Affinity, AffinityBy, SameSite, Secure};
use super::Parser;

/// Every one of them costs a decryption per forged cookie.
const PREVIOUS_SECRETS_MAX: usize = 4;
/// Every one of them is looked for in each request.
const ACCEPTED_NAMES_MAX: usize = 8;

impl Parser<'_> {
    pub(super) fn affinity(&self, file: &FileAffinity) -> Affinity {
        self.check_secrets(file);
        let by = match file.by.as_ref().map(|by| &by.value) {
            Some(By::Value(by)) => {
                self.check_that_no_cookie_is_meant(&file.cookie);
                AffinityBy::Value(by.clone())
            }
            Some(By::Cookie) | None => {
                self.check_cookie(&file.cookie);
                AffinityBy::Cookie(file.cookie.cookie.clone())
            }
        };
        Affinity {
            by,
            ttl: file.ttl,
            max_age: self.max_age(file.ttl, &file.max_age),
            secret: file.secret.as_ref().map(|secret| secret.value.clone()),
            previous_secrets: file
                .previous_secrets
                .iter()
                .map(|secret| secret.value.clone())
                .collect(),
        }
    }

    /// Two clusters that a client visits in turn would overwrite each other's cookie.
    pub(super) fn check_affinity_cookies(&self) {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for cluster in &self.file.clusters {
            let Some(affinity) = &cluster.affinity else {
                continue;
            };
            if !matches!(affinity.by.as_ref().map(|by| &by.value), Some(By::Cookie)) {
                continue;
            }
            let name = affinity.cookie.cookie.name.as_str();
            match seen.iter().find(|(known, _)| *known == name) {
                Some((_, other)) => {
                    let message = format!(
                        "the affinity cookie of `{other}` has this name, too: clients of both lose their place at each change"
                    );
                    let hint = "give each cluster a `cookie` of its own, unless their hosts differ";
                    self.report.warning(affinity.cookie.name, message, hint);
                }
                None => seen.push((name, &cluster.name.value)),
            }
        }
    }

    fn check_secrets(&self, file: &FileAffinity) {
        let all = file.secret.iter().chain(&file.previous_secrets);
        for secret in all {
            self.check_length_of_secret("secret", secret);
        }
        if file.secret.is_none() {
            let message = "clients change endpoints when this process restarts";
            let hint = "give `affinity` a `secret`, the same on every edge";
            self.report.warning(file.span, message, hint);
        }
        let Some(first) = file.previous_secrets.first() else {
            return;
        };
        if file.secret.is_none() {
            let hint = "write the secret that came after them as `secret`";
            self.report
                .error_with_hint(first.span, "`previous_secrets` without a `secret`", hint);
        }
        if file.previous_secrets.len() > PREVIOUS_SECRETS_MAX {
            let message = format!("more than {PREVIOUS_SECRETS_MAX} previous secrets");
            let hint = "drop those older than `max_age`: no cookie of theirs is left";
            self.report.error_with_hint(first.span, message, hint);
            return;
        }
        let own = file.secret.as_ref().map(|own| own.value.expose());
        let mut previous = file.previous_secrets.iter();
        if let Some(same) = previous.find(|one| Some(one.value.expose()) == own) {
            let message = "one of `previous_secrets` is the `secret` itself";
            self.report.error_with_hint(
                same.span,
                message,
                "write the one before it, or leave it out",
            );
        }
    }

    fn check_that_no_cookie_is_meant(&self, file: &FileCookie) {
        for (key, span) in &file.written {
            let message = format!("`{key}` concerns cookies, and no cookie is set");
            self.report
                .error_with_hint(*span, message, "leave it out, or write `by: cookie`");
        }
    }

    /// What browsers refuse (RFC 6265bis sections 4.1.2 and 5.7), they would refuse silently.
    fn check_cookie(&self, file: &FileCookie) {
        let cookie = &file.cookie;
        let refuse = |span: Span, message: String, hint: &str| {
            self.report.error_with_hint(span, message, hint);
        };
        let is_always_secure = cookie.secure == Secure::Always;
        let begins = |prefix: &str| {
            let head = cookie.name.get(..prefix.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        };
        let prefix = ["__Host-", "__Secure-"]
            .into_iter()
            .find(|prefix| begins(prefix));
        if let Some(prefix) = prefix.filter(|_| !is_always_secure) {
            let message = format!("browsers refuse a `{prefix}` cookie that is not Secure");
            refuse(
                file.name,
                message,
                "add `secure: always`, or use another name",
            );
        }
        if begins("__Host-") && cookie.path != "/" {
            refuse(
                file.path,
                "browsers refuse a `__Host-` cookie with another path than /".to_owned(),
                "leave `path` out, or use another name",
            );
        }
        if begins("__Host-") && cookie.domain.is_some() {
            refuse(
                file.domain,
                "browsers refuse a `__Host-` cookie with a domain".to_owned(),
                "leave `domain` out, or use another name",
            );
        }
        if cookie.same_site == SameSite::None && !is_always_secure {
            refuse(
                file.same_site,
                "browsers refuse `same_site: none` in a cookie that is not Secure".to_owned(),
                "add `secure: always`",
            );
        }
        if cookie.is_partitioned && !is_always_secure {
            refuse(
                file.partitioned,
                "browsers refuse a partitioned cookie that is not Secure".to_owned(),
                "add `secure: always`",
            );
        }
        if let Some(extra) = file.accept.get(ACCEPTED_NAMES_MAX) {
            refuse(
                extra.span,
                format!("more than {ACCEPTED_NAMES_MAX} accepted names"),
                "each is looked for in every request",
            );
        }
        for name in file.accept.iter().filter(|name| name.value == cookie.name) {
            refuse(
                name.span,
                format!("`{}` is the name of the cookie itself", name.value),
                "leave it out",
            );
        }
    }

    fn max_age(&self, ttl: Duration, written: &Located<Duration>) -> Option<Duration> {
        if written.value.is_zero() {
            return None;
        }
        if written.value < ttl && written.is_written {
            let hint = "make `max_age` at least `ttl`, or 0s for no end";
            self.report.error_with_hint(
                written.span,
                "a client would be placed anew before its `ttl` is over",
                hint,
            );
        }
        Some(written.value.max(ttl))
    }
}
