//! What one auth instance runs with, parsed once from environment variables: each room of
//! settings is one file, joined here. Never reads the process environment or a file itself,
//! and never shows a secret's value in a message.

mod audit;
mod breakers;
mod database;
mod degraded;
mod dynamic;
mod environment;
mod flags;
mod given_key;
mod instance;
mod internal;
mod keys;
mod limits;
mod mail;
mod passwords;
mod secrets;
mod sessions;
mod shared;
mod tokens;
mod values;

pub use audit::Audit;
pub use database::{Database, DatabasePlace};
pub use degraded::{Degraded, RevocationFallback};
pub use dynamic::{DYNAMIC, Dynamic, Given};
pub use environment::Environment;
pub use flags::Flags;
pub(crate) use given_key::Parsed;
pub use given_key::{GivenKey, PrivateKey};
pub use instance::Instance;
pub(crate) use internal::check_token;
pub use internal::{Internal, TokenSource};
pub use keys::{KeySource, Keys};
pub use limits::{Limits, Rates};
pub use mail::{Mail, MailPassword, MailTls};
pub use passwords::Passwords;
pub(crate) use secrets::decode_key;
pub use sessions::{SameSite, Sessions};
pub use shared::SharedState;
pub(crate) use tokens::ACCESS_TTL_CEILING;
pub use tokens::Tokens;
use values::Values;

use crate::breaker::BreakerSettings;

/// Every room's rows, in the order of the reference.
const ROOMS: &[&[Variable]] = &[
    environment::VARIABLES,
    instance::VARIABLES,
    internal::VARIABLES,
    flags::VARIABLES,
    database::VARIABLES,
    shared::VARIABLES,
    breakers::VARIABLES,
    degraded::VARIABLES,
    tokens::VARIABLES,
    sessions::VARIABLES,
    passwords::VARIABLES,
    keys::VARIABLES,
    limits::VARIABLES,
    mail::VARIABLES,
    audit::VARIABLES,
];

/// Every variable that has an effect, with its default and meaning: the
/// reference page and the test that no other variable is read use this table.
pub fn variables() -> impl Iterator<Item = &'static Variable> {
    ROOMS.iter().copied().flatten()
}

/// One row of [`variables`].
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// One line of meaning.
    pub meaning: &'static str,
}

const fn var(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default,
        meaning,
    }
}

/// One instance's settings. Everything in it has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which checks apply.
    pub environment: Environment,
    /// How the instance appears and leaves.
    pub instance: Instance,
    /// The listener for edges; `None` (default) without one.
    pub internal: Option<Internal>,
    /// Features that can be switched off.
    pub flags: Flags,
    /// The durable store.
    pub database: Database,
    /// The state that all instances share.
    pub shared_state: SharedState,
    /// When to stop asking a dependency that only fails.
    pub breakers: BreakerSettings,
    /// What goes on while the shared state is away.
    pub degraded: Degraded,
    /// What tokens say and how long they hold.
    pub tokens: Tokens,
    /// Sessions of browsers.
    pub sessions: Sessions,
    /// How passwords are hashed.
    pub passwords: Passwords,
    /// Where signing keys come from.
    pub keys: Keys,
    /// What is limited.
    pub limits: Limits,
    /// How mail leaves; `None` (default): it does not.
    pub mail: Option<Mail>,
    /// What the audit log keeps.
    pub audit: Audit,
    /// What the environment said of the settings that may change meanwhile.
    pub given: Given,
    /// What works but deserves a look; for the caller to print.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every variable through `vars` and reports all mistakes at once.
    /// An empty value counts as not set.
    pub fn from_env(vars: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut v = Values::new(&vars);
        let environment = Environment::read(&mut v);
        let instance = Instance::read(&mut v);
        let internal = Internal::read(&mut v, environment);
        let flags = Flags::read(&mut v, &instance);
        let mut database = Database::read(&mut v, environment, flags);
        let shared_state = SharedState::read(&mut v, &database);
        let breakers = breakers::read(&mut v, flags);
        let degraded = Degraded::read(&mut v);
        let tokens = Tokens::read(&mut v, environment, instance.address.port());
        let sessions = Sessions::read(&mut v, environment, &tokens);
        let passwords = Passwords::read(&mut v, environment);
        let keys = Keys::read(&mut v, environment, &database);
        let limits = Limits::read(&mut v, flags);
        let mail = Mail::read(&mut v, environment, &tokens.issuer);
        database.sends_mail = mail.is_some();
        let audit = Audit::read(&mut v, flags);
        let given = Given::read(&v);
        let (errors, warnings) = v.finish();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok(Self {
            environment,
            instance,
            internal,
            flags,
            database,
            shared_state,
            breakers,
            degraded,
            tokens,
            sessions,
            passwords,
            keys,
            limits,
            mail,
            audit,
            given,
            warnings,
        })
    }
}

/// Every mistake found in the environment.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One variable that cannot be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}\n  hint: {hint}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// How to put it right.
    pub hint: String,
}

#[cfg(test)]
mod tests;
