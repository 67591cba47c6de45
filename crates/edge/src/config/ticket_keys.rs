//! Secrets that several edges share, so that a session of one resumes at another. Never shows one.

use std::path::{Path, PathBuf};

use portcullis_ops::Secret;

use super::certificate::warn_if_open;
use super::problem::{Problem, read};

/// A file of secrets.
#[derive(Debug)]
pub struct TicketKeys {
    /// Where they are.
    pub path: PathBuf,
    /// One a line: the first makes tickets, all of them take tickets. At least one.
    pub secrets: Vec<Secret<String>>,
}

/// Reads the file. `None` means that one of the problems is fatal.
pub(crate) fn load(path: &Path, problems: &mut Vec<Problem>) -> Option<TicketKeys> {
    let bytes = Secret::new(read(path, problems)?);
    let shown = path.display();
    let mut refuse = |message: String| {
        problems.push(Problem::fatal(path, message, HINT));
        None
    };
    let Ok(text) = std::str::from_utf8(bytes.expose()) else {
        return refuse(format!("{shown} is not text"));
    };
    let lines = text.lines().map(str::trim);
    let secrets: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| Secret::new(line.to_owned()))
        .collect();
    if secrets.is_empty() {
        return refuse(format!("{shown} holds no secret"));
    }
    if secrets.len() > SECRETS_MAX {
        return refuse(format!("{shown} holds more than {SECRETS_MAX} secrets"));
    }
    let is_short = |secret: &Secret<String>| secret.expose().chars().count() < SECRET_CHARS_MIN;
    if let Some(line) = secrets.iter().position(is_short) {
        let number = line + 1;
        return refuse(format!(
            "secret {number} of {shown} is shorter than {SECRET_CHARS_MIN} characters"
        ));
    }
    warn_if_open(path, problems);
    Some(TicketKeys {
        path: path.to_owned(),
        secrets,
    })
}

const HINT: &str = "one secret a line, the newest first: openssl rand -hex 32";
/// Shorter ones can be guessed.
const SECRET_CHARS_MIN: usize = 32;
/// Each costs time with every ticket that none of them made.
const SECRETS_MAX: usize = 4;
