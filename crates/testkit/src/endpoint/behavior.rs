//! What an endpoint can be told to do. Names only; [`super::serve`] acts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

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
    /// Never answers, and keeps the connection until the peer closes it.
    Hang,
    /// Sends a head and half of the body, then nothing more until the peer closes.
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
    /// Echoes, and closes the connection when no other request follows for this long.
    CloseIdle(Duration),
    /// Answers 200 at once and sends the request body back, chunked, piece by piece as it comes.
    EchoStream,
    /// Does exactly this with each request, once its head is there.
    Script(Vec<Step>),
}

impl Behavior {
    /// Reads the whole request, sends these bytes and waits for the next one.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Behavior {
        Behavior::Script(vec![Step::Receive, Step::Send(bytes.into())])
    }

    /// Reads the whole request, sends these bytes and closes.
    pub fn raw_then_close(bytes: impl Into<Vec<u8>>) -> Behavior {
        Behavior::Script(vec![Step::Receive, Step::Send(bytes.into()), Step::Close])
    }
}

/// One step of a [`Behavior::Script`]. Behind the last one the next request is awaited.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads the request body. Without this step the request is remembered by its head alone, and
    /// what there is of a body is taken for the next request.
    Receive,
    /// Sends these bytes at once.
    Send(Vec<u8>),
    /// Sends these bytes one by one, with a pause after each.
    SendBytewise(Vec<u8>, Duration),
    /// Waits for a permit of the test's, and uses it up.
    Await(Arc<Semaphore>),
    /// Closes the sending half.
    FinishSending,
    /// Says nothing more until the peer closes.
    AwaitClose,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
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
    /// 503 with this word as `X-Health-Cause`.
    Cause(&'static str),
    /// Nothing, for ever.
    Hang,
}
