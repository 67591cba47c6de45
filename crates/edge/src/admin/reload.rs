//! Has the controller read the configuration again or go back to an earlier one, and says what came of
//! it. Never reads a file.

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use portcullis_ops::diagnostic::Diagnostics;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::answer::{Answer, Refused, document, tag};
use super::change;
use super::table::Does;
use super::{Desk, collected, flags, precondition};
use crate::audit::Who;
use crate::control::{Controller, Entry, Refusal, Reloaded};

impl Desk {
    /// A reload, what one would do, or a way back.
    pub(super) async fn reload(
        &self,
        does: Does,
        head: &Parts,
        body: Incoming,
        who: Who,
    ) -> Result<Answer, Refused> {
        let body = collected(body).await;
        let _one_at_a_time = self.edge.changing.lock().await;
        let asked = body.and_then(|body| {
            precondition::check(&head.headers, &self.edge.audit)?;
            Asked::read(does, &body)
        });
        // From here on the controller writes into the audit.
        let asked = asked.inspect_err(|refused| self.refuse(who.clone(), head, refused))?;
        let reloaded = match asked {
            Asked::Plan => return self.plan().await,
            Asked::Reload => self.controller.reload_for(who).await,
            Asked::RollBack(number) => self.controller.roll_back_for(who, number).await,
        };
        let reloaded = reloaded.map_err(Refused::from)?;
        let mut answer = document(StatusCode::OK, &told(&reloaded));
        tag(&mut answer, reloaded.revision);
        Ok(answer)
    }

    async fn plan(&self) -> Result<Answer, Refused> {
        let (plan, warnings) = self.controller.plan().await?;
        let mut body = plan.to_json();
        body["would_apply"] = json!(true);
        warn(&mut body, &warnings);
        let mut answer = document(StatusCode::OK, &body);
        tag(&mut answer, self.edge.audit.revision());
        Ok(answer)
    }
}

enum Asked {
    Plan,
    Reload,
    RollBack(Option<u64>),
}

impl Asked {
    fn read(does: Does, body: &[u8]) -> Result<Self, Refused> {
        let invalid = |detail: &str| Err(Refused::Invalid(detail.to_owned()));
        if does == Does::RollBack {
            return match change::member(body, "number")? {
                None => Ok(Self::RollBack(None)),
                Some(number) if number.as_u64().is_some() => Ok(Self::RollBack(number.as_u64())),
                Some(_) => invalid("`number` must be that of a configuration in `/v1/history`."),
            };
        }
        match change::member(body, "plan")? {
            None | Some(Value::Bool(false)) => Ok(Self::Reload),
            Some(Value::Bool(true)) => Ok(Self::Plan),
            Some(_) => invalid("`plan` must be true or false."),
        }
    }
}

fn told(reloaded: &Reloaded) -> Value {
    let mut body = reloaded.plan.to_json();
    body["number"] = json!(reloaded.number);
    body["generation"] = json!(reloaded.generation);
    body["revision"] = json!(reloaded.revision);
    body["took_ms"] = json!(reloaded.took.as_secs_f64() * 1_000.0);
    warn(&mut body, &reloaded.warnings);
    body
}

/// Those of the file beside those of the plan.
fn warn(body: &mut Value, warnings: &Diagnostics) {
    if let Some(list) = body["warnings"].as_array_mut() {
        list.extend(warnings.iter().map(|warning| json!(warning.to_string())));
    }
}

/// The configuration in force, and where it came from.
pub(super) fn configuration(controller: &Controller) -> Value {
    let (entries, _) = controller.history();
    let last = entries.last();
    json!({
        "number": last.map(|entry| entry.number),
        "origin": last.map(|entry| entry.origin.name()),
        "file": controller.file().map(|file| file.display().to_string()),
        "config": controller.shown(),
        "environment": flags::overrides(controller.edge()),
    })
}

/// Which configurations ran, newest first, and why the file is not the one that does.
pub(super) fn history(controller: &Controller) -> Value {
    let (entries, refused) = controller.history();
    let entry = |entry: &Entry| {
        json!({
            "number": entry.number,
            "origin": entry.origin.name(),
            "since": OffsetDateTime::from(entry.since).format(&Rfc3339).ok(),
        })
    };
    let refused = refused.map(|(origin, why)| json!({ "origin": origin.name(), "why": why }));
    json!({
        "configurations": entries.iter().rev().map(entry).collect::<Vec<_>>(),
        "last_refusal": refused,
    })
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Mistakes(mistakes) => Self::Mistakes(mistakes),
            Refusal::Unknown(_) => Self::NotFound(format!("{refusal}.")),
            Refusal::Start(_)
            | Refusal::NoFile
            | Refusal::Leaving
            | Refusal::Upgrading
            | Refusal::Failed => Self::Conflict(format!("{refusal}.")),
        }
    }
}
