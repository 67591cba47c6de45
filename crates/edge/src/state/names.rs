//! The names that anything of the configuration still goes by: series of all others can go. Never counts.

use std::collections::HashSet;

use super::{Edge, Snapshot};

/// Of the generation in force, of those that requests still use, and of connections.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) listeners: HashSet<String>,
    pub(crate) routes: HashSet<String>,
    pub(crate) clusters: HashSet<String>,
    /// By cluster and address.
    pub(crate) endpoints: HashSet<(String, String)>,
    pub(crate) limits: HashSet<String>,
    pub(crate) issuers: HashSet<String>,
    pub(crate) flags: HashSet<String>,
}

/// What names follow from: as long as it is the same, they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roots {
    generations: Vec<u64>,
    listeners: Vec<String>,
    passed: Vec<String>,
}

impl Names {
    fn add(&mut self, snapshot: &Snapshot) {
        let named = snapshot.routes.iter().map(|route| route.name.clone());
        self.routes.extend(named);
        for cluster in &snapshot.clusters {
            let name = cluster.name();
            self.clusters.insert(name.to_owned());
            let endpoints = cluster.endpoints().iter();
            let endpoints = endpoints.map(|one| (name.to_owned(), one.label().to_owned()));
            self.endpoints.extend(endpoints);
        }
        let limits = snapshot.limiters.iter().map(|one| one.name().to_owned());
        self.limits.extend(limits);
        let issuers = snapshot.issuers.iter().map(|one| one.name().to_owned());
        self.issuers.extend(issuers);
        let flags = snapshot.flags.all().into_iter();
        self.flags.extend(flags.map(|one| one.name().to_owned()));
    }
}

impl Edge {
    /// Takes the series of everything out of the metrics that is gone, once nothing counts there any
    /// more. Does nothing while somebody changes what runs, who may need them in a moment.
    pub(crate) fn forget_gone(&self) {
        let Ok(_nobody_changes_anything) = self.changing.try_lock() else {
            return;
        };
        let mut used = self.retired.kept();
        used.push(self.snapshot.load_full());
        let roots = Roots {
            generations: used.iter().map(|one| one.generation).collect(),
            listeners: self.seats.names(),
            passed: self.metrics.passed_clusters(),
        };
        let mut forgotten = super::targets::lock(&self.forgotten);
        if *forgotten == roots {
            return;
        }
        let mut names = Names::default();
        used.iter().for_each(|snapshot| names.add(snapshot));
        names.listeners.extend(roots.listeners.iter().cloned());
        names.clusters.extend(roots.passed.iter().cloned());
        self.metrics.forget_all_but(&names);
        *forgotten = roots;
    }
}
