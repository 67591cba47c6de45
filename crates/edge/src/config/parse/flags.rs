//! Feature flags: what the file says of them and what the environment says instead. Never decides for anybody.

use std::collections::HashSet;
use std::net::IpAddr;

use portcullis_ops::decode::Located;
use portcullis_traffic::flag::{FlagId, Percent, Rollout, Setting};

use super::super::file::FileFlag;
use super::super::flag::{self, Flag, FlagKey};
use super::super::names;
use super::Parser;

/// Requests remember what was decided for them in as many bits.
pub(crate) const FLAGS_MAX: usize = 64;

impl Parser<'_> {
    /// In the order of their names.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let flags = &self.file.flags;
        if let Some(beyond) = flags.get(FLAGS_MAX) {
            let message = format!("there are more than {FLAGS_MAX} flags");
            let hint = "remove those that everybody has by now";
            self.report.error_with_hint(beyond.name.span, message, hint);
        }
        let flags = flags.iter().enumerate();
        flags
            .map(|(position, file)| self.flag(FlagId(position), file))
            .collect()
    }

    fn flag(&self, id: FlagId, file: &FileFlag) -> Flag {
        let name = &file.name;
        let key = file.key.clone().unwrap_or(FlagKey::ClientAddress);
        let on: HashSet<_> = self.named_keys(&key, &file.on).collect();
        let off = self.named_keys(&key, &file.off).collect();
        let both = file
            .off
            .iter()
            .filter(|one| file.on.iter().any(|other| other.value == one.value));
        for one in both {
            let message = format!("`{}` stands under `on`, too", names::shown(&one.value));
            self.report
                .error_with_hint(one.span, message, "decide for one of the two");
        }
        let mut patterns = self
            .file
            .routes
            .iter()
            .filter_map(|route| route.pattern.as_ref());
        if !patterns.any(|pattern| pattern.conditions.flags().contains(&id)) {
            let message = format!("no route asks for the flag `{}`", names::shown(&name.value));
            let hint = "write it under `flags` of a route, or remove it";
            self.report.warning(name.span, message, hint);
        }
        Flag {
            overridden: self.overridden(name),
            rollout: Rollout {
                name: name.value.clone(),
                on,
                off,
            },
            percent: file.percent.unwrap_or(Percent::NONE),
            key,
        }
    }

    /// What the environment says of a flag; told, for nobody sees it in the file.
    fn overridden(&self, name: &Located<String>) -> Option<Setting> {
        let variable = flag::variable(&name.value);
        let text = (self.surroundings.variables)(&variable)?;
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        match flag::setting(text) {
            Ok(setting) => {
                let message = format!(
                    "{variable} goes before the file: `{}` is {setting}",
                    name.value
                );
                let hint = format!("unset {variable} to have the file decide");
                self.report.warning(name.span, message, hint);
                Some(setting)
            }
            Err(mistake) => {
                let message = format!("{variable}=`{}` {}", names::shown(text), mistake.message);
                self.report
                    .error_with_hint(name.span, message, mistake.hint);
                None
            }
        }
    }

    /// Values as requests show them.
    fn named_keys<'f>(
        &'f self,
        key: &'f FlagKey,
        values: &'f [Located<String>],
    ) -> impl Iterator<Item = Vec<u8>> + 'f {
        values.iter().filter_map(move |value| {
            if *key != FlagKey::ClientAddress {
                return Some(value.value.clone().into_bytes());
            }
            let address = value.value.parse::<IpAddr>().ok();
            if address.is_none() {
                let message = format!("`{}` is not an IP address", names::shown(&value.value));
                let hint = "clients are known by their addresses here; `key` may say otherwise";
                self.report.error_with_hint(value.span, message, hint);
            }
            address.map(|address| address.to_canonical().to_string().into_bytes())
        })
    }
}
