//! Retries: waits that can grow. Never decides about one.

use super::super::file::FileRetries;
use super::super::retries::{Backoff, Retries};
use super::Parser;

impl Parser<'_> {
    pub(super) fn retries(&self, file: &FileRetries) -> Retries {
        if file.backoff.value > file.max_backoff.value {
            let message = "`backoff` is longer than `max_backoff`";
            let hint =
                "write the first wait under `backoff` and the longest one under `max_backoff`";
            self.report
                .error_with_hint(file.backoff.span, message, hint);
        }
        Retries {
            count: file.count,
            backoff: Backoff {
                base: file.backoff.value,
                max: file.max_backoff.value,
            },
            budget: file.budget,
        }
    }
}
