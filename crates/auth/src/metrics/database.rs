//! What the servers of the database are good for. Labels are the configured hosts and a few words.

use std::sync::Mutex;

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::{Names, raise};
use crate::store::topology::{Role, Topology};

#[derive(Debug)]
pub(super) struct DatabaseMetrics {
    endpoints: IntGaugeVec,
    lag: GaugeVec,
    reads: IntCounterVec,
    failovers: IntCounter,
    /// Endpoints that had a lag when it was last told: one that has none now must not go on showing it.
    shown: Mutex<Vec<String>>,
}

impl DatabaseMetrics {
    pub(super) fn new(r: &Names<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            endpoints: r.gauges(
                "database_endpoints",
                "Servers of the database by what they are good for.",
                &["role"],
            )?,
            lag: r.floats(
                "database_replica_lag_seconds",
                "How old the answers of a replica may be.",
                &["endpoint"],
            )?,
            reads: r.counters(
                "database_reads_total",
                "Reads that may lag, by who answered.",
                &["role"],
            )?,
            failovers: r.counter(
                "database_failovers_total",
                "Times another server of the database began to lead.",
            )?,
            shown: Mutex::default(),
        })
    }

    pub(super) fn take_over(&self, topology: &Topology) {
        for role in Role::ALL {
            let of_role = topology
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.role == role);
            let count = i64::try_from(of_role.count()).unwrap_or(i64::MAX);
            self.endpoints
                .with_label_values(&[role.as_str()])
                .set(count);
        }
        let mut shown = self
            .shown
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for name in shown.drain(..) {
            // It may have gone already.
            let _ = self.lag.remove_label_values(&[&name]);
        }
        for endpoint in &topology.endpoints {
            if let Some(lag) = endpoint.lag {
                self.lag
                    .with_label_values(&[&endpoint.name])
                    .set(lag.as_secs_f64());
                shown.push(endpoint.name.clone());
            }
        }
        for (role, total) in [
            (Role::Replica, topology.replica_reads),
            (Role::Primary, topology.primary_reads),
        ] {
            raise(&self.reads.with_label_values(&[role.as_str()]), total);
        }
        raise(&self.failovers, topology.failovers);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Metrics;
    use super::super::tests::snapshot;
    use crate::store::topology::{EndpointView, Role, Topology};

    fn endpoint(name: &str, role: Role, lag: Option<Duration>) -> EndpointView {
        EndpointView {
            name: name.to_owned(),
            role,
            lag,
            connections: (2, 1),
        }
    }

    #[test]
    fn servers_are_counted_by_role_and_a_lag_that_is_not_known_any_more_is_gone() {
        let metrics = Metrics::new("1.2.3", "auth-1").unwrap();
        let text = |topology| {
            let mut snapshot = snapshot();
            snapshot.topology = topology;
            String::from_utf8(metrics.render(snapshot).unwrap()).unwrap()
        };
        let lag = Some(Duration::from_millis(1500));
        let topology = Topology {
            endpoints: vec![
                endpoint("db-1:5432", Role::Primary, None),
                endpoint("db-2:5432", Role::Replica, lag),
            ],
            replica_reads: 7,
            primary_reads: 3,
            failovers: 2,
        };
        let shown = text(topology.clone());
        for line in [
            "portcullis_auth_database_endpoints{role=\"primary\"} 1",
            "portcullis_auth_database_endpoints{role=\"fenced\"} 0",
            "portcullis_auth_database_replica_lag_seconds{endpoint=\"db-2:5432\"} 1.5",
            "portcullis_auth_database_reads_total{role=\"replica\"} 7",
            "portcullis_auth_database_reads_total{role=\"primary\"} 3",
            "portcullis_auth_database_failovers_total 2",
        ] {
            assert!(shown.contains(line), "{line} is missing from\n{shown}");
        }
        let mut away = topology;
        away.endpoints[1] = endpoint("db-2:5432", Role::Away, None);
        assert!(!text(away).contains("lag_seconds{"));
    }
}
