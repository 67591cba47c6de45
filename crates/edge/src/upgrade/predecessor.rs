//! The process that hands over, as seen by the one that takes over. Never serves anybody before it
//! is told to.

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::io::{self, stdin};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_ops::Secret;
use serde_json::{Value, json};
use thiserror::Error;

use super::{HANDOVER, wire};
use crate::tls::{KEY_BYTES, TicketPast};

/// What is handed over lies ready: who takes longer has stopped.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Whoever started this process to take over.
pub struct Predecessor {
    pid: u32,
    stream: Arc<UnixStream>,
    sockets: Vec<Inherited>,
    tickets: Vec<(String, TicketPast)>,
    affinity: HashMap<String, Secret<[u8; 32]>>,
    stderr: Option<OwnedFd>,
}

impl std::fmt::Debug for Predecessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predecessor")
            .field("pid", &self.pid)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

/// A socket that is bound already.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// Name of the listener that it was for; `None` for the operator's.
    pub(crate) listener: Option<String>,
    /// As the configuration had it.
    pub(crate) wanted: SocketAddr,
    pub(crate) socket: OwnedFd,
}

/// Nothing could be taken over.
#[derive(Debug, Error)]
pub enum TakeOverError {
    /// Nobody hands over.
    #[error(
        "{HANDOVER} does not name the parent of this process, which would hand over: whatever an edge \
         starts in place of its binary must become that binary (exec); anybody else must unset it"
    )]
    Nobody,
    /// What comes is not understood, or breaks off.
    #[error("cannot take over: {0}")]
    Broken(#[from] io::Error),
}

impl Predecessor {
    /// Receives what the process before hands over, if there is one. Takes standard input for it.
    ///
    /// # Errors
    /// When the environment promises a handover and none comes.
    pub fn find() -> Result<Option<Self>, TakeOverError> {
        let Some(pid) = env::var_os(HANDOVER) else {
            return Ok(None);
        };
        let pid = pid.to_str().and_then(|pid| pid.parse().ok());
        // Of a parent that is gone, or one that passed on what was meant for itself.
        let pid = pid.filter(|pid| *pid == parent_id());
        let pid = pid.ok_or(TakeOverError::Nobody)?;
        let stream = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
        stream.set_read_timeout(Some(HANDOVER_TIMEOUT))?;
        Ok(Some(Self::receive(pid, stream)?))
    }

    fn receive(pid: u32, stream: UnixStream) -> io::Result<Self> {
        let mut predecessor = Self {
            pid,
            stream: Arc::new(stream),
            sockets: Vec::new(),
            tickets: Vec::new(),
            affinity: HashMap::new(),
            stderr: None,
        };
        loop {
            let parcel = wire::receive(&predecessor.stream)?;
            let parcel = parcel.ok_or(io::ErrorKind::UnexpectedEof)?;
            let words = &parcel.words;
            if words["end"] == true {
                break;
            }
            if let Some(tickets) = tickets(words) {
                predecessor.tickets.push(tickets);
            }
            if let (Some(cluster), Some(drawn)) =
                (words["affinity"].as_str(), secret(&words["drawn"]))
            {
                predecessor.affinity.insert(cluster.to_owned(), drawn);
            }
            // What an edge of another version has to give may be of no use to this one.
            let Some(descriptor) = parcel.descriptor else {
                continue;
            };
            if words["stderr"] == true {
                predecessor.stderr = Some(descriptor);
            } else if let Some(wanted) = words["socket"].as_str() {
                predecessor.sockets.push(Inherited {
                    listener: words["listener"].as_str().map(str::to_owned),
                    wanted: wanted.parse().map_err(|_| io::ErrorKind::InvalidData)?,
                    socket: descriptor,
                });
            }
        }
        predecessor.stream.set_read_timeout(None)?;
        Ok(predecessor)
    }

    /// Which process it is.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The sockets, once.
    pub(crate) fn sockets(&mut self) -> Vec<Inherited> {
        std::mem::take(&mut self.sockets)
    }

    /// By listener: what takes the tickets that clients have. Once.
    pub(crate) fn tickets(&mut self) -> Vec<(String, TicketPast)> {
        std::mem::take(&mut self.tickets)
    }

    /// By cluster: what affinity rests on that is in no file. Once.
    pub(crate) fn affinity(&mut self) -> HashMap<String, Secret<[u8; 32]>> {
        std::mem::take(&mut self.affinity)
    }

    /// Tells it that everything could be served from now on, and waits until it shall be. Returns what
    /// the process before knew last; nothing if that process is gone. Blocks.
    pub(crate) fn take_over(&mut self) -> Value {
        let mut estate = Value::Null;
        let ready = json!({ "ready": true, "version": env!("CARGO_PKG_VERSION") });
        // Whoever is gone by now has left everything to us.
        if wire::send(&self.stream, &ready, None).is_ok() {
            while let Ok(Some(mut parcel)) = wire::receive(&self.stream) {
                if parcel.words["go"] == true {
                    break;
                }
                estate = parcel.words["estate"].take();
            }
        }
        if let Some(stderr) = self.stderr.take()
            && let Err(error) = rustix::stdio::dup2_stderr(stderr)
        {
            tracing::warn!(%error, "log lines end with the process before");
        }
        estate
    }

    /// Waits until it is gone. Blocks.
    pub(crate) fn end(self) {
        // It says nothing more.
        while let Ok(Some(_)) = wire::receive(&self.stream) {}
    }
}

/// One listener's secrets, as they travel.
pub(super) fn ticket_words(listener: &str, past: &TicketPast) -> Value {
    json!({
        "tickets": listener,
        "period": past.period,
        "current": past.current.as_ref().map(|secret| words(secret.expose())),
        "previous": past.previous.as_ref().map(|secret| words(secret.expose())),
    })
}

/// What one cluster's affinity rests on, as it travels.
pub(super) fn affinity_words(cluster: &str, drawn: &[u8; KEY_BYTES]) -> Value {
    json!({ "affinity": cluster, "drawn": words(drawn) })
}

fn words(secret: &[u8; KEY_BYTES]) -> String {
    STANDARD.encode(secret)
}

fn tickets(words: &Value) -> Option<(String, TicketPast)> {
    let past = TicketPast {
        period: words["period"].as_u64()?,
        current: secret(&words["current"]),
        previous: secret(&words["previous"]),
    };
    Some((words["tickets"].as_str()?.to_owned(), past))
}

fn secret(words: &Value) -> Option<Secret<[u8; KEY_BYTES]>> {
    let bytes = STANDARD.decode(words.as_str()?).ok()?;
    <[u8; KEY_BYTES]>::try_from(bytes).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn handed(give: impl FnOnce(&UnixStream)) -> io::Result<Predecessor> {
        let (stream, theirs) = UnixStream::pair().unwrap();
        give(&stream);
        drop(stream);
        Predecessor::receive(1, theirs)
    }

    #[test]
    fn sockets_and_keys_are_received_and_what_is_unknown_is_passed_over() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let past = TicketPast {
            period: 5,
            current: Some(Secret::new([7; KEY_BYTES])),
            previous: None,
        };
        let mut predecessor = handed(|stream| {
            let words = json!({ "socket": "127.0.0.1:0", "listener": "web" });
            wire::send(stream, &words, Some(socket.as_fd())).unwrap();
            wire::send(stream, &ticket_words("web", &past), None).unwrap();
            wire::send(stream, &affinity_words("main", &[9; KEY_BYTES]), None).unwrap();
            wire::send(stream, &json!({ "news": 1 }), Some(socket.as_fd())).unwrap();
            wire::send(stream, &json!({ "end": true }), None).unwrap();
        })
        .unwrap();
        let tickets = predecessor.tickets();
        assert_eq!(tickets[0].0, "web");
        assert_eq!(tickets[0].1.period, 5);
        assert_eq!(tickets[0].1.current.as_ref().unwrap().expose(), &[7; 32]);
        assert!(tickets[0].1.previous.is_none());
        let affinity = predecessor.affinity();
        assert_eq!(affinity["main"].expose(), &[9; KEY_BYTES]);
        let sockets = predecessor.sockets();
        let [inherited] = <[Inherited; 1]>::try_from(sockets).unwrap();
        assert_eq!(inherited.listener.as_deref(), Some("web"));
        let address = socket.local_addr().unwrap();
        drop(socket);
        let _client = TcpStream::connect(address).unwrap();
        TcpListener::from(inherited.socket).accept().unwrap();
    }

    #[test]
    fn a_handover_that_breaks_off_is_none() {
        let words = json!({ "stderr": true });
        assert!(handed(|stream| wire::send(stream, &words, None).unwrap()).is_err());
        let words = json!({ "socket": "nowhere" });
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let give = |stream: &UnixStream| {
            wire::send(stream, &words, Some(socket.as_fd())).unwrap();
        };
        assert!(handed(give).is_err());
    }

    #[test]
    fn who_is_left_alone_takes_over_with_nothing() {
        let mut predecessor = handed(|stream| {
            wire::send(stream, &json!({ "end": true }), None).unwrap();
        })
        .unwrap();
        assert_eq!(predecessor.take_over(), Value::Null);
        predecessor.end();
    }
}
