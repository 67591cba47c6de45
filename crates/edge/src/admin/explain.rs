//! Explains what would become of a request. Never changes anything, so nothing of it is in the audit.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use hyper::body::Incoming;
use serde_json::json;

use super::answer::{Answer, Refused, document, tag};
use super::apply::capitalized;
use super::{Desk, change, collected};
use crate::explain::{Asked, Trouble, explain};

impl Desk {
    /// What would become of the request in the body.
    pub(super) async fn explain(&self, body: Incoming) -> Result<Answer, Refused> {
        let body = collected(body).await?;
        let asked = Asked::read(&change::members(&body)?);
        let asked =
            asked.map_err(|mistake| Refused::Invalid(format!("{}.", capitalized(&mistake))))?;
        let (edge, listeners) = (Arc::clone(&self.edge), self.controller.listeners());
        let revision = edge.audit.revision();
        // A thousand routes to compare with are no work for a thread that carries requests.
        let explained =
            tokio::task::spawn_blocking(move || explain(&edge, &listeners, &asked, Instant::now()));
        let mut explained = match explained.await {
            Ok(Ok(explained)) => explained,
            Ok(Err(Trouble::UnknownListener(says))) => return Err(Refused::NotFound(says)),
            Ok(Err(Trouble::Random)) | Err(_) => {
                let says = "This cannot be explained now: see the log.";
                return Err(Refused::Conflict(says.to_owned()));
            }
        };
        explained["revision"] = json!(revision);
        let mut answer = document(StatusCode::OK, &explained);
        tag(&mut answer, revision);
        Ok(answer)
    }
}
