//! Ends a server and removes its files when its test is over, even one that was killed. Never
//! relies on a destructor: the test's end closes a pipe.

use std::io::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::user;

/// Reads ids of the server's first process, the newest of which counts, until its input closes.
/// SIGQUIT lets the server give its shared memory back; whatever ignores it for two seconds is
/// killed. The seventh line of `postmaster.pid` names shared memory that a killed one left.
const SCRIPT: &str = r#"
while read -r line; do id=$line; done
if [ -n "$id" ]; then
    all="$id $(cat /proc/$id/task/$id/children 2>/dev/null)"
    kill -QUIT $id 2>/dev/null
    kill -CONT $all 2>/dev/null
    tries=0
    while kill -0 $id 2>/dev/null && [ $tries -lt 100 ]; do
        case "$(cat /proc/$id/stat 2>/dev/null)" in *") Z "*) break ;; esac
        sleep 0.02
        tries=$((tries + 1))
    done
    kill -KILL $all 2>/dev/null
    left=$(sed -n 7p "$1/data/postmaster.pid" 2>/dev/null)
    [ -z "$left" ] || ipcrm -m "${left##* }" 2>/dev/null
fi
rm -rf "$1"
"#;

/// Owns a server's directory. Dropping it ends the server and removes the directory.
pub(super) struct Guard {
    directory: PathBuf,
    child: Child,
    ids: Option<ChildStdin>,
}

impl Guard {
    pub(super) fn start() -> Guard {
        let directory = tempfile::Builder::new()
            .prefix("portcullis-postgres-")
            .tempdir()
            .expect("the temporary directory is writable")
            .keep();
        if let Some((user, group)) = user() {
            chown(&directory, Some(user.as_raw()), Some(group.as_raw()))
                .expect("root gives directories away");
        }
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "portcullis-guard"])
            .arg(&directory)
            .stdin(Stdio::piped())
            // The streams of the test would wait for their last holder.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Whoever kills the test's process group spares the guard.
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        let ids = child.stdin.take();
        Guard {
            directory,
            child,
            ids,
        }
    }

    /// Where the server keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Tells which process to end.
    pub(super) fn watch(&mut self, id: u32) {
        let ids = self.ids.as_mut().expect("open until the drop");
        writeln!(ids, "{id}").expect("the guard reads until the end");
    }
}

#[cfg(test)]
impl Guard {
    /// What the end of the test process does.
    pub(super) fn close(&mut self) -> Option<ChildStdin> {
        self.ids.take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.ids.take());
        let _ = self.child.wait();
    }
}
