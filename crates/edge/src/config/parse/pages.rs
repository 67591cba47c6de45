//! Answers in the operator's words: files that are there, statuses that are ours to answer. Never keeps a path.

use bytes::Bytes;
use portcullis_ops::file;

use super::super::file::{FileMaintenance, FilePage, FileWords};
use super::super::page::{Maintenance, Page, Words};
use super::Parser;

/// Every request that fails may be sent one.
const PAGE_BYTES_MAX: u64 = 256 * 1024;

impl Parser<'_> {
    pub(super) fn pages(&self, files: &[FilePage]) -> Vec<Page> {
        for (at, file) in files.iter().enumerate() {
            let own = &file.statuses.value;
            let covers = |earlier: &&FilePage| {
                let statuses = &earlier.statuses.value;
                let is_as_wide = earlier.also_from_endpoints || !file.also_from_endpoints;
                is_as_wide && statuses.start() <= own.start() && own.end() <= statuses.end()
            };
            if let Some(earlier) = files.iter().take(at).find(covers) {
                let message = "an earlier page takes every status of this one";
                let line = earlier.statuses.span.line;
                let hint = format!("the first match wins: put it before the one at line {line}");
                self.report.warning(file.statuses.span, message, hint);
            }
        }
        files.iter().filter_map(|file| self.page(file)).collect()
    }

    fn page(&self, file: &FilePage) -> Option<Page> {
        if *file.statuses.value.start() < 400 {
            let message = "`status` begins below 400";
            let hint = "the edge itself answers with 400 and above";
            let span = file.statuses.span;
            self.report.error_with_hint(span, message, hint);
        }
        let words = self.words(&file.words);
        if words.is_none() && file.words.body.is_none() && file.words.file.is_none() {
            let message = "there is nothing to say";
            let hint = "write it under `body`, or name a file under `file`";
            self.report.error_with_hint(file.words.span, message, hint);
        }
        Some(Page {
            statuses: file.statuses.value.clone(),
            also_from_endpoints: file.also_from_endpoints,
            words: words?,
        })
    }

    pub(super) fn maintenance(&self, file: &FileMaintenance) -> Maintenance {
        Maintenance {
            words: self.words(&file.words),
            retry_after: file.retry_after,
            allow: file.allow.clone(),
        }
    }

    fn words(&self, written: &FileWords) -> Option<Words> {
        let body = match (&written.body, &written.file) {
            (Some(_), Some(file)) => {
                let hint = "either the words stand here, or in a file";
                let message = "`body` and `file` exclude each other";
                self.report.error_with_hint(file.span, message, hint);
                return None;
            }
            (Some(body), None) => Bytes::from(body.value.clone()),
            (None, Some(path)) => {
                let full = self.surroundings.directory.join(&path.value);
                match file::read(&full, PAGE_BYTES_MAX) {
                    Ok(bytes) => {
                        if bytes.trim_ascii().is_empty() {
                            let message = format!("{} is empty: so is the answer", full.display());
                            let hint = "write the page, or leave `file` out for the usual answer";
                            self.report.warning(path.span, message, hint);
                        }
                        Bytes::from(bytes)
                    }
                    Err(error) => {
                        let hint = error.hint().unwrap_or("the path is relative to this file");
                        let message = format!("cannot read {}: {error}", full.display());
                        self.report.error_with_hint(path.span, message, hint);
                        return None;
                    }
                }
            }
            (None, None) => return None,
        };
        Some(Words {
            content_type: written.content_type.clone()?,
            body,
        })
    }
}
