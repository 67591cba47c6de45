//! The files of the repository as text. Never judges them.

use std::fs;
use std::path::{Path, PathBuf};

/// One text file.
pub(crate) struct TextFile {
    /// Path from the repository's root, with `/`.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

impl TextFile {
    /// The part in front of the unit tests.
    pub(crate) fn without_tests(&self) -> &str {
        let end = self
            .text
            .find("\n#[cfg(test)]\nmod tests {")
            .unwrap_or(self.text.len());
        &self.text[..end]
    }

    /// Whether the whole file is tests, benches or examples.
    pub(crate) fn is_test(&self) -> bool {
        ["tests/", "benches/", "examples/", "crates/testkit/"]
            .iter()
            .any(|directory| self.path.starts_with(directory))
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/contract.rs")
    }
}

/// The directory with the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file whose name ends so, sorted by path.
pub(crate) fn files(ending: &str) -> Vec<TextFile> {
    let mut found = Vec::new();
    collect(root(), ending, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        !found.is_empty(),
        "no file ends with {ending:?}: the search is wrong"
    );
    found
}

fn collect(directory: &Path, ending: &str, found: &mut Vec<TextFile>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            // Built or run here, not part of the repository.
            let is_foreign = name == "target" || name == ".git" || name == "portcullis-data";
            if !is_foreign {
                collect(&path, ending, found);
            }
        } else if name.ends_with(ending)
            && let Ok(text) = fs::read_to_string(&path)
        {
            found.push(TextFile {
                path: relative(&path),
                text,
            });
        }
    }
}

fn relative(path: &Path) -> String {
    let relative: PathBuf = path.strip_prefix(root()).unwrap().components().collect();
    relative.to_string_lossy().into_owned()
}

/// Fails with every finding at once.
pub(crate) fn expect_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
