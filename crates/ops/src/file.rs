//! Reads whole small files, with errors a person can act on. Never reads without a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics, Source};

/// Largest configuration file: generous for people, small for a parser.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Why a file could not be read, with its path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Nothing there.
    #[error("there is no file {}", .0.display())]
    Missing(PathBuf),
    /// The process may not read it.
    #[error("no permission to read {}", .0.display())]
    Denied(PathBuf),
    /// A directory.
    #[error("{} is a directory, not a file", .0.display())]
    Directory(PathBuf),
    /// A pipe, socket or device, on which reading could wait for ever.
    #[error("{} is not a regular file", .0.display())]
    NotRegular(PathBuf),
    /// Larger than the caller allows.
    #[error("{} is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The largest size accepted.
        limit: u64,
    },
    /// Bytes that are not text.
    #[error("{} is not UTF-8 text (first bad byte at offset {offset})", .path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
        /// Offset of the first byte that is not UTF-8.
        offset: usize,
    },
    /// Any other failure of the operating system.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl FileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some("check the spelling and the directory"),
            Self::Denied(_) => Some("let the user this runs as read it"),
            Self::Directory(_) => Some("name the file inside it"),
            Self::NotText { .. } => Some("save it as UTF-8"),
            Self::NotRegular(_) | Self::TooLarge { .. } | Self::Io { .. } => None,
        }
    }

    fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            _ => Self::Io { path, source },
        }
    }
}

/// The bytes of a regular file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let refuse = |source| FileError::from_io(path, source);
    // Looked at before it is opened: opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(refuse)?;
    if metadata.is_dir() {
        return Err(FileError::Directory(path.to_owned()));
    }
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    let mut bytes = Vec::new();
    // The bound holds even if the file grows while it is read.
    File::open(path)
        .map_err(refuse)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// The text of a regular file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, limit)?).map_err(|error| FileError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// A configuration file, named as the user typed it.
pub fn read_source(path: &Path) -> Result<Source, Diagnostics> {
    let name = path.display().to_string();
    match read_text(path, CONFIG_BYTES_MAX) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            Err(Diagnostic::of_file(name, error.to_string(), hint).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn file_with(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn reads_text_up_to_the_limit() {
        let file = file_with(b"12345");
        assert_eq!(read_text(file.path(), 5).unwrap(), "12345");
    }

    #[test]
    fn one_byte_over_the_limit_is_too_large() {
        let file = file_with(b"123456");
        let error = read(file.path(), 5).unwrap_err();
        assert!(
            matches!(error, FileError::TooLarge { limit: 5, .. }),
            "{error}"
        );
    }

    #[test]
    fn missing_file_is_named() {
        let error = read(Path::new("/nowhere/edge.yaml"), 5).unwrap_err();
        assert_eq!(error.to_string(), "there is no file /nowhere/edge.yaml");
    }

    #[test]
    fn file_used_as_a_directory_is_missing() {
        let file = file_with(b"");
        let error = read(&file.path().join("edge.yaml"), 5).unwrap_err();
        assert!(matches!(error, FileError::Missing(_)), "{error}");
    }

    #[test]
    fn directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = read(directory.path(), 5).unwrap_err();
        assert!(matches!(error, FileError::Directory(_)), "{error}");
    }

    #[test]
    fn socket_is_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let error = read(&path, 5).unwrap_err();
        assert!(matches!(error, FileError::NotRegular(_)), "{error}");
    }

    #[test]
    fn unreadable_file_is_refused() {
        let file = file_with(b"x");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
        match read(file.path(), 5) {
            Err(error) => assert!(matches!(error, FileError::Denied(_)), "{error}"),
            // The superuser may read everything; the mapping itself is checked below.
            Ok(bytes) => assert_eq!(bytes, b"x"),
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(
            FileError::from_io(file.path(), denied),
            FileError::Denied(_)
        ));
    }

    #[test]
    fn bytes_that_are_no_text_are_located() {
        let file = file_with(b"ab\xffcd");
        let error = read_text(file.path(), 99).unwrap_err();
        assert!(
            matches!(error, FileError::NotText { offset: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn source_error_is_a_diagnostic_of_the_file() {
        let errors = read_source(Path::new("/nowhere/edge.yaml")).unwrap_err();
        let error = errors.iter().next().unwrap();
        assert_eq!((error.line, error.file.as_str()), (0, "/nowhere/edge.yaml"));
        assert!(error.hint.is_some());
    }
}
