//! What an endpoint can be told to do. Names only; [`super::serve`] acts.

use std::time::Duration;

/// What an endpoint does with a request.
#[derive(Clone, Debug)]
pub enum Behavior {
    /// Answers 200 with the request as JSON; echoes bytes after an upgrade.
    Echo,
    /// Echoes after a while.
    Slow(Duration),
    /// Answers with this status and an empty JSON object.
    Status(u16),
    /// Answers 200 with these extra fields.
    Fields(Vec<(String, String)>),
    /// Answers 200 with a body of this many bytes.
    Bytes(usize),
    /// Reads the request and resets the connection without an answer.
    ResetBeforeAnswer,
    /// Sends a head and half of the body, then resets the connection.
    ResetMidBody,
    /// Never answers, and keeps the connection.
    Hang,
    /// Sends a head and half of the body, then nothing more.
    HangMidBody,
    /// Answers with bytes that are not HTTP.
    Garbage,
    /// Announces more body than it sends before it closes.
    TruncatedLength,
    /// Sends its head one byte at a time, with this pause after each.
    SlowHead(Duration),
    /// Closes every connection as soon as it is accepted.
    CloseAfterAccept,
    /// Agrees to an upgrade, waits for a byte, then resets the connection.
    ResetTunnel,
    /// Reads nothing beyond the request head, and answers nothing.
    StopReading,
    /// Answers 200, says so, and closes the connection.
    CloseAfterAnswer,
    /// Answers 200 as if the connection stayed, and closes it.
    CloseUnannounced,
}

/// What an endpoint answers to its health checks (paths that begin with `/health`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// 200.
    Ok,
    /// 500.
    Failing,
    /// 503 with `X-Health-Cause: draining`.
    Draining,
    /// This status.
    Status(u16),
    /// Nothing, for ever.
    Hang,
}
