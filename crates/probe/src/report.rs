//! What was found. Never prints: the command does, from these types.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::plan::{Check, Plan};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Could not be tried.
    Skipped,
    /// Somebody should look.
    Warn,
    /// Not as it should be.
    Fail,
}

impl Verdict {
    /// Its name in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// Something that is not as it should be, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What was seen.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// What one check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// The verdict.
    pub verdict: Verdict,
    /// One line: what was seen, or why nothing was tried.
    pub summary: String,
    /// What is not as it should be, the worst kind first.
    pub remarks: Vec<Remark>,
    /// What was measured, by name.
    pub figures: Map<String, Value>,
}

impl Finding {
    /// Good until something is said against it.
    pub(crate) fn of(check: Check) -> Self {
        Self {
            check,
            verdict: Verdict::Pass,
            summary: String::new(),
            remarks: Vec::new(),
            figures: Map::new(),
        }
    }

    /// One that could not be tried.
    pub(crate) fn skipped(check: Check, reason: impl Into<String>) -> Self {
        let mut finding = Self::of(check).summary(reason);
        finding.verdict = Verdict::Skipped;
        finding
    }

    pub(crate) fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// This is wrong.
    pub(crate) fn fault(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        if self.verdict != Verdict::Fail {
            self.verdict = Verdict::Fail;
        }
        self.remark(what, advice);
    }

    /// Somebody should look at this.
    pub(crate) fn doubt(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.verdict = self.verdict.max(Verdict::Warn);
        self.remark(what, advice);
    }

    fn remark(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        if self.remarks.len() < REMARKS_MAX {
            self.remarks.push(Remark {
                what: what.into(),
                advice: advice.into(),
            });
        }
    }

    /// What was asked for by name and could not be tried has failed.
    pub(crate) fn demanded(mut self) -> Self {
        if self.verdict == Verdict::Skipped {
            self.verdict = Verdict::Fail;
            self.summary = format!("asked for, but {}", self.summary);
        }
        self
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let remarks: Vec<Value> = self
            .remarks
            .iter()
            .map(|remark| json!({ "what": remark.what, "advice": remark.advice }))
            .collect();
        json!({
            "check": self.check.name(),
            "verdict": self.verdict.name(),
            "summary": self.summary,
            "remarks": remarks,
            "figures": self.figures,
        })
    }
}

/// Nobody reads more of one check.
const REMARKS_MAX: usize = 8;

/// What a visit found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The URL.
    pub url: String,
    /// One for each check, in order.
    pub findings: Vec<Finding>,
    /// What is no finding and should be known all the same; changes no verdict.
    pub notes: Vec<String>,
    /// Requests sent.
    pub requests: u64,
    /// How long the visit took.
    pub took: Duration,
}

impl Report {
    /// Whether no check failed.
    pub fn is_good(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }

    /// How many checks ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        let all = self.findings.iter();
        all.filter(|finding| finding.verdict == verdict).count()
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({
            "url": self.url,
            "verdict": if self.is_good() { "pass" } else { "fail" },
            "requests": self.requests,
            "took_ms": self.took.as_millis() as u64,
            "notes": self.notes,
            "checks": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        })
    }
}

/// A step on the way.
#[derive(Debug)]
pub enum Event<'a> {
    /// The deployment answers; this will be tried.
    Arrived {
        /// The plan.
        plan: &'a Plan,
    },
    /// A check begins.
    Begins(Check),
    /// The watch knows who serves: now an endpoint may be stopped or drained.
    EndpointMayGo {
        /// How long the watch goes on.
        left: Duration,
    },
    /// A check has ended.
    Ends(&'a Finding),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_word_decides() {
        let mut finding = Finding::of(Check::Tls);
        finding.doubt("nine days are left", "renew it");
        assert_eq!(finding.verdict, Verdict::Warn);
        finding.fault("for another name", "get one for this name");
        finding.doubt("and old", "renew it");
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(finding.remarks.len(), 3);
    }

    #[test]
    fn what_was_demanded_and_not_tried_has_failed() {
        let finding = Finding::skipped(Check::Logout, "there is no account");
        assert_eq!(finding.clone().verdict, Verdict::Skipped);
        let finding = finding.demanded();
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(finding.summary, "asked for, but there is no account");
    }

    #[test]
    fn machines_get_every_finding_with_its_figures() {
        let mut finding = Finding::of(Check::Health).summary("fine");
        finding.figure("slowest_ms", 3);
        let report = Report {
            url: "http://127.0.0.1/".to_owned(),
            findings: vec![finding],
            notes: vec!["be careful".to_owned()],
            requests: 1,
            took: Duration::from_millis(5),
        };
        let json = report.json();
        assert_eq!(json["verdict"], "pass");
        assert_eq!(json["notes"], json!(["be careful"]));
        assert_eq!(json["checks"][0]["check"], "health");
        assert_eq!(json["checks"][0]["figures"]["slowest_ms"], 3);
    }
}
