//! A sixteen-byte file that says how far revocations have got. Never says less than what is committed.
//!
//! Whether anything was revoked since the last look must be known on every request. A statement costs two thread
//! switches (sqlx runs SQLite on threads of its own); a read of a file that is always in the page cache costs less
//! than a microsecond and never waits, so it may be done on a runtime thread.
//!
//! The writer puts its position here *before* it commits, while it holds the database's write lock. So at any moment the
//! mark is at least the last committed position: whoever finds it no further than what it has read has read everything.
//! A writer that dies in between leaves a mark that is too high, which costs needless looks until the next
//! [`Mark::announce`], and nothing else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The open file.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    /// Opens the file, or creates it with a mark of zero.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Ok(Self(file))
    }

    /// Only to be called by whoever holds the database's write lock.
    pub(super) fn announce(&self, position: i64) -> io::Result<()> {
        let bytes = position.to_le_bytes();
        self.0.write_all_at(&[bytes, bytes].concat(), 0)
    }

    /// The position, or `None` when it cannot be told: then the database must be asked.
    ///
    /// It is written twice because a read may overlap a write. Bytes are copied in one direction, so a torn read
    /// shows two different numbers.
    pub(super) fn read(&self) -> Option<i64> {
        let mut bytes = [0; 16];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let (first, second) = bytes.split_first_chunk::<8>()?;
        (first == second).then(|| i64::from_le_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_read_and_anything_odd_is_not_a_position() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("mark");
        let (writer, reader) = (Mark::open(&path).unwrap(), Mark::open(&path).unwrap());
        assert_eq!(reader.read(), None, "an empty file knows nothing");
        for position in [1, 255, 256, i64::MAX] {
            writer.announce(position).unwrap();
            assert_eq!(reader.read(), Some(position));
        }
        std::fs::write(&path, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(reader.read(), None, "torn");
        std::fs::write(&path, [1, 0, 0]).unwrap();
        assert_eq!(reader.read(), None, "short");
    }
}
