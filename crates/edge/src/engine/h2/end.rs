//! How a request over HTTP/2 ended, told from the way it was carried to whoever waits at the other side
//! of the bridge. Never a whole answer: that has no end to explain.

use std::sync::atomic::{AtomicU8, Ordering};

use h2::Reason;

use crate::outcome::Cause;

/// What ended it before its answer was whole.
#[derive(Debug)]
pub(super) enum Fault {
    /// The protocol, on either side.
    Protocol(h2::Error),
    /// What HTTP/2 allows, and no sane endpoint does.
    Malformed,
    /// The request cannot be said in HTTP/2.
    Unsayable,
}

impl From<h2::Error> for Fault {
    fn from(error: h2::Error) -> Self {
        Self::Protocol(error)
    }
}

/// The end of one request, once it is known.
#[derive(Debug, Default)]
pub(super) struct End(AtomicU8);

/// The endpoint was leaving and has not begun with the request.
const LEFT: u8 = 1;
/// The connection broke.
const BROKEN: u8 = 2;
const MALFORMED: u8 = 3;
/// The endpoint has not begun with the request, and wants no more of the kind.
const REFUSED: u8 = 4;
const UNSAYABLE: u8 = 5;
const RESET: u8 = 6;

impl End {
    pub(super) fn note(&self, fault: &Fault) {
        let kind = match fault {
            Fault::Protocol(error) => kind(error),
            Fault::Malformed => MALFORMED,
            Fault::Unsayable => UNSAYABLE,
        };
        self.0.store(kind, Ordering::Release);
    }

    pub(super) fn is_left(&self) -> bool {
        self.kind() == LEFT
    }

    pub(super) fn is_broken(&self) -> bool {
        self.kind() == BROKEN
    }

    /// What lies behind an end without an answer.
    pub(super) fn cause(&self) -> Cause {
        match self.kind() {
            LEFT | REFUSED => Cause::EndpointRefused,
            MALFORMED => Cause::EndpointMalformed,
            UNSAYABLE => Cause::HeadMalformed,
            _ => Cause::EndpointReset,
        }
    }

    fn kind(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// By `GOAWAY` and `REFUSED_STREAM` the endpoint says that it has done nothing (RFC 9113, 6.8 and 8.7):
/// by the former h2 ends only streams beyond the last one that was processed.
fn kind(error: &h2::Error) -> u8 {
    if error.is_io() {
        BROKEN
    } else if !error.is_remote() {
        MALFORMED
    } else if error.is_go_away() {
        LEFT
    } else if error.reason() == Some(Reason::REFUSED_STREAM) {
        REFUSED
    } else {
        RESET
    }
}
