//! One client attacks, at the rate that the testkit states with each attack, and another goes on asking:
//! what the second notices, what the edge holds meanwhile, and that the first is cut off.

mod http1;
mod http2;

use std::time::Duration;

use portcullis_testkit::attack::{Attack, Calm, Door, Endpoints, LARGE, LIMITED, PATH};
use portcullis_testkit::process::resident_kilobytes;
use portcullis_testkit::{Authority, wait_until};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::native::Setup;

/// Requests that a percentile is of, and the time between two of them.
const REQUESTS: u32 = 150;
const PACE: Duration = Duration::from_millis(3);
/// What counts as undisturbed at least: a build without optimisation on two cores that the edge shares
/// with its endpoints, both clients and whatever else the machine does. `make bench-attacks` measures
/// without this allowance.
const FLOOR_MS: f64 = 50.0;
/// Whoever shares the machine may spoil a measurement, an attack spoils all of them.
const MEASUREMENTS: usize = 3;
/// Deadlines of the edge, so that an attack is cut off while the test looks.
const DEADLINE: &str = "500ms";

/// How an attack ends.
#[derive(Clone, Copy)]
enum Ends {
    /// As requests with this outcome, which is in the access log.
    Requests(&'static str),
    /// As HTTP/2 connections given up for this, and the line for it.
    Goaways(&'static str),
}

impl Ends {
    fn metric(self) -> (&'static str, [(&'static str, &'static str); 1]) {
        match self {
            Self::Requests(outcome) => ("portcullis_edge_requests_total", [("outcome", outcome)]),
            Self::Goaways(why) => ("portcullis_edge_http2_goaways_total", [("why", why)]),
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Self::Requests(outcome) => outcome,
            Self::Goaways(_) => "refused_http2_abuse",
        }
    }
}

/// What an attack comes to.
struct Bounds {
    ends: Ends,
    /// So often at least while the other client was measured once.
    times: f64,
    /// So much more memory at most.
    megabytes: u64,
}

fn ends(ends: Ends, times: f64) -> Bounds {
    Bounds {
        ends,
        times,
        // A part of it is the allocator's, which gives back what is free after a while.
        megabytes: 40,
    }
}

/// As [`ends`], for 1,000 requests that an attack keeps open: 128 KB each, in a build without optimisation.
fn holds(ends: Ends, times: f64) -> Bounds {
    Bounds {
        ends,
        times,
        megabytes: 128,
    }
}

const DOORS: [Door; 5] = [
    Door::Http1,
    Door::Crowded,
    Door::Http2,
    Door::Tls,
    Door::Proxied,
];

struct Scene {
    edge: Edge,
    _authority: Authority,
}

fn listener(keys: Value) -> Value {
    let mut listener = keys;
    listener["timeouts"] =
        json!({ "handshake": DEADLINE, "header": DEADLINE, "body": DEADLINE, "write": DEADLINE });
    listener
}

async fn scene() -> Scene {
    let authority = Authority::new();
    let endpoints = Endpoints::start();
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let routes = json!([
        { "name": "attacked", "path": PATH, "cluster": "attacked" },
        { "name": "limited", "path": LIMITED, "cluster": "attacked", "rate_limits": ["often"] },
        { "name": "large", "path": LARGE, "cluster": "large" },
        { "name": "all", "path": "/", "cluster": "main" },
    ]);
    let proxied = json!({ "from": ["127.0.0.0/8"], "timeout": DEADLINE });
    let edge = Setup::for_addresses(&[endpoints.calm])
        .set("clusters.attacked.endpoints", json!([endpoints.attacked]))
        .set("clusters.large.endpoints", json!([endpoints.large]))
        .set("rate_limits.often", json!({ "rate": "20/s" }))
        .set("routes", routes)
        .set(
            "listeners.0.timeouts",
            listener(json!({}))["timeouts"].take(),
        )
        .listener(
            "crowded",
            &listener(json!({ "connections_per_address": { "most": 50 } })),
        )
        .listener(
            "http2",
            &listener(json!({ "http2": { "cleartext": true } })),
        )
        .listener(
            "tls",
            &listener(json!({ "tls": { "certificates": certificates } })),
        )
        .listener("proxied", &listener(json!({ "proxy_protocol": proxied })))
        .start()
        .await;
    Scene {
        edge,
        _authority: authority,
    }
}

impl Scene {
    fn calm(&self, attack: &Attack) -> Calm {
        match attack.door {
            Door::Http2 => Calm::new(self.edge.listener(2), Door::Http2, PACE),
            _ => Calm::new(self.edge.listener(0), Door::Http1, PACE),
        }
    }

    fn memory(&self) -> u64 {
        resident_kilobytes(self.edge.process.id()).unwrap()
    }

    async fn ended(&self, bounds: &Bounds) -> f64 {
        let (name, labels) = bounds.ends.metric();
        self.edge.metric(name, &labels).await
    }
}

/// Lets a client ask undisturbed, then beside the attack: all of its requests are answered.
async fn harms_nobody_else(attack: Attack, bounds: Bounds) {
    let scene = scene().await;
    let mut calm = scene.calm(&attack);
    calm.p99_ms(30).await.unwrap();
    let before = calm.p99_ms(REQUESTS).await.unwrap();
    let at_rest = scene.memory();
    let door = DOORS.iter().position(|door| *door == attack.door).unwrap();
    let running = attack.start(scene.edge.listener(door));
    let (mut during, mut most) = (Vec::new(), at_rest);
    let bearable = 2.0 * before.max(FLOOR_MS);
    while during.len() < MEASUREMENTS && during.iter().all(|p99| *p99 > bearable) {
        during.push(calm.p99_ms(REQUESTS).await.unwrap());
        most = most.max(scene.memory());
    }
    wait_until("the attackers to be cut off", async || {
        most = most.max(scene.memory());
        (scene.ended(&bounds).await >= bounds.times).then_some(())
    })
    .await;
    let tally = running.tally();
    drop(running);
    assert!(
        during.iter().any(|p99| *p99 <= bearable),
        "{during:.1?} ms beside the attack, {before:.1} ms without; {tally:?}"
    );
    let allowed = bounds.megabytes << 10;
    assert!(most <= at_rest + allowed, "{at_rest} KB grew to {most} KB");
    drop(calm);
    scene.edge.expect_nothing_left().await;
    let outcome = bounds.ends.outcome();
    let lines = scene.edge.log();
    assert!(
        lines.iter().any(|line| line["outcome"] == outcome),
        "{outcome}"
    );
}
