//! Which state of files was read last, so that it shows when they change. Never reads a file.
//!
//! By looking, not by notices of the system: those do not come from network file systems, and with
//! Kubernetes, which replaces a secret by moving a symbolic link two directories above the file,
//! every directory on the way would have to be followed. A look costs microseconds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Stamps of files that are read together.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    /// Of what was read last.
    read: Option<Vec<Stamp>>,
    /// At the last look.
    seen: Option<Vec<Stamp>>,
}

/// Another file, or another state of it. Links are followed, so that moving one shows.
type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

impl Stamps {
    /// Whether the files are to be read now: they changed, and look the same for the second time, so
    /// that nobody is still writing them. Blocks.
    pub(crate) fn look(&mut self, files: &[PathBuf]) -> bool {
        let stamps: Vec<Stamp> = files.iter().map(|file| stamp(file)).collect();
        let is_settled = self.seen.as_ref() == Some(&stamps);
        let is_news = self.read.as_ref() != Some(&stamps);
        let is_due = is_settled && is_news;
        if is_due {
            self.read = Some(stamps.clone());
        }
        self.seen = Some(stamps);
        is_due
    }

    /// Takes the files as they are for read. Blocks.
    pub(crate) fn take(&mut self, files: &[PathBuf]) {
        let stamps: Vec<Stamp> = files.iter().map(|file| stamp(file)).collect();
        (self.read, self.seen) = (Some(stamps.clone()), Some(stamps));
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        (found.mtime(), found.mtime_nsec()),
        (found.ctime(), found.ctime_nsec()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_looks_the_same_twice() {
        let directory = tempfile::tempdir().unwrap();
        let files = [directory.path().join("one")];
        let mut stamps = Stamps::default();
        stamps.take(&files);
        assert!(!stamps.look(&files), "nothing there, as before");
        fs::write(&files[0], "a").unwrap();
        assert!(!stamps.look(&files), "perhaps still being written");
        fs::write(&files[0], "ab").unwrap();
        assert!(!stamps.look(&files), "it was");
        assert!(stamps.look(&files));
        assert!(!stamps.look(&files), "read already");
    }
    #[test]
    fn a_link_that_moves_shows() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "same length").unwrap();
        }
        std::os::unix::fs::symlink("one", path("current")).unwrap();
        let files = [path("current").join("file")];
        let mut stamps = Stamps::default();
        stamps.take(&files);
        std::os::unix::fs::symlink("two", path("next")).unwrap();
        fs::rename(path("next"), path("current")).unwrap();
        assert!(!stamps.look(&files));
        assert!(stamps.look(&files));
    }
}
