//! A stored person or machine. Never decides who may do what: roles are data here.

use std::collections::BTreeSet;
use std::fmt;

use portcullis_ops::Secret;
use uuid::Uuid;

use super::{Email, Tier, UnixMillis};

/// One account as the store knows it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The `sub` of its tokens. Never reused.
    pub id: AccountId,
    /// Unique within a tenant.
    pub email: Email,
    /// How the account proves itself.
    pub password_hash: PasswordHash,
    /// Whether it may get tokens at all.
    pub status: AccountStatus,
    /// Sorted, without duplicates.
    pub roles: BTreeSet<Role>,
    /// Which limits it has.
    pub tier: Tier,
    /// When it was registered.
    pub created_at: UnixMillis,
}

impl Account {
    /// Whether the account holds the role.
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.as_str() == name)
    }
}

/// A version 4 UUID: says nothing about age or count of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Uuid);

impl AccountId {
    /// Makes an id of random bytes; version and variant bits are set here.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads the text form (`sub` of a token, a column).
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Only the hyphenated lower-case form: one id, one spelling, so that text comparison in a database is identity.
pub(super) fn parse_uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    (uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some(uuid)
}

/// Whether an account may get tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountStatus {
    /// May log in.
    Active,
    /// Put aside by an operator; every way to a token is shut.
    Disabled,
}

impl AccountStatus {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "active" => Some(Self::Active),
            "disabled" => Some(Self::Disabled),
            _ => None,
        }
    }
}

/// A role name: `[a-z0-9]` then `[a-z0-9_.:-]`, at most 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(String);

/// A role name outside the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a role name starts with a-z or 0-9, goes on with a-z, 0-9, '_', '.', ':' or '-', and has at most 64 characters"
)]
pub struct InvalidRole;

impl Role {
    /// Holders may administer the service; the set-up token creates the first one.
    pub const ADMIN: &str = "admin";

    /// The role of [`Role::ADMIN`].
    pub fn admin() -> Self {
        Self(Self::ADMIN.to_owned())
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Result<Self, InvalidRole> {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_part = |b: u8| is_word(b) || b"_.:-".contains(&b);
        let is_valid = name.len() <= 64
            && name.bytes().next().is_some_and(is_word)
            && name.bytes().all(is_part);
        is_valid.then(|| Self(name.to_owned())).ok_or(InvalidRole)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password hash in PHC string form. `Debug` never shows it.
#[derive(Clone, Debug)]
pub struct PasswordHash(Secret<String>);

impl PasswordHash {
    /// Wraps what the hasher made or the store holds.
    pub fn from_phc(phc: String) -> Self {
        Self(Secret::new(phc))
    }

    /// The PHC string, for the store and the hasher.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_4_and_have_one_spelling() {
        let id = AccountId::from_random([0xff; 16]);
        let text = id.to_string();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(AccountId::parse(&text), Some(id));
        for other in [
            text.to_uppercase(),
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("{text} "),
            String::new(),
        ] {
            assert_eq!(AccountId::parse(&other), None, "{other:?}");
        }
    }

    #[test]
    fn role_names_follow_the_grammar() {
        for name in ["admin", "a", "0", "billing:read", "a.b-c_d"] {
            assert_eq!(Role::parse(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            "Admin",
            "-a",
            ":a",
            "a b",
            "a,b",
            "ä",
            "a\n",
            "a\0",
            &"a".repeat(65),
        ] {
            assert_eq!(Role::parse(name), Err(InvalidRole), "{name:?}");
        }
    }

    #[test]
    fn debug_of_an_account_shows_neither_hash_nor_address() {
        let account = Account {
            id: AccountId::from_random([1; 16]),
            email: Email::parse("ada@example.com").unwrap(),
            password_hash: PasswordHash::from_phc("$argon2id$secret".to_owned()),
            status: AccountStatus::Active,
            roles: BTreeSet::from([Role::admin()]),
            tier: Tier::Free,
            created_at: UnixMillis(1),
        };
        let shown = format!("{account:?}");
        assert!(
            !shown.contains("argon2id") && !shown.contains("ada@"),
            "{shown}"
        );
        assert!(account.has_role(Role::ADMIN) && !account.has_role("adm"));
    }
}
