//! Limits of how often and how many at once: something to limit, tiers that can be told apart, names that exist.
//! Never counts.

use std::num::NonZeroU32;

use portcullis_ops::decode::{Located, nearest};
use portcullis_traffic::rate::Rate;

use super::super::file::{FileRateLimit, PerPeriod};
use super::super::rate_limit::{KeyPart, RateLimit, RateLimitId, Tiers};
use super::Parser;

impl Parser<'_> {
    pub(super) fn rate_limits(&self) -> Vec<RateLimit> {
        self.check_use_of_rate_limits();
        let files = self.file.rate_limits.iter();
        files.map(|file| self.rate_limit(file)).collect()
    }

    fn rate_limit(&self, file: &FileRateLimit) -> RateLimit {
        if file.rate.is_none() && file.concurrent.is_none() && !self.report.has_errors() {
            let message = format!("`{}` limits nothing", file.name.value);
            let hint = "write how often under `rate`, how many at once under `concurrent`, or both";
            self.report.error_with_hint(file.name.span, message, hint);
        }
        let needs_rate = file.burst.as_ref().map(|burst| ("burst", burst.span));
        let needs_rate = needs_rate.or(file.tiers.first().map(|tier| ("tiers", tier.span)));
        if let (None, Some((key, span))) = (&file.rate, needs_rate) {
            let message = format!("`{key}` has no effect without `rate`");
            self.report
                .error_with_hint(span, message, "write how often under `rate`");
        }
        let rate = file.rate.as_ref().map(|rate| {
            let burst = file.burst.as_ref().map(|burst| burst.value);
            (rate.value, burst.unwrap_or(rate.value.count.get()))
        });
        if let Some((_, burst)) = rate
            && let Some(cost) = file.costs.iter().find(|cost| cost.value.cost > burst)
        {
            let message = format!("such a request costs more than the burst of {burst}");
            let hint = "it takes all there is: make `burst` at least as large, or `cost` smaller";
            self.report.warning(cost.span, message, hint);
        }
        let key: Vec<KeyPart> = file.key.iter().map(|part| part.value.clone()).collect();
        RateLimit {
            name: file.name.value.clone(),
            key: match key.is_empty() {
                true => vec![KeyPart::ClientAddress],
                false => key,
            },
            rate: rate.map(|(rate, burst)| made(rate, burst)),
            concurrent: file.concurrent,
            tiers: self.tiers(file, rate),
            costs: file.costs.iter().map(|cost| cost.value.clone()).collect(),
            reserve: file.reserve,
            ipv6_prefix: file.ipv6_prefix,
            max_keys: file.max_keys,
            exempt: file.exempt.clone(),
            exempts_health_checks: file.exempts_health_checks,
            fields: file.fields,
            is_dry_run: file.is_dry_run,
        }
    }

    fn tiers(&self, file: &FileRateLimit, usual: Option<(PerPeriod, u32)>) -> Option<Tiers> {
        let by = match (&file.tier, file.tiers.first()) {
            (Some(by), Some(_)) => by,
            (Some(by), None) => {
                let hint = "write their rates under `tiers`: { gold: 1000/s }";
                let message = "`tier` has no effect: there are no tiers";
                self.report.error_with_hint(by.span, message, hint);
                return None;
            }
            (None, Some(first)) => {
                let hint = "write `tier: \"claim:NAME\"` or `tier: \"header:NAME\"`";
                let message = "nothing says what a tier is known by";
                self.report.error_with_hint(first.span, message, hint);
                return None;
            }
            (None, None) => return None,
        };
        if !matches!(by.value, KeyPart::Header(_) | KeyPart::Claim(_)) {
            let hint = "write \"claim:NAME\" or \"header:NAME\"";
            let message = "a tier is known by a claim or a header field";
            self.report.error_with_hint(by.span, message, hint);
        }
        let (usual, burst) = usual?;
        let rates = file.tiers.iter().map(|tier| {
            let (name, rate) = &tier.value;
            (name.clone(), made(*rate, grown(burst, usual, *rate)))
        });
        Some(Tiers {
            by: by.value.clone(),
            rates: rates.collect(),
        })
    }

    /// Limits by the names that listeners and routes use.
    pub(super) fn rate_limit_ids(&self, names: &[Located<String>]) -> Vec<RateLimitId> {
        let known = &self.file.rate_limits;
        let mut ids = Vec::new();
        for name in names {
            let found = known.iter().position(|one| one.name.value == name.value);
            match found {
                Some(at) if ids.contains(&RateLimitId(at)) => {
                    let message = format!("`{}` is in this list already", name.value);
                    self.report
                        .error_with_hint(name.span, message, "write it once");
                }
                Some(at) => ids.push(RateLimitId(at)),
                None => {
                    let names = || known.iter().map(|one| one.name.value.as_str());
                    let hint = match nearest(&name.value, names()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => "add it under `rate_limits` at the top of the file".to_owned(),
                    };
                    let message = format!("there is no rate limit `{}`", name.value);
                    self.report.error_with_hint(name.span, message, hint);
                }
            }
        }
        ids
    }

    fn check_use_of_rate_limits(&self) {
        let of_listeners = self.file.listeners.iter().map(|one| &one.rate_limits);
        let of_routes = self.file.routes.iter().map(|one| &one.rate_limits);
        let used: Vec<&str> = of_listeners
            .chain(of_routes)
            .flatten()
            .map(|name| name.value.as_str())
            .collect();
        for limit in &self.file.rate_limits {
            if !used.contains(&limit.name.value.as_str()) {
                let message = format!("nothing uses the rate limit `{}`", limit.name.value);
                let hint = "name it under `rate_limits` of a listener or a route, or remove it";
                self.report.warning(limit.name.span, message, hint);
            }
        }
        for route in self.file.routes.iter().filter(|route| route.auth.is_none()) {
            for name in &route.rate_limits {
                let mut limits = self.file.rate_limits.iter();
                let limit = limits.find(|limit| limit.name.value == name.value);
                let mut parts = limit.into_iter().flat_map(claims);
                if let Some(claim) = parts.next() {
                    let message = format!("`claim:{claim}` is never known here");
                    let hint = "the route asks for no token: add `auth`, or every client is known by its address";
                    self.report.warning(name.span, message, hint);
                }
            }
        }
    }

    /// Claims that limits are known by.
    pub(super) fn claims_of_rate_limits(&self) -> impl Iterator<Item = &str> {
        self.file.rate_limits.iter().flat_map(claims)
    }
}

fn claims(file: &FileRateLimit) -> impl Iterator<Item = &str> {
    let parts = file.key.iter().chain(&file.tier);
    parts.filter_map(|part| match &part.value {
        KeyPart::Claim(name) => Some(name.as_str()),
        _ => None,
    })
}

fn made(rate: PerPeriod, burst: u32) -> Rate {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    Rate::new(rate.count, rate.period, burst)
}

/// A burst as many times larger as the rate is faster.
fn grown(burst: u32, usual: PerPeriod, rate: PerPeriod) -> u32 {
    let per_day =
        |rate: PerPeriod| u64::from(rate.count.get()) * 86_400 / rate.period.as_secs().max(1);
    let grown = u64::from(burst) * per_day(rate) / per_day(usual).max(1);
    u32::try_from(grown.clamp(1, BURST_MAX)).unwrap_or(u32::MAX)
}

const BURST_MAX: u64 = 1_000_000_000;
