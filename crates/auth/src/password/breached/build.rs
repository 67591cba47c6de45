//! Makes a filter out of a list. Never keeps the list, and never leaves half a filter where a whole one was.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::{BLOCK_BYTES, BLOCKS_MAX, Breached, BreachedError, Entry, HEADER_BYTES, MAGIC};
use crate::random;

/// Bits of the filter for each entry, unless something else is asked for.
pub const BITS_PER_ENTRY: u64 = 16;
/// Longer than any password or line of a published list.
const LINE_BYTES_MAX: usize = 4096;
/// Random entries that are looked up to see how often the filter is wrong.
const TRIALS: u32 = 1_000_000;

/// What was built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Built {
    /// Lines of the list that counted.
    pub entries: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Of random passwords, the share that the filter takes for breached: measured, not computed.
    pub false_positives: f64,
}

/// Builds a filter from a list with one SHA-1 digest in hex, with or without `:count`, or one password a line. The list is
/// read twice, and the filter lies in memory meanwhile; an existing file is replaced when the new one is whole.
///
/// # Errors
/// If the list cannot be read or is none, or the filter cannot be written.
pub fn build(list: &Path, out: &Path, bits_per_entry: u64) -> Result<Built, BreachedError> {
    let mut entries = 0;
    read(list, |_| entries += 1)?;
    if entries == 0 {
        return Err(BreachedError::Empty(list.to_owned()));
    }
    let bits = u128::from(entries) * u128::from(bits_per_entry);
    let blocks = bits.div_ceil(BLOCK_BYTES as u128 * 8);
    let blocks = u64::try_from(blocks)
        .ok()
        .filter(|blocks| *blocks <= BLOCKS_MAX);
    let blocks = blocks.ok_or(BreachedError::TooLarge {
        entries,
        bits_per_entry,
    })?;
    let mut filter = Filter::new(blocks);
    let mut again = 0;
    read(list, |entry| {
        again += 1;
        filter.insert(&entry);
    })?;
    if again != entries {
        let source = io::Error::other("the list changed while it was read");
        return Err(failed(list, source));
    }
    let bytes = filter.write(out, entries)?;
    Breached::open(out)?;
    Ok(Built {
        entries,
        bytes,
        false_positives: filter.false_positives(),
    })
}

fn failed(path: &Path, source: io::Error) -> BreachedError {
    BreachedError::File {
        path: path.to_owned(),
        source,
    }
}

struct Filter {
    blocks: Vec<[u8; BLOCK_BYTES]>,
}

impl Filter {
    fn new(blocks: u64) -> Self {
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        Self {
            blocks: vec![[0; BLOCK_BYTES]; blocks],
        }
    }

    fn block(&self, entry: &Entry) -> usize {
        entry.block(self.blocks.len() as u64) as usize
    }

    fn insert(&mut self, entry: &Entry) {
        let at = self.block(entry);
        let block = &mut self.blocks[at];
        for (byte, bit) in entry.bits() {
            block[byte] |= bit;
        }
    }

    fn false_positives(&self) -> f64 {
        let found = (0..TRIALS).filter(|_| {
            let entry = Entry(random::for_names());
            entry.is_in(&self.blocks[self.block(&entry)])
        });
        found.count() as f64 / f64::from(TRIALS)
    }

    /// Under another name first: a crash leaves the filter that was there.
    fn write(&self, out: &Path, entries: u64) -> Result<u64, BreachedError> {
        let draft = draft_of(out);
        let written = self.write_draft(&draft, entries);
        let written = written.and_then(|bytes| std::fs::rename(&draft, out).map(|()| bytes));
        written.map_err(|source| {
            // Of no use to anybody; if it cannot go either, the first failure says more.
            let _gone = std::fs::remove_file(&draft);
            failed(out, source)
        })
    }

    fn write_draft(&self, draft: &Path, entries: u64) -> io::Result<u64> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(draft)?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let mut sum = Context::new(&SHA256);
        let mut bytes = 0;
        let mut put = |writer: &mut BufWriter<File>, part: &[u8]| {
            sum.update(part);
            bytes += part.len() as u64;
            writer.write_all(part)
        };
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&entries.to_le_bytes());
        header.extend_from_slice(&(self.blocks.len() as u64).to_le_bytes());
        put(&mut writer, &header)?;
        for block in &self.blocks {
            put(&mut writer, block)?;
        }
        let checksum = sum.finish();
        writer.write_all(checksum.as_ref())?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        Ok(bytes + checksum.as_ref().len() as u64)
    }
}

fn draft_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(format!(".draft-{:x}", u64::from_be_bytes(random::bytes())));
    name.into()
}

/// Every entry of a list, in its order.
fn read(list: &Path, mut each: impl FnMut(Entry)) -> Result<(), BreachedError> {
    let file = File::open(list).map_err(|source| failed(list, source))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::with_capacity(64);
    let mut number = 0;
    loop {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|source| failed(list, source))? == 0 {
            return Ok(());
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let parsed = if text.len() > LINE_BYTES_MAX {
            Err("is longer than 4096 bytes: this is no list of passwords")
        } else {
            entry_of(text)
        };
        match parsed {
            Ok(Some(entry)) => each(entry),
            Ok(None) => {}
            Err(what) => {
                return Err(BreachedError::List {
                    path: list.to_owned(),
                    line: number,
                    what,
                });
            }
        }
    }
}

/// A line is a digest, or else a password; an empty one is neither.
fn entry_of(line: &[u8]) -> Result<Option<Entry>, &'static str> {
    if line.is_empty() {
        return Ok(None);
    }
    let (text, count) = match line.iter().position(|byte| *byte == b':') {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    };
    let is_count = count.is_none_or(|count| {
        !count.is_empty() && count.len() <= 20 && count.iter().all(u8::is_ascii_digit)
    });
    let is_hex = text.iter().all(u8::is_ascii_hexdigit);
    match text.len() {
        40 if is_hex && is_count => Ok(Some(Entry(std::array::from_fn(|i| {
            digit(text[2 * i]) << 4 | digit(text[2 * i + 1])
        })))),
        32 if is_hex && is_count && count.is_some() => {
            Err("is an NTLM digest: take the list of SHA-1 digests")
        }
        _ => Ok(Some(Entry::of_password(line))),
    }
}

fn digit(hex: u8) -> u8 {
    char::from(hex).to_digit(16).unwrap_or(0) as u8
}
