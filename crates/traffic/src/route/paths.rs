//! The path rules of one host, arranged for lookup. Never sees a host.
//!
//! All paths are kept sorted. Let `nearest` be the greatest that is not greater than the path
//! asked for. Every string that begins the asked path sorts at or before it, and whatever sorts
//! between such a beginning and the path begins with it too; so every rule that can match is
//! `nearest` or begins `nearest`. One binary search and a walk along precomputed links to the
//! next shorter prefix find the answer, however many slashes a client sends.

use std::collections::BTreeMap;

use super::choices::Choices;
use super::conditions::Conditions;
use super::details::Details;
use super::expressions::Expressions;
use super::pattern::{PathPattern, ends_segment};
use super::regex::Regex;

#[derive(Clone, Debug)]
pub(super) struct Paths<T> {
    /// Sorted by path, each path once.
    entries: Vec<PathEntry<T>>,
    expressions: Expressions<T>,
}

#[derive(Clone, Debug)]
struct PathEntry<T> {
    path: Box<str>,
    exact: Choices<T>,
    prefix: Choices<T>,
    /// Position of the longest other entry that holds a prefix rule and begins this path.
    shorter: Option<usize>,
}

impl<T> Paths<T> {
    /// The target of the exact rule for `path`, else of the greatest expression, else of the
    /// longest prefix rule. A rule whose conditions are not fulfilled is passed over.
    pub(super) fn find(&self, path: &str, details: &impl Details) -> Option<&T> {
        let after = self.entries.partition_point(|entry| *entry.path <= *path);
        let nearest = after.checked_sub(1).and_then(|at| self.entries.get(at));
        let Some(nearest) = nearest else {
            return self.expressions.find(path, details);
        };
        let shared = shared_length(&nearest.path, path);
        if shared == path.len() && shared == nearest.path.len() {
            let exact = nearest.exact.find(details);
            if exact.is_some() {
                return exact;
            }
        }
        self.expressions.find(path, details).or_else(|| {
            self.nearest_and_shorter(nearest)
                .filter(|entry| entry.path.len() <= shared && ends_segment(path, entry.path.len()))
                .find_map(|entry| entry.prefix.find(details))
        })
    }

    fn nearest_and_shorter<'a>(
        &'a self,
        nearest: &'a PathEntry<T>,
    ) -> impl Iterator<Item = &'a PathEntry<T>> {
        std::iter::successors(Some(nearest), |entry| {
            entry
                .shorter
                .and_then(|position| self.entries.get(position))
        })
    }
}

/// Length of the common beginning, in bytes.
fn shared_length(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

type Rules<T> = Vec<(Conditions, T)>;

/// Collects rules in any order.
#[derive(Debug)]
pub(super) struct PathsBuilder<T> {
    /// Exact rules and prefix rules.
    texts: BTreeMap<String, (Rules<T>, Rules<T>)>,
    expressions: BTreeMap<Regex, Rules<T>>,
}

impl<T> Default for PathsBuilder<T> {
    fn default() -> Self {
        Self {
            texts: BTreeMap::new(),
            expressions: BTreeMap::new(),
        }
    }
}

impl<T> PathsBuilder<T> {
    /// Adds a rule; the caller has made sure that it is the first of its pattern.
    pub(super) fn add(&mut self, path: PathPattern, conditions: Conditions, target: T) {
        let rules = match path {
            PathPattern::Exact(path) => &mut self.texts.entry(path).or_default().0,
            PathPattern::Prefix(path) => &mut self.texts.entry(path).or_default().1,
            PathPattern::Regex(regex) => self.expressions.entry(regex).or_default(),
        };
        rules.push((conditions, target));
    }

    pub(super) fn finish(self) -> Paths<T> {
        let mut entries: Vec<PathEntry<T>> = Vec::with_capacity(self.texts.len());
        // Positions of the prefix rules that begin the present path, shortest first.
        let mut begins: Vec<usize> = Vec::new();
        for (position, (path, (exact, prefix))) in self.texts.into_iter().enumerate() {
            while begins
                .last()
                .is_some_and(|last| !path.starts_with(&*entries[*last].path))
            {
                begins.pop();
            }
            let shorter = begins.last().copied();
            let prefix = Choices::new(prefix);
            if !prefix.is_empty() {
                begins.push(position);
            }
            entries.push(PathEntry {
                path: path.into(),
                exact: Choices::new(exact),
                prefix,
                shorter,
            });
        }
        let expressions = self.expressions.into_iter();
        let expressions = expressions.map(|(regex, rules)| (regex, Choices::new(rules)));
        Paths {
            entries,
            expressions: Expressions::new(expressions.collect()),
        }
    }
}
