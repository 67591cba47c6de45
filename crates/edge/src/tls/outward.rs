//! Files of TLS towards the endpoints of a cluster, read again when they changed. Never closes a
//! connection: those made before serve what is under way on them, and nothing after.

use std::path::PathBuf;
use std::sync::Arc;

use prometheus::IntCounterVec;

use crate::config::{self, ClientFiles, LiveClient, Problem};
use crate::metrics::Metrics;

/// Clients of one cluster, for requests and for checks, that come from the same files.
#[derive(Debug)]
pub(crate) struct Outward {
    cluster: String,
    files: ClientFiles,
    paths: Vec<PathBuf>,
    clients: Vec<Arc<LiveClient>>,
    reloads: IntCounterVec,
}

impl Outward {
    /// Those of all clusters that come from any file.
    pub(crate) fn all(clusters: &[config::Cluster], metrics: &Metrics) -> Vec<Arc<Self>> {
        let mut all: Vec<Self> = Vec::new();
        for cluster in clusters {
            let requests = cluster.tls.iter().map(|tls| &tls.live);
            let checks = cluster.health.iter().filter_map(|check| check.tls.as_ref());
            for live in requests.chain(checks.map(|tls| &tls.live)) {
                let is_same =
                    |one: &&mut Self| one.cluster == cluster.name && one.files == *live.files();
                if let Some(known) = all.iter_mut().find(is_same) {
                    known.clients.push(Arc::clone(live));
                    continue;
                }
                all.push(Self {
                    cluster: cluster.name.clone(),
                    files: live.files().clone(),
                    paths: live.files().paths(),
                    clients: vec![Arc::clone(live)],
                    reloads: metrics.upstream_tls_reloads(),
                });
            }
        }
        all.retain(|one| !one.paths.is_empty());
        all.into_iter().map(Arc::new).collect()
    }

    /// Whether the same clients are kept up to date.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        let mut both = self.clients.iter().zip(&other.clients);
        self.paths == other.paths
            && self.clients.len() == other.clients.len()
            && both.all(|(one, other)| Arc::ptr_eq(one, other))
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads the files and puts them into force, or says why not.
    pub(super) fn reload(&self, now_unix_seconds: i64) {
        let cluster = self.cluster.as_str();
        let mut problems = Vec::new();
        let Some(loaded) = self.files.load(now_unix_seconds, &mut problems) else {
            if let Some(problem) = problems.into_iter().find(|problem| problem.is_fatal) {
                self.refuse(&problem);
            }
            return;
        };
        let replaced = self.clients.iter().filter(|live| live.replace(&loaded));
        if replaced.count() > 0 {
            let file = self.paths.first().map(|path| path.display().to_string());
            let file = file.unwrap_or_default();
            self.count(&file, "ok");
            tracing::info!(cluster, file, "TLS to endpoints replaced");
        }
    }

    fn refuse(&self, problem: &Problem) {
        let (cluster, file) = (self.cluster.as_str(), problem.path.display().to_string());
        self.count(&file, "failed");
        let hint = problem.hint.as_deref().unwrap_or_default();
        let message = &problem.message;
        tracing::error!(
            cluster,
            file,
            hint,
            "TLS to endpoints not replaced, the old one stays: {message}"
        );
    }

    fn count(&self, file: &str, result: &str) {
        let labels = [self.cluster.as_str(), file, result];
        self.reloads.with_label_values(&labels).inc();
    }
}
