//! The settings that hold right now: what the environment said, what is stored, or the default. Never stops an instance
//! for a stored value that it cannot use: the one before stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_ops::telemetry::LogLevel;

use crate::config::{Config, ConfigError, DYNAMIC, Dynamic, Variable};
use crate::domain::StoredSetting;
use crate::store::{Store, StoreResult};

/// One for each instance.
pub(crate) struct Live {
    config: Config,
    log: LogLevel,
    standing: ArcSwap<Standing>,
}

/// What holds, and why.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) dynamic: Dynamic,
    /// By name, whatever its value.
    stored: BTreeMap<String, StoredSetting>,
}

/// One setting, for whoever looks.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its name, default and meaning.
    pub variable: &'static Variable,
    /// What holds.
    pub value: String,
    /// Who said so.
    pub source: Source,
    /// What is stored, if anything ever was.
    pub stored: Option<StoredSetting>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The environment of the instance, which comes first.
    Environment,
    /// Stored for all instances.
    Stored,
}

impl Source {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::Stored => "stored",
        }
    }
}

/// Why a value is not stored.
#[derive(Debug, thiserror::Error)]
pub enum SettingRefused {
    /// It is not among those that may change.
    #[error("{0} is not a setting that can change while instances run: those are {list}", list = DYNAMIC.join(", "))]
    Unknown(String),
    /// The environment says something, and that comes first.
    #[error(
        "{0} is set in the environment, which comes first: unset it there and start the instances again"
    )]
    Environment(&'static str),
    /// Its parser refuses it.
    #[error("{0}")]
    Wrong(ConfigError),
}

impl Live {
    /// Before anything stored is known.
    fn new(config: &Config, log: LogLevel) -> Self {
        let dynamic = Dynamic {
            log_level: config.instance.log_level,
            rates: config.limits.rates,
            in_flight: config.limits.in_flight,
            audit_kept: config.audit.kept,
        };
        let stored = BTreeMap::new();
        Self {
            config: config.clone(),
            log,
            standing: ArcSwap::from_pointee(Standing { dynamic, stored }),
        }
    }

    /// What holds.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// With a first look. An instance starts without, when that fails: the next one comes soon.
    pub(crate) async fn start(config: &Config, log: LogLevel, store: &dyn Store) -> Arc<Self> {
        let live = Self::new(config, log);
        if let Err(error) = live.refresh(store).await {
            tracing::warn!(%error, "starting without the stored settings");
        }
        Arc::new(live)
    }

    /// Looks whether something else is stored, and puts it in force.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> StoreResult<()> {
        let rows = store.settings().await?;
        let before = self.standing();
        let version = |rows: &mut dyn Iterator<Item = i64>| rows.max().unwrap_or(0);
        let newest = version(&mut rows.iter().map(|row| row.version));
        if newest == version(&mut before.stored.values().map(|row| row.version)) {
            return Ok(());
        }
        let stored: BTreeMap<_, _> = rows
            .into_iter()
            .map(|row| (row.name.clone(), row))
            .collect();
        let mut values = values_of(&stored);
        let dynamic = loop {
            match Dynamic::of(&self.config, &values) {
                Ok(dynamic) => break dynamic,
                Err(mistakes) => self.keep(&before, &mistakes, &mut values),
            }
        };
        if dynamic.log_level != before.dynamic.log_level {
            self.log.set(dynamic.log_level);
        }
        tracing::info!(version = newest, "stored settings are in force");
        self.standing.store(Arc::new(Standing { dynamic, stored }));
        Ok(())
    }

    /// Puts what was good before in place of what cannot be used; what has nothing before it falls to its default.
    fn keep(
        &self,
        before: &Standing,
        mistakes: &[ConfigError],
        values: &mut BTreeMap<String, String>,
    ) {
        for mistake in mistakes {
            let (name, hint) = (mistake.variable, &mistake.hint);
            tracing::warn!(
                name,
                hint,
                "a stored setting cannot be used: the one before stays"
            );
            let is = values.remove(name);
            let was = before.stored.get(name).and_then(|row| row.value.clone());
            if let Some(was) = was.filter(|was| Some(was) != is.as_ref()) {
                values.insert(name.to_owned(), was);
            }
        }
    }

    /// Every setting that may change.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        shown(&self.config, &self.standing().stored)
    }

    /// Whether a value could be stored.
    pub(crate) fn check(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<&'static Variable, SettingRefused> {
        check(&self.config, name, value)
    }
}

/// Every setting that may change, with these rows stored.
pub(crate) fn shown(config: &Config, stored: &BTreeMap<String, StoredSetting>) -> Vec<Shown> {
    let show = |name: &&str| {
        let variable = Dynamic::variable(name)?;
        let row = stored.get(variable.name).cloned();
        let kept = row.as_ref().and_then(|row| row.value.clone());
        let (value, source) = match (config.given.get(name), kept) {
            (Some(given), _) => (given.to_owned(), Source::Environment),
            (None, Some(value)) => (value, Source::Stored),
            (None, None) => (variable.default.to_owned(), Source::Default),
        };
        Some(Shown {
            variable,
            value,
            source,
            stored: row,
        })
    };
    DYNAMIC.iter().filter_map(show).collect()
}

/// Whether a value could be stored: by the parser of its variable.
pub(crate) fn check(
    config: &Config,
    name: &str,
    value: Option<&str>,
) -> Result<&'static Variable, SettingRefused> {
    let variable =
        Dynamic::variable(name).ok_or_else(|| SettingRefused::Unknown(name.to_owned()))?;
    let Some(value) = value else {
        return Ok(variable);
    };
    if config.given.get(name).is_some() {
        return Err(SettingRefused::Environment(variable.name));
    }
    if value.trim().is_empty() || value.len() > 64 {
        return Err(SettingRefused::Wrong(ConfigError {
            variable: variable.name,
            message: "is empty or longer than 64 bytes".to_owned(),
            hint: format!("reset it for the default, {}", variable.default),
        }));
    }
    let stored = [(name.to_owned(), value.to_owned())].into();
    match Dynamic::of(config, &stored) {
        Ok(_) => Ok(variable),
        Err(mistakes) => Err(mistakes.into_iter().next().map_or_else(
            || SettingRefused::Unknown(name.to_owned()),
            SettingRefused::Wrong,
        )),
    }
}

/// A change in the words of the audit log.
pub(crate) fn told(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("{name} = {value}"),
        None => format!("{name} reset"),
    }
}

fn values_of(stored: &BTreeMap<String, StoredSetting>) -> BTreeMap<String, String> {
    let values = stored.values();
    let values = values.filter_map(|row| Some((row.name.clone(), row.value.clone()?)));
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Actor, AuditEntry, AuditEvent, UnixMillis};
    use crate::server::tests::inside;

    #[tokio::test]
    async fn a_stored_value_holds_and_one_that_cannot_be_used_leaves_the_one_before() {
        let (_directory, inside) = inside().await;
        let store = inside.stores.store.as_ref();
        let live = Live::new(&Config::from_env(|_| None).unwrap(), LogLevel::fixed());
        let line = AuditEntry::by(Actor::Operator, UnixMillis(1), AuditEvent::SettingChanged);
        let logins = async |value: Option<&str>| {
            let name = "AUTH_RATE_LIMIT_LOGIN";
            store.set_setting(name, value, &line).await.unwrap();
            live.refresh(store).await.unwrap();
            live.standing().dynamic.rates.logins.map(u32::from)
        };
        assert_eq!(logins(Some("7")).await, Some(7));
        assert_eq!(
            logins(Some("many")).await,
            Some(7),
            "as a later release may write"
        );
        assert_eq!(logins(Some("8")).await, Some(8));
        assert_eq!(logins(Some("0")).await, None);
        assert_eq!(logins(None).await, Some(600));
        let other = store.set_setting("SECURITY_SALT", Some("x"), &line).await;
        other.unwrap();
        live.refresh(store).await.unwrap();
        assert!(
            live.shown()
                .iter()
                .all(|shown| shown.variable.name != "SECURITY_SALT")
        );
    }

    #[test]
    fn what_may_be_stored_is_judged_by_the_variables_own_parser() {
        let config = Config::from_env(|name| (name == "LOG_LEVEL").then(|| "warn".to_owned()));
        let config = config.unwrap();
        let told = |name: &str, value| {
            check(&config, name, Some(value))
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        assert!(check(&config, "AUDIT_RETENTION_DAYS", Some("30")).is_ok());
        assert!(told("AUDIT_RETENTION_DAYS", "soon").contains("whole number"));
        assert!(told("LOG_LEVEL", "debug").contains("environment"));
        assert!(told("JWT_PRIVATE_KEY", "x").contains("AUTH_RATE_LIMIT_LOGIN"));
        assert!(told("AUDIT_RETENTION_DAYS", " ").contains("empty"));
        let sources = shown(&config, &BTreeMap::new());
        let sources: Vec<_> = sources.iter().map(|shown| shown.source).collect();
        assert_eq!(sources[..2], [Source::Environment, Source::Default]);
    }
}
