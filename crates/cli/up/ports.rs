//! Which ports `up` wants, and whether they are free. Never starts anything: it looks
//! before anything else does, so that a taken port costs nothing but one line.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::port_holder;

/// For a process in its last moment, of which `/proc` no longer tells what it was.
const ENDING_TIMEOUT: Duration = Duration::from_millis(100);
/// For instances whose `up` was killed: a little longer than they may take to leave.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(8);
const LEAVING_POLL: Duration = Duration::from_millis(20);

/// Every address `up` binds, with concrete ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) instances: Vec<SocketAddr>,
    /// Where each instance tells edges what is revoked, in the same order.
    pub(super) internal: Vec<SocketAddr>,
}

/// The ports of auth processes: the first of each row, or 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) count: u16,
    pub(super) base_port: u16,
    pub(super) internal_port: u16,
}

/// An address with the reason why it is wanted.
#[derive(Clone, Debug)]
struct Wanted {
    purpose: String,
    flag: &'static str,
    address: SocketAddr,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} ({})", self.address.port(), self.purpose)
    }
}

impl Ports {
    /// Checks that every wanted port is free; port 0 stands for any free one.
    pub(super) fn find(
        http: SocketAddr,
        https: SocketAddr,
        admin: SocketAddr,
        rows: Rows,
    ) -> anyhow::Result<Self> {
        let edge = |purpose: &str, flag, address| Wanted {
            purpose: purpose.to_owned(),
            flag,
            address,
        };
        let mut wanted = vec![
            edge("HTTP", "--http", http),
            edge("HTTPS", "--https", https),
            edge("metrics and readiness", "--admin", admin),
        ];
        for (purpose, flag, first) in [
            ("auth instance", "--base-port", rows.base_port),
            (
                "revocations of auth instance",
                "--internal-port",
                rows.internal_port,
            ),
        ] {
            wanted.extend((0..rows.count).map(|index| Wanted {
                purpose: format!("{purpose} {}", index + 1),
                flag,
                address: (Ipv4Addr::LOCALHOST, offset(first, index)).into(),
            }));
        }
        if let Some((first, second)) = clash(&wanted) {
            bail!(
                "{first} is also wanted for {}; change {}",
                second.purpose,
                second.flag
            );
        }
        // All are held until the last is found, so that no two searches end at one port.
        let started = Instant::now();
        let listeners = wanted
            .iter()
            .map(|wanted| bind(wanted, started))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut found = Vec::with_capacity(listeners.len());
        for listener in &listeners {
            found.push(listener.local_addr()?);
        }
        Ok(Self {
            http: found[0],
            https: found[1],
            admin: found[2],
            internal: found.split_off(3 + usize::from(rows.count)),
            instances: found.split_off(3),
        })
    }
}

/// 0 means any port for each of them.
fn offset(base_port: u16, index: u16) -> u16 {
    if base_port == 0 {
        0
    } else {
        base_port.saturating_add(index)
    }
}

/// The first two wishes that cannot both come true.
fn clash(wanted: &[Wanted]) -> Option<(&Wanted, &Wanted)> {
    let overlaps = |a: SocketAddr, b: SocketAddr| {
        let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() != 0 && a.port() == b.port() && same_host
    };
    wanted.iter().enumerate().find_map(|(index, second)| {
        wanted[..index]
            .iter()
            .find(|first| overlaps(first.address, second.address))
            .map(|first| (first, second))
    })
}

/// Waits only for processes that are leaving already.
fn bind(wanted: &Wanted, started: Instant) -> anyhow::Result<TcpListener> {
    loop {
        let error = match TcpListener::bind(wanted.address) {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        if error.kind() != ErrorKind::AddrInUse {
            bail!(
                "{wanted} cannot be opened on {}: {error}; choose another with {}",
                wanted.address.ip(),
                wanted.flag
            );
        }
        let holder = port_holder::find(wanted.address);
        let patience = if holder.is_leaving() {
            LEAVING_TIMEOUT
        } else {
            ENDING_TIMEOUT
        };
        if started.elapsed() > patience {
            bail!(
                "{wanted} is taken by {holder}; stop it, or choose another port with {}",
                wanted.flag
            );
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing else runs yet, and no event tells of it"
)]
fn pause() {
    std::thread::sleep(LEAVING_POLL);
}

/// `8080` is a port on loopback, `0.0.0.0:8080` says itself where.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse()
        .map_err(|_| "use a port such as 8080 or an address such as 0.0.0.0:8080".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn rows(base_port: u16, count: u16) -> Rows {
        Rows {
            count,
            base_port,
            internal_port: 0,
        }
    }

    #[test]
    fn bare_port_means_loopback() {
        assert_eq!(parse_address("8080"), Ok(local(8080)));
        assert_eq!(
            parse_address("0.0.0.0:80"),
            Ok("0.0.0.0:80".parse().unwrap())
        );
        assert_eq!(parse_address("[::1]:80"), Ok("[::1]:80".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_no_address() {
        for text in [
            "",
            "65536",
            "-1",
            "localhost:80",
            ":80",
            "http://127.0.0.1:80",
        ] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn port_zero_finds_a_different_free_port_for_each() {
        let ports = Ports::find(local(0), local(0), local(0), rows(0, 3)).unwrap();
        let mut all = vec![ports.http, ports.https, ports.admin];
        all.extend(ports.instances.iter().chain(&ports.internal));
        all.sort();
        all.dedup();
        assert_eq!((ports.instances.len(), all.len()), (3, 9));
        assert!(all.iter().all(|address| address.port() != 0));
    }

    #[test]
    fn taken_port_is_one_line_with_port_purpose_holder_and_way_out() {
        let holder = TcpListener::bind(local(0)).unwrap();
        let address = holder.local_addr().unwrap();
        let error = Ports::find(local(0), address, local(0), rows(0, 1))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("port {} (HTTPS) is taken by ", address.port())));
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(error.contains("--https"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn two_wishes_for_one_port_are_told_apart_from_a_stranger_holding_it() {
        let error = Ports::find(local(4002), local(0), local(0), rows(4001, 3))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("port 4002 (HTTP) is also wanted for auth instance 2"),
            "{error}"
        );
    }

    #[test]
    fn the_two_rows_of_instances_must_not_meet() {
        let rows = Rows {
            count: 3,
            base_port: 4001,
            internal_port: 4003,
        };
        let error = Ports::find(local(0), local(0), local(0), rows)
            .unwrap_err()
            .to_string();
        let expected = "port 4003 (auth instance 3) is also wanted for revocations of auth instance 1; change --internal-port";
        assert_eq!(error, expected);
    }

    #[test]
    fn every_interface_overlaps_with_loopback() {
        let any = "0.0.0.0:9000".parse().unwrap();
        let error = Ports::find(any, local(9000), local(0), rows(0, 1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("also wanted for HTTPS"), "{error}");
    }

    #[test]
    fn foreign_address_names_what_to_change() {
        let foreign = "192.0.2.1:0".parse().unwrap();
        let error = Ports::find(local(0), local(0), foreign, rows(0, 1))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("192.0.2.1") && error.contains("--admin"),
            "{error}"
        );
    }
}
