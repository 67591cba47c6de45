//! What is wrong with a file that a configuration names, wherever it is read: at the start, by
//! `portcullis check`, or when it changes. Never knows the place in the configuration.

use std::path::{Path, PathBuf};

use portcullis_ops::diagnostic::{Report, Span};
use portcullis_ops::file;

/// One thing wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong; names the file.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the file cannot be used.
    pub is_fatal: bool,
}

impl Problem {
    /// The file cannot be used.
    pub(super) fn fatal(path: &Path, message: String, hint: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message,
            hint: Some(hint.into()),
            is_fatal: true,
        }
    }

    /// The file can be used, and somebody should look at it.
    pub(super) fn warning(path: &Path, message: String, hint: impl Into<String>) -> Self {
        Self {
            is_fatal: false,
            ..Self::fatal(path, message, hint)
        }
    }

    /// The same, where one can do without the file.
    pub(super) fn into_warning(self) -> Self {
        Self {
            is_fatal: false,
            ..self
        }
    }

    /// Tells it at a place in the configuration.
    pub(super) fn tell(self, span: Span, report: &Report<'_>) {
        let Self { message, hint, .. } = self;
        match (self.is_fatal, hint) {
            (true, Some(hint)) => report.error_with_hint(span, message, hint),
            (true, None) => report.error(span, message),
            (false, hint) => report.warning(span, message, hint.unwrap_or_default()),
        }
    }
}

/// The bytes of a small file.
pub(super) fn read(path: &Path, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
    match file::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            problems.push(Problem {
                path: path.to_owned(),
                message: error.to_string(),
                hint: error.hint().map(str::to_owned),
                is_fatal: true,
            });
            None
        }
    }
}

/// Far beyond any chain, and enough for a few hundred authorities.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
