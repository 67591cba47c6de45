//! Endpoints in a file of their own, or in a directory of such files. Never uses half of what is there,
//! and replaces no variables: such files are written by others than the configuration.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_ops::diagnostic::{Diagnostics, Report};
use portcullis_ops::{file, yaml};

use super::Endpoint;
use super::discovery::EndpointDefaults;
use super::file::endpoint_file;
use super::parse::{self, clusters};

/// More files in one directory are taken for a mistake.
const FILES_MAX: usize = 1000;
/// What files of endpoints are called; others in the same directory are left alone.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Why files of endpoints cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointFileError {
    /// A file is not in order.
    #[error("{}", First(.0))]
    Mistakes(Diagnostics),
    /// A directory cannot be read.
    #[error("cannot read the directory {}: {source}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A directory holds too many.
    #[error("{} holds more than {FILES_MAX} files of endpoints", .0.display())]
    TooMany(PathBuf),
}

/// The endpoints of a file, or of all files of a directory in the order of their names. Blocks.
pub(crate) fn read(
    path: &Path,
    defaults: &EndpointDefaults,
) -> Result<Vec<Endpoint>, EndpointFileError> {
    let mut endpoints = Vec::new();
    for file in files(path)? {
        endpoints.extend(read_one(&file, defaults).map_err(EndpointFileError::Mistakes)?);
    }
    Ok(endpoints)
}

/// The files there are: a file itself, or those in a directory by name. Blocks.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, EndpointFileError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let refused = |source| EndpointFileError::Directory {
        path: path.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(refused)? {
        let file = entry.map_err(refused)?.path();
        if is_of_endpoints(&file) {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(EndpointFileError::TooMany(path.to_owned()));
        }
    }
    files.sort();
    Ok(files)
}

fn is_of_endpoints(file: &Path) -> bool {
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
        && !file.file_name().is_some_and(is_hidden)
}

fn read_one(path: &Path, defaults: &EndpointDefaults) -> Result<Vec<Endpoint>, Diagnostics> {
    let source = file::read_source(path)?;
    let report = Report::new(&source);
    let found = yaml::load(&report, &|_| None).map(|root| {
        let written = endpoint_file(root, &report);
        clusters::endpoints(&written, defaults, &parse::resolve, &report)
    });
    let (errors, _) = report.finish();
    match found {
        Some(found) if errors.is_empty() => Ok(found),
        _ => Err(errors),
    }
}

/// The first mistake and how many there are beside it, in one line.
struct First<'a>(&'a Diagnostics);

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.iter().next() else {
            return f.write_str("the file is empty");
        };
        match first.line {
            0 if first.message.contains(&first.file) => {}
            0 => write!(f, "{}: ", first.file)?,
            line => write!(f, "{}:{line}:{}: ", first.file, first.column)?,
        }
        f.write_str(&first.message)?;
        if let Some(hint) = &first.hint {
            write!(f, " ({hint})")?;
        }
        match self.0.len() - 1 {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::NonZeroU32;

    use super::*;

    fn defaults() -> EndpointDefaults {
        EndpointDefaults {
            weight: 5,
            priority: 1,
            zone: Some("a".to_owned()),
            max_requests: NonZeroU32::new(7).unwrap(),
        }
    }

    fn read_text(text: &str) -> Result<Vec<Endpoint>, EndpointFileError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("endpoints.yaml");
        fs::write(&file, text).unwrap();
        read(&file, &defaults())
    }

    fn addresses(found: &[Endpoint]) -> Vec<String> {
        found.iter().map(|one| one.address.to_string()).collect()
    }

    #[test]
    fn a_list_and_a_mapping_with_the_list_are_the_same() {
        let list = read_text("- 127.0.0.1:1\n- {address: 127.0.0.1:2, weight: 9, zone: b}\n");
        let list = list.unwrap();
        let (first, second) = (&list[0], &list[1]);
        assert_eq!((first.weight, first.priority), (5, 1));
        assert_eq!((second.weight, second.zone.as_deref()), (9, Some("b")));
        let json = r#"{"endpoints": ["127.0.0.1:1", {"address": "127.0.0.1:2", "weight": 9, "zone": "b"}]}"#;
        assert_eq!(read_text(json).unwrap(), list);
        assert_eq!(read_text("endpoints: []").unwrap(), []);
        assert_eq!(read_text("[]").unwrap(), []);
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_nothing_is_used() {
        for (text, place) in [
            ("- 127.0.0.1:1\n- 127.0.0.1", ":2:3: "),
            ("- 127.0.0.1:1\n- 127.0.0.1:1", ":2:3: "),
            ("- 127.0.0.1:1\n- {adress: 127.0.0.1:2}", ":2:4: "),
            ("- 127.0.0.1:1\n- [", ":2:3: "),
            ("endpoint: [127.0.0.1:1]", ":1:1: "),
            ("- ${HOME}:1", ":1:3: "),
            ("", ": "),
        ] {
            let error = read_text(text).expect_err(text).to_string();
            assert!(error.contains(&format!("endpoints.yaml{place}")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_directory_is_read_by_name_and_other_files_in_it_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("b.json", r#"["127.0.0.1:2"]"#),
            ("a.yml", "- 127.0.0.1:1"),
            (".hidden.yaml", "nonsense: ["),
            ("notes.txt", "nonsense: ["),
        ] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let found = read(directory.path(), &defaults()).unwrap();
        assert_eq!(addresses(&found), ["127.0.0.1:1", "127.0.0.1:2"]);
        fs::write(directory.path().join("c.yaml"), "- nowhere").unwrap();
        let error = read(directory.path(), &defaults()).unwrap_err().to_string();
        assert!(error.contains("c.yaml:1:3: "), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/nowhere/at/all"), &defaults()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
