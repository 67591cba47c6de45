//! What one probe found, in words for the log. Never holds text of strangers unchecked.

use std::fmt;

use portcullis_traffic::containment::Trouble;

/// What one probe found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// What was expected.
    Passed,
    /// The endpoint says that it is about to leave.
    Draining,
    /// Something else.
    Failed(Failure),
}

/// Why a probe failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) trouble: Trouble,
    /// What the kind of trouble does not say: printable and short.
    detail: String,
}

impl Failure {
    /// Trouble that speaks for itself.
    pub(super) fn of(trouble: Trouble) -> Self {
        Self {
            trouble,
            detail: String::new(),
        }
    }

    /// Trouble and what is known of it, which may come from the endpoint.
    pub(super) fn with(trouble: Trouble, detail: impl fmt::Display) -> Self {
        let detail = detail.to_string();
        let printable = detail.chars().filter(|c| !c.is_control());
        Self {
            trouble,
            detail: printable.take(DETAIL_CHARS_MAX).collect(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => write!(f, "{}", self.trouble),
            detail => write!(f, "{}: {detail}", self.trouble),
        }
    }
}

/// One line of a log.
const DETAIL_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_is_short_and_printable() {
        let failure = Failure::with(Trouble::Tls, format!("a\n\u{1b}[31m{}", "x".repeat(1_000)));
        let text = failure.to_string();
        assert!(text.starts_with("no secure connection: a[31mx"), "{text}");
        assert!(text.len() < 300 && !text.contains('\n'));
        assert_eq!(
            Failure::of(Trouble::Refused).to_string(),
            "connection refused"
        );
    }
}
