//! What is explained is what happens, and explaining changes nothing.

use std::time::Duration;

use super::*;

mod scene;

use scene::{Scene, said};

const REQUESTS: usize = 10_000;
/// A look at all of the state takes its time.
const LOOKS_EVERY: usize = 200;

/// Ends that must be among those of so many requests.
const KINDS: &[&str] = &[
    "closed",
    "unreadable",
    "waits",
    "RefusedNoRoute",
    "RefusedRateLimit",
    "RefusedConcurrencyLimit",
    "RefusedNoToken",
    "RefusedToken",
    "RefusedForbidden",
    "RefusedClient",
    "RefusedMaintenance",
    "RefusedOrigin",
    "RefusedUpgrade",
    "RefusedQueueFull",
    "FailedNoEndpoint",
    "Redirected",
    "Responded",
    "ClientMalformed",
    "ClientMethod",
    "ClientBodyTooLarge",
    "10.1.0.",
    "10.2.0.",
    "10.3.0.",
    "10.4.0.",
    "10.5.0.",
    "10.6.0.",
    "10.7.0.",
    "10.8.0.",
    "10.9.0.",
    "10.10.0.",
    "\"split\"",
    "\"renewed\"",
    "\"users\"",
    "\"green\"",
    "\"tested\"",
    "\"regex\"",
    "\"exact\"",
    "\"tenant\"",
];

impl Scene {
    /// Explains a request, and then has it happen.
    fn explain_one(&mut self, number: usize) {
        let asked = self.asked();
        let looks_closely = number.is_multiple_of(LOOKS_EVERY);
        let before = looks_closely.then(|| self.state());
        let listener = listener(&self.listeners, asked.listener.as_deref()).unwrap();
        let connection = play::connection(listener, &asked, self.now);
        let (edge, ids) = (Arc::clone(&self.edge), self.edge.ids.fork());
        let explained = Explained::play(&edge, &asked, connection, (0, ids), self.now);
        let (said, edits) = said(&explained);
        if looks_closely {
            let document = told::document(&explained, self.now);
            assert!(document["steps"].as_array().unwrap().len() > 1);
        }
        drop(explained);
        let which = format!("seed {}, {number}: {asked:?}", self.seed);
        if let Some(before) = before {
            assert_eq!(difference(&before, &self.state()), None, "{which}");
        }
        let (happened, real_edits) = self.real(&asked);
        assert_eq!(said, happened, "{which}");
        assert_eq!(edits, real_edits, "{which}");
        let kind = happened.split(" [").next().unwrap_or_default();
        *self.ends.entry(kind.to_owned()).or_default() += 1;
    }
}

/// Where two texts begin to differ.
fn difference(one: &str, other: &str) -> Option<(String, String)> {
    let differs = one.bytes().zip(other.bytes()).position(|(a, b)| a != b);
    let at = differs.or((one.len() != other.len()).then_some(one.len().min(other.len())))?;
    let cut = |text: &str| {
        let end = (at + 60).min(text.len());
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..end]).into_owned()
    };
    Some((cut(one), cut(other)))
}

#[tokio::test]
async fn ten_thousand_explanations_are_what_happens_then_and_change_nothing() {
    let mut scene = Scene::new(fastrand::u64(..));
    println!("seed {}", scene.seed);
    for number in 0..REQUESTS {
        scene.now += Duration::from_millis(scene.rng.u64(..40));
        if scene.rng.u8(..20) == 0 {
            scene.disturb();
        }
        scene.finish_some();
        scene.explain_one(number);
    }
    for kind in KINDS {
        let found = scene.ends.keys().any(|end| end.contains(kind));
        assert!(
            found,
            "seed {}: no {kind} among {:#?}",
            scene.seed, scene.ends
        );
    }
}
