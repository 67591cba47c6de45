//! What the connections of one endpoint share. Never answers anything itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::{Behavior, Health, Received};

pub(super) struct State {
    pub(super) name: String,
    pub(super) requests: AtomicUsize,
    pub(super) health_checks: AtomicUsize,
    pub(super) connections: AtomicUsize,
    pub(super) open_connections: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) in_flight_max: AtomicUsize,
    behavior: Mutex<Behavior>,
    health: Mutex<Health>,
    received: Mutex<Vec<Received>>,
    received_health_checks: Mutex<Vec<Received>>,
    open: Mutex<Vec<AbortHandle>>,
}

impl State {
    pub(super) fn new(name: &str) -> State {
        State {
            name: name.to_owned(),
            requests: AtomicUsize::new(0),
            health_checks: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open_connections: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_max: AtomicUsize::new(0),
            behavior: Mutex::new(Behavior::Echo),
            health: Mutex::new(Health::Ok),
            received: Mutex::default(),
            received_health_checks: Mutex::default(),
            open: Mutex::default(),
        }
    }

    pub(super) fn behavior(&self) -> Behavior {
        lock(&self.behavior).clone()
    }

    pub(super) fn set_behavior(&self, behavior: Behavior) {
        *lock(&self.behavior) = behavior;
    }

    pub(super) fn health(&self) -> Health {
        *lock(&self.health)
    }

    pub(super) fn set_health(&self, health: Health) {
        *lock(&self.health) = health;
    }

    /// Remembers a request; the oldest are forgotten beyond [`RECEIVED_MAX`].
    pub(super) fn record(&self, request: Received) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        push_bounded(&self.received, request);
    }

    pub(super) fn record_health_check(&self, request: Received) {
        self.health_checks.fetch_add(1, Ordering::SeqCst);
        push_bounded(&self.received_health_checks, request);
    }

    pub(super) fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }

    pub(super) fn received_health_checks(&self) -> Vec<Received> {
        lock(&self.received_health_checks).clone()
    }

    /// Ties a connection to the life of the endpoint.
    pub(super) fn adopt(&self, connection: AbortHandle) {
        let mut open = lock(&self.open);
        open.retain(|handle| !handle.is_finished());
        open.push(connection);
    }

    pub(super) fn close_all(&self) {
        for connection in lock(&self.open).drain(..) {
            connection.abort();
        }
    }

    /// Counts one request as being answered until the value is dropped.
    pub(super) fn enter(&self) -> Counted<'_> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_max.fetch_max(now, Ordering::SeqCst);
        Counted(&self.in_flight)
    }

    /// Counts one connection as open until the value is dropped.
    pub(super) fn open(&self) -> Counted<'_> {
        self.open_connections.fetch_add(1, Ordering::SeqCst);
        Counted(&self.open_connections)
    }
}

/// One of something that goes on until this is dropped.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn push_bounded(list: &Mutex<Vec<Received>>, request: Received) {
    let mut list = lock(list);
    if list.len() == RECEIVED_MAX {
        list.remove(0);
    }
    list.push(request);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More than any test looks back.
const RECEIVED_MAX: usize = 64;
