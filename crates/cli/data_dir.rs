//! The directory in which `portcullis up` keeps everything: where each file is, and what
//! auth processes on it must agree on. Never interprets what auth stores there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A data directory by its absolute path.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The directory of an `up` that ran before, or runs now.
    pub(crate) fn existing(path: &Path) -> anyhow::Result<Self> {
        let directory = Self::at(path)?;
        if !directory.database().exists() {
            bail!(
                "{} holds no database; `portcullis up` makes one",
                path.display()
            );
        }
        Ok(directory)
    }

    /// A directory that exists, whatever it holds.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let path = fs::canonicalize(path)
            .with_context(|| format!("cannot open the data directory {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its absolute path.
    #[cfg(feature = "edge")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The durable store.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("auth.db")
    }

    /// Secret mixed into stored password hashes.
    pub(crate) fn pepper(&self) -> PathBuf {
        self.path.join("pepper")
    }

    /// What opens the instances' internal listeners.
    #[cfg(feature = "edge")]
    pub(crate) fn internal_token(&self) -> PathBuf {
        self.path.join("internal.token")
    }

    /// What every auth process on this directory must agree on, as environment variables.
    pub(crate) fn environment(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let pepper = fs::read_to_string(self.pepper())
            .with_context(|| format!("cannot read {}", self.pepper().display()))?;
        let key = text(self.path.join("auth.key"))?;
        Ok(vec![
            (
                "DATABASE_URL",
                format!("sqlite://{}", text(self.database())?),
            ),
            (
                "SHARED_STATE_URL",
                format!("sqlite://{}", text(self.path.join("shared.db"))?),
            ),
            ("KEY_ENCRYPTION_KEY_FILE", key),
            ("SECURITY_SALT", pepper.trim_end().to_owned()),
        ])
    }
}

/// Paths travel in environment variables and YAML, which are text.
pub(crate) fn text(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("the path {} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_without_a_database_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let error = DataDir::existing(directory.path()).unwrap_err().to_string();
        assert!(error.contains("holds no database"), "{error}");
        let error = DataDir::existing(Path::new("/nonexistent/x"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/x"), "{error}");
    }

    #[test]
    fn environment_names_files_inside_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::at(directory.path()).unwrap();
        fs::write(data.pepper(), "salt\n").unwrap();
        let environment = data.environment().unwrap();
        let value = |name| &environment.iter().find(|(key, _)| *key == name).unwrap().1;
        assert_eq!(value("SECURITY_SALT"), "salt");
        assert_eq!(
            *value("DATABASE_URL"),
            format!("sqlite://{}", data.database().display())
        );
    }
}
