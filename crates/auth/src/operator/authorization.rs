//! What an operator does to roles, clients, API keys and tiers from the command line. Works beside running instances,
//! which act on it from their next request.

use std::time::Duration;

use portcullis_ops::Secret;

use super::{Cut, OperatorError, find};
use crate::app::authorization::administration::{NewClient, definition};
use crate::app::authorization::publish::publish;
use crate::app::authorization::{NewApiKey, Unauthorized};
use crate::app::revocations::share;
use crate::config::Config;
use crate::domain::{
    Account, Actor, ApiKey, ApiKeyId, AuditEntry, AuditEvent, Client, ClientName, Email, Role,
    RoleDefinition, SubjectId, Tier, UnixMillis,
};
use crate::server::Stores;
use crate::store::{ApiKeyCreation, Definition, PageLimit, RoleRemoval};

/// How long the revocation of a key is shared: longer than any instance remembers a key.
const REVOCATION: Duration = Duration::from_secs(600);

/// Why a command about permissions did nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// A permission's name is none.
    #[error("a permission is resource:action, and a grant may be resource:*")]
    Permission,
    /// A role's name is none.
    #[error("a role is named by a-z, 0-9, '_', '.', ':' and '-', up to 64 characters")]
    Role,
    /// A client's name is none.
    #[error("a client is named by a-z, 0-9, '_', '.' and '-', up to 64 characters")]
    Client,
    /// A tier is none.
    #[error("a tier is anonymous, free, pro, enterprise or internal")]
    Tier,
    /// A key's name or length of life is out of bounds.
    #[error(
        "a key has a name of 1 to 64 printable ASCII characters and lives for 1 second to 10 years, or for ever"
    )]
    Key,
    /// An owner is none.
    #[error("an owner is the address of an account, or client: and a client's name")]
    Owner,
    /// More than there may be.
    #[error(
        "that is more than there may be: 128 permissions of a role or key, 64 roles of an account or client, 100 keys"
    )]
    TooMany,
    /// Nobody defined the role.
    #[error("no role is called {0}")]
    NoSuchRole(String),
    /// Somebody holds the role.
    #[error("accounts or clients hold the role {0}: take it from them first")]
    RoleHeld(String),
    /// There is no such client, or it is shut.
    #[error("no client is called {0}, or it is shut")]
    NoSuchClient(String),
    /// There is no such key.
    #[error("no API key has the id {0}")]
    NoSuchKey(String),
}

impl From<Unauthorized> for AuthorizationError {
    fn from(unauthorized: Unauthorized) -> Self {
        use Unauthorized as U;
        match unauthorized {
            U::InvalidPermission | U::BeyondOwner => Self::Permission,
            U::InvalidRole | U::RoleHeld | U::NotFound => Self::Role,
            U::InvalidClient | U::InvalidSubject => Self::Client,
            U::InvalidTier => Self::Tier,
            U::InvalidKeyName | U::InvalidExpiry => Self::Key,
            U::TooMany => Self::TooMany,
        }
    }
}

/// Does `work` on opened databases and closes them whatever comes of it.
async fn on<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Stores) -> Result<T, OperatorError>,
) -> Result<T, OperatorError> {
    let stores = Stores::open(config).await?;
    let done = work(&stores).await;
    stores.close().await;
    done
}

fn line(event: AuditEvent, about: &str) -> AuditEntry {
    AuditEntry::by(Actor::Operator, Cut::now().at, event).about(about)
}

async fn published(stores: &Stores) -> Result<(), OperatorError> {
    Ok(publish(stores.store.as_ref(), stores.shared.as_ref()).await?)
}

/// Every role with what it grants.
pub async fn roles(config: &Config) -> Result<Vec<RoleDefinition>, OperatorError> {
    on(config, async |stores| {
        Ok(stores.store.role_definitions(None, PageLimit::MAX).await?)
    })
    .await
}

/// Defines a role, or replaces what it grants.
pub async fn define_role(
    config: &Config,
    name: &str,
    permissions: &[String],
) -> Result<RoleDefinition, OperatorError> {
    let definition = definition(name, permissions).map_err(AuthorizationError::from)?;
    on(config, async |stores| {
        let audit = line(AuditEvent::RoleDefined, name);
        stored(stores.store.define_role(&definition, &audit).await?)?;
        published(stores).await
    })
    .await?;
    Ok(definition)
}

/// Takes a role away that nobody holds.
pub async fn remove_role(config: &Config, name: &str) -> Result<(), OperatorError> {
    let role = Role::parse(name)?;
    on(config, async |stores| {
        let audit = line(AuditEvent::RoleRemoved, name);
        match stores.store.remove_role(&role, &audit).await? {
            RoleRemoval::Removed => published(stores).await,
            RoleRemoval::Held => Err(AuthorizationError::RoleHeld(name.to_owned()).into()),
            RoleRemoval::Unknown => Err(AuthorizationError::NoSuchRole(name.to_owned()).into()),
        }
    })
    .await
}

/// Every client, in order of its name.
pub async fn clients(config: &Config) -> Result<Vec<Client>, OperatorError> {
    on(config, async |stores| {
        let mut clients: Vec<Client> = Vec::new();
        loop {
            let after = clients.last().map(|client| client.name.clone());
            let page = stores.store.clients(after.as_ref(), PageLimit::MAX).await?;
            let is_last = page.len() < usize::from(PageLimit::MAX.rows());
            clients.extend(page);
            if is_last {
                return Ok(clients);
            }
        }
    })
    .await
}

/// What a client shall be.
#[derive(Debug, Clone)]
pub struct WantedClient<'a> {
    /// Its name.
    pub name: &'a str,
    /// Every role it shall have.
    pub roles: &'a [String],
    /// Its tier; `None`: that of new accounts.
    pub tier: Option<&'a str>,
    /// Whether its keys shall be good.
    pub is_active: bool,
}

/// Makes a client, or replaces roles, tier and status of one.
pub async fn put_client(
    config: &Config,
    wanted: WantedClient<'_>,
) -> Result<Client, OperatorError> {
    let wanted = NewClient {
        name: wanted.name,
        roles: wanted.roles,
        tier: wanted.tier,
        is_active: wanted.is_active,
    };
    let client = wanted
        .parse(Cut::now().at)
        .map_err(AuthorizationError::from)?;
    on(config, async |stores| {
        let audit = line(AuditEvent::ClientChanged, client.name.as_str());
        stored(stores.store.put_client(&client, &audit).await?)?;
        published(stores).await
    })
    .await?;
    Ok(client)
}

/// Takes a client away, and its keys with it.
pub async fn remove_client(config: &Config, name: &str) -> Result<(), OperatorError> {
    let client = ClientName::parse(name).map_err(|_| AuthorizationError::Client)?;
    on(config, async |stores| {
        let audit = line(AuditEvent::ClientRemoved, name);
        match stores.store.remove_client(&client, &audit).await? {
            true => published(stores).await,
            false => Err(AuthorizationError::NoSuchClient(name.to_owned()).into()),
        }
    })
    .await
}

/// Puts an account into a tier. Tokens say so from the next login or refresh on.
pub async fn set_tier(config: &Config, email: &str, tier: &str) -> Result<Account, OperatorError> {
    let email = Email::parse(email)?;
    let tier = Tier::parse(tier).map_err(|_| AuthorizationError::Tier)?;
    on(config, async |stores| {
        let account = find(stores, &email).await?;
        let audit = AuditEntry::of(Cut::now().at, AuditEvent::TierChanged, account.id, None);
        if !stores
            .store
            .set_tier(account.id, tier, &audit.about(tier.as_str()))
            .await?
        {
            return Err(OperatorError::NoSuchAccount(email.as_str().to_owned()));
        }
        published(stores).await?;
        find(stores, &email).await
    })
    .await
}

/// The newest API keys of an owner.
pub async fn api_keys(config: &Config, owner: &str) -> Result<Vec<ApiKey>, OperatorError> {
    on(config, async |stores| {
        let owner = subject(stores, owner).await?;
        Ok(stores.store.api_keys(&owner, PageLimit::MAX).await?)
    })
    .await
}

/// Makes an API key. The key itself is nowhere but in the answer.
pub async fn create_api_key(
    config: &Config,
    owner: &str,
    name: &str,
    permissions: &[String],
    expires_in: Option<u64>,
) -> Result<(ApiKey, Secret<String>), OperatorError> {
    let wanted = NewApiKey {
        name,
        permissions,
        expires_in,
    };
    on(config, async |stores| {
        let owned_by = subject(stores, owner).await?;
        let now = Cut::now().at;
        let (key, secret) = wanted
            .parse(owned_by, now)
            .map_err(AuthorizationError::from)?;
        let audit = about_key(&key, AuditEvent::ApiKeyCreated, now);
        let hash = secret.hash();
        match stores.store.create_api_key(&key, &hash, &audit).await? {
            ApiKeyCreation::Created => Ok((key, Secret::new(secret.expose().to_owned()))),
            ApiKeyCreation::TooMany => Err(AuthorizationError::TooMany.into()),
            ApiKeyCreation::OwnerNotActive => {
                Err(AuthorizationError::NoSuchClient(owner.to_owned()).into())
            }
        }
    })
    .await
}

/// Revokes an API key: every instance refuses it from its next request on.
pub async fn revoke_api_key(config: &Config, id: &str) -> Result<ApiKey, OperatorError> {
    let unknown = || AuthorizationError::NoSuchKey(id.to_owned());
    let key = ApiKeyId::parse(id).ok_or_else(unknown)?;
    on(config, async |stores| {
        let found = stores.store.api_key_by_id(key).await?;
        let found = found.ok_or_else(unknown)?;
        let now = Cut::now().at;
        let audit = about_key(&found, AuditEvent::ApiKeyRevoked, now);
        let until = now.plus(REVOCATION);
        if let Some(revocation) = stores.store.revoke_api_key(key, until, &audit).await? {
            share(stores.shared.as_ref(), revocation).await?;
        }
        let revoked = stores.store.api_key_by_id(key).await?;
        Ok(revoked.ok_or_else(unknown)?)
    })
    .await
}

fn about_key(key: &ApiKey, event: AuditEvent, now: UnixMillis) -> AuditEntry {
    let entry = AuditEntry::by(Actor::Operator, now, event).about(&key.id.to_string());
    let account = match &key.owner {
        SubjectId::Account(id) => Some(*id),
        SubjectId::Client(_) => None,
    };
    AuditEntry { account, ..entry }
}

/// The owner that an address, or `client:` and a name, stands for.
async fn subject(stores: &Stores, owner: &str) -> Result<SubjectId, OperatorError> {
    match SubjectId::parse(owner) {
        Some(client @ SubjectId::Client(_)) => match stores.store.subject(&client).await? {
            Some(_) => Ok(client),
            None => Err(AuthorizationError::NoSuchClient(owner.to_owned()).into()),
        },
        _ => {
            let email = Email::parse(owner).map_err(|_| AuthorizationError::Owner)?;
            Ok(SubjectId::Account(find(stores, &email).await?.id))
        }
    }
}

fn stored(definition: Definition) -> Result<(), OperatorError> {
    match definition {
        Definition::Stored => Ok(()),
        Definition::TooMany => Err(AuthorizationError::TooMany.into()),
    }
}
