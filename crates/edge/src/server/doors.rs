//! All sockets of an edge, and how they become those of another configuration. Never closes one before
//! every new one is bound.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::StartError;
use crate::admin;
use crate::config::{self, Config};
use crate::connection::ListenerContext;
use crate::control::Controller;
use crate::listener::{self, Door, House, Listener};
use crate::state::{Seat, Snapshot};

/// Where clients and the operator come in.
pub(crate) struct Doors {
    house: House,
    open: Mutex<Vec<Arc<Door>>>,
    admin: Mutex<Option<AdminDoor>>,
    /// As many as a file has listeners.
    loops: mpsc::UnboundedSender<Loop>,
    stop: watch::Receiver<bool>,
}

/// Accepts until it is told to stop.
type Loop = Pin<Box<dyn Future<Output = ()> + Send>>;

struct AdminDoor {
    wanted: SocketAddr,
    address: SocketAddr,
    close: watch::Sender<bool>,
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
    socket: TcpListener,
    is_closing: Arc<AtomicBool>,
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
        };
        (doors, run(opened))
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
                None => Frame::New(Bound::new(&listener.name, listener.address)?),
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
            Some(admin) => AdminFrame::New(Bound::new("admin", admin.address)?),
        };
        Ok(Prepared {
            listeners,
            admin,
            max_connections: config.max_connections,
        })
    }

    fn listener(
        &self,
        config: &config::Listener,
        seat: &Arc<Seat>,
        frame: &Frame,
        snapshot: &Snapshot,
    ) -> Arc<Listener> {
        let (address, is_closing, previous) = match frame {
            Frame::Known(door) => (door.address(), door.is_closing(), Some(door.listener())),
            Frame::New(bound) => (bound.address, &bound.is_closing, None),
        };
        let metrics = &self.house.edge.metrics;
        let port = address.port();
        let context = ListenerContext::seated(config, seat, port, metrics, is_closing);
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
                    let door = Arc::new(Door::new(addresses, listener, bound.is_closing));
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
    }

    fn commit_admin(&self, frame: AdminFrame, controller: &Arc<Controller>) {
        let mut admin = lock(&self.admin);
        let next = match frame {
            AdminFrame::Known => return,
            AdminFrame::None => None,
            AdminFrame::New(bound) => {
                let (close, closed) = watch::channel(false);
                let answering = admin::run(Arc::clone(controller), bound.socket, closed);
                self.run(Box::pin(answering));
                Some(AdminDoor {
                    wanted: bound.wanted,
                    address: bound.address,
                    close,
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
    fn new(listener: &str, wanted: SocketAddr) -> Result<Self, StartError> {
        let bound = listener::bind(wanted)
            .and_then(|socket| socket.local_addr().map(|address| (socket, address)));
        match bound {
            Ok((socket, address)) => Ok(Self {
                wanted,
                address,
                socket,
                is_closing: Arc::default(),
            }),
            Err(source) => Err(StartError::Bind {
                listener: listener.to_owned(),
                address: wanted,
                source,
            }),
        }
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
