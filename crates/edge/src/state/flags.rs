//! Feature flags while the edge runs: how each of them stands, and what an operator made of it. Never
//! finds out who a client is.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_traffic::flag::{FlagId, Setting};

use super::{Edge, targets};
use crate::config::{self, FLAGS_MAX, FlagKey};
use crate::metrics::{FlagMetrics, Metrics};

/// Those of one generation of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    all: Vec<Flag>,
    /// How they stand, by [`FlagId`]. A request looks once, so that a change meanwhile does not lead it
    /// two ways.
    now: ArcSwap<Vec<Now>>,
}

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    config: config::Flag,
    /// Names of the routes that ask for it.
    routes: Vec<String>,
    metrics: FlagMetrics,
}

/// How a flag stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Now {
    setting: Setting,
    /// An operator's, rather than that of the file or the environment.
    is_operated: bool,
}

/// Who said how a flag stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    File,
    Environment,
    Operator,
}

/// A flag and how it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'f> {
    flag: &'f Flag,
    now: Now,
}

/// An operator changed a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) before: Setting,
    pub(crate) now: Setting,
}

/// No flag has the name that an operator gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such flag")]
pub(crate) struct UnknownFlag;

/// What was decided for one request.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    now: OnceCell<Arc<Vec<Now>>>,
    /// A bit for each flag that was asked about.
    asked: Cell<u64>,
    /// A bit for each of those that is on.
    on: Cell<u64>,
}

const _: () = assert!(FLAGS_MAX <= 64, "flags have a bit each");

impl Flags {
    pub(crate) fn build(config: &config::Config, metrics: &Metrics) -> Self {
        let asks_for = |route: &&config::Route, position: usize| {
            let flags = route.pattern.conditions.flags();
            flags.contains(&FlagId(position))
        };
        let build = |(position, flag): (usize, &config::Flag)| {
            let routes = config.routes.iter();
            let routes = routes.filter(|route| asks_for(route, position));
            Flag {
                config: flag.clone(),
                routes: routes.map(|route| route.name.clone()).collect(),
                metrics: metrics.flag(&flag.rollout.name),
            }
        };
        let all: Vec<Flag> = config.flags.iter().enumerate().map(build).collect();
        let now = all.iter().map(Flag::as_written).collect();
        Self {
            all,
            now: ArcSwap::from_pointee(now),
        }
    }

    /// What an operator said in another generation holds, as long as file and environment say what
    /// they said then.
    pub(crate) fn take_over(&self, previous: &Self) {
        let operated = previous.now.load();
        let known = |flag: &Flag| {
            let known = previous.position(flag.name())?;
            let same = previous.all.get(known)?.config.written() == flag.config.written();
            operated.get(known).filter(|_| same).copied()
        };
        let now = self.all.iter();
        let now = now.map(|flag| known(flag).unwrap_or_else(|| flag.as_written()));
        self.now.store(Arc::new(now.collect()));
    }

    /// All of them, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Standing<'_>> {
        let now = self.now.load();
        let pairs = self.all.iter().zip(now.iter());
        pairs
            .map(|(flag, now)| Standing { flag, now: *now })
            .collect()
    }

    /// One of them.
    pub(crate) fn named(&self, name: &str) -> Option<Standing<'_>> {
        self.all().into_iter().find(|one| one.name() == name)
    }

    /// Whether a flag is on for a request; `read` finds out what its client is known by.
    pub(crate) fn is_on(
        &self,
        id: FlagId,
        decided: &Decided,
        read: impl FnOnce(&FlagKey) -> Option<Vec<u8>>,
    ) -> bool {
        let bit = 1_u64.checked_shl(u32::try_from(id.0).unwrap_or(u32::MAX));
        let (Some(bit), Some(flag)) = (bit, self.all.get(id.0)) else {
            return false;
        };
        if decided.asked.get() & bit == 0 {
            let now = decided.now.get_or_init(|| self.now.load_full());
            let key = read(&flag.config.key);
            let is_on = now
                .get(id.0)
                .is_some_and(|now| flag.config.rollout.is_on(now.setting, key.as_deref()));
            decided.asked.set(decided.asked.get() | bit);
            decided
                .on
                .set(decided.on.get() | if is_on { bit } else { 0 });
        }
        decided.on.get() & bit != 0
    }

    /// Counts what was decided for a request, once for each flag that it was asked about.
    pub(crate) fn count(&self, decided: &Decided) {
        let mut asked = decided.asked.get();
        while asked != 0 {
            let position = asked.trailing_zeros();
            asked &= asked - 1;
            if let Some(flag) = self.all.get(position as usize) {
                let is_on = decided.on.get() >> position & 1 == 1;
                let metrics = &flag.metrics;
                if is_on { &metrics.on } else { &metrics.off }.inc();
            }
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|flag| flag.name() == name)
    }

    /// `None`: as file and environment have it.
    fn change(&self, name: &str, to: Option<Setting>) -> Result<Changed, UnknownFlag> {
        let position = self.position(name).ok_or(UnknownFlag)?;
        let mut now = Vec::clone(&self.now.load());
        let (flag, now_one) = match (self.all.get(position), now.get_mut(position)) {
            (Some(flag), Some(one)) => (flag, one),
            _ => return Err(UnknownFlag),
        };
        let before = now_one.setting;
        *now_one = to.map_or_else(
            || flag.as_written(),
            |setting| Now {
                setting,
                is_operated: true,
            },
        );
        let changed = Changed {
            before,
            now: now_one.setting,
        };
        self.now.store(Arc::new(now));
        Ok(changed)
    }
}

impl Flag {
    fn name(&self) -> &str {
        &self.config.rollout.name
    }

    fn as_written(&self) -> Now {
        Now {
            setting: self.config.written(),
            is_operated: false,
        }
    }
}

impl<'f> Standing<'f> {
    pub(crate) fn name(&self) -> &'f str {
        self.flag.name()
    }

    /// What the configuration says of it.
    pub(crate) fn config(&self) -> &'f config::Flag {
        &self.flag.config
    }

    /// Names of the routes that ask for it.
    pub(crate) fn routes(&self) -> &'f [String] {
        &self.flag.routes
    }

    /// For whom it is on.
    pub(crate) fn setting(&self) -> Setting {
        self.now.setting
    }

    /// Who said so.
    pub(crate) fn said(&self) -> Said {
        match (self.now.is_operated, self.flag.config.overridden) {
            (true, _) => Said::Operator,
            (false, Some(_)) => Said::Environment,
            (false, None) => Said::File,
        }
    }

    /// Requests it was on and off for, in this process.
    pub(crate) fn decisions(&self) -> (u64, u64) {
        let metrics = &self.flag.metrics;
        (metrics.on.get(), metrics.off.get())
    }
}

impl Edge {
    /// Has a flag stand otherwise for requests from now on; `None` gives it back to file and
    /// environment.
    pub(crate) fn set_flag(&self, name: &str, to: Option<Setting>) -> Result<Changed, UnknownFlag> {
        let _one_at_a_time = targets::lock(&self.switching);
        let changed = self.snapshot.load().flags.change(name, to)?;
        tracing::info!(flag = name, before = %changed.before, now = %changed.now, "a feature flag changed");
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_traffic::flag::{Percent, Rollout};

    use super::*;

    fn share(hundredths: u16) -> Setting {
        Setting::Share(Percent::from_hundredths(hundredths).unwrap())
    }

    fn flags(names: &[(&str, u16)], metrics: &Metrics) -> Flags {
        let all = names.iter().map(|(name, hundredths)| Flag {
            metrics: metrics.flag(name),
            routes: Vec::new(),
            config: config::Flag {
                rollout: Rollout {
                    name: (*name).to_owned(),
                    ..Rollout::default()
                },
                key: FlagKey::ClientAddress,
                percent: Percent::from_hundredths(*hundredths).unwrap(),
                overridden: None,
            },
        });
        let all: Vec<Flag> = all.collect();
        let now = ArcSwap::from_pointee(all.iter().map(Flag::as_written).collect());
        Flags { all, now }
    }

    fn setting(flags: &Flags, name: &str) -> (Setting, Said) {
        let standing = flags.named(name).unwrap();
        (standing.setting(), standing.said())
    }

    #[test]
    fn an_operator_holds_until_the_file_says_something_else() {
        let metrics = Metrics::new();
        let first = flags(&[("a", 1_000), ("b", 0)], &metrics);
        first.change("a", Some(Setting::Off)).unwrap();
        let same = flags(&[("_", 0), ("a", 1_000)], &metrics);
        same.take_over(&first);
        assert_eq!(setting(&same, "a"), (Setting::Off, Said::Operator));
        let other = flags(&[("a", 2_000)], &metrics);
        other.take_over(&same);
        assert_eq!(setting(&other, "a"), (share(2_000), Said::File));
    }

    #[test]
    fn an_operator_gives_a_flag_back() {
        let flags = flags(&[("a", 1_000)], &Metrics::new());
        let changed = flags.change("a", Some(Setting::On)).unwrap();
        assert_eq!((changed.before, changed.now), (share(1_000), Setting::On));
        flags.change("a", None).unwrap();
        assert_eq!(setting(&flags, "a"), (share(1_000), Said::File));
        assert_eq!(flags.change("b", None), Err(UnknownFlag));
    }

    #[test]
    fn a_request_is_led_one_way_and_counted_once() {
        let metrics = Metrics::new();
        let flags = flags(&[("a", 10_000), ("b", 0)], &metrics);
        let decided = Decided::default();
        let is_on = |id| flags.is_on(FlagId(id), &decided, |_| Some(b"x".to_vec()));
        assert!(is_on(0));
        flags.change("a", Some(Setting::Off)).unwrap();
        flags.change("b", Some(Setting::On)).unwrap();
        assert!(is_on(0) && !is_on(1), "as it was when it was asked first");
        flags.count(&decided);
        let decisions = |name| flags.named(name).unwrap().decisions();
        assert_eq!((decisions("a"), decisions("b")), ((1, 0), (0, 1)));
        assert!(!flags.is_on(FlagId(9), &decided, |_| None));
        assert!(!flags.is_on(FlagId(64), &decided, |_| None));
    }
}
