//! What an operator counts on when endpoints and deploys go wrong, under a constant rate of requests.
//! Never excuses a failed request: each test says how many there may be, which is mostly none.

mod dead;
mod deploys;
mod many;
mod slow;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::standalone::Standalone;
use crate::native::Setup;

/// Between two requests of a load.
const PACE: Duration = Duration::from_millis(10);

/// Three endpoints in processes of their own.
async fn three(pause: Duration) -> [Standalone; 3] {
    [
        Standalone::start("a", pause).await,
        Standalone::start("b", pause).await,
        Standalone::start("c", pause).await,
    ]
}

/// An edge before them that probes often.
fn before(endpoints: &[Standalone]) -> Setup {
    let addresses: Vec<_> = endpoints.iter().map(Standalone::address).collect();
    Setup::for_addresses(&addresses).set("clusters.main.health", quick_check())
}

/// A check that finds out within a second.
fn quick_check() -> Value {
    json!({ "path": "/health/ready", "interval": "500ms", "timeout": "250ms", "rise": 1, "fall": 2 })
}
