//! What an operator does to accounts from the command line. Works beside running
//! instances, which see the change on their next request.

pub mod audit;
pub mod authorization;
mod erase;
pub mod factors;
mod import;
pub mod instant;
pub mod keys;
mod sessions;
pub mod settings;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use portcullis_ops::Secret;

use crate::app::authorization::administration::ROLES_MAX;
use crate::app::authorization::publish::{Unpublished, publish};
use crate::app::revocations::share;
use crate::config::{ACCESS_TTL_CEILING, Config};
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, AuditEvent, Email, InvalidEmail, InvalidRole,
    NewPassword, PasswordRefused, Revocation, Role, Tier, UnixMillis,
};
use crate::keys::{KekError, KeyRingError};
use crate::live::SettingRefused;
use crate::password::HashError;
use crate::random;
use crate::server::{OpenError, ServeError, Stores, hasher};
use crate::shared::SharedError;
use crate::store::{AccountCreation, PageLimit, StoreError};
pub use erase::{Erased, erase};
pub use import::{Effect, Imported, Mistake, OnMistake, import, is_importable};
pub use sessions::{log_out, sessions};

/// Access tokens issued while a command runs, and clocks that differ.
const MARGIN: Duration = Duration::from_secs(120);

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The address is none.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// A role's name is none.
    #[error(transparent)]
    Role(#[from] InvalidRole),
    /// Somebody has that address already.
    #[error("an account has the address {0} already")]
    EmailTaken(String),
    /// The password breaks a rule.
    #[error("the password is refused: {}", refused(*.0))]
    Password(PasswordRefused),
    /// The threads that hash passwords could not be started.
    #[error("the hash workers cannot be started")]
    HashWorkers(#[source] Box<ServeError>),
    /// The password was not hashed.
    #[error("the password could not be hashed")]
    Hash(#[from] HashError),
    /// A word that is none of a list.
    #[error("{word:?} is no {what} of the audit log")]
    Unknown {
        /// Which list.
        what: &'static str,
        /// The word.
        word: String,
    },
    /// It comes from another list.
    #[error("the cursor is not one of this list: it belongs to the filters it was told with")]
    Cursor,
    /// The setting cannot be stored.
    #[error(transparent)]
    Setting(#[from] SettingRefused),
    /// A file that was named cannot be read.
    #[error("cannot read")]
    Input(#[source] std::io::Error),
    /// What was read cannot be handed out.
    #[error("cannot write")]
    Output(#[source] std::io::Error),
    /// Nobody has that address.
    #[error("no account has the address {0}")]
    NoSuchAccount(String),
    /// There is nothing to take away.
    #[error("the account {0} has no authenticator")]
    NoFactor(String),
    /// No signing key has that id.
    #[error("no signing key has the id {0}")]
    NoSuchKey(String),
    /// There is nothing to sign with instead.
    #[error("no key is published to take over: too many keys are published already")]
    NoNextKey,
    /// Tokens of the next key would be refused by verifiers that have not heard of it.
    #[error(
        "the next key {kid} takes over in {} s at the earliest: until then verifiers may not know it; \
             a compromised key is replaced at once by `keys revoke`",
        keys::seconds(wait)
    )]
    NextKeyUnknown {
        /// Which.
        kid: String,
        /// How much longer.
        wait: Duration,
    },
    /// Roles, clients, API keys or tiers are not as wanted.
    #[error(transparent)]
    Authorization(#[from] authorization::AuthorizationError),
    /// The key that encrypts signing keys cannot be had.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The signing keys cannot be used.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeyRingError),
    /// The databases could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The durable store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change is durable, but running instances may not see it for some seconds.
    #[error("the change is stored, but the shared state failed")]
    Shared(#[from] SharedError),
}

impl From<Unpublished> for OperatorError {
    fn from(unpublished: Unpublished) -> Self {
        match unpublished {
            Unpublished::Store(error) => error.into(),
            Unpublished::Shared(error) => error.into(),
        }
    }
}

fn refused(refused: PasswordRefused) -> &'static str {
    match refused {
        PasswordRefused::TooShort | PasswordRefused::TooLong => {
            "it has 8 to 128 characters and at most 512 bytes"
        }
        PasswordRefused::TooCommon | PasswordRefused::Guessable => {
            "it is among the first that attackers try"
        }
    }
}

/// Every account, in order of its address.
pub async fn list(config: &Config) -> Result<Vec<Account>, OperatorError> {
    let stores = Stores::open(config).await?;
    let listed = async {
        let mut accounts: Vec<Account> = Vec::new();
        loop {
            let after = accounts.last().map(|account| account.email.clone());
            let page = stores
                .store
                .accounts(after.as_ref(), PageLimit::MAX)
                .await?;
            let is_last = page.len() < usize::from(PageLimit::MAX.rows());
            accounts.extend(page);
            if is_last {
                return Ok(accounts);
            }
        }
    }
    .await;
    stores.close().await;
    listed
}

/// One account.
pub async fn show(config: &Config, email: &str) -> Result<Account, OperatorError> {
    let email = Email::parse(email)?;
    let stores = Stores::open(config).await?;
    let found = find(&stores, &email).await;
    stores.close().await;
    found
}

/// Adds an account under the rules of registrations.
pub async fn add(
    config: &Config,
    email: &str,
    password: &Secret<String>,
    roles: &[String],
) -> Result<Account, OperatorError> {
    let email = Email::parse(email)?;
    let roles = parse_roles(roles)?;
    let password =
        NewPassword::parse(password.expose(), &email).map_err(OperatorError::Password)?;
    let hasher = hasher(config).map_err(|error| OperatorError::HashWorkers(Box::new(error)))?;
    let password_hash = hasher.hash(password).await?;
    let account = Account {
        id: AccountId::from_random(random::bytes()),
        email,
        password_hash,
        status: AccountStatus::Active,
        roles,
        tier: Tier::Free,
        created_at: now(),
    };
    let stores = Stores::open(config).await?;
    let audit = AuditEntry::of(
        account.created_at,
        AuditEvent::AccountAdded,
        account.id,
        None,
    );
    let created = stores.store.create_account(&account, &audit).await;
    stores.close().await;
    match created? {
        AccountCreation::Created => Ok(account),
        AccountCreation::EmailTaken => {
            Err(OperatorError::EmailTaken(account.email.as_str().to_owned()))
        }
    }
}

/// Shuts an account: its sessions end at once, on every instance.
pub async fn disable(config: &Config, email: &str) -> Result<Account, OperatorError> {
    set_status(config, email, AccountStatus::Disabled).await
}

/// Opens an account again. Sessions that ended stay ended.
pub async fn enable(config: &Config, email: &str) -> Result<Account, OperatorError> {
    set_status(config, email, AccountStatus::Active).await
}

async fn set_status(
    config: &Config,
    email: &str,
    status: AccountStatus,
) -> Result<Account, OperatorError> {
    let email = Email::parse(email)?;
    let stores = Stores::open(config).await?;
    let changed = change_status(&stores, &email, status).await;
    stores.close().await;
    changed
}

async fn change_status(
    stores: &Stores,
    email: &Email,
    status: AccountStatus,
) -> Result<Account, OperatorError> {
    let account = find(stores, email).await?;
    let event = match status {
        AccountStatus::Active => AuditEvent::Enabled,
        AccountStatus::Disabled => AuditEvent::Disabled,
    };
    let cut = Cut::now();
    let audit = AuditEntry::of(cut.at, event, account.id, None);
    if !stores
        .store
        .set_status(account.id, status, cut.until, &audit)
        .await?
    {
        return Err(OperatorError::NoSuchAccount(email.as_str().to_owned()));
    }
    publish(stores.store.as_ref(), stores.shared.as_ref()).await?;
    if status == AccountStatus::Disabled {
        revoke_tokens(stores, &account).await?;
    }
    find(stores, email).await
}

/// Replaces an account's roles. Access tokens with the old ones are void at once;
/// the next refresh gets the new ones.
pub async fn set_roles(
    config: &Config,
    email: &str,
    roles: &[String],
) -> Result<Account, OperatorError> {
    let email = Email::parse(email)?;
    let roles = parse_roles(roles)?;
    let stores = Stores::open(config).await?;
    let changed = async {
        let account = find(&stores, &email).await?;
        let audit = AuditEntry::of(Cut::now().at, AuditEvent::RolesChanged, account.id, None);
        if !stores.store.set_roles(account.id, &roles, &audit).await? {
            return Err(OperatorError::NoSuchAccount(email.as_str().to_owned()));
        }
        publish(stores.store.as_ref(), stores.shared.as_ref()).await?;
        revoke_tokens(&stores, &account).await?;
        find(&stores, &email).await
    }
    .await;
    stores.close().await;
    changed
}

fn parse_roles(roles: &[String]) -> Result<BTreeSet<Role>, OperatorError> {
    let roles = roles.iter().map(|role| Role::parse(role));
    let roles: BTreeSet<Role> = roles.collect::<Result<_, _>>()?;
    if roles.len() > ROLES_MAX {
        return Err(authorization::AuthorizationError::TooMany.into());
    }
    Ok(roles)
}

fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}

async fn find(stores: &Stores, email: &Email) -> Result<Account, OperatorError> {
    let found = stores.store.account_by_email(email).await?;
    found.ok_or_else(|| OperatorError::NoSuchAccount(email.as_str().to_owned()))
}

/// Makes void what was issued before a change. The cut comes after it: a login that was granted while the change
/// waited for its turn to write is younger than the command, yet knows only the old state.
async fn revoke_tokens(stores: &Stores, account: &Account) -> Result<(), OperatorError> {
    let cut = Cut::now();
    let revocation = Revocation::Account {
        sub: account.id,
        not_before: cut.at,
        until: cut.until,
    };
    stores.store.add_revocation(&revocation).await?;
    share(stores.shared.as_ref(), revocation).await?;
    Ok(())
}

/// The instant from which an account's older tokens are void.
struct Cut {
    at: UnixMillis,
    /// Whatever lifetime the instances give their tokens: a command's environment need not be theirs.
    until: UnixMillis,
}

impl Cut {
    fn now() -> Self {
        let at = now();
        Self {
            at,
            until: at.plus(Duration::from_secs(ACCESS_TTL_CEILING) + MARGIN),
        }
    }
}

#[cfg(test)]
mod tests;
