//! How the process leaves: readiness fails, then what runs may finish, then it is cut off.

use super::Parser;
use crate::config::Shutdown;

impl Parser<'_> {
    pub(super) fn shutdown(&self) -> Shutdown {
        let shutdown = &self.file.shutdown;
        Shutdown {
            delay: shutdown.delay.value,
            drain: shutdown.drain.value,
            upgrade_drain: shutdown.upgrade_drain.value,
            upgrade_timeout: shutdown.upgrade_timeout.value,
        }
    }

    /// Whether each step has its turn.
    pub(super) fn check_shutdown(&self) {
        let shutdown = &self.file.shutdown;
        let (drain, upgrade) = (&shutdown.drain, &shutdown.upgrade_drain);
        if upgrade.value < drain.value {
            let written = if upgrade.is_written { upgrade } else { drain };
            let message = "an upgrade would cut off connections that a stop lets finish: \
                           `upgrade_drain` is shorter than `drain`";
            let hint = "connections that upgrades leave may last longer, as the listeners go on: an hour, say";
            self.report.error_with_hint(written.span, message, hint);
        }
        if drain.value.is_zero() {
            let message = "nothing may finish: what runs when `delay` is over is cut off at once";
            let hint = "give `drain` as long as the longest answers take";
            self.report.warning(drain.span, message, hint);
        }
        let delay = &shutdown.delay;
        if delay.is_written && !delay.value.is_zero() && self.file.admin.is_none() {
            let message =
                "`delay` only puts the end off: with `admin: off` nobody sees readiness fail";
            let hint = "let `admin` have an address, or write `delay: 0s`";
            self.report.warning(delay.span, message, hint);
        }
    }
}
