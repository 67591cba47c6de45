//! Everything commands say: answers on standard output, progress and complaints
//! on standard error. Never logs; that is for the libraries.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::Value;

/// How a command answers on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Console {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Console {
    /// The console that the flag `--json` asks for.
    pub(crate) fn from_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// An answer, in the form that was asked for.
    pub(crate) fn answer(self, text: impl Display, json: impl FnOnce() -> Value) {
        match self {
            Self::Text => print(&text.to_string()),
            Self::Json => print(&json().to_string()),
        }
    }

    /// A step on the way. Machines wait for the answer instead.
    pub(crate) fn progress(self, text: impl Display) {
        if self == Self::Text {
            Self::complain(&text.to_string());
        }
    }

    /// Something that happened beside the answer: told to people on standard
    /// error, to machines as one more object.
    #[cfg(all(feature = "edge", feature = "auth"))]
    pub(crate) fn event(self, text: impl Display, json: impl FnOnce() -> Value) {
        match self {
            Self::Text => Self::complain(&text.to_string()),
            Self::Json => print(&json().to_string()),
        }
    }

    /// For people, whatever form the answer has.
    pub(crate) fn complain(text: &str) {
        // Nobody is left to tell when standard error is closed.
        let _closed = writeln!(io::stderr().lock(), "{text}");
    }
}

/// A reader that went away (`| head`) must not end a running service.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _closed = writeln!(out, "{text}").and_then(|()| out.flush());
}
