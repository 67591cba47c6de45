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
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The open file.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    file: ArcSwap<File>,
}

impl Mark {
    /// Opens the file, or creates it without a mark.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: ArcSwap::from_pointee(open(path)?),
        })
    }

    /// Only to be called by whoever holds the database's write lock.
    pub(super) fn announce(&self, position: i64) -> io::Result<()> {
        if !self.is_in_place()? {
            self.file.store(Arc::new(open(&self.path)?));
        }
        let bytes = position.to_le_bytes();
        let file = self.file.load();
        file.write_all_at(&[bytes, bytes].concat(), 0)
    }

    /// Whether others that open the path get the file that is open here. Somebody may have deleted or replaced it.
    fn is_in_place(&self) -> io::Result<bool> {
        let held = self.file.load().metadata()?;
        Ok(std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())))
    }

    /// The position, or `None` when it cannot be told: then the database must be asked.
    ///
    /// It is written twice because a read may overlap a write. Bytes are copied in one direction, so a torn read
    /// shows two different numbers.
    pub(super) fn read(&self) -> Option<i64> {
        let file = self.file.load();
        if file.metadata().ok()?.nlink() == 0 {
            // Nobody announces here any more.
            self.file.store(Arc::new(open(&self.path).ok()?));
            return None;
        }
        let mut bytes = [0; 16];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (first, second) = bytes.split_first_chunk::<8>()?;
        (first == second).then(|| i64::from_le_bytes(*first))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
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

    #[test]
    fn a_mark_that_was_deleted_or_replaced_is_not_believed() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("mark");
        let (writer, reader) = (Mark::open(&path).unwrap(), Mark::open(&path).unwrap());
        writer.announce(1).unwrap();
        for remove in [
            |path: &Path| std::fs::remove_file(path).unwrap(),
            |path: &Path| {
                let other = path.with_extension("other");
                std::fs::write(&other, [0; 16]).unwrap();
                std::fs::rename(other, path).unwrap();
            },
        ] {
            remove(&path);
            assert_eq!(reader.read(), None, "the database is asked");
            // An instance that was started meanwhile, and one that holds the old file.
            for (announcing, position) in [(&Mark::open(&path).unwrap(), 2), (&writer, 3)] {
                announcing.announce(position).unwrap();
                assert_eq!(reader.read(), Some(position));
            }
        }
    }
}
