//! Who operates the edge: tokens that cannot be guessed, an address that strangers do not reach
//! without one. Never asks anybody.

use portcullis_ops::Secret;
use portcullis_ops::decode::Located;

use super::super::file::{Audit, FileAdmin};
use super::super::{Admin, AdminRole, AdminToken, AuditLog};
use super::{Parser, listeners};

/// What the audit calls whoever sends `admin.token`.
const UNNAMED: &str = "admin";

impl Parser<'_> {
    pub(super) fn admin(&self) -> Option<Admin> {
        let admin = self.file.admin.as_ref()?;
        Some(Admin {
            address: admin.address.value,
            tokens: self.admin_tokens(admin),
            hosts: admin.hosts.iter().map(|host| host.value.clone()).collect(),
            has_open_metrics: admin.open_metrics.value,
        })
    }

    fn admin_tokens(&self, admin: &FileAdmin) -> Vec<AdminToken> {
        let mut tokens: Vec<AdminToken> = Vec::new();
        if let Some(token) = &admin.token {
            self.check_length_of_secret("token", token);
            tokens.push(AdminToken {
                name: UNNAMED.to_owned(),
                role: AdminRole::Operate,
                token: token.value.clone(),
            });
        }
        for file in &admin.tokens {
            let token = self.token_of(file.token.as_ref(), file.token_file.as_ref());
            let (Some(token), Some(name)) = (token, &file.name) else {
                continue;
            };
            let Some(token) = token else {
                let hint = "write `token: ${NAME}` or `token_file`";
                let message = format!("`{}` has no token", name.value);
                self.report.error_with_hint(file.span, message, hint);
                continue;
            };
            self.check_length_of_secret("token", &token);
            if tokens.iter().any(|known| known.name == name.value) {
                let message = format!("`{}` has two tokens", name.value);
                self.report
                    .error_with_hint(name.span, message, "give each a name of its own");
            }
            if tokens
                .iter()
                .any(|known| known.token.expose() == token.value.expose())
            {
                let message = format!("`{}` has the token of somebody else", name.value);
                let hint = "draw another one: openssl rand -hex 32";
                self.report.error_with_hint(token.span, message, hint);
            }
            tokens.push(AdminToken {
                name: name.value.clone(),
                role: file.role,
                token: token.value,
            });
        }
        tokens
    }

    pub(super) fn audit_log(&self) -> AuditLog {
        match &self.file.audit_log {
            Some(Located {
                value: Audit::File(file),
                span,
                ..
            }) => AuditLog::File(self.log_file(file, *span)),
            Some(Located {
                value: Audit::Log, ..
            })
            | None => AuditLog::Log,
        }
    }

    pub(super) fn check_admin(&self) {
        let Some(admin) = &self.file.admin else {
            return;
        };
        let address = &admin.address;
        if !address.value.ip().is_loopback() {
            if admin.token.is_none() && admin.tokens.is_empty() {
                let message = "everyone who reaches this address sees what runs: it needs a token";
                let hint = "write `token: ${ADMIN_TOKEN}` under `admin`, or bind it to 127.0.0.1";
                self.report.error_with_hint(address.span, message, hint);
            } else {
                let message = "health is open to everyone who reaches this address, and tokens come in the clear";
                let hint = "bind it to 127.0.0.1, or let a firewall keep strangers away";
                self.report.warning(address.span, message, hint);
            }
        }
        for listener in &self.file.listeners {
            let Some(other) = &listener.address else {
                continue;
            };
            if listeners::collide(other.value, address.value) {
                let written = if address.is_written { address } else { other };
                let message = format!("the admin address {} is a listener's, too", address.value);
                let hint = "give `admin.address` another port, or write `admin: off`";
                self.report.error_with_hint(written.span, message, hint);
            }
        }
    }

    /// Shorter keys can be guessed.
    pub(super) fn check_length_of_secret(&self, key: &str, secret: &Located<Secret<String>>) {
        if secret.value.expose().chars().count() < super::SECRET_CHARS_MIN {
            let message = format!(
                "`{key}` is shorter than {} characters",
                super::SECRET_CHARS_MIN
            );
            let hint = "draw one: openssl rand -hex 32";
            self.report.error_with_hint(secret.span, message, hint);
        }
    }
}
