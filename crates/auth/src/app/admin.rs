//! What administrators do over HTTP: look for accounts, open and shut them, give roles, end sessions, read the audit log,
//! change settings. Never without a line in the audit log that names the administrator, lookups included.

mod accounts;
mod settings;

use super::audit::AuditPage;
use super::{App, Origin, Outcome, Owner, Refusal, audit};
use crate::domain::{AccountId, Actor, AuditEntry, AuditEvent, Role, UnixMillis};
use crate::store::{AuditFilter, PageLimit};

/// Somebody who proved to be an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Administrator {
    /// The account and the session that it came by.
    pub(crate) owner: Owner,
}

impl App {
    /// By an access token.
    pub(crate) async fn administrator_by_token(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Outcome<Administrator> {
        let verified = self.try_verify(token, now).await?;
        Administrator::of(&verified.claims)
    }

    /// By a session cookie. What is more than a look needs the session's CSRF token.
    pub(crate) async fn administrator_by_session(
        &self,
        token: &str,
        csrf: Option<&str>,
        now: UnixMillis,
    ) -> Outcome<Administrator> {
        let session = self.try_verify_session(token, now).await?;
        if let Some(csrf) = csrf {
            self.check_csrf(&session.claims.sid, csrf)?;
        }
        Administrator::of(&session.claims)
    }

    /// A page of the audit log, newest lines first.
    pub(crate) async fn read_audit(
        &self,
        administrator: Administrator,
        filter: &AuditFilter,
        cursor: Option<&str>,
        limit: PageLimit,
        origin: Origin,
    ) -> Outcome<AuditPage> {
        let page = async {
            let store = self.store.as_ref();
            let reader = Some(administrator.account());
            let page = audit::page(store, &self.chain, filter, cursor, limit, reader).await?;
            let page = page.map_err(|_| Refusal::StrangeCursor)?;
            let line = administrator.line(AuditEvent::AuditRead, origin);
            self.store.append_audit(&line).await?;
            Ok(page)
        };
        self.counted("read_audit", page.await)
    }
}

impl Administrator {
    fn of(claims: &portcullis_token::Claims) -> Outcome<Self> {
        if !claims.roles.iter().any(|role| role == Role::ADMIN) {
            return Err(Refusal::Forbidden);
        }
        let owner = Owner::of(claims)?;
        Ok(Self { owner })
    }

    pub(super) fn account(self) -> AccountId {
        self.owner.account
    }

    pub(super) fn line(self, event: AuditEvent, origin: Origin) -> AuditEntry {
        origin.audit_by(Actor::Account(self.account()), event)
    }

    fn line_about(self, account: AccountId, event: AuditEvent, origin: Origin) -> AuditEntry {
        AuditEntry {
            account: Some(account),
            ..self.line(event, origin)
        }
    }
}
