//! What no proxy on this machine goes below: a forwarder that hands bytes on and reads none of them. Everyone is
//! measured in turn with it. Never part of a comparison between contenders.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::cases::{CASES, Case};
use crate::contender::{Contender, Instance, Program};
use crate::load::{Work, client};
use crate::origin::SMALL;
use crate::results::Metric;
use crate::rounds::{Run, order};

/// How `--only` calls it.
pub(crate) const FLOOR: &str = "floor";

/// It has no place in the tables.
const BARE: Contender = Contender {
    name: "bare forwarder",
    key: "bare",
    color: "#000000",
    program: Program::Bare,
};

/// More than an answer of any case.
const BUFFER_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;
/// What the listener is known by; connections are known by their place.
const LISTENER: u64 = u64::MAX;

impl Run<'_> {
    /// Processor time per request divided by that of the forwarder, in the same round.
    pub(crate) async fn floor(&mut self, instances: &[Instance]) -> Result<()> {
        let bare = Instance::start(BARE, self.setting, false).await?;
        let mut connection = client::plain(bare.plain).await?;
        let request = b"GET /small HTTP/1.1\r\nHost: peers.example\r\n\r\n";
        let answer = connection.exchange(request).await?;
        ensure!(answer == [b'a'; SMALL], "the forwarder changes something");
        drop(connection);
        for round in 0..self.extent.rounds {
            for case in CASES.iter().filter(|case| has_floor(case)) {
                self.progress(&format!("round {}: floor of {}", round + 1, case.title));
                self.noise.observe();
                let (floor, _) = self.cost(case, &bare).await?;
                for index in order(instances.len(), round) {
                    let (cost, _) = self.cost(case, &instances[index]).await?;
                    let metric = Metric::Floor;
                    self.results.add(metric, case.title, index, cost / floor);
                }
            }
        }
        bare.leave().await;
        Ok(())
    }
}

/// Where a request and its answer are all that there is: no handshake, no connection of its own.
fn has_floor(case: &Case) -> bool {
    !case.is_tls && matches!(case.work, Work::Kept { .. })
}

/// Forwards what comes to the first address to the origin at the last, a connection for each. At the second it
/// only listens, as whoever starts it waits for both.
pub(crate) fn forward(addresses: &[SocketAddr]) -> Result<Infallible> {
    let &[plain, tls, origin] = addresses else {
        anyhow::bail!("three addresses are needed");
    };
    let (plain, _tls) = (TcpListener::bind(plain)?, TcpListener::bind(tls)?);
    plain.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&plain, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    // Those that belong together are neighbours.
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(&plain, origin, &epoll, &mut streams).context("accepting")?;
                continue;
            }
            let place = event.data() as usize;
            if !hand_on(&streams, place, &mut buffer)? {
                streams[place] = None;
                streams[place ^ 1] = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    origin: SocketAddr,
    epoll: &Epoll,
    streams: &mut Vec<Option<TcpStream>>,
) -> Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for stream in [client, TcpStream::connect(origin)?] {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            epoll.add(&stream, EpollEvent::new(flags, streams.len() as u64))?;
            streams.push(Some(stream));
        }
    }
}

/// Whether both sides stay.
fn hand_on(streams: &[Option<TcpStream>], place: usize, buffer: &mut [u8]) -> Result<bool> {
    let (Some(mut from), Some(mut to)) = (streams[place].as_ref(), streams[place ^ 1].as_ref())
    else {
        return Ok(false);
    };
    loop {
        let bytes = match from.read(buffer) {
            Ok(bytes @ 1..) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Ok(_) | Err(_) => return Ok(false),
        };
        if to.write_all(&buffer[..bytes]).is_err() {
            return Ok(false);
        }
        // Whatever comes later is another event.
        if bytes < buffer.len() {
            return Ok(true);
        }
    }
}
