//! What the store knows of who may do what: roles, clients, API keys, and the version they have. Never decides anything.
//!
//! Every change here raises the version in its own transaction, so that whoever remembers a permission set can tell. An
//! API key does not: it is looked up by itself, and its revocation is one like a token's.

use async_trait::async_trait;

use super::{PageLimit, StoreResult};
use crate::domain::{
    AccountId, ApiKey, ApiKeyId, AuditEntry, Client, ClientName, PermissionVersion, Revocation,
    Role, RoleDefinition, Subject, SubjectId, Tier, TokenFacts, TokenHash, UnixMillis,
};

/// What all instances have to know before they act on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether a revocation covers the token.
    pub is_revoked: bool,
    /// What a permission set has to be as new as; `None`: whoever was asked does not know.
    pub permissions: Option<PermissionVersion>,
}

/// What became of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// Stored.
    Stored,
    /// There are as many as there may be.
    TooMany,
}

/// What became of a role's removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleRemoval {
    /// It grants nothing any more.
    Removed,
    /// Accounts or clients hold it.
    Held,
    /// Nobody defined it.
    Unknown,
}

/// What became of a new API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyCreation {
    /// Stored.
    Created,
    /// Its owner has as many as one may have.
    TooMany,
    /// Its owner is gone, or shut.
    OwnerNotActive,
}

/// Roles, clients and API keys.
#[async_trait]
pub trait AuthorizationStore: Send + Sync {
    /// Roles with what they grant, in order of their names, beginning behind `after`.
    async fn role_definitions(
        &self,
        after: Option<&Role>,
        limit: PageLimit,
    ) -> StoreResult<Vec<RoleDefinition>>;

    /// Defines a role, or replaces what it grants.
    async fn define_role(
        &self,
        definition: &RoleDefinition,
        audit: &AuditEntry,
    ) -> StoreResult<Definition>;

    /// Takes a role away that nobody holds.
    async fn remove_role(&self, role: &Role, audit: &AuditEntry) -> StoreResult<RoleRemoval>;

    /// The version of everything here but API keys.
    async fn permission_version(&self) -> StoreResult<PermissionVersion>;

    /// Whether a recorded revocation covers the token, and the version. One statement, from where every committed change
    /// is visible.
    async fn standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> StoreResult<Standing>;

    /// A subject with its roles, what they grant and the version, of one moment. One statement.
    async fn subject(&self, id: &SubjectId) -> StoreResult<Option<Subject>>;

    /// The same, where any that is as new as `version` will do. What it says is of one moment all the same.
    async fn subject_of(
        &self,
        id: &SubjectId,
        version: PermissionVersion,
    ) -> StoreResult<Option<Subject>>;

    /// Puts an account into a tier. `false`: no such account.
    async fn set_tier(&self, id: AccountId, tier: Tier, audit: &AuditEntry) -> StoreResult<bool>;

    /// Clients in order of their names, beginning behind `after`.
    async fn clients(
        &self,
        after: Option<&ClientName>,
        limit: PageLimit,
    ) -> StoreResult<Vec<Client>>;

    /// Makes a client, or replaces roles, tier and status of one.
    async fn put_client(&self, client: &Client, audit: &AuditEntry) -> StoreResult<Definition>;

    /// Takes a client away, and its keys with it. `false`: no such client.
    async fn remove_client(&self, name: &ClientName, audit: &AuditEntry) -> StoreResult<bool>;

    /// Stores a new API key, unless its owner is shut or has too many.
    async fn create_api_key(
        &self,
        key: &ApiKey,
        hash: &TokenHash,
        audit: &AuditEntry,
    ) -> StoreResult<ApiKeyCreation>;

    /// Finds an API key by its hash, whatever its state.
    async fn api_key_by_hash(&self, hash: &TokenHash) -> StoreResult<Option<ApiKey>>;

    /// Finds an API key by its id, whatever its state.
    async fn api_key_by_id(&self, id: ApiKeyId) -> StoreResult<Option<ApiKey>>;

    /// The API keys of an owner, newest first, those that have ended among them.
    async fn api_keys(&self, owner: &SubjectId, limit: PageLimit) -> StoreResult<Vec<ApiKey>>;

    /// Revokes an API key: it is good for nothing from here on. Returns the revocation for the shared state, which lasts
    /// as long as anybody may remember the key; `None`: no such key, or it was revoked before.
    async fn revoke_api_key(
        &self,
        id: ApiKeyId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>>;

    /// Notes that an API key is used, unless that was noted after `since`.
    async fn note_api_key_use(
        &self,
        id: ApiKeyId,
        now: UnixMillis,
        since: UnixMillis,
    ) -> StoreResult<()>;
}
