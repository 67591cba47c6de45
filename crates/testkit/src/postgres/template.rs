//! One freshly made data directory that every server of this machine's tests begins as a copy of,
//! since making one takes seconds. Never used by a server itself.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use super::{PASSWORD, USER, unprivileged, user};

/// Debian's place, a directory for each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
const INSTALL: &str = "PostgreSQL is missing: run scripts/build-tools test";

/// PostgreSQL's programs.
pub(super) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// The newest version in Debian's place, or else what the PATH holds.
    pub(super) fn find() -> Programs {
        let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
        let newest = debian
            .map(|entry| entry.path())
            .filter(|path| path.join("bin/initdb").exists())
            .max_by_key(|path| {
                let name = path.file_name().and_then(OsStr::to_str);
                name.and_then(|name| name.parse::<u32>().ok())
            })
            .map(|path| path.join("bin"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directory = newest
            .or_else(|| std::env::split_paths(&path).find(|path| path.join("initdb").exists()))
            .expect(INSTALL);
        Programs { directory }
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }
}

/// A data directory to copy.
pub(super) struct Template {
    data: PathBuf,
}

impl Template {
    /// Makes it unless an earlier test has. Tests of other processes wait meanwhile.
    pub(super) fn obtain(programs: &Programs) -> Template {
        let directory = private_directory();
        let version = run(version_of(programs));
        let words: Vec<&str> = version.split_whitespace().collect();
        let data = directory.join(words.join("-").replace(['/', '(', ')'], ""));
        if !data.exists() {
            let lock = File::create(directory.join("lock")).expect("our directory is writable");
            let _lock =
                Flock::lock(lock, FlockArg::LockExclusive).expect("a lock can be waited for");
            if !data.exists() {
                make(programs, &directory, &data);
            }
        }
        Template { data }
    }

    pub(super) fn copy_to(&self, destination: &Path) {
        let mut copy = Command::new("cp");
        // Blocks are shared where the file system can.
        copy.args(["-a", "--reflink=auto"])
            .arg(&self.data)
            .arg(destination);
        run(copy);
    }
}

/// Appears under its name only when it is whole.
fn make(programs: &Programs, directory: &Path, data: &Path) {
    let partial = directory.join("partial");
    // What a killed test left.
    let _ = fs::remove_dir_all(&partial);
    let password = directory.join("password");
    fs::write(&password, PASSWORD).expect("our directory is writable");
    let mut initdb = unprivileged(programs.path("initdb"));
    initdb
        .current_dir(directory)
        .args(["--auth=scram-sha-256", "--no-locale", "--encoding=UTF8"])
        .args(["--no-sync", "--no-instructions", "--wal-segsize=1"])
        .args(["--username", USER, "--pwfile"])
        .arg(&password)
        .arg("--pgdata")
        .arg(&partial);
    run(initdb);
    fs::rename(&partial, data).expect("both lie in our directory");
}

/// Ours, or the server's user's where we are root: nobody else may put a template there.
fn private_directory() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("portcullis-test-postgres-{}", geteuid()));
    let created = fs::DirBuilder::new().mode(0o700).create(&directory);
    let owner = user().map_or(geteuid(), |(user, _)| user);
    if created.is_ok()
        && let Some((user, group)) = user()
    {
        chown(&directory, Some(user.as_raw()), Some(group.as_raw()))
            .expect("root gives directories away");
    }
    let metadata = fs::symlink_metadata(&directory).expect("it has just been made");
    let belongs = metadata.uid() == owner.as_raw() || metadata.uid() == geteuid().as_raw();
    assert!(
        metadata.is_dir() && belongs,
        "{directory:?} belongs to somebody else"
    );
    directory
}

fn version_of(programs: &Programs) -> Command {
    let mut initdb = Command::new(programs.path("initdb"));
    initdb.arg("--version");
    initdb
}

/// Runs to the end and returns what was printed.
pub(super) fn run(mut command: Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
