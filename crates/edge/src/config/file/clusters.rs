//! Clusters as written. Never compares two values.

use std::num::NonZeroU16;

use portcullis_ops::decode::{Fields, Located};

use super::super::names::{self, HostPort};
use super::super::{Balance, Ejection, UpstreamTimeouts};
use super::affinity::{FileAffinity, affinity};
use super::health::{self, FileHealth};
use super::positive;
use super::retries::{self, FileRetries};

#[derive(Debug)]
pub(in crate::config) struct FileCluster {
    pub(in crate::config) name: Located<String>,
    pub(in crate::config) balance: Balance,
    pub(in crate::config) endpoints: Vec<FileEndpoint>,
    pub(in crate::config) health: Vec<FileHealth>,
    pub(in crate::config) ejection: Option<Ejection>,
    pub(in crate::config) retries: FileRetries,
    pub(in crate::config) timeouts: UpstreamTimeouts,
    pub(in crate::config) affinity: Option<FileAffinity>,
}

#[derive(Debug)]
pub(in crate::config) struct FileEndpoint {
    pub(in crate::config) address: Option<Located<HostPort>>,
    pub(in crate::config) weight: NonZeroU16,
}

pub(super) fn cluster((name, fields): (Located<String>, Fields<'_>)) -> FileCluster {
    if let Err(mistake) = names::label(&name.value) {
        let message = format!(
            "the name `{}` {}",
            names::shown(&name.value),
            mistake.message
        );
        fields
            .report()
            .error_with_hint(name.span, message, mistake.hint);
    }
    FileCluster {
        name,
        balance: match fields.word("balance").value {
            "round_robin" => Balance::RoundRobin,
            _ => Balance::LeastConn,
        },
        endpoints: fields.tables("endpoints").iter().map(endpoint).collect(),
        health: fields
            .switches("health")
            .iter()
            .map(health::health)
            .collect(),
        ejection: fields.switch("ejection").as_ref().map(ejection),
        retries: retries::retries(&fields.short("retries")),
        timeouts: upstream_timeouts(&fields.table("timeouts")),
        affinity: fields.switch("affinity").as_ref().map(affinity),
    }
}

fn endpoint(fields: &Fields<'_>) -> FileEndpoint {
    FileEndpoint {
        address: fields.text("address", names::host_port),
        weight: NonZeroU16::new(fields.number("weight").value).unwrap_or(NonZeroU16::MIN),
    }
}

fn ejection(fields: &Fields<'_>) -> Ejection {
    Ejection {
        failures: positive(fields, "failures"),
        window: fields.duration("window").value,
        duration: fields.duration("duration").value,
        max_percent: fields.number("max_percent").value,
    }
}

fn upstream_timeouts(fields: &Fields<'_>) -> UpstreamTimeouts {
    UpstreamTimeouts {
        connect: fields.duration("connect").value,
        read: fields.duration("read").value,
        write: fields.duration("write").value,
        idle: fields.duration("idle").value,
    }
}
