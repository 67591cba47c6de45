//! What owners do with their sessions: see them, end one, end all. Never says that one ended before every instance
//! refuses it, and never lets anybody learn of a session of somebody else.

use std::time::Duration;

use super::{App, Origin, Outcome, Owner, Refusal};
use crate::domain::{AuditEvent, Revocation, SessionCursor, SessionId, SessionRecord, UnixMillis};
use crate::store::PageLimit;

/// Sessions, and whether there are more behind them.
#[derive(Debug)]
pub(crate) struct SessionPage {
    pub(crate) sessions: Vec<SessionRecord>,
    pub(crate) next: Option<SessionCursor>,
}

impl App {
    /// At most `limit` sessions of the owner, newest first.
    pub(crate) async fn list_sessions(
        &self,
        owner: Owner,
        after: Option<SessionCursor>,
        limit: PageLimit,
        now: UnixMillis,
    ) -> Outcome<SessionPage> {
        let cookies = self
            .policy
            .sessions
            .as_ref()
            .map_or(Duration::ZERO, |policy| policy.ttl);
        // One more than asked for tells whether there are more.
        let wanted = PageLimit::new(limit.rows().saturating_add(1));
        let found = self
            .store
            .sessions_of(owner.account, now.minus(cookies), now, after, wanted)
            .await;
        let outcome = found.map_err(Refusal::from).map(|mut sessions| {
            let shown = usize::from(limit.rows()).min(usize::from(wanted.rows()) - 1);
            let is_more = sessions.len() > shown;
            sessions.truncate(shown);
            let next = sessions
                .last()
                .filter(|_| is_more)
                .map(SessionRecord::cursor);
            SessionPage { sessions, next }
        });
        self.counted("list_sessions", outcome)
    }

    /// Ends one session of the owner.
    pub(crate) async fn end_session_by_name(
        &self,
        owner: Owner,
        session: SessionId,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = self.try_end_session_by_name(owner, session, origin).await;
        self.counted("end_session", outcome)
    }

    async fn try_end_session_by_name(
        &self,
        owner: Owner,
        session: SessionId,
        origin: Origin,
    ) -> Outcome<()> {
        let event = AuditEvent::SessionEnded;
        let audit = origin.audit(event, owner.account).in_session(session);
        let until = self.owners_tokens_end(owner, origin);
        let ended = self
            .store
            .end_session_of(owner.account, session, until, &audit)
            .await?;
        self.share(ended.ok_or(Refusal::NoSuchSession)?).await
    }

    /// Ends every session of the owner, the one that asks included.
    pub(crate) async fn log_out_everywhere(&self, owner: Owner, origin: Origin) -> Outcome<()> {
        let outcome = self.try_log_out_everywhere(owner, origin).await;
        self.counted("logout_all", outcome)
    }

    async fn try_log_out_everywhere(&self, owner: Owner, origin: Origin) -> Outcome<()> {
        let event = AuditEvent::LoggedOutEverywhere;
        let audit = origin.audit(event, owner.account).in_session(owner.session);
        let until = self.owners_tokens_end(owner, origin);
        let ended = self
            .store
            .end_all_sessions_of(owner.account, until, &audit)
            .await?;
        self.share_cut(ended.ok_or(Refusal::InvalidToken)?, origin.now)
            .await
    }

    /// Makes the end of all sessions known to all instances. Tokens carry whole seconds, so that those of the second of
    /// the cut are void, whoever they were issued to: this returns when that second is over, and the next login holds.
    pub(super) async fn share_cut(&self, cut: Revocation, at: UnixMillis) -> Outcome<()> {
        let rest = UnixMillis::from_seconds(at.seconds().saturating_add(1)).since(at);
        let (shared, ()) = tokio::join!(self.share(cut), tokio::time::sleep(rest));
        shared
    }

    pub(super) fn owners_tokens_end(&self, owner: Owner, origin: Origin) -> UnixMillis {
        self.tokens_end(origin.now)
            .max(Self::token_end(owner.expires_at))
    }
}
