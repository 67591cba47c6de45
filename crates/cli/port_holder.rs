//! Who holds a TCP port, as far as `/proc` tells. Never guesses: what it cannot
//! see it leaves to the reader.

use std::fmt;
use std::fs;
use std::net::SocketAddr;

/// State column of a listening socket in `/proc/net/tcp` (TCP_LISTEN in the kernel).
const LISTEN: &str = "0A";

/// What is known of the process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A process that this user may look into.
    Process {
        /// Its name as the kernel keeps it.
        name: String,
        /// Its id.
        pid: u32,
    },
    /// A process of somebody else: the kernel shows whose, not which.
    User(u32),
    /// Not visible from here, for example another network namespace.
    Unknown(u16),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { name, pid } => write!(f, "{name} (process {pid})"),
            Self::User(uid) => write!(f, "a process of the user with id {uid}"),
            Self::Unknown(port) => {
                write!(
                    f,
                    "another process (to find it: ss -ltnp 'sport = :{port}')"
                )
            }
        }
    }
}

impl Holder {
    /// Whether it is an auth instance whose `up` was killed: such a process leaves by itself
    /// within its shutdown timeout.
    #[cfg(all(feature = "edge", feature = "auth"))]
    pub(crate) fn is_leaving(&self) -> bool {
        let Self::Process { pid, .. } = self else {
            return false;
        };
        let read = |pid: u32, file: &str| fs::read(format!("/proc/{pid}/{file}")).ok();
        let parent = read(*pid, "status").as_deref().and_then(parent_in);
        let own = read(*pid, "comm");
        read(*pid, "cmdline").is_some_and(|line| is_instance_of_up(&line))
            && own.is_some()
            && parent.and_then(|parent| read(parent, "comm")) != own
    }
}

/// Arguments as the kernel keeps them, each ended by a zero byte.
#[cfg(all(feature = "edge", feature = "auth"))]
fn is_instance_of_up(command_line: &[u8]) -> bool {
    let mut arguments = command_line.split(|byte| *byte == 0).skip(1);
    arguments.next() == Some(b"auth") && arguments.next() == Some(b"--exit-with-parent")
}

/// The parent's id in the text of `/proc/PID/status`.
#[cfg(all(feature = "edge", feature = "auth"))]
fn parent_in(status: &[u8]) -> Option<u32> {
    let status = std::str::from_utf8(status).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

/// Looks for the process that listens on the port of `address`.
pub(crate) fn find(address: SocketAddr) -> Holder {
    let port = address.port();
    let sockets: Vec<Socket> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    process_with(&sockets)
        .or_else(|| sockets.first().map(|socket| Holder::User(socket.uid)))
        .unwrap_or(Holder::Unknown(port))
}

/// One row of the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    uid: u32,
    inode: u64,
}

/// The sockets of a `/proc/net/tcp` table that listen on `port`. Rows that do not look
/// as expected are skipped.
fn listening(table: &str, port: u16) -> Vec<Socket> {
    table
        .lines()
        .skip(1)
        .filter_map(|row| parse_row(row, port))
        .collect()
}

fn parse_row(row: &str, port: u16) -> Option<Socket> {
    let mut columns = row.split_ascii_whitespace();
    let local = columns.nth(1)?;
    let state = columns.nth(1)?;
    let uid = columns.nth(3)?.parse().ok()?;
    let inode = columns.nth(1)?.parse().ok()?;
    let (_, local_port) = local.rsplit_once(':')?;
    let is_match = state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
    is_match.then_some(Socket { uid, inode })
}

/// Walks the file descriptors of every process this user may look into.
fn process_with(sockets: &[Socket]) -> Option<Holder> {
    if sockets.is_empty() {
        return None;
    }
    let wanted: Vec<String> = sockets
        .iter()
        .map(|socket| format!("socket:[{}]", socket.inode))
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| wanted.iter().any(|socket| target.as_os_str() == &**socket))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder::Process {
                name: printable(&name),
                pid,
            });
        }
    }
    None
}

/// A process chooses its own name; a terminal must not act on it.
fn printable(name: &str) -> String {
    let name: String = name
        .trim_end()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if name.is_empty() {
        "a process".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0FA1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0
   1: 0100007F:0FA1 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0
 garbage
";

    #[test]
    fn listening_socket_is_found_by_its_port() {
        assert_eq!(
            listening(TABLE, 4001),
            [Socket {
                uid: 1000,
                inode: 4242
            }]
        );
        assert_eq!(listening(TABLE, 8080), [Socket { uid: 0, inode: 777 }]);
    }

    #[test]
    fn connections_and_other_ports_do_not_count() {
        assert_eq!(listening(TABLE, 50000), []);
        assert_eq!(listening(TABLE, 80), []);
    }

    #[test]
    fn table_of_ipv6_is_read_too() {
        let table = "header\n 0: 00000000000000000000000001000000:20FB \
            00000000000000000000000000000000:0000 0A 0:0 00:0 0 33 0 99 1 0\n";
        assert_eq!(listening(table, 8443), [Socket { uid: 33, inode: 99 }]);
    }

    #[test]
    fn own_listener_is_found_by_name_and_id() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = find(listener.local_addr().unwrap());
        assert!(
            matches!(holder, Holder::Process { pid, .. } if pid == std::process::id()),
            "{holder}"
        );
    }

    #[test]
    fn instance_of_up_is_known_by_its_arguments() {
        assert!(is_instance_of_up(
            b"/opt/portcullis\0auth\0--exit-with-parent\0"
        ));
        assert!(!is_instance_of_up(b"/opt/portcullis\0auth\0"));
        assert!(!is_instance_of_up(
            b"/opt/portcullis\0edge\0--exit-with-parent\0"
        ));
        assert!(!is_instance_of_up(b""));
    }

    #[test]
    fn parent_is_read_from_the_status() {
        assert_eq!(
            parent_in(b"Name:\tx\nPid:\t7\nPPid:\t42\nUid:\t0\n"),
            Some(42)
        );
        assert_eq!(parent_in(b"Name:\tx\n"), None);
    }

    #[test]
    fn a_stranger_is_not_leaving() {
        let own = Holder::Process {
            name: "x".to_owned(),
            pid: std::process::id(),
        };
        assert!(!own.is_leaving());
        assert!(!Holder::User(0).is_leaving());
    }

    #[test]
    fn unseen_holder_comes_with_the_command_that_finds_it() {
        assert!(
            Holder::Unknown(8080)
                .to_string()
                .contains("ss -ltnp 'sport = :8080'")
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("\u{1b}[31mevil\n"), "[31mevil");
        assert_eq!(printable(""), "a process");
    }
}
