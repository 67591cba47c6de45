//! Limits of how often and how many at once, as written. Never compares two values.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_ops::decode::{Fields, Located, Mistake};

use super::super::rate_limit::{Cost, Criticality, KeyPart, LimitFields};
use super::super::{PathPattern, names, words};

#[derive(Debug)]
pub(in crate::config) struct FileRateLimit {
    pub(in crate::config) name: Located<String>,
    /// Empty where none is written.
    pub(in crate::config) key: Vec<Located<KeyPart>>,
    pub(in crate::config) rate: Option<Located<PerPeriod>>,
    pub(in crate::config) burst: Option<Located<u32>>,
    pub(in crate::config) concurrent: Option<NonZeroU32>,
    pub(in crate::config) tier: Option<Located<KeyPart>>,
    pub(in crate::config) tiers: Vec<Located<(String, PerPeriod)>>,
    pub(in crate::config) costs: Vec<Located<Cost>>,
    pub(in crate::config) reserve: u8,
    pub(in crate::config) ipv6_prefix: u8,
    pub(in crate::config) max_keys: usize,
    pub(in crate::config) exempt: Vec<IpNet>,
    pub(in crate::config) exempts_health_checks: bool,
    pub(in crate::config) fields: LimitFields,
    pub(in crate::config) is_dry_run: bool,
}

/// So many in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct PerPeriod {
    pub(in crate::config) count: NonZeroU32,
    pub(in crate::config) period: Duration,
}

pub(super) fn rate_limit((name, fields): (Located<String>, Fields<'_>)) -> FileRateLimit {
    let exempt = fields.networks("exempt");
    if let Err(mistake) = names::label(&name.value) {
        let message = format!("`{}` {}", names::shown(&name.value), mistake.message);
        fields
            .report()
            .error_with_hint(name.span, message, mistake.hint);
    }
    FileRateLimit {
        key: fields.texts("key", part),
        rate: fields.text("rate", per_period),
        burst: fields.optional_number("burst"),
        concurrent: fields
            .optional_number("concurrent")
            .and_then(|number| NonZeroU32::new(number.value)),
        tier: fields.text("tier", part),
        tiers: fields.map("tiers", |name, rate| {
            Ok((name.to_owned(), per_period(rate)?))
        }),
        costs: fields.tables("costs").iter().map(cost).collect(),
        reserve: fields.number("reserve").value,
        ipv6_prefix: fields.number("ipv6_prefix").value,
        max_keys: fields.number("max_keys").value,
        exempt: exempt.into_iter().map(|network| network.value).collect(),
        exempts_health_checks: fields.flag("exempt_health_checks").value,
        fields: match fields.word("fields").value {
            "draft" => LimitFields::Draft,
            "classic" => LimitFields::Classic,
            "off" => LimitFields::Off,
            _ => LimitFields::Both,
        },
        is_dry_run: fields.flag("dry_run").value,
        name,
    }
}

/// How much a route matters.
pub(super) fn criticality(fields: &Fields<'_>) -> Criticality {
    match fields.word("criticality").value {
        "critical" => Criticality::Critical,
        "low" => Criticality::Low,
        _ => Criticality::Normal,
    }
}

fn cost(fields: &Fields<'_>) -> Located<Cost> {
    let path = fields.text("path", names::path);
    let methods = fields.texts("methods", words::method);
    // Required: a missing one was reported.
    let cost = fields.optional_number("cost");
    Located {
        value: Cost {
            path: PathPattern::Prefix(path.map_or_else(|| "/".to_owned(), |path| path.value)),
            methods: methods.into_iter().map(|method| method.value).collect(),
            cost: cost.as_ref().map_or(1, |cost| cost.value),
        },
        span: cost.map_or_else(|| fields.span(), |cost| cost.span),
        is_written: true,
    }
}

/// Part of a key.
fn part(text: &str) -> Result<KeyPart, Mistake> {
    let (kind, name) = match text.split_once(':') {
        Some((kind, name)) => (kind, Some(name)),
        None => (text, None),
    };
    match (kind, name) {
        ("all", None) => Ok(KeyPart::All),
        ("client_address", None) => Ok(KeyPart::ClientAddress),
        ("host", None) => Ok(KeyPart::Host),
        ("path", None) => Ok(KeyPart::Path),
        ("route", None) => Ok(KeyPart::Route),
        ("header", Some(name)) => names::header(name).map(KeyPart::Header),
        ("query", Some(name)) => names::query_name(name).map(KeyPart::Query),
        ("cookie", Some(name)) => names::cookie(name).map(KeyPart::Cookie),
        ("claim", Some(name)) if !name.is_empty() => Ok(KeyPart::Claim(name.to_owned())),
        _ => {
            let hint = "client_address, route, host, path, all, header:NAME, query:NAME, cookie:NAME or claim:NAME";
            Err(Mistake::new("is nothing to know a request by", hint))
        }
    }
}

/// `100/s` and the like.
fn per_period(text: &str) -> Result<PerPeriod, Mistake> {
    let wrong = || {
        let hint = "a number from 1 to 1000000, a slash, and s, m, h or d: 100/s";
        Mistake::new("is not a rate", hint)
    };
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| is_number);
    let count = count.filter(|count| *count <= COUNT_MAX);
    Ok(PerPeriod {
        count: count.and_then(NonZeroU32::new).ok_or_else(wrong)?,
        period: Duration::from_secs(seconds),
    })
}

const COUNT_MAX: u32 = 1_000_000;
