//! The path rules of one host, arranged for lookup. Never sees a host.
//!
//! All paths are kept sorted. Let `nearest` be the greatest that is not greater than the path
//! asked for. Every string that begins the asked path sorts at or before it, and whatever sorts
//! between such a beginning and the path begins with it too; so every rule that can match is
//! `nearest` or begins `nearest`. One binary search and a walk along precomputed links to the
//! next shorter prefix find the answer, however many slashes a client sends.

use std::collections::BTreeMap;

use super::pattern::{PathPattern, ends_segment};

#[derive(Clone, Debug)]
pub(super) struct Paths<T> {
    /// Sorted by path, each path once.
    entries: Vec<PathEntry<T>>,
}

#[derive(Clone, Debug)]
struct PathEntry<T> {
    path: Box<str>,
    exact: Option<T>,
    prefix: Option<T>,
    /// Position of the longest other entry that holds a prefix rule and begins this path.
    shorter: Option<usize>,
}

impl<T> Paths<T> {
    /// The target of the exact rule for `path`, else of the longest prefix rule.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        let after = self.entries.partition_point(|entry| *entry.path <= *path);
        let nearest = self.entries.get(after.checked_sub(1)?)?;
        let shared = shared_length(&nearest.path, path);
        if shared == path.len() && shared == nearest.path.len() && nearest.exact.is_some() {
            return nearest.exact.as_ref();
        }
        self.nearest_and_shorter(nearest)
            .filter(|entry| entry.path.len() <= shared && ends_segment(path, entry.path.len()))
            .find_map(|entry| entry.prefix.as_ref())
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

/// Collects rules in any order.
#[derive(Debug)]
pub(super) struct PathsBuilder<T> {
    targets: BTreeMap<String, (Option<T>, Option<T>)>,
}

impl<T> Default for PathsBuilder<T> {
    fn default() -> Self {
        Self {
            targets: BTreeMap::new(),
        }
    }
}

impl<T> PathsBuilder<T> {
    /// Adds a rule; the caller has made sure that it is the first of its pattern.
    pub(super) fn add(&mut self, pattern: PathPattern, target: T) {
        match pattern {
            PathPattern::Exact(path) => self.targets.entry(path).or_default().0 = Some(target),
            PathPattern::Prefix(path) => self.targets.entry(path).or_default().1 = Some(target),
        }
    }

    pub(super) fn finish(self) -> Paths<T> {
        let mut entries: Vec<PathEntry<T>> = Vec::with_capacity(self.targets.len());
        // Positions of the prefix rules that begin the present path, shortest first.
        let mut begins: Vec<usize> = Vec::new();
        for (position, (path, (exact, prefix))) in self.targets.into_iter().enumerate() {
            while begins
                .last()
                .is_some_and(|last| !path.starts_with(&*entries[*last].path))
            {
                begins.pop();
            }
            let shorter = begins.last().copied();
            if prefix.is_some() {
                begins.push(position);
            }
            entries.push(PathEntry {
                path: path.into(),
                exact,
                prefix,
                shorter,
            });
        }
        Paths { entries }
    }
}
