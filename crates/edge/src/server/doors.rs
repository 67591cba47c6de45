//! All sockets of an edge, and how they become those of another configuration. Never closes one before
//! every new one is bound.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::StartError;
use crate::admin;
use crate::config::{self, Config};
use crate::connection::ListenerContext;
use crate::control::Controller;
use crate::listener::{self, Departure, Door, House, Listener};
use crate::state::{Seat, Snapshot};
use crate::upgrade::Inherited;

/// Where clients and the operator come in.
pub(crate) struct Doors {
    house: House,
    open: Mutex<Vec<Arc<Door>>>,
    admin: Mutex<Option<AdminDoor>>,
    /// As many as a file has listeners.
    loops: mpsc::UnboundedSender<Loop>,
    stop: watch::Receiver<bool>,
    /// What another process has bound for us, until the doors are open.
    inherited: Mutex<Vec<Inherited>>,
}

/// Accepts until it is told to stop.
type Loop = Pin<Box<dyn Future<Output = ()> + Send>>;

struct AdminDoor {
    wanted: SocketAddr,
    address: SocketAddr,
    close: watch::Sender<bool>,
    /// As long as it accepts.
    socket: Weak<TcpListener>,
    desk: admin::Places,
}

/// Everything that a configuration needs, bound and built, but not open.
pub(crate) struct Prepared {
    listeners: Vec<(Frame, Arc<Listener>)>,
    admin: AdminFrame,
    max_connections: u32,
}

/// A socket for a listener.
enum Frame {
    Known(Arc<Door>),
    New(Bound),
}

/// A socket for the operator.
enum AdminFrame {
    None,
    Known,
    New(Bound),
}

struct Bound {
    wanted: SocketAddr,
    address: SocketAddr,
    socket: Arc<TcpListener>,
    departure: Arc<Departure>,
}

impl Doors {
    /// None is open. The future runs whatever is opened, and ends when one of them fails.
    pub(crate) fn new(
        house: House,
        stop: watch::Receiver<bool>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (loops, opened) = mpsc::unbounded_channel();
        let doors = Self {
            house,
            open: Mutex::default(),
            admin: Mutex::default(),
            loops,
            stop,
            inherited: Mutex::default(),
        };
        (doors, run(opened))
    }

    /// Takes these instead of binding what is asked for at the same addresses.
    pub(crate) fn inherit(&self, sockets: Vec<Inherited>) {
        *lock(&self.inherited) = sockets;
    }

    /// Binds what is not bound yet. `snapshot` must be of the same configuration. Dropping what comes
    /// back leaves everything as it was.
    pub(crate) fn prepare(
        &self,
        config: &Config,
        snapshot: &Snapshot,
    ) -> Result<Prepared, StartError> {
        let mut known = lock(&self.open).clone();
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for (listener, seat) in config.listeners.iter().zip(&snapshot.seats) {
            let same = known.iter().position(|door| is_for(door, listener));
            let frame = match same {
                Some(position) => Frame::Known(known.swap_remove(position)),
                None => Frame::New(self.bound(Some(&listener.name), listener.address)?),
            };
            let built = self.listener(listener, seat, &frame, snapshot);
            listeners.push((frame, built));
        }
        let same_admin = |door: &AdminDoor| {
            let wanted = config.admin.as_ref().map(|admin| admin.address);
            wanted == Some(door.wanted)
        };
        let admin = match &config.admin {
            None => AdminFrame::None,
            Some(_) if lock(&self.admin).as_ref().is_some_and(same_admin) => AdminFrame::Known,
            Some(admin) => AdminFrame::New(self.bound(None, admin.address)?),
        };
        Ok(Prepared {
            listeners,
            admin,
            max_connections: config.max_connections,
        })
    }

    /// A socket that was inherited, or a new one. No name stands for the operator's listener.
    fn bound(&self, listener: Option<&str>, wanted: SocketAddr) -> Result<Bound, StartError> {
        let mut inherited = lock(&self.inherited);
        let is_any = wanted.port() == 0;
        let fits = |one: &Inherited| {
            one.wanted == wanted && (!is_any || one.listener.as_deref() == listener)
        };
        let socket = match inherited.iter().position(fits) {
            Some(position) => listener::adopt(inherited.swap_remove(position).socket),
            None => listener::bind(wanted),
        };
        Bound::new(socket, wanted).map_err(|source| StartError::Bind {
            listener: listener.unwrap_or("admin").to_owned(),
            address: wanted,
            source,
        })
    }

    /// What stands behind the doors for clients, in the order of the configuration.
    pub(crate) fn contexts(&self) -> Vec<Arc<ListenerContext>> {
        let open = lock(&self.open);
        let contexts = open.iter().map(|door| door.listener().context());
        contexts.collect()
    }

    fn listener(
        &self,
        config: &config::Listener,
        seat: &Arc<Seat>,
        frame: &Frame,
        snapshot: &Snapshot,
    ) -> Arc<Listener> {
        let (address, departure, previous) = match frame {
            Frame::Known(door) => (door.address(), door.departure(), Some(door.listener())),
            Frame::New(bound) => (bound.address, &bound.departure, None),
        };
        let metrics = &self.house.edge.metrics;
        let port = address.port();
        let context = ListenerContext::seated(config, seat, port, metrics, departure);
        let context = Arc::new(context);
        let previous = previous.as_deref();
        let built = Listener::new(config, context, snapshot, &self.house, previous);
        Arc::new(built)
    }

    /// Opens what is new, hands over what stays and closes what is gone.
    pub(crate) fn commit(&self, prepared: Prepared, controller: &Arc<Controller>) {
        self.house.slots.allow(prepared.max_connections);
        let mut open = lock(&self.open);
        let before = std::mem::take(&mut *open);
        for (frame, listener) in prepared.listeners {
            open.push(match frame {
                Frame::Known(door) => {
                    door.hand_to(listener);
                    door
                }
                Frame::New(bound) => {
                    let addresses = (bound.wanted, bound.address);
                    let door = Door::new(addresses, listener, bound.departure, &bound.socket);
                    let door = Arc::new(door);
                    let accepting = Arc::clone(&door).run(bound.socket, self.stop.clone());
                    self.run(Box::pin(accepting));
                    door
                }
            });
        }
        for gone in before {
            if !open.iter().any(|door| Arc::ptr_eq(door, &gone)) {
                gone.close();
            }
        }
        drop(open);
        self.commit_admin(prepared.admin, controller);
        // What this configuration does not ask for is nobody's any more.
        lock(&self.inherited).clear();
    }

    fn commit_admin(&self, frame: AdminFrame, controller: &Arc<Controller>) {
        let mut admin = lock(&self.admin);
        let next = match frame {
            AdminFrame::Known => return,
            AdminFrame::None => None,
            AdminFrame::New(bound) => {
                let (close, closed) = watch::channel(false);
                let desk = admin::Places::default();
                let socket = Arc::downgrade(&bound.socket);
                let answering =
                    admin::run(Arc::clone(controller), bound.socket, closed, desk.clone());
                self.run(Box::pin(answering));
                Some(AdminDoor {
                    wanted: bound.wanted,
                    address: bound.address,
                    close,
                    socket,
                    desk,
                })
            }
        };
        if let Some(before) = std::mem::replace(&mut *admin, next) {
            before.close.send_replace(true);
        }
    }

    fn run(&self, accepting: Loop) {
        // Nobody takes it only while the process ends.
        let _ = self.loops.send(accepting);
    }

    /// Closes all doors of clients. The operator may still ask.
    pub(crate) fn close(&self) {
        for door in lock(&self.open).iter() {
            door.close();
        }
    }

    /// Tells of every socket that accepts: whose it is, the address as the configuration has it, the
    /// socket. No name stands for the operator's listener.
    pub(crate) fn give(
        &self,
        mut give: impl FnMut(Option<&str>, SocketAddr, BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for door in lock(&self.open).clone() {
            if let Some(socket) = door.socket() {
                let listener = door.listener();
                give(Some(listener.name()), door.wanted(), socket.as_fd())?;
            }
        }
        let admin = lock(&self.admin);
        let known = admin
            .as_ref()
            .map(|door| (door.wanted, door.socket.upgrade()));
        drop(admin);
        match known {
            Some((wanted, Some(socket))) => give(None, wanted, socket.as_fd()),
            _ => Ok(()),
        }
    }

    /// Leaves all sockets to another process, the operator's too. What came in here ends politely, and no
    /// idle connection is closed that a request may be on its way on.
    pub(crate) fn leave(&self) {
        for door in lock(&self.open).iter() {
            door.leave();
        }
        if let Some(admin) = lock(&self.admin).as_ref() {
            admin.close.send_replace(true);
        }
    }

    /// Resolves when no operator waits for an answer.
    pub(crate) async fn answered(&self) {
        let desk = lock(&self.admin).as_ref().map(|admin| admin.desk.clone());
        if let Some(desk) = desk {
            desk.free().await;
        }
    }

    /// Every listener's name and the address really bound, in the order of the configuration.
    pub(crate) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let open = lock(&self.open);
        let shown = |door: &Arc<Door>| (door.listener().name().to_owned(), door.address());
        open.iter().map(shown).collect()
    }

    /// Where the operator's listener answers.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        lock(&self.admin).as_ref().map(|door| door.address)
    }
}

/// Whether the listener's socket is there already: whoever stands behind it now.
fn is_for(door: &Door, listener: &config::Listener) -> bool {
    let is_any = listener.address.port() == 0;
    door.wanted() == listener.address && (!is_any || door.listener().name() == listener.name)
}

impl Bound {
    fn new(socket: io::Result<TcpListener>, wanted: SocketAddr) -> io::Result<Self> {
        let socket = socket?;
        Ok(Self {
            wanted,
            address: socket.local_addr()?,
            socket: Arc::new(socket),
            departure: Arc::default(),
        })
    }
}

/// Runs all loops. One that ends was told to; one that panics ends this.
async fn run(mut opened: mpsc::UnboundedReceiver<Loop>) {
    let mut loops = JoinSet::new();
    loop {
        tokio::select! {
            Some(opened) = opened.recv() => {
                loops.spawn(opened);
            }
            Some(ended) = loops.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a listener failed");
                    return;
                }
            }
            else => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics half-way; what is inside is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
