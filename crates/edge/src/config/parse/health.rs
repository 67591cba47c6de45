//! Health checks: that they can end in time. Never connects to anything.

use super::super::HealthCheck;
use super::super::file::FileHealth;
use super::Parser;

impl Parser<'_> {
    pub(super) fn health(&self, file: &FileHealth) -> HealthCheck {
        let check = &file.check;
        if check.timeout > check.interval {
            let message = "a check may last longer than the time until the next one";
            let hint = "make `timeout` at most `interval`";
            self.report
                .error_with_hint(file.timeout_span, message, hint);
        }
        check.clone()
    }
}
