//! Changes that time alone brings, shown when they are due although nobody asks: ejections end,
//! breakers half-open. Never looks before something is due.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::state::Edge;

/// Runs for as long as the edge, until `stop` turns true or its sender is gone.
pub(crate) async fn run(edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    loop {
        let next = {
            let snapshot = edge.snapshot.load();
            let now = Instant::now();
            let clusters = snapshot.clusters.iter();
            clusters.filter_map(|cluster| cluster.tick(now)).min()
        };
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _stopped_or_gone = stop.wait_for(|is_stopping| *is_stopping) => return,
            () = due => {}
            () = edge.keeper.alarm() => {}
        }
    }
}
