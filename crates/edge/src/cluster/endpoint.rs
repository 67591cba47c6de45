//! One address in a cluster: what never changes of it, and whether it is out. Never decides anything.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::{digest, hmac};
use http::HeaderValue;
use portcullis_traffic::endpoint::{EndpointId, Standing};

use crate::metrics::{EndpointMetrics, Metrics};

/// One address in a cluster. Generations of the configuration share it.
#[derive(Debug)]
pub struct Endpoint {
    id: EndpointId,
    address: SocketAddr,
    label: String,
    affinity_id: u64,
    served_by_plain: HeaderValue,
    served_by_opaque: HeaderValue,
    metrics: EndpointMetrics,
    is_out: AtomicBool,
}

impl Endpoint {
    pub(super) fn new(
        id: EndpointId,
        cluster: &str,
        address: SocketAddr,
        ids: &OpaqueIds,
        metrics: &Metrics,
    ) -> Self {
        let label = address.to_string();
        let digest = digest::digest(&digest::SHA256, label.as_bytes());
        let first = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self {
            id,
            address,
            affinity_id: u64::from_be_bytes(*first),
            served_by_plain: visible(&label),
            served_by_opaque: ids.of(&label),
            metrics: metrics.endpoint(cluster, &label),
            label,
            is_out: AtomicBool::new(false),
        }
    }

    /// Its name in this process.
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `endpoint` label: the address as text.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Names the endpoint inside affinity cookies; the same on every edge.
    pub(crate) fn affinity_id(&self) -> u64 {
        self.affinity_id
    }

    /// `X-Served-By` for operators on this machine: the address.
    pub(crate) fn served_by_plain(&self) -> &HeaderValue {
        &self.served_by_plain
    }

    /// `X-Served-By` for everybody else: tells endpoints apart and nothing more.
    pub(crate) fn served_by_opaque(&self) -> &HeaderValue {
        &self.served_by_opaque
    }

    /// Metric handles.
    pub fn metrics(&self) -> &EndpointMetrics {
        &self.metrics
    }

    /// Whether it may not be picked, so that waiting for it has become pointless. A drain is no
    /// such reason.
    pub(crate) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    /// What it may be given from now on.
    pub(super) fn stands(&self, standing: Standing) {
        let is_out = matches!(standing, Standing::Out { .. });
        self.is_out.store(is_out, Ordering::Relaxed);
    }
}

/// Names endpoints for strangers: without the key nobody learns the address, or finds it by trying.
#[derive(Debug)]
pub struct OpaqueIds {
    key: hmac::Key,
}

impl OpaqueIds {
    /// Ids are stable as long as the key is.
    pub fn new(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    fn of(&self, label: &str) -> HeaderValue {
        let tag = hmac::sign(&self.key, label.as_bytes());
        let mut text = String::with_capacity(16);
        for byte in tag.as_ref().iter().take(8) {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        visible(&text)
    }
}

fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses and hexadecimal digits are visible ASCII")
}
