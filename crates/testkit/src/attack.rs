//! What hostile clients do, each at a rate that is stated with it, and another client that goes on
//! asking meanwhile. Never asks the process under attack how it is: see [`crate::machine`].

mod calm;
mod endpoints;
mod http1;
mod http2;
mod run;

use std::time::Duration;

pub use calm::Calm;
pub use endpoints::Endpoints;
pub use http1::*;
pub use http2::*;
pub use run::{Running, Tally};

/// Where hostile clients ask, so that what they ask for can be somebody else's work: a short answer.
pub const PATH: &str = "/attacked";
/// Where the answer is long.
pub const LARGE: &str = "/large";
/// Where a client may not ask often.
pub const LIMITED: &str = "/limited";

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTP/1.1 in the clear.
    Http1,
    /// The same, where one address may have few connections.
    Crowded,
    /// HTTP/2 in the clear.
    Http2,
    /// A TLS handshake.
    Tls,
    /// A PROXY header.
    Proxied,
}

/// What an attacker does with answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Takes them as they come.
    All,
    /// Takes none, and has little room for what is sent all the same.
    Nothing,
}

/// What one hostile client does.
#[derive(Clone, Debug)]
pub struct Attack {
    /// What it is called.
    pub name: &'static str,
    /// Where it goes in.
    pub door: Door,
    /// New connections a second, as long as fewer are open than it holds.
    pub connections: u32,
    /// How many it holds at most.
    pub held: usize,
    /// Sent at once; over HTTP/2 behind the greeting.
    pub opening: Vec<u8>,
    /// Sent again and again behind it.
    pub piece: Vec<u8>,
    /// Between two of these.
    pub pause: Duration,
    /// What becomes of answers.
    pub reading: Reading,
    /// Settings of an HTTP/2 greeting.
    pub settings: &'static [(u16, u32)],
    /// So long it stays when nobody cuts it off.
    pub patience: Duration,
}

impl Attack {
    /// One that opens connections, sends something and waits for the end.
    fn of(name: &'static str, door: Door, opening: impl Into<Vec<u8>>) -> Attack {
        Attack {
            name,
            door,
            connections: 5,
            held: 100,
            opening: opening.into(),
            piece: Vec::new(),
            pause: Duration::ZERO,
            reading: Reading::All,
            settings: &[],
            patience: Duration::from_secs(30),
        }
    }

    /// With so many connections a second, and so many at once.
    fn at(mut self, connections: u32, held: usize) -> Attack {
        (self.connections, self.held) = (connections, held);
        self
    }

    /// Goes on with this, on each connection after each pause.
    fn with_more(mut self, piece: impl Into<Vec<u8>>, pause: Duration) -> Attack {
        (self.piece, self.pause) = (piece.into(), pause);
        self
    }

    /// With so many times the connections a second.
    #[must_use]
    pub fn faster(mut self, times: u32) -> Attack {
        self.connections *= times;
        self
    }

    /// The rate, for a table.
    pub fn rate(&self) -> String {
        let each = match self.opening.len() {
            0 => String::new(),
            bytes if bytes < 1_000 => format!(" of {bytes} B"),
            bytes => format!(" of {} KB", bytes / 1_000),
        };
        let more = if self.piece.is_empty() {
            String::new()
        } else {
            let (bytes, pause) = (self.piece.len(), self.pause.as_millis());
            format!(", then {bytes} B each {pause} ms")
        };
        format!(
            "{} connections/s up to {}{each}{more}",
            self.connections, self.held
        )
    }
}

/// A piece so often, made for its number.
fn repeated(times: u32, piece: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..times).flat_map(piece).collect()
}
