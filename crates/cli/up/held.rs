//! The data directory as the one process holds it that runs `up`: made when missing,
//! locked, filled with secrets. Never leaves a half-written file behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::data_dir::DataDir;

/// As long as auth's signing keys have entropy; printed as hex it passes every length check.
const SECRET_BYTES: usize = 32;

/// A data directory no other `up` can use while this value lives. The kernel gives the
/// lock back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct HeldDataDir {
    pub(super) data: DataDir,
    _lock: Flock<File>,
}

impl HeldDataDir {
    /// Makes the directory, readable by its owner alone, if it is missing, and locks it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let attempt = || format!("cannot make the data directory {}", path.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(attempt)?;
        let data = DataDir::at(path)?;
        let lock = lock(&data)?;
        fs::create_dir_all(data.path().join("logs")).with_context(attempt)?;
        keep_secret(&data)?;
        keep_internal_token(&data)?;
        Ok(Self { data, _lock: lock })
    }
}

fn lock(data: &DataDir) -> anyhow::Result<Flock<File>> {
    let path = data.path().join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut holder = String::new();
    // Only read for the message below; an unreadable file still locks.
    let _unreadable = file.read_to_string(&mut holder);
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            fs::write(&path, format!("{}\n", std::process::id()))
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(lock)
        }
        Err((_, Errno::EWOULDBLOCK)) => bail!(
            "the data directory {} is in use by another `portcullis up` (process {}); \
             stop it, or choose another directory with --data-dir",
            data.path().display(),
            holder
                .trim()
                .parse::<u32>()
                .map_or("unknown".to_owned(), |pid| pid.to_string()),
        ),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Draws the pepper once; later starts must find the same one, or no password matches.
fn keep_secret(data: &DataDir) -> anyhow::Result<()> {
    if data.pepper().exists() {
        return Ok(());
    }
    if data.database().exists() {
        bail!(
            "{} is missing beside a database: without it no stored password can be verified; \
             put it back, or choose another directory with --data-dir",
            data.pepper().display()
        );
    }
    write_private(&data.pepper(), draw()?.as_bytes())
}

/// Kept between starts, so that whoever scrapes the instances need not be told anew.
fn keep_internal_token(data: &DataDir) -> anyhow::Result<()> {
    let path = data.internal_token();
    match path.exists() {
        true => Ok(()),
        false => write_private(&path, draw()?.as_bytes()),
    }
}

fn draw() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file readable by its owner alone, as a whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_added_extension("new");
    let write = || {
        // A draft left by a killed process may have any mode: start afresh.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn new_directory_and_its_secret_belong_to_the_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let held = HeldDataDir::open(&parent.path().join("a/b")).unwrap();
        assert_eq!(mode(held.data.path()), 0o700);
        for secret in [held.data.pepper(), held.data.internal_token()] {
            assert_eq!(mode(&secret), 0o600);
            let text = fs::read_to_string(secret).unwrap();
            assert_eq!(text.len(), 2 * SECRET_BYTES);
        }
    }

    #[test]
    fn second_holder_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let _held = HeldDataDir::open(directory.path()).unwrap();
        let error = HeldDataDir::open(directory.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(error.contains("--data-dir"), "{error}");
    }

    #[test]
    fn secret_is_kept_when_the_directory_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let held = HeldDataDir::open(directory.path()).unwrap();
        let secrets = |held: &HeldDataDir| {
            let files = [held.data.pepper(), held.data.internal_token()];
            files.map(|file| fs::read(file).unwrap())
        };
        let first = secrets(&held);
        drop(held);
        let held = HeldDataDir::open(directory.path()).unwrap();
        assert_eq!(secrets(&held), first);
    }

    #[test]
    fn lost_secret_beside_a_database_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("auth.db"), "").unwrap();
        let error = HeldDataDir::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("pepper is missing"), "{error}");
    }

    #[test]
    fn draft_of_a_killed_process_does_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(path.with_added_extension("new"), "half").unwrap();
        write_private(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(mode(&path), 0o600);
    }
}
