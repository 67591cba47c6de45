//! What becomes of mail. Never an address.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};

use super::Names;
use crate::domain::MailKind;

#[derive(Debug)]
pub(super) struct MailMetrics {
    mails: IntCounterVec,
    waiting: IntGauge,
    oldest_seconds: IntGauge,
    server_up: IntGauge,
}

/// What became of an attempt to send a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The server has it.
    Sent,
    /// It will be tried again.
    Deferred,
    /// It will not.
    GivenUp,
}

impl MailMetrics {
    pub(super) fn new(r: &Names<'_>) -> Result<Self, prometheus::Error> {
        let labels = ["kind", "result"];
        Ok(Self {
            mails: r.counters(
                "mails_total",
                "Attempts to send mail: sent, deferred or given_up.",
                &labels,
            )?,
            waiting: r.gauge(
                "mail_waiting",
                "Mails that wait, counted every few seconds, up to 10,000.",
            )?,
            oldest_seconds: r.gauge(
                "mail_oldest_seconds",
                "How long the oldest of them has waited.",
            )?,
            server_up: r.gauge(
                "mail_server_up",
                "1 when the mail server could be spoken to last.",
            )?,
        })
    }
}

impl super::Metrics {
    /// One attempt to send a mail.
    pub(crate) fn posted(&self, kind: MailKind, posted: Posted) {
        let result = match posted {
            Posted::Sent => "sent",
            Posted::Deferred => "deferred",
            Posted::GivenUp => "given_up",
        };
        self.mail
            .mails
            .with_label_values(&[kind.as_str(), result])
            .inc();
    }

    pub(crate) fn mail_server(&self, is_up: bool) {
        self.mail.server_up.set(i64::from(is_up));
    }

    pub(crate) fn mail_waiting(&self, count: u64, oldest: Duration) {
        self.mail
            .waiting
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        let seconds = i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX);
        self.mail.oldest_seconds.set(seconds);
    }
}
