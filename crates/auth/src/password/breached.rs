//! Passwords that were stolen elsewhere, as a filter in a file. Never asks the network, and never holds a password.
//!
//! A Bloom filter in blocks of one cache line. Its input is SHA-1, as published lists have it, so the digest itself says
//! which block and which bits: there is no hash function to choose, and the format depends on no library. Built once,
//! it is read in place: one read of 64 bytes for a password, out of what the kernel keeps in memory for all
//! instances of a machine. A library's filter would be a copy of gigabytes in each of them, in a layout of its version.
//!
//! What the filter does not know was certainly not in the list. Of other passwords it takes about one in a thousand for
//! stolen (16 bits for each entry), and whoever chose it chooses another.

mod build;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

pub use build::{BITS_PER_ENTRY, Built, build};

/// The first bytes of a filter; the number is that of the layout.
const MAGIC: &[u8; 16] = b"portcullis-bp-1\n";
/// Magic, entries and blocks.
const HEADER_BYTES: usize = 32;
const BLOCK_BYTES: usize = 64;
const CHECKSUM_BYTES: usize = 32;
/// Bits that each entry sets in its block.
const PROBES: usize = 8;
/// Bits that say which bit of a block.
const PROBE_BITS: usize = 9;
/// A sixteenth of the address space of a block number, and far beyond any list.
const BLOCKS_MAX: u64 = 1 << 32;

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BreachedError {
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no filter of breached passwords: make one with `portcullis auth breached build LIST --out FILE`", .0.display())]
    NotAFilter(PathBuf),
    /// A part is missing, or there is more than there should be.
    #[error("{} has {found} bytes, not the {expected} that its header says: copy or build it again", path.display())]
    WrongLength {
        /// Which.
        path: PathBuf,
        /// Bytes of a whole one.
        expected: u64,
        /// Bytes of this one.
        found: u64,
    },
    /// Its checksum does not fit.
    #[error("{} is damaged: its checksum does not fit; copy or build it again", .0.display())]
    Damaged(PathBuf),
    /// A list that is none.
    #[error("{}, line {line}: {what}", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Where, from one.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Nothing to build from.
    #[error("{} holds no passwords", .0.display())]
    Empty(PathBuf),
    /// More than a filter may have.
    #[error("{entries} entries at {bits_per_entry} bits make a filter of more than 256 GiB")]
    TooLarge {
        /// Lines of the list.
        entries: u64,
        /// As asked for.
        bits_per_entry: u64,
    },
}

/// An open filter that was whole when it was opened.
#[derive(Debug)]
pub struct Breached {
    path: PathBuf,
    file: File,
    entries: u64,
    blocks: u64,
}

impl Breached {
    /// Opens a filter and reads the whole of it once.
    ///
    /// # Errors
    /// If it cannot be read, is no filter, or is damaged.
    pub fn open(path: &Path) -> Result<Self, BreachedError> {
        let failed = |source| BreachedError::File {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut header = [0; HEADER_BYTES];
        let read = reader.read_exact(&mut header);
        let is_filter = read.is_ok() && header.starts_with(MAGIC);
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let (entries, blocks) = (word(16), word(24));
        if !is_filter || !(1..=BLOCKS_MAX).contains(&blocks) {
            return Err(BreachedError::NotAFilter(path.to_owned()));
        }
        let content = blocks * BLOCK_BYTES as u64;
        let expected = HEADER_BYTES as u64 + content + CHECKSUM_BYTES as u64;
        if found != expected {
            return Err(BreachedError::WrongLength {
                path: path.to_owned(),
                expected,
                found,
            });
        }
        let mut sum = Context::new(&SHA256);
        sum.update(&header);
        let mut left = content;
        let mut chunk = vec![0; 1 << 16];
        while left > 0 {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            reader.read_exact(&mut chunk[..take]).map_err(failed)?;
            sum.update(&chunk[..take]);
            left -= take as u64;
        }
        let mut checksum = [0; CHECKSUM_BYTES];
        reader.read_exact(&mut checksum).map_err(failed)?;
        if sum.finish().as_ref() != checksum {
            return Err(BreachedError::Damaged(path.to_owned()));
        }
        drop(reader);
        Ok(Self {
            path: path.to_owned(),
            file,
            entries,
            blocks,
        })
    }

    /// How many entries it was built from.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether the list held the password; rarely also when it did not.
    ///
    /// # Errors
    /// If the file can no longer be read.
    pub fn holds(&self, password: &str) -> Result<bool, BreachedError> {
        let entry = Entry::of_password(password.as_bytes());
        let mut block = [0; BLOCK_BYTES];
        let at = HEADER_BYTES as u64 + entry.block(self.blocks) * BLOCK_BYTES as u64;
        let read = self.file.read_exact_at(&mut block, at);
        read.map_err(|source| BreachedError::File {
            path: self.path.clone(),
            source,
        })?;
        Ok(entry.is_in(&block))
    }
}

/// The SHA-1 of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry([u8; 20]);

impl Entry {
    fn of_password(password: &[u8]) -> Self {
        let mut sum = [0; 20];
        sum.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref());
        Self(sum)
    }

    /// Which of so many blocks: the first 64 bits as a fraction of them.
    fn block(&self, blocks: u64) -> u64 {
        let word = u64::from_be_bytes(std::array::from_fn(|i| self.0[i]));
        ((u128::from(word) * u128::from(blocks)) >> 64) as u64
    }

    /// Bits of the block: nine of the remaining 96 bits for each.
    fn bits(&self) -> impl Iterator<Item = (usize, u8)> {
        const { assert!(PROBES * PROBE_BITS <= 96 && 1 << PROBE_BITS == BLOCK_BYTES * 8) };
        let rest = self.0[8..]
            .iter()
            .fold(0, |held, byte| held << 8 | u128::from(*byte));
        (0..PROBES).map(move |probe| {
            let bit = (rest >> (probe * PROBE_BITS)) as usize & (BLOCK_BYTES * 8 - 1);
            (bit / 8, 1 << (bit % 8))
        })
    }

    fn is_in(&self, block: &[u8; BLOCK_BYTES]) -> bool {
        self.bits().all(|(byte, bit)| block[byte] & bit != 0)
    }
}

#[cfg(test)]
mod tests;
