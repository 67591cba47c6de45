//! Ports that belong to one test until it ends. Never hands out a port of the kernel's ephemeral
//! range, because any outgoing connection on the machine could take it in between.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};

use nix::fcntl::{Flock, FlockArg};

/// A port no other test is given while this value lives. Nothing is bound to it: hand it to the
/// process under test, or keep it to have an address that refuses connections.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    _lock: Flock<File>,
}

impl ReservedPort {
    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> std::net::SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// Reserves a free port on loopback.
///
/// # Panics
/// When `ATTEMPTS_MAX` candidates were all taken.
pub fn free_port() -> ReservedPort {
    (0..ATTEMPTS_MAX)
        .find_map(|_| try_reserve(fastrand::u16(FIRST_PORT..LAST_PORT)))
        .expect("some port below the ephemeral range is free")
}

/// Reserves `count` ports in a row, as `portcullis up --base-port` needs them.
///
/// # Panics
/// As [`free_port`].
pub fn free_ports(count: u16) -> Vec<ReservedPort> {
    (0..ATTEMPTS_MAX)
        .find_map(|_| {
            let base = fastrand::u16(FIRST_PORT..LAST_PORT - count);
            (base..base + count).map(try_reserve).collect()
        })
        .expect("some row of ports below the ephemeral range is free")
}

/// The lock file keeps other test processes away; the trial bind sees strangers.
fn try_reserve(number: u16) -> Option<ReservedPort> {
    let directory =
        std::env::temp_dir().join(format!("portcullis-test-ports-{}", nix::unistd::getuid()));
    fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let file = File::create(directory.join(number.to_string())).ok()?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
    Some(ReservedPort {
        number,
        _lock: lock,
    })
}

/// Above what services usually take, below Linux's ephemeral range (32768).
const FIRST_PORT: u16 = 12_000;
const LAST_PORT: u16 = 32_000;
const ATTEMPTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_never_meet() {
        let first = free_port();
        assert!(try_reserve(first.number()).is_none());
        let number = first.number();
        drop(first);
        assert!(try_reserve(number).is_some());
    }

    #[test]
    fn a_row_is_consecutive() {
        let row: Vec<u16> = free_ports(4).iter().map(ReservedPort::number).collect();
        assert!(row.windows(2).all(|pair| pair[1] == pair[0] + 1), "{row:?}");
    }
}
