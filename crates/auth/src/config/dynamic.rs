//! The few settings that may change while instances run: read by the rooms they belong to, from what is stored beside
//! the environment. Never a secret, and never anything that instances would have to agree on in the same instant.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::values::Values;
use super::{Audit, Config, ConfigError, Flags, Instance, Limits, Rates, Variable};
use super::{audit, flags, limits, variables};

/// What may be stored, by the name of its variable.
pub const DYNAMIC: [&str; 7] = [
    "LOG_LEVEL",
    "AUTH_RATE_LIMIT_LOGIN",
    "AUTH_RATE_LIMIT_REGISTER",
    "AUTH_RATE_LIMIT_REFRESH",
    "MAX_REQUESTS_IN_FLIGHT",
    "FF_ENABLE_PRIORITIZED_RATE_LIMIT",
    "AUDIT_RETENTION_DAYS",
];

/// What holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dynamic {
    /// Least severe level that is logged.
    pub log_level: tracing::Level,
    /// What may be asked for how often.
    pub rates: Rates,
    /// Requests under way at once; `None` for as many as there are connections.
    pub in_flight: Option<NonZeroUsize>,
    /// For how long the audit log is kept; `None`: for ever.
    pub audit_kept: Option<Duration>,
}

/// What the environment said of the rooms that dynamic settings belong to.
#[derive(Debug, Clone, Default)]
pub struct Given(BTreeMap<&'static str, String>);

impl Given {
    pub(super) fn read(v: &Values<'_>) -> Self {
        let rooms = [limits::VARIABLES, flags::VARIABLES, audit::VARIABLES];
        let names = rooms
            .iter()
            .copied()
            .flatten()
            .map(|variable| variable.name);
        let names = names.chain(["LOG_LEVEL"]);
        Self(
            names
                .filter_map(|name| Some((name, v.get(name)?)))
                .collect(),
        )
    }

    /// What the environment says of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Dynamic {
    /// What holds with these values stored. The environment comes first: it is how an instance is kept from a value that
    /// turns out to be harmful.
    ///
    /// # Errors
    /// Every mistake in what is stored, as for the environment.
    pub fn of(
        config: &Config,
        stored: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let lookup = |name: &str| {
            let given = config.given.get(name).map(str::to_owned);
            let is_dynamic = DYNAMIC.contains(&name);
            given.or_else(|| stored.get(name).filter(|_| is_dynamic).cloned())
        };
        let mut v = Values::new(&lookup);
        let flags = Flags::read(&mut v, &config.instance);
        let limits = Limits::read(&mut v, flags);
        let audit = Audit::read(&mut v, flags);
        let log_level = Instance::read_log_level(&mut v);
        let (errors, _) = v.finish();
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            log_level,
            rates: limits.rates,
            in_flight: limits.in_flight,
            audit_kept: audit.kept,
        })
    }

    /// Its variable, if it may be stored.
    pub fn variable(name: &str) -> Option<&'static Variable> {
        let mut dynamic = variables().filter(|variable| DYNAMIC.contains(&variable.name));
        dynamic.find(|variable| variable.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let value = |name: &str| pairs.iter().find(|(key, _)| *key == name);
        Config::from_env(|name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
    }

    fn stored(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn every_dynamic_setting_is_a_variable_and_takes_effect() {
        let plain = config(&[]);
        let before = Dynamic::of(&plain, &stored(&[])).unwrap();
        for (name, value) in [
            ("LOG_LEVEL", "debug"),
            ("AUTH_RATE_LIMIT_LOGIN", "7"),
            ("AUTH_RATE_LIMIT_REGISTER", "0"),
            ("AUTH_RATE_LIMIT_REFRESH", "9"),
            ("MAX_REQUESTS_IN_FLIGHT", "11"),
            ("FF_ENABLE_PRIORITIZED_RATE_LIMIT", "0%"),
            ("AUDIT_RETENTION_DAYS", "0"),
        ] {
            assert!(Dynamic::variable(name).is_some(), "{name}");
            let after = Dynamic::of(&plain, &stored(&[(name, value)])).unwrap();
            assert_ne!(after, before, "{name}");
        }
        assert!(Dynamic::variable("SECURITY_SALT").is_none());
    }

    #[test]
    fn what_the_environment_says_comes_first_and_nothing_else_can_be_stored() {
        let given = config(&[
            ("AUTH_RATE_LIMIT_LOGIN", "5"),
            ("AUTH_RATE_LIMIT_ENABLED", "true"),
        ]);
        let both = stored(&[
            ("AUTH_RATE_LIMIT_LOGIN", "7"),
            ("AUTH_RATE_LIMIT_ENABLED", "false"),
        ]);
        let now = Dynamic::of(&given, &both).unwrap();
        assert_eq!(now.rates.logins.map(u32::from), Some(5));
        let plain = config(&[]);
        let now = Dynamic::of(&plain, &both).unwrap();
        assert_eq!(now.rates.logins.map(u32::from), Some(7), "not switched off");
    }

    #[test]
    fn a_wrong_value_is_a_mistake_as_in_the_environment() {
        let plain = config(&[]);
        for (name, value) in [
            ("LOG_LEVEL", "loud"),
            ("AUTH_RATE_LIMIT_LOGIN", "-1"),
            ("AUTH_RATE_LIMIT_REFRESH", "many"),
            ("MAX_REQUESTS_IN_FLIGHT", "0"),
            ("FF_ENABLE_PRIORITIZED_RATE_LIMIT", "101%"),
            ("AUDIT_RETENTION_DAYS", "9999"),
        ] {
            let mistakes = Dynamic::of(&plain, &stored(&[(name, value)])).unwrap_err();
            let names: Vec<_> = mistakes.iter().map(|mistake| mistake.variable).collect();
            assert_eq!(names, [name]);
        }
    }
}
