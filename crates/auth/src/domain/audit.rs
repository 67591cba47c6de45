//! What must be provable later: who did what, to whom, from where, and what became of it. Never carries secrets, tokens,
//! addresses of people or free text.

mod address;
mod chain;
mod event;

use std::net::IpAddr;

use super::{AccountId, RequestId, SessionId, UnixMillis};

pub use address::AddressPolicy;
pub use chain::{AuditRow, ChainKey, ChainMark, ChainWalk, Flaw, MarkKind, Personal, Tag};
pub use event::AuditEvent;

/// Names of keys, roles and settings are shorter; whatever is not is cut.
const OBJECT_CHARS_MAX: usize = 128;

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub event: AuditEvent,
    /// Who asked for it.
    pub actor: Actor,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// Whom it concerns, when known.
    pub account: Option<AccountId>,
    /// Which session it concerns, when there is one.
    pub session: Option<SessionId>,
    /// What else it concerns: the name of a key, a role, a setting.
    pub object: Option<String>,
    /// Where the request came from; `None` for an operator's command.
    pub client: Option<IpAddr>,
    /// The request that asked, as logs and `X-Request-Id` name it.
    pub request: Option<RequestId>,
}

/// Who asked for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who proved to be this account.
    Account(AccountId),
    /// A machine that proved to be this client.
    Client(String),
    /// Whoever may run commands on the database.
    Operator,
    /// An instance by itself.
    System,
    /// Nobody has proved who asked.
    Unproven,
}

impl Actor {
    /// The stored words: what the actor is, and which one.
    pub fn parts(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Account(id) => ("account", Some(id.to_string())),
            Self::Client(id) => ("client", Some(id.clone())),
            Self::Operator => ("operator", None),
            Self::System => ("system", None),
            Self::Unproven => ("unproven", None),
        }
    }

    /// Reads the stored words.
    pub fn parse(kind: &str, id: Option<&str>) -> Option<Self> {
        match (kind, id) {
            ("account", Some(id)) => AccountId::parse(id).map(Self::Account),
            ("client", Some(id)) => Some(Self::Client(id.to_owned())),
            ("operator", None) => Some(Self::Operator),
            ("system", None) => Some(Self::System),
            ("unproven", None) => Some(Self::Unproven),
            _ => None,
        }
    }
}

/// What became of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
}

impl AuditOutcome {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Done, Self::Refused]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

impl AuditEntry {
    /// An entry about an account: by its owner when it comes from somewhere, by an operator's command otherwise.
    pub fn of(
        at: UnixMillis,
        event: AuditEvent,
        account: AccountId,
        client: Option<IpAddr>,
    ) -> Self {
        let actor = match (client, event.outcome()) {
            (None, _) => Actor::Operator,
            (Some(_), AuditOutcome::Done) => Actor::Account(account),
            (Some(_), AuditOutcome::Refused) => Actor::Unproven,
        };
        Self {
            account: Some(account),
            client,
            ..Self::by(actor, at, event)
        }
    }

    /// An entry about no account.
    pub fn by(actor: Actor, at: UnixMillis, event: AuditEvent) -> Self {
        Self {
            at,
            event,
            actor,
            outcome: event.outcome(),
            account: None,
            session: None,
            object: None,
            client: None,
            request: None,
        }
    }

    /// The same, about a key, a role, a setting of this name.
    pub fn about(mut self, object: &str) -> Self {
        let printable = object.chars().filter(|c| !c.is_control());
        self.object = Some(printable.take(OBJECT_CHARS_MAX).collect());
        self
    }

    /// The same, within this session.
    pub fn in_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// The same, done by another than the account it is about.
    pub fn done_by(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_and_outcomes_are_read_as_they_are_written() {
        let ada = AccountId::from_random([1; 16]);
        for actor in [
            Actor::Account(ada),
            Actor::Client("billing".to_owned()),
            Actor::Operator,
            Actor::System,
            Actor::Unproven,
        ] {
            let (kind, id) = actor.parts();
            assert_eq!(Actor::parse(kind, id.as_deref()), Some(actor));
        }
        for (kind, id) in [
            ("account", None),
            ("account", Some("ada")),
            ("operator", Some("ada")),
            ("root", None),
        ] {
            assert_eq!(Actor::parse(kind, id), None, "{kind} {id:?}");
        }
        for event in AuditEvent::ALL {
            assert_eq!(AuditEvent::parse(event.as_str()), Some(*event));
            let outcome = event.outcome();
            assert_eq!(AuditOutcome::parse(outcome.as_str()), Some(outcome));
        }
    }

    #[test]
    fn who_asked_follows_from_where_it_came_from_and_what_was_proved() {
        let ada = AccountId::from_random([1; 16]);
        let actor = |event, client| AuditEntry::of(UnixMillis(0), event, ada, client).actor;
        let somewhere = Some(IpAddr::from([192, 0, 2, 1]));
        let own = actor(AuditEvent::LoginSucceeded, somewhere);
        assert_eq!(own, Actor::Account(ada));
        let guessed = actor(AuditEvent::LoginFailed, somewhere);
        assert_eq!(guessed, Actor::Unproven);
        assert_eq!(actor(AuditEvent::Disabled, None), Actor::Operator);
    }

    #[test]
    fn a_name_forges_no_line_and_has_an_end() {
        let entry = AuditEntry::by(Actor::System, UnixMillis(0), AuditEvent::SetUp);
        let object = entry
            .about(&format!("a\r\nb\u{1b}{}", "x".repeat(1000)))
            .object;
        let object = object.unwrap();
        assert!(object.starts_with("abxx"), "{object}");
        assert_eq!(object.len(), 128);
    }
}
