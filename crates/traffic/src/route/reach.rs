//! Rules that no request ever reaches. Never claims it of one that some request may reach: what
//! cannot be told is left.

use std::collections::HashMap;

use super::pattern::{HostPattern, PathPattern, Pattern};

/// A rule that no request reaches, because another takes all of them; by position in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The rule that is never reached.
    pub rule: usize,
    /// The one that takes its requests: a greater pattern, or the first of equal ones.
    pub by: usize,
}

/// All rules that are certainly never reached, in the order of the list.
///
/// ```
/// use portcullis_traffic::route::{HostPattern, PathPattern, Pattern, Regex, hidden};
///
/// let all = PathPattern::Regex(Regex::new("/api/.*")?);
/// let [all, below] = [all, PathPattern::Prefix("/api/v1".into())]
///     .map(|path| Pattern { host: HostPattern::Any, path, conditions: Default::default() });
/// let found = hidden(&[&below, &all]);
/// assert_eq!((found[0].rule, found[0].by), (0, 1));
/// # Ok::<(), portcullis_traffic::route::RegexError>(())
/// ```
pub fn hidden(patterns: &[&Pattern]) -> Vec<Hidden> {
    let mut first: HashMap<&Pattern, usize> = HashMap::new();
    let mut by_place: HashMap<(&HostPattern, &PathPattern), Vec<usize>> = HashMap::new();
    let mut wide: HashMap<&HostPattern, Vec<usize>> = HashMap::new();
    for (position, pattern) in patterns.iter().enumerate() {
        first.entry(pattern).or_insert(position);
        // Only these can cover a rule other than their equals.
        if pattern.conditions.is_open() {
            let place = (&pattern.host, &pattern.path);
            by_place.entry(place).or_default().push(position);
        }
        if pattern.path.is_wide() {
            wide.entry(&pattern.host).or_default().push(position);
        }
    }
    let mut found = Vec::new();
    for (rule, pattern) in patterns.iter().enumerate() {
        let place = (&pattern.host, &pattern.path);
        let same_place = by_place.get(&place).into_iter().flatten();
        let wider = wide.get(&pattern.host).into_iter().flatten();
        let equal = first.get(pattern).filter(|position| **position < rule);
        // An expression that is plain text says what an exact path says, and ranks lower.
        let plain = pattern.path.plain().and_then(|path| {
            let exact = Pattern {
                path,
                ..(*pattern).clone()
            };
            first.get(&exact)
        });
        let by = equal.or(plain).or_else(|| {
            let covers = |by: &&usize| {
                patterns
                    .get(**by)
                    .is_some_and(|by| *by > *pattern && by.covers(pattern))
            };
            same_place.chain(wider).find(covers)
        });
        found.extend(by.map(|by| Hidden { rule, by: *by }));
    }
    found
}

impl Pattern {
    /// Whether every request that matches `other` matches this pattern, as far as that can be told.
    fn covers(&self, other: &Self) -> bool {
        self.host == other.host
            && self.path.covers(&other.path)
            && self.conditions.covers(&other.conditions)
    }
}

impl PathPattern {
    fn is_wide(&self) -> bool {
        matches!(self, Self::Regex(regex) if regex.anything_after().is_some())
    }

    fn plain(&self) -> Option<Self> {
        let Self::Regex(regex) = self else {
            return None;
        };
        let text = String::from_utf8(regex.only()?.to_vec());
        text.ok().map(Self::Exact)
    }

    fn covers(&self, other: &Self) -> bool {
        let beginning = match other {
            Self::Exact(text) | Self::Prefix(text) => text.as_bytes(),
            Self::Regex(regex) => regex.beginning(),
        };
        let takes_all = match self {
            Self::Regex(regex) => regex
                .anything_after()
                .is_some_and(|text| beginning.starts_with(text)),
            Self::Exact(_) | Self::Prefix(_) => false,
        };
        takes_all || self == other
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::{Condition, Conditions, Regex, ValuePattern};
    use super::*;

    /// `~` in front of a path makes it an expression, a star behind it a prefix.
    fn pattern(path: &str, conditions: Conditions) -> Pattern {
        let path = match (path.strip_prefix('~'), path.strip_suffix('*')) {
            (Some(regex), _) => PathPattern::Regex(Regex::new(regex).unwrap()),
            (_, Some(prefix)) => PathPattern::Prefix(prefix.to_owned()),
            _ => PathPattern::Exact(path.to_owned()),
        };
        Pattern {
            host: HostPattern::Any,
            path,
            conditions,
        }
    }

    fn header(value: Option<&str>) -> Conditions {
        let value = value.map_or(ValuePattern::Present, |value| {
            ValuePattern::Exact(value.to_owned())
        });
        let name = http::HeaderName::from_static("x-a");
        Conditions::new(vec![], vec![Condition::header(name, value)], vec![])
    }

    fn found(patterns: &[Pattern]) -> Vec<(usize, usize)> {
        let patterns: Vec<&Pattern> = patterns.iter().collect();
        let hidden = hidden(&patterns).into_iter();
        hidden.map(|hidden| (hidden.rule, hidden.by)).collect()
    }

    #[test]
    fn equal_rules_hide_the_later_one() {
        let none = Conditions::default;
        assert_eq!(
            found(&[
                pattern("/a*", none()),
                pattern("/a", none()),
                pattern("/a*", none()),
                pattern("/a*", header(None)),
                pattern("/a*", header(None)),
            ]),
            [(2, 0), (4, 3)]
        );
    }

    #[test]
    fn expressions_hide_what_they_take_whole() {
        let none = Conditions::default;
        assert_eq!(
            found(&[
                pattern("/api/v1*", none()),
                pattern("/api*", none()),
                pattern("/api/x", none()),
                pattern("~/api/.*", none()),
                pattern("~/api/x", none()),
                pattern("~/api/[0-9]", none()),
                pattern("/api/v2*", header(None)),
            ]),
            [(0, 3), (4, 2), (6, 3)],
            "/api itself and the exact path are reached, and the longer expression is greater"
        );
    }

    #[test]
    fn what_a_condition_leaves_over_is_reached() {
        let get = || Conditions::new(vec![Method::GET], vec![], vec![]);
        assert_eq!(
            found(&[
                pattern("~/api/.*", get()),
                pattern("/api/v1*", Conditions::default()),
                pattern("/api/v1*", get()),
                pattern("/a*", header(None)),
                pattern("/a*", header(Some("1"))),
                pattern("/a*", header(Some("2"))),
            ]),
            [(2, 0)]
        );
    }
}
