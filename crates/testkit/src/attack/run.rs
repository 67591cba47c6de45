//! An attack while it runs, on a thread of its own, so that it takes no time from other clients of the
//! same process but what the machine gives it. Never judges.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::{Attack, Door, Reading};
use crate::frames::{ACK, PREFACE, SETTINGS, frame, settings};

/// Where attackers come from.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Room for answers that nobody takes.
const NARROW: u32 = 4096;

/// What has happened so far, from outside.
#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    cut: AtomicU64,
    sent: AtomicU64,
}

/// What happened to the attackers, as they see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Connections made.
    pub opened: u64,
    /// Of these: ended by the other side.
    pub cut: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// A running attack. It ends when this is dropped.
pub struct Running {
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// Begins to attack.
    ///
    /// # Panics
    /// When the machine gives no thread.
    pub fn start(self, address: SocketAddr) -> Running {
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&counts);
        let thread = thread::Builder::new().name("attack".to_owned());
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime starts");
            runtime.block_on(async {
                tokio::select! {
                    () = attack(Arc::new(self), address, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Running {
            counts,
            stop: Some(stop),
            thread: Some(thread.expect("a thread starts")),
        }
    }
}

impl Running {
    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            opened: read(&self.counts.opened),
            cut: read(&self.counts.cut),
            sent: read(&self.counts.sent),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there was printed there.
            let _ = thread.join();
        }
    }
}

/// Keeps up as many connections as it may, each made in its turn.
async fn attack(attack: Arc<Attack>, address: SocketAddr, counts: Arc<Counts>) {
    let mut turns = interval(Duration::from_secs(1) / attack.connections);
    // What was missed is not made up for: nobody attacks faster than stated.
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let turns = Arc::new(Mutex::new(turns));
    let mut attackers = JoinSet::new();
    for _ in 0..attack.held {
        attackers.spawn(attacker(
            Arc::clone(&attack),
            address,
            Arc::clone(&turns),
            Arc::clone(&counts),
        ));
    }
    attackers.join_all().await;
}

async fn attacker(
    attack: Arc<Attack>,
    address: SocketAddr,
    turns: Arc<Mutex<Interval>>,
    counts: Arc<Counts>,
) {
    loop {
        turns.lock().await.tick().await;
        let Ok(stream) = connect(&attack, address).await else {
            continue;
        };
        counts.opened.fetch_add(1, Ordering::Relaxed);
        let (mut read, write) = tokio::io::split(stream);
        let ended = timeout(attack.patience, one(&attack, &mut read, write, &counts));
        if ended.await.is_ok() {
            counts.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn connect(attack: &Attack, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((SOURCE, 0).into())?;
    if attack.reading == Reading::Nothing {
        socket.set_recv_buffer_size(NARROW)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection, until it is cut off.
async fn one(
    attack: &Attack,
    read: &mut (impl AsyncRead + Unpin),
    mut write: impl AsyncWrite + Unpin,
    counts: &Counts,
) {
    if attack.door == Door::Http2 && greet(attack, read, &mut write).await.is_err() {
        return;
    }
    let sending = send(attack, &mut write, counts);
    if attack.reading == Reading::Nothing {
        sending.await;
        return;
    }
    let reading = async {
        let mut taken = vec![0; 64 << 10];
        while matches!(read.read(&mut taken).await, Ok(1..)) {}
    };
    // Who still sends learns from reading that nobody listens.
    tokio::select! {
        () = reading => {}
        () = sending => {}
    }
}

/// Never ends before the other side does.
async fn send(attack: &Attack, write: &mut (impl AsyncWrite + Unpin), counts: &Counts) {
    let mut bytes = &attack.opening;
    let mut pauses = interval(attack.pause.max(Duration::from_millis(1)));
    pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pauses.reset();
    loop {
        if write.write_all(bytes).await.is_err() {
            return;
        }
        counts.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if attack.piece.is_empty() {
            return std::future::pending().await;
        }
        bytes = &attack.piece;
        pauses.tick().await;
    }
}

/// Greets as RFC 9113 3.4 asks for, and waits for the other's greeting.
async fn greet(
    attack: &Attack,
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    write
        .write_all(&[PREFACE, &settings(attack.settings)].concat())
        .await?;
    // Whatever comes first begins with its settings.
    let mut taken = [0; 1024];
    if read.read(&mut taken).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    write.write_all(&frame(SETTINGS, ACK, 0, b"")).await
}
