//! Reads lists of clients again when their files change. Never does it on a thread that carries
//! requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::file::{Look, NetworkFile};
use crate::state::Edge;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Follows the files of the running configuration until told to stop.
pub(crate) async fn run(edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let snapshot = edge.snapshot.load_full();
        let files: Vec<Arc<NetworkFile>> = snapshot
            .gates()
            .flat_map(|(_, _, gate)| gate.files())
            .cloned()
            .collect();
        if files.is_empty() {
            continue;
        }
        let edge = Arc::clone(&edge);
        let looked = tokio::task::spawn_blocking(move || {
            for file in files {
                look(&edge, &file);
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "files of clients cannot be looked at");
        }
    }
}

fn look(edge: &Edge, file: &NetworkFile) {
    let path = file.path().display();
    match file.look() {
        Look::Unchanged => {}
        Look::Renewed(entries) => {
            edge.metrics.gates().renewed.inc();
            tracing::info!(%path, entries, "list of clients was read again");
        }
        Look::Failed(error) => {
            edge.metrics.gates().failed.inc();
            tracing::error!(%path, %error, "list of clients cannot be used: what was read before holds");
        }
    }
}
