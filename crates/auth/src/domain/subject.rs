//! Who may do something: a person's account or a machine's client, with all that a check needs of it. Never how it
//! proved itself.

use std::collections::BTreeSet;
use std::fmt;

use super::{AccountId, PermissionSet, PermissionVersion, Role, Tier, UnixMillis};

/// A client is named like a part of a permission: `[a-z0-9]` then `[a-z0-9_.-]`, at most 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(String);

/// A client's name outside the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client's name starts with a-z or 0-9, goes on with a-z, 0-9, '_', '.' or '-', and has at most 64 characters"
)]
pub struct InvalidClientName;

impl ClientName {
    /// Parses a name.
    ///
    /// # Errors
    /// If it is outside the grammar.
    pub fn parse(name: &str) -> Result<Self, InvalidClientName> {
        // Roles have one character more, which tells a client's subject from its name.
        let is_valid = Role::parse(name).is_ok() && !name.contains(':');
        is_valid
            .then(|| Self(name.to_owned()))
            .ok_or(InvalidClientName)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose permissions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectId {
    /// A person's account.
    Account(AccountId),
    /// A machine's client.
    Client(ClientName),
}

const CLIENT: &str = "client:";

impl SubjectId {
    /// Reads the text form: an account's id, or `client:` and a name.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(CLIENT) {
            Some(name) => ClientName::parse(name).ok().map(Self::Client),
            None => AccountId::parse(text).map(Self::Account),
        }
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => id.fmt(f),
            Self::Client(name) => write!(f, "{CLIENT}{}", name.as_str()),
        }
    }
}

/// A subject as of one version of roles and permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Who it is.
    pub id: SubjectId,
    /// Whether it may do anything at all.
    pub is_active: bool,
    /// Which limits it has.
    pub tier: Tier,
    /// The roles it holds.
    pub roles: BTreeSet<Role>,
    /// What they grant together.
    pub permissions: PermissionSet,
    /// When all of this held.
    pub version: PermissionVersion,
}

/// What a role grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDefinition {
    /// Its name, as accounts and clients hold it.
    pub role: Role,
    /// What it grants.
    pub permissions: PermissionSet,
}

/// A machine identity: it logs in nowhere, and acts by API keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Unique within a tenant.
    pub name: ClientName,
    /// Whether its keys are good for anything.
    pub is_active: bool,
    /// Which limits it has.
    pub tier: Tier,
    /// The roles it holds.
    pub roles: BTreeSet<Role>,
    /// When it was made.
    pub created_at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_clients_are_never_taken_for_each_other() {
        let account = AccountId::from_random([1; 16]);
        let id = SubjectId::Account(account);
        assert_eq!(SubjectId::parse(&id.to_string()), Some(id));
        // A client may be named like an account, and is still a client.
        let name = ClientName::parse(&account.to_string()).unwrap();
        let id = SubjectId::Client(name);
        assert_eq!(SubjectId::parse(&id.to_string()), Some(id));
        for text in [
            "",
            "client:",
            "client:A",
            "client:a:b",
            "client:a b",
            "billing",
            "Client:a",
        ] {
            assert_eq!(SubjectId::parse(text), None, "{text:?}");
        }
    }
}
