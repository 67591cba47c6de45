//! What must hold of any text that somebody takes for a configuration. Never asks for a name, and
//! finds no file by a relative path.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use portcullis_ops::diagnostic::Source;

use super::parse::{Surroundings, parse_in};

/// No configuration that a fuzzer makes is longer.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Reads `bytes` as a configuration: every mistake has a place in the text, and the same text says the
/// same again.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]) else {
        return;
    };
    let surroundings = Surroundings {
        variables: &|name| (name == "SECRET").then(|| "0123456789abcdef".repeat(2)),
        directory: Path::new("/nowhere"),
        resolve: &|_, _| Err(io::Error::other("no such name")),
        now: SystemTime::UNIX_EPOCH,
    };
    let source = Source::new("edge.yaml", text);
    let mistakes = |read: Result<_, portcullis_ops::diagnostic::Diagnostics>| match read {
        Ok(_) => Vec::new(),
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        }
    };
    let first = mistakes(parse_in(&source, &surroundings).map(drop));
    assert_eq!(first, mistakes(parse_in(&source, &surroundings).map(drop)));
}
