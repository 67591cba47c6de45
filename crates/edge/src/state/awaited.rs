//! What a configuration waits for before its requests can be served well. Never waits itself.

use std::time::Instant;

use super::Snapshot;

impl Snapshot {
    /// What is still being asked for, of what requests will need.
    pub(crate) fn awaits(&self, now: Instant) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.clusters.iter().any(|one| one.is_awaited(now)) {
            reasons.push("the endpoints of a cluster are not found yet");
        }
        if self.issuers.iter().any(|issuer| issuer.is_awaited(now)) {
            reasons.push("the keys of an issuer are not there yet");
        }
        let mut feeds = self
            .issuers
            .iter()
            .filter_map(|issuer| issuer.revocations());
        if feeds.any(|follower| follower.is_awaited(now)) {
            reasons.push("the revocations of an issuer are not there yet");
        }
        reasons
    }
}
