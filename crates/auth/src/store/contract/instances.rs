//! The list of living instances: seen by all, gone in time.

use std::time::Duration;

use super::{Instances, START};
use crate::domain::{InstanceRecord, InstanceState};
use crate::store::PageLimit;

pub(crate) async fn instances_are_listed_until_they_leave_or_fall_silent(instances: Instances) {
    const TTL: Duration = Duration::from_secs(15);
    let record = |id: &str, state| InstanceRecord {
        id: id.to_owned(),
        address: "10.0.0.1:8000".to_owned(),
        version: "1.2.3".to_owned(),
        fingerprint: "REDIS_URL=01234567".to_owned(),
        state,
        started_at: START,
    };
    let [a, b, c] = ["a", "b'", "c"].map(|id| record(id, InstanceState::Ready));
    for instance in [&c, &b, &a] {
        let store = instances.next();
        store.report_instance(instance, TTL, START).await.unwrap();
    }
    let all = [a, b, c];
    assert_eq!(instances.next().instances(START).await.unwrap(), all);
    let draining = record("a", InstanceState::Draining);
    let later = START.plus(TTL / 2);
    let store = instances.next();
    store.report_instance(&draining, TTL, later).await.unwrap();
    instances.next().forget_instance("c").await.unwrap();
    instances.next().forget_instance("c").await.unwrap();
    let silent = START.plus(TTL);
    assert_eq!(
        instances.next().instances(silent).await.unwrap(),
        [draining]
    );
    instances
        .next()
        .purge(silent, PageLimit::MAX)
        .await
        .unwrap();
    let left = instances.next().instances(START).await.unwrap();
    assert_eq!(left.len(), 1, "the row of the silent one is gone");
}
