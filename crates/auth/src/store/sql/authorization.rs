//! Who may do what, by its statements. Never more than one line each: they are in `permission`, `client` and `api_key`.

use async_trait::async_trait;

use super::super::authorization::{
    ApiKeyCreation, AuthorizationStore, Definition, RoleRemoval, Standing,
};
use super::super::{PageLimit, StoreResult};
use super::{SqlStore, api_key, client, permission};
use crate::domain::{
    AccountId, ApiKey, ApiKeyId, AuditEntry, Client, ClientName, PermissionVersion, Revocation,
    Role, RoleDefinition, Subject, SubjectId, Tier, TokenFacts, TokenHash, UnixMillis,
};

#[async_trait]
impl AuthorizationStore for SqlStore {
    async fn role_definitions(
        &self,
        after: Option<&Role>,
        limit: PageLimit,
    ) -> StoreResult<Vec<RoleDefinition>> {
        permission::page(&self.database, after, limit).await
    }

    async fn define_role(
        &self,
        definition: &RoleDefinition,
        audit: &AuditEntry,
    ) -> StoreResult<Definition> {
        permission::define(&self.database, definition, audit).await
    }

    async fn remove_role(&self, role: &Role, audit: &AuditEntry) -> StoreResult<RoleRemoval> {
        permission::remove(&self.database, role, audit).await
    }

    async fn permission_version(&self) -> StoreResult<PermissionVersion> {
        permission::version(&self.database).await
    }

    async fn standing(&self, token: &TokenFacts<'_>, now: UnixMillis) -> StoreResult<Standing> {
        permission::standing(&self.database, token, now).await
    }

    async fn subject(&self, id: &SubjectId) -> StoreResult<Option<Subject>> {
        permission::subject(&self.database, id).await
    }

    async fn subject_of(
        &self,
        id: &SubjectId,
        version: PermissionVersion,
    ) -> StoreResult<Option<Subject>> {
        permission::subject_of(&self.database, id, version).await
    }

    async fn set_tier(&self, id: AccountId, tier: Tier, audit: &AuditEntry) -> StoreResult<bool> {
        permission::set_tier(&self.database, id, tier, audit).await
    }

    async fn clients(
        &self,
        after: Option<&ClientName>,
        limit: PageLimit,
    ) -> StoreResult<Vec<Client>> {
        client::page(&self.database, after, limit).await
    }

    async fn put_client(&self, client: &Client, audit: &AuditEntry) -> StoreResult<Definition> {
        client::put(&self.database, client, audit).await
    }

    async fn remove_client(&self, name: &ClientName, audit: &AuditEntry) -> StoreResult<bool> {
        client::remove(&self.database, name, audit).await
    }

    async fn create_api_key(
        &self,
        key: &ApiKey,
        hash: &TokenHash,
        audit: &AuditEntry,
    ) -> StoreResult<ApiKeyCreation> {
        api_key::create(&self.database, key, hash, audit).await
    }

    async fn api_key_by_hash(&self, hash: &TokenHash) -> StoreResult<Option<ApiKey>> {
        api_key::by_hash(&self.database, hash).await
    }

    async fn api_key_by_id(&self, id: ApiKeyId) -> StoreResult<Option<ApiKey>> {
        api_key::by_id(&self.database, id).await
    }

    async fn api_keys(&self, owner: &SubjectId, limit: PageLimit) -> StoreResult<Vec<ApiKey>> {
        api_key::of_owner(&self.database, owner, limit).await
    }

    async fn revoke_api_key(
        &self,
        id: ApiKeyId,
        until: UnixMillis,
        audit: &AuditEntry,
    ) -> StoreResult<Option<Revocation>> {
        api_key::revoke(&self.database, id, until, audit).await
    }

    async fn note_api_key_use(
        &self,
        id: ApiKeyId,
        now: UnixMillis,
        since: UnixMillis,
    ) -> StoreResult<()> {
        api_key::note_use(&self.database, id, now, since).await
    }
}
