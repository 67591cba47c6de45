//! The number of each listener for as long as anything of it lives. Never gives two that live the same one.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What a listener is known by to snapshots: its position in everything that they keep by listener.
/// The same name keeps it over all generations, and connections keep it for as long as they last.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: usize,
    pub(crate) name: String,
}

/// Who has which number.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<Vec<Weak<Seat>>>);

/// The listeners of one generation.
#[derive(Debug)]
pub(crate) struct Seated {
    /// Those of the configuration, in its order.
    pub(crate) configured: Vec<Arc<Seat>>,
    /// By number: also of those that are gone, but for their last connections.
    pub(crate) names: Vec<Option<String>>,
}

impl Seats {
    /// Gives every listener of a configuration its number: the one it has, or one that is free.
    pub(crate) fn assign<'a>(&self, wanted: impl Iterator<Item = &'a str>) -> Seated {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let configured = wanted.map(|name| seat(&mut seats, name)).collect();
        let name = |seat: &Weak<Seat>| seat.upgrade().map(|seat| seat.name.clone());
        Seated {
            configured,
            names: seats.iter().map(name).collect(),
        }
    }

    /// Of all listeners of which anything lives.
    pub(super) fn names(&self) -> Vec<String> {
        let seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living = seats.iter().filter_map(Weak::upgrade);
        living.map(|seat| seat.name.clone()).collect()
    }
}

fn seat(seats: &mut Vec<Weak<Seat>>, name: &str) -> Arc<Seat> {
    let mut taken = seats.iter().filter_map(Weak::upgrade);
    if let Some(known) = taken.find(|seat| seat.name == name) {
        return known;
    }
    let free = seats.iter().position(|seat| seat.strong_count() == 0);
    let number = free.unwrap_or(seats.len());
    let seat = Arc::new(Seat {
        number,
        name: name.to_owned(),
    });
    match seats.get_mut(number) {
        Some(free) => *free = Arc::downgrade(&seat),
        None => seats.push(Arc::downgrade(&seat)),
    }
    seat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seated: &Seated) -> Vec<usize> {
        seated.configured.iter().map(|seat| seat.number).collect()
    }

    #[test]
    fn a_name_keeps_its_number_in_whatever_order() {
        let seats = Seats::default();
        let first = seats.assign(["web", "tls"].into_iter());
        let second = seats.assign(["new", "tls", "web"].into_iter());
        assert_eq!(numbers(&first), [0, 1]);
        assert_eq!(numbers(&second), [2, 1, 0]);
    }

    #[test]
    fn a_number_is_free_again_when_nothing_of_its_listener_is_left() {
        let seats = Seats::default();
        let first = seats.assign(["web", "tls"].into_iter());
        let last_connection = Arc::clone(&first.configured[0]);
        drop(first);
        let second = seats.assign(["tls", "new"].into_iter());
        assert_eq!(numbers(&second), [1, 2], "one connection still has 0");
        assert_eq!(second.names[0].as_deref(), Some("web"));
        drop(last_connection);
        let third = seats.assign(["tls", "other"].into_iter());
        assert_eq!(numbers(&third), [1, 0]);
    }
}
