//! More auth instances than a laptop ever needs, behind one edge.

use std::time::Duration;

use nix::sys::signal::Signal;
use portcullis_testkit::process::{resident_kilobytes, signal_process};
use portcullis_testkit::{client, wait_until};

use crate::harness::load::{Ask, Load};
use crate::harness::up::{Place, Up};

const INSTANCES: u16 = 50;
/// Restarted at once: a tenth of all, without a word to the edge.
const AT_ONCE: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_50_auth_instances_are_balanced_and_rolled_without_a_failed_request() {
    let place = Place::with_instances(INSTANCES);
    let up = place.start().await;
    let ask = Ask::get("/.well-known/jwks.json");
    let load = Load::start(up.http, Duration::from_millis(10), vec![ask]);
    load.wait_for(4 * usize::from(INSTANCES)).await;
    let first = up.auth_processes();
    assert_eq!(first.len(), usize::from(INSTANCES));
    for some in first.chunks(AT_ONCE) {
        restart(&up, some).await;
        load.wait_for(20).await;
    }
    // Every successor takes its share, once the edge has seen that it is back.
    load.wait_for_endpoints(usize::from(INSTANCES)).await;
    let memory = up.auth_processes();
    let memory: Vec<u64> = memory
        .iter()
        .filter_map(|id| resident_kilobytes(*id))
        .collect();
    let shots = load.finish().await;

    let failed: Vec<_> = shots.iter().filter(|shot| !shot.is_served()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let edge = resident_kilobytes(up.process.id()).unwrap();
    let largest = memory.iter().max().unwrap();
    println!("memory: edge {edge} KB, largest of {INSTANCES} auth instances {largest} KB");
    assert_eq!(memory.len(), usize::from(INSTANCES));
}

/// Ends auth processes politely and waits for others in their place.
async fn restart(up: &Up, ended: &[u32]) {
    for id in ended {
        signal_process(*id, Signal::SIGTERM);
    }
    wait_until("successors", async || {
        let running = up.auth_processes();
        let is_over = ended.iter().all(|id| !running.contains(id));
        (is_over && running.len() == usize::from(INSTANCES)).then_some(())
    })
    .await;
    for &address in &up.instances {
        wait_until(&format!("{address} to be ready"), async || {
            let answer = client::get(address, "/health/ready").await;
            answer.ok().filter(|response| response.status == 200)
        })
        .await;
    }
}
