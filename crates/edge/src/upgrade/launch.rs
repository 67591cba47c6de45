//! How this process was started, so that another can be started like it. Never runs anything.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// A program and its arguments. Directory and environment are those of the process.
#[derive(Clone, Debug)]
pub struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Launch {
    /// As this process was started. Must be asked before anybody puts another file into the place of
    /// the program: it is known by what the system says of it now.
    ///
    /// # Errors
    /// When the system does not tell which file this process runs.
    pub fn of_this_process() -> io::Result<Self> {
        let mut words = env::args_os();
        let name = words.next().unwrap_or_default();
        let path = env::var_os("PATH").unwrap_or_default();
        Ok(Self {
            program: program(&name, &path, env::current_exe()?),
            arguments: words.collect(),
        })
    }
}

/// The path that the program was named by, if it leads to the file that runs: behind a link there may be
/// another file tomorrow. Else that file.
fn program(name: &OsStr, path: &OsStr, running: PathBuf) -> PathBuf {
    let leads_there = |named: &PathBuf| named.canonicalize().is_ok_and(|file| file == running);
    let named = Path::new(name);
    let is_path = named.components().count() > 1;
    let candidates: Vec<PathBuf> = match is_path {
        true => vec![named.to_owned()],
        false => env::split_paths(path).map(|one| one.join(named)).collect(),
    };
    let absolute = candidates
        .iter()
        .filter_map(|one| std::path::absolute(one).ok());
    absolute
        .into_iter()
        .find(leads_there)
        .unwrap_or_else(|| running.clone())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_program_is_known_by_the_name_that_it_was_started_by() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (file, link) = (root.join("edge-1"), root.join("edge"));
        fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        let found = |name: &str| program(name.as_ref(), root.as_os_str(), file.clone());
        assert_eq!(found(link.to_str().unwrap()), link, "by its path");
        assert_eq!(found("edge"), link, "by PATH");
        let elsewhere = root.join("elsewhere");
        assert_eq!(found("elsewhere"), file, "who lies about its name");
        assert_eq!(found(elsewhere.to_str().unwrap()), file);
        assert_eq!(found(""), file);
    }
}
