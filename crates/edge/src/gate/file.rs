//! A file of networks, read again when it changes. Never lets a broken file replace a good one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use portcullis_ops::decode::parse_network;
use portcullis_ops::file::{self, FileError};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::networks::{NEVER, NetworkSet};

/// A million entries of usual length fit.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// Why a list cannot be used.
#[derive(Debug, Error)]
pub enum ListError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is not what it must be.
    #[error("{path}: line {line}: {why}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// What tells that a file has changed.
type Stamp = Option<(SystemTime, u64)>;

/// One file of networks.
#[derive(Debug)]
pub struct NetworkFile {
    path: PathBuf,
    networks: ArcSwap<NetworkSet>,
    stamp: Mutex<Stamp>,
    is_stale: AtomicBool,
}

/// What became of a look at a file.
#[derive(Debug)]
pub(super) enum Look {
    Unchanged,
    Renewed(usize),
    Failed(ListError),
}

impl NetworkFile {
    /// Reads it for the first time.
    pub fn open(path: PathBuf) -> Result<Self, ListError> {
        let stamp = stamp(&path);
        let networks = read(&path)?;
        Ok(Self {
            path,
            networks: ArcSwap::from_pointee(networks),
            stamp: Mutex::new(stamp),
            is_stale: AtomicBool::new(false),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it said when it was last in order.
    pub fn networks(&self) -> Guard<Arc<NetworkSet>> {
        self.networks.load()
    }

    /// Whether it says something else now that cannot be used.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    /// Reads it again if it has changed since it was last looked at. Blocks.
    pub(super) fn look(&self) -> Look {
        let now = stamp(&self.path);
        let mut known = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return Look::Unchanged;
        }
        *known = now;
        drop(known);
        match read(&self.path) {
            Ok(networks) => {
                let count = networks.len();
                self.networks.store(Arc::new(networks));
                self.is_stale.store(false, Ordering::Relaxed);
                Look::Renewed(count)
            }
            Err(error) => {
                self.is_stale.store(true, Ordering::Relaxed);
                Look::Failed(error)
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<NetworkSet, ListError> {
    let text = file::read_text(path, FILE_BYTES_MAX)?;
    let mut networks = NetworkSet::default();
    for (index, line) in text.lines().enumerate() {
        let entry = entry(line).map_err(|why| ListError::Line {
            path: path.to_owned(),
            line: index + 1,
            why,
        })?;
        if let Some((network, until)) = entry {
            networks.insert(network, until);
        }
    }
    Ok(networks)
}

/// A network, and perhaps until when; behind `#` is a remark.
fn entry(line: &str) -> Result<Option<(ipnet::IpNet, u64)>, String> {
    let mut words = line
        .split('#')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let Some(network) = words.next() else {
        return Ok(None);
    };
    let network = parse_network(network)
        .map_err(|mistake| format!("`{}` {}", network.escape_debug(), mistake.message))?;
    let until = match words.next() {
        Some(until) => parse_until(until).ok_or_else(|| {
            format!(
                "`{}` is not an instant such as 2027-01-31T12:00:00Z",
                until.escape_debug()
            )
        })?,
        None => NEVER,
    };
    match words.next() {
        Some(_) => Err("more follows the end of the entry".to_owned()),
        None => Ok(Some((network, until))),
    }
}

/// RFC 3339, as seconds since the Unix epoch.
pub(crate) fn parse_until(text: &str) -> Option<u64> {
    let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(instant.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("list.txt");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn has(file: &NetworkFile, address: &str, now: u64) -> bool {
        file.networks().contains(address.parse().unwrap(), now)
    }

    #[test]
    fn a_line_is_a_network_and_perhaps_its_end() {
        let (_directory, path) = file(
            "# who annoyed us\n\n192.0.2.0/24\n 2001:db8::1 1970-01-01T00:01:40Z # soon over\n",
        );
        let list = NetworkFile::open(path).unwrap();
        assert_eq!(list.networks().len(), 2);
        assert!(has(&list, "192.0.2.7", 1 << 40));
        assert!(has(&list, "2001:db8::1", 99));
        assert!(!has(&list, "2001:db8::1", 100));
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, word) in [
            ("10.0.0.0/8\nnonsense\n", "line 2"),
            ("10.1.2.3/8\n", "line 1"),
            ("10.0.0.0/8 tomorrow\n", "instant"),
            ("10.0.0.0/8 2027-01-31T12:00:00Z x\n", "more follows"),
        ] {
            let (_directory, path) = file(text);
            let error = NetworkFile::open(path).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(NetworkFile::open("/nowhere/list.txt".into()).is_err());
    }

    #[test]
    fn a_file_that_is_broken_leaves_what_was_there() {
        let (_directory, path) = file("192.0.2.0/24\n");
        let list = NetworkFile::open(path.clone()).unwrap();
        assert!(matches!(list.look(), Look::Unchanged));
        std::fs::write(&path, "192.0.2.0/24\nbroken line\n").unwrap();
        assert!(matches!(list.look(), Look::Failed(_)));
        assert!(has(&list, "192.0.2.7", 0) && list.is_stale());
        assert!(matches!(list.look(), Look::Unchanged), "told once");
        std::fs::write(&path, "198.51.100.0/24\n").unwrap();
        assert!(matches!(list.look(), Look::Renewed(1)));
        assert!(!has(&list, "192.0.2.7", 0) && has(&list, "198.51.100.7", 0));
        assert!(!list.is_stale());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(list.look(), Look::Failed(_)));
        assert!(has(&list, "198.51.100.7", 0));
    }
}
