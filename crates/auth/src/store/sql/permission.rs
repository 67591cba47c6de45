//! Roles, what they grant, and the version of it all. Never reads a permission set by more than one statement: what is
//! read together held together.

use std::collections::BTreeSet;

use super::super::authorization::{Definition, RoleRemoval, Standing};
use super::super::{PageLimit, StoreResult};
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use super::{TENANT, audit};
use crate::domain::{
    AccountId, AccountStatus, AuditEntry, PermissionGrant, PermissionSet, PermissionVersion, Role,
    RoleDefinition, Subject, SubjectId, Tier, TokenFacts, UnixMillis,
};

/// Nobody reads more by hand, and a list is a few pages.
const ROLES_MAX: i64 = 500;
/// 64 roles, which is what a token can say, of 128 grants each.
const ROWS_MAX: i64 = 64 * 128;

const LISTING: &str = "listing roles";
const READING: &str = "reading a permission set";

/// Before the end of a transaction that changes who may do what. Whoever comes second waits here, so that versions
/// are committed in their order. They follow the clock: after a promotion or a backup that lost the last changes, their
/// versions are not given to others, which somebody may remember under them.
pub(super) async fn raise_version(write: &mut Write, now: UnixMillis) -> StoreResult<()> {
    Statement::new(
        "raising the version of the permissions",
        "UPDATE permission_version SET version = CASE WHEN version < $2 THEN $2 ELSE version + 1 END
         WHERE tenant_id = $1",
    )
    .bind(TENANT)
    .bind(now.0)
    .execute(write)
    .await
    .map(drop)
}

pub(super) async fn version(database: &Database) -> StoreResult<PermissionVersion> {
    let row = Statement::new(
        "reading the version of the permissions",
        "SELECT version FROM permission_version WHERE tenant_id = $1",
    )
    .vital()
    .bind(TENANT)
    .fetch_optional(database)
    .await?;
    row.map_or(Ok(PermissionVersion::default()), |row| {
        Ok(PermissionVersion(row.number("version")?))
    })
}

pub(super) async fn standing(
    database: &Database,
    token: &TokenFacts<'_>,
    now: UnixMillis,
) -> StoreResult<Standing> {
    const DOING: &str = "looking for revocations and the version of the permissions";
    // Nothing equals NULL: a token without a session is in none.
    let row = Statement::new(
        DOING,
        "SELECT v.version, EXISTS (SELECT 1 FROM revocation WHERE tenant_id = $1 AND until > $2 AND (
             (kind = 'token' AND subject = $3) OR (kind = 'session' AND subject = $4)
             OR (kind = 'account' AND subject = $5 AND not_before > $6)
             OR (kind = 'signing_key' AND subject = $7))) AS is_revoked
         FROM permission_version v WHERE v.tenant_id = $1",
    )
    .bind(TENANT)
    .bind(now.0)
    .bind(token.jti)
    .bind(token.sid)
    .bind(token.sub)
    .bind(token.issued_at.0)
    .bind(token.kid)
    .fetch_optional(database)
    .await?;
    let row = row.ok_or(super::super::StoreError::BadRow {
        attempted: DOING,
        what: "version of the permissions",
    })?;
    Ok(Standing {
        is_revoked: row.flag("is_revoked")?,
        permissions: Some(PermissionVersion(row.number("version")?)),
    })
}

pub(super) async fn subject(database: &Database, id: &SubjectId) -> StoreResult<Option<Subject>> {
    read(database, id, subject_statement(id)).await
}

/// A server that lags may answer: the set says of which version it is, in one statement with it. Nobody is asked for
/// again, since they may be somebody it has not heard of.
pub(super) async fn subject_of(
    database: &Database,
    id: &SubjectId,
    version: PermissionVersion,
) -> StoreResult<Option<Subject>> {
    if database.may_lag() {
        let found = read(database, id, subject_statement(id).may_lag_visibly()).await?;
        if found.as_ref().is_some_and(|found| found.version >= version) {
            return Ok(found);
        }
    }
    subject(database, id).await
}

/// Every row has the same subject and one of its roles with one of its grants.
fn subject_statement(id: &SubjectId) -> Statement {
    let statement = match id {
        SubjectId::Account(id) => Statement::new(
            READING,
            "SELECT a.status, a.tier, v.version, r.role, p.permission FROM account a
             JOIN permission_version v ON v.tenant_id = a.tenant_id
             LEFT JOIN account_role r ON r.account_id = a.id
             LEFT JOIN role_permission p ON p.tenant_id = a.tenant_id AND p.role = r.role
             WHERE a.tenant_id = $1 AND a.id = $2 LIMIT $3",
        )
        .bind(TENANT)
        .bind(id.to_string()),
        SubjectId::Client(name) => Statement::new(
            READING,
            "SELECT c.status, c.tier, v.version, r.role, p.permission FROM client c
             JOIN permission_version v ON v.tenant_id = c.tenant_id
             LEFT JOIN client_role r ON r.tenant_id = c.tenant_id AND r.client = c.name
             LEFT JOIN role_permission p ON p.tenant_id = c.tenant_id AND p.role = r.role
             WHERE c.tenant_id = $1 AND c.name = $2 LIMIT $3",
        )
        .bind(TENANT)
        .bind(name.as_str()),
    };
    statement.bind(ROWS_MAX + 1)
}

async fn read(
    database: &Database,
    id: &SubjectId,
    statement: Statement,
) -> StoreResult<Option<Subject>> {
    let rows = statement.fetch_all(database).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    // Half of a set would be a wrong one.
    let is_whole = i64::try_from(rows.len()).is_ok_and(|rows| rows <= ROWS_MAX);
    first.read("permission set", is_whole.then_some(()))?;
    let mut roles = BTreeSet::new();
    let mut grants = Vec::with_capacity(rows.len());
    for row in &rows {
        if let Some(role) = row.optional_text("role")? {
            roles.insert(row.read("role", Role::parse(role).ok())?);
        }
        if let Some(name) = row.optional_text("permission")? {
            grants.push(row.read("permission", PermissionGrant::parse(name).ok())?);
        }
    }
    let status = AccountStatus::parse(first.text("status")?);
    Ok(Some(Subject {
        id: id.clone(),
        is_active: first.read("status", status)? == AccountStatus::Active,
        tier: Tier::read(first.text("tier")?),
        roles,
        permissions: grants.into_iter().collect(),
        version: PermissionVersion(first.number("version")?),
    }))
}

pub(super) async fn page(
    database: &Database,
    after: Option<&Role>,
    limit: PageLimit,
) -> StoreResult<Vec<RoleDefinition>> {
    Statement::new(
        LISTING,
        "SELECT r.name, (SELECT string_agg(permission, ',') FROM role_permission
                         WHERE tenant_id = r.tenant_id AND role = r.name) AS permissions
         FROM role r WHERE r.tenant_id = $1 AND r.name > $2 ORDER BY r.name LIMIT $3",
    )
    .bind(TENANT)
    // No role is empty: this is before the first.
    .bind(after.map_or("", Role::as_str))
    .bind(limit.rows())
    .fetch_all(database)
    .await?
    .iter()
    .map(|row| {
        Ok(RoleDefinition {
            role: row.read("role", Role::parse(row.text("name")?).ok())?,
            permissions: permissions(row, row.optional_text("permissions")?)?,
        })
    })
    .collect()
}

/// Names separated by commas, or none.
pub(super) fn permissions(row: &Row, names: Option<&str>) -> StoreResult<PermissionSet> {
    let names = names.unwrap_or_default().split_terminator(',');
    row.read("permission", PermissionSet::parse(names).ok())
}

pub(super) async fn define(
    database: &Database,
    definition: &RoleDefinition,
    entry: &AuditEntry,
) -> StoreResult<Definition> {
    const DOING: &str = "defining a role";
    let mut write = database.write(DOING).await?;
    raise_version(&mut write, entry.at).await?;
    let role = definition.role.as_str();
    Statement::new(
        DOING,
        "INSERT INTO role (tenant_id, name) VALUES ($1, $2) ON CONFLICT (tenant_id, name) DO NOTHING",
    )
    .bind(TENANT)
    .bind(role)
    .execute(&mut write)
    .await?;
    let grants = definition.permissions.iter().map(PermissionGrant::as_str);
    let members = Members {
        attempted: DOING,
        count: "SELECT count(*) AS owners FROM role WHERE tenant_id = $1",
        most: ROLES_MAX,
        remove: "DELETE FROM role_permission WHERE tenant_id = $1 AND role = $2",
        insert: "INSERT INTO role_permission (tenant_id, role, permission) VALUES ($1, $2, $3)",
    };
    members.replace(write, role, grants, entry).await
}

/// What an owner has, as rows of their own: the statements that replace all of them.
pub(super) struct Members {
    pub(super) attempted: &'static str,
    /// How many owners there are now.
    pub(super) count: &'static str,
    pub(super) most: i64,
    pub(super) remove: &'static str,
    pub(super) insert: &'static str,
}

impl Members {
    /// Ends a write that stored the owner. Nothing of it is kept when there are too many.
    pub(super) async fn replace(
        &self,
        mut write: Write,
        owner: &str,
        members: impl Iterator<Item = &str>,
        entry: &AuditEntry,
    ) -> StoreResult<Definition> {
        let counting = Statement::new(self.attempted, self.count).bind(TENANT);
        let count = counting.fetch_optional(&mut write).await?;
        let count = count.map(|row| row.number("owners")).transpose()?;
        if count.is_some_and(|count| count > self.most) {
            // Returning without commit undoes it.
            return Ok(Definition::TooMany);
        }
        let of_owner = |sql| Statement::new(self.attempted, sql).bind(TENANT).bind(owner);
        of_owner(self.remove).execute(&mut write).await?;
        for member in members {
            let inserting = of_owner(self.insert).bind(member);
            inserting.execute(&mut write).await?;
        }
        audit::insert(&mut write, entry).await?;
        write.commit().await?;
        Ok(Definition::Stored)
    }
}

pub(super) async fn remove(
    database: &Database,
    role: &Role,
    entry: &AuditEntry,
) -> StoreResult<RoleRemoval> {
    const DOING: &str = "removing a role";
    let mut write = database.write(DOING).await?;
    raise_version(&mut write, entry.at).await?;
    let held = Statement::new(
        DOING,
        "SELECT 1 FROM account_role r JOIN account a ON a.id = r.account_id
         WHERE r.role = $1 AND a.tenant_id = $2
         UNION ALL SELECT 1 FROM client_role WHERE role = $1 AND tenant_id = $2 LIMIT 1",
    )
    .bind(role.as_str())
    .bind(TENANT)
    .fetch_optional(&mut write)
    .await?;
    if held.is_some() {
        return Ok(RoleRemoval::Held);
    }
    let removed = Statement::new(DOING, "DELETE FROM role WHERE tenant_id = $1 AND name = $2")
        .bind(TENANT)
        .bind(role.as_str())
        .execute(&mut write)
        .await?;
    if removed == 0 {
        return Ok(RoleRemoval::Unknown);
    }
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(RoleRemoval::Removed)
}

pub(super) async fn set_tier(
    database: &Database,
    id: AccountId,
    tier: Tier,
    entry: &AuditEntry,
) -> StoreResult<bool> {
    const DOING: &str = "changing the tier of an account";
    let mut write = database.write(DOING).await?;
    let changed = Statement::new(
        DOING,
        "UPDATE account SET tier = $1 WHERE id = $2 AND tenant_id = $3",
    )
    .bind(tier.as_str())
    .bind(id.to_string())
    .bind(TENANT)
    .execute(&mut write)
    .await?;
    if changed == 0 {
        return Ok(false);
    }
    raise_version(&mut write, entry.at).await?;
    audit::insert(&mut write, entry).await?;
    write.commit().await?;
    Ok(true)
}
