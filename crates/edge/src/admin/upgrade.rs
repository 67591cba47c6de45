//! Has another binary take over, and says what came of it. Never touches a process.

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use serde_json::json;

use super::answer::{Answer, Refused, document, tag};
use super::{Desk, change, collected, precondition};
use crate::audit::Who;
use crate::upgrade::{self, Failure};

impl Desk {
    /// Answers when the other process serves, or has failed to.
    pub(super) async fn upgrade(
        &self,
        head: &Parts,
        body: Incoming,
        who: Who,
    ) -> Result<Answer, Refused> {
        let body = collected(body).await;
        let asked = async {
            // Others may change what runs while the new process gets ready: it hears of it in the end.
            let _one_at_a_time = self.edge.changing.lock().await;
            change::nothing(&body?)?;
            precondition::check(&head.headers, &self.edge.audit)
        };
        // What comes of it is told in the audit where it happens.
        let asked = asked.await;
        asked.inspect_err(|refused| self.refuse(who.clone(), head, refused))?;
        let upgraded = upgrade::upgrade(&self.controller, who).await?;
        let body = json!({
            "pid": upgraded.pid,
            "version": upgraded.version,
            "predecessor": std::process::id(),
            "revision": upgraded.revision,
            "took_ms": upgraded.took.as_secs_f64() * 1_000.0,
        });
        let mut answer = document(StatusCode::OK, &body);
        tag(&mut answer, upgraded.revision);
        Ok(answer)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let detail = format!("{failure}.");
        match failure {
            Failure::Start { .. } | Failure::Ended { .. } | Failure::Late { .. } => Self::InVain {
                last_words: failure.last_words().lines().map(str::to_owned).collect(),
                detail,
            },
            Failure::FirstProcess
            | Failure::NoLaunch
            | Failure::Running
            | Failure::Leaving
            | Failure::Broken => Self::Conflict(detail),
        }
    }
}
