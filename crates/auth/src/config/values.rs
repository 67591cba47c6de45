//! Reads single variables and collects every mistake on the way. Never stops at
//! the first one: a bad value is replaced by its default and reported.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;

/// The variables of one environment, and what was wrong with them so far.
pub(super) struct Values<'a> {
    vars: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(vars: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            vars,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<ConfigError>, Vec<String>) {
        (self.errors, self.warnings)
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.vars)(name).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn error(
        &mut self,
        variable: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.errors.push(ConfigError {
            variable,
            message: message.into(),
            hint: hint.into(),
        });
    }

    pub(super) fn text(&mut self, name: &'static str, default: &str) -> String {
        let value = self.get(name).unwrap_or_else(|| default.to_owned());
        if value.len() > 128 || value.chars().any(char::is_control) {
            self.error(
                name,
                "is longer than 128 bytes or holds control characters",
                format!("use a short printable text such as {default:?}"),
            );
            return default.to_owned();
        }
        value
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(text) = self.get(name) else {
            return default;
        };
        match text.trim().parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.error(
                    name,
                    format!(
                        "{text:?} is not a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                    format!("leave it out for the default, {default}"),
                );
                default
            }
        }
    }

    pub(super) fn milliseconds(&mut self, name: &'static str, default: u64, max: u64) -> Duration {
        Duration::from_millis(self.number(name, default, 0..=max))
    }

    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.get(name) else {
            return default;
        };
        match text.trim() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => {
                self.error(
                    name,
                    format!("{text:?} is neither true nor false"),
                    format!("leave it out for the default, {default}"),
                );
                default
            }
        }
    }
}
