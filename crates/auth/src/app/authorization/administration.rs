//! What administrators do to roles and clients. Never returns before a change counts on every instance.

use std::collections::BTreeSet;

use super::publish::{Unpublished, publish};
use super::{App, Outcome, Unauthorized};
use crate::app::{Administrator, Origin};
use crate::domain::{
    AuditEvent, Client, ClientName, GRANTS_MAX, PermissionSet, Role, RoleDefinition, Tier,
    UnixMillis,
};
use crate::store::{Definition, PageLimit, RoleRemoval};

/// What a token has room for.
pub(crate) const ROLES_MAX: usize = 64;

/// A client as somebody wants it.
#[derive(Debug)]
pub(crate) struct NewClient<'a> {
    pub(crate) name: &'a str,
    pub(crate) roles: &'a [String],
    pub(crate) tier: Option<&'a str>,
    pub(crate) is_active: bool,
}

impl NewClient<'_> {
    pub(crate) fn parse(&self, now: UnixMillis) -> Result<Client, Unauthorized> {
        let name = ClientName::parse(self.name).map_err(|_| Unauthorized::InvalidClient)?;
        let tier = self.tier.map_or(Ok(Tier::Free), Tier::parse);
        let roles = self.roles.iter().map(|role| Role::parse(role));
        let roles = roles.collect::<Result<BTreeSet<_>, _>>();
        let roles = roles.map_err(|_| Unauthorized::InvalidRole)?;
        if roles.len() > ROLES_MAX {
            return Err(Unauthorized::TooMany);
        }
        Ok(Client {
            name,
            is_active: self.is_active,
            tier: tier.map_err(|_| Unauthorized::InvalidTier)?,
            roles,
            created_at: now,
        })
    }
}

/// Parses what a role shall grant.
pub(crate) fn definition(
    name: &str,
    permissions: &[String],
) -> Result<RoleDefinition, Unauthorized> {
    let role = Role::parse(name).map_err(|_| Unauthorized::InvalidRole)?;
    if permissions.len() > GRANTS_MAX {
        return Err(Unauthorized::TooMany);
    }
    let permissions = PermissionSet::parse(permissions.iter().map(String::as_str));
    let permissions = permissions.map_err(|_| Unauthorized::InvalidPermission)?;
    Ok(RoleDefinition { role, permissions })
}

impl App {
    /// A page of roles behind `after`.
    pub(crate) async fn roles(
        &self,
        after: Option<&Role>,
        limit: PageLimit,
    ) -> Outcome<Vec<RoleDefinition>> {
        Ok(self.store.role_definitions(after, limit).await?)
    }

    /// Defines a role, or replaces what it grants.
    pub(crate) async fn define_role(
        &self,
        name: &str,
        permissions: &[String],
        by: Administrator,
        origin: Origin,
    ) -> Outcome<RoleDefinition> {
        let outcome = async {
            let definition = definition(name, permissions)?;
            let audit = by
                .line(AuditEvent::RoleDefined, origin)
                .about(definition.role.as_str());
            stored(self.store.define_role(&definition, &audit).await?)?;
            self.publish_permissions().await?;
            Ok(definition)
        };
        self.counted("role_define", outcome.await)
    }

    /// Takes a role away that nobody holds.
    pub(crate) async fn remove_role(
        &self,
        name: &str,
        by: Administrator,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = async {
            let role = Role::parse(name).map_err(|_| Unauthorized::NotFound)?;
            let audit = by
                .line(AuditEvent::RoleRemoved, origin)
                .about(role.as_str());
            match self.store.remove_role(&role, &audit).await? {
                RoleRemoval::Removed => self.publish_permissions().await,
                RoleRemoval::Held => Err(Unauthorized::RoleHeld.into()),
                RoleRemoval::Unknown => Err(Unauthorized::NotFound.into()),
            }
        };
        self.counted("role_remove", outcome.await)
    }

    /// A page of clients behind `after`.
    pub(crate) async fn clients(
        &self,
        after: Option<&ClientName>,
        limit: PageLimit,
    ) -> Outcome<Vec<Client>> {
        Ok(self.store.clients(after, limit).await?)
    }

    /// Makes a client, or replaces what it has.
    pub(crate) async fn put_client(
        &self,
        wanted: NewClient<'_>,
        by: Administrator,
        origin: Origin,
    ) -> Outcome<Client> {
        let outcome = async {
            let client = wanted.parse(origin.now)?;
            let audit = by
                .line(AuditEvent::ClientChanged, origin)
                .about(client.name.as_str());
            stored(self.store.put_client(&client, &audit).await?)?;
            self.publish_permissions().await?;
            Ok(client)
        };
        self.counted("client_put", outcome.await)
    }

    /// Takes a client away, and its keys with it.
    pub(crate) async fn remove_client(
        &self,
        name: &str,
        by: Administrator,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = async {
            let name = ClientName::parse(name).map_err(|_| Unauthorized::NotFound)?;
            let audit = by
                .line(AuditEvent::ClientRemoved, origin)
                .about(name.as_str());
            match self.store.remove_client(&name, &audit).await? {
                true => self.publish_permissions().await,
                false => Err(Unauthorized::NotFound.into()),
            }
        };
        self.counted("client_remove", outcome.await)
    }

    /// Makes a durable change of roles, clients or tiers count everywhere.
    pub(crate) async fn publish_permissions(&self) -> Outcome<()> {
        let published = publish(self.store.as_ref(), self.shared.as_ref()).await;
        published.map_err(|unpublished| match unpublished {
            Unpublished::Store(error) => error.into(),
            Unpublished::Shared(error) => error.into(),
        })
    }
}

fn stored(definition: Definition) -> Outcome<()> {
    match definition {
        Definition::Stored => Ok(()),
        Definition::TooMany => Err(Unauthorized::TooMany.into()),
    }
}
