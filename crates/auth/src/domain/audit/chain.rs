//! What makes the audit log tamper-evident: a seal over each line, and links from line to line. Pure; never reads a
//! database, and never holds more than a key and where it stands.
//!
//! A *seal* is made with the line, by whoever writes it. It covers what happened as it stands, and who and where by a
//! digest under a random *blind* of the line: once both are gone nobody can tell whom it was about, and the seal still
//! holds. A *link* covers the seal, the position and the link before. Both are HMACs under a key that is derived from the
//! key encryption key, so that whoever has the database alone can neither write a line, nor change one, nor make the chain
//! whole again around a missing one; a plain hash would let him compute all of it anew.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};

use super::super::UnixMillis;

/// A code of the chain.
pub type Tag = [u8; 32];

/// Makes and checks the codes. Every instance has the same; the database has none.
#[derive(Clone)]
pub struct ChainKey(hmac::Key);

/// A line as it is stored. Text is kept as text: a later release may have written words that this one does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRow {
    /// Grows with every line, but not in the order in which lines are committed.
    pub id: i64,
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub event: String,
    /// What became of it.
    pub outcome: Option<String>,
    /// What kind of actor asked.
    pub actor_kind: Option<String>,
    /// What else it concerns.
    pub object: Option<String>,
    /// Who and where; what an erasure takes away.
    pub personal: Personal,
    /// Makes the digest of [`Self::personal`] say nothing; `None` once erased.
    pub blind: Option<Vec<u8>>,
    /// Made by the writer; `None` for one of an earlier release, until it is linked.
    pub seal: Option<Vec<u8>>,
    /// Its place in the chain; `None` until it is linked.
    pub position: Option<i64>,
    /// Covers it and all before it.
    pub link: Option<Vec<u8>>,
    /// Of an erased line: the digest of what was erased, and a code over what stands in its place.
    pub erasure: Option<Vec<u8>>,
}

/// The part of a line that is about people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Personal {
    /// Which account or client asked.
    pub actor_id: Option<String>,
    /// Whom it concerns.
    pub account_id: Option<String>,
    /// Which session.
    pub session_id: Option<String>,
    /// From where.
    pub client: Option<String>,
    /// Which request.
    pub request_id: Option<String>,
}

/// The end of the chain, or what was cut off its beginning: the last line on this side of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainMark {
    /// Of that line.
    pub position: i64,
    /// Of that line.
    pub link: Vec<u8>,
    /// When the mark was made.
    pub at: UnixMillis,
    /// Covers the mark.
    pub code: Vec<u8>,
}

/// Which mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// The last line that was linked.
    Head,
    /// The last line that retention removed.
    Cut,
}

impl MarkKind {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Cut => "cut",
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line before this one is missing.
    Gap,
    /// It was written or changed by somebody without the key.
    Seal,
    /// It is not the line that was linked here, or one before it was replaced.
    Link,
    /// What stands in place of erased words was changed, or was erased by somebody without the key.
    Erasure,
}

impl Flaw {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Gap => "a line before it is missing",
            Self::Seal => "it was written or changed by somebody without the key",
            Self::Link => "it, or a line before it, was replaced",
            Self::Erasure => "its erasure was not done by us",
        }
    }
}

/// Who sealed a good line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// Whoever wrote it.
    Written,
    /// Whoever linked it: an earlier release had written it, or somebody who has the database.
    Adopted,
}

impl ChainKey {
    /// From 32 bytes that nobody else has.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes))
    }

    /// The seal of a line with this blind.
    pub fn seal(&self, row: &AuditRow, personal: &Tag) -> Tag {
        self.seal_as("line", row, personal)
    }

    /// The seal of a line that was found without one.
    pub fn adopt(&self, row: &AuditRow, personal: &Tag) -> Tag {
        self.seal_as("adopted line", row, personal)
    }

    fn seal_as(&self, purpose: &str, row: &AuditRow, personal: &Tag) -> Tag {
        let at = row.at.0.to_be_bytes();
        tag(
            &self.0,
            &[
                Some(purpose.as_bytes()),
                Some(&at),
                Some(row.event.as_bytes()),
                bytes(&row.outcome),
                bytes(&row.actor_kind),
                bytes(&row.object),
                Some(personal),
            ],
        )
    }

    /// The link of the line at `position` behind the one with the link `before`.
    pub fn link(&self, before: &[u8], position: i64, seal: &[u8]) -> Tag {
        let position = position.to_be_bytes();
        let parts = [
            Some(b"link".as_slice()),
            Some(before),
            Some(&position),
            Some(seal),
        ];
        tag(&self.0, &parts)
    }

    /// What stays of an erased line: the digest of what it said, and a code over what stands in its place.
    pub fn erasure(&self, seal: &[u8], personal: &Tag, left: &Personal) -> Vec<u8> {
        let mut parts = vec![Some(b"erasure".as_slice()), Some(seal), Some(personal)];
        parts.extend(left.parts());
        [personal.as_slice(), &tag(&self.0, &parts)].concat()
    }

    /// The code of a mark.
    pub fn mark(&self, kind: MarkKind, position: i64, link: &[u8], at: UnixMillis) -> Tag {
        let (position, at) = (position.to_be_bytes(), at.0.to_be_bytes());
        let kind = kind.as_str().as_bytes();
        let parts = [
            Some(b"mark".as_slice()),
            Some(kind),
            Some(&position),
            Some(link),
            Some(&at),
        ];
        tag(&self.0, &parts)
    }

    /// Whether a mark is ours.
    pub fn is_ours(&self, kind: MarkKind, mark: &ChainMark) -> bool {
        let code = self.mark(kind, mark.position, &mark.link, mark.at);
        is_same(&code, &mark.code)
    }

    /// A code for a place in a list, good for that list only.
    pub fn cursor(&self, list: &str, place: &str) -> Tag {
        let parts = [
            Some(b"cursor".as_slice()),
            Some(list.as_bytes()),
            Some(place.as_bytes()),
        ];
        tag(&self.0, &parts)
    }

    /// Whether a line says what its writer wrote, leaving its place in the chain aside.
    pub fn check(&self, row: &AuditRow) -> Result<Sealed, Flaw> {
        let seal = row.seal.as_deref().ok_or(Flaw::Seal)?;
        let personal = match (&row.blind, &row.erasure) {
            (Some(blind), None) => row.personal.digest(blind),
            (None, Some(erasure)) => {
                let personal = *erasure.first_chunk().ok_or(Flaw::Erasure)?;
                let expected = self.erasure(seal, &personal, &row.personal);
                if !is_same(&expected, erasure) {
                    return Err(Flaw::Erasure);
                }
                personal
            }
            _ => return Err(Flaw::Seal),
        };
        if is_same(&self.seal(row, &personal), seal) {
            Ok(Sealed::Written)
        } else if is_same(&self.adopt(row, &personal), seal) {
            Ok(Sealed::Adopted)
        } else {
            Err(Flaw::Seal)
        }
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey")
    }
}

impl Personal {
    /// Says nothing without the blind.
    pub fn digest(&self, blind: &[u8]) -> Tag {
        tag(&hmac::Key::new(HMAC_SHA256, blind), &self.parts())
    }

    fn parts(&self) -> [Option<&[u8]>; 5] {
        [
            bytes(&self.actor_id),
            bytes(&self.account_id),
            bytes(&self.session_id),
            bytes(&self.client),
            bytes(&self.request_id),
        ]
    }
}

/// Goes along the chain line by line.
#[derive(Clone, Debug)]
pub struct ChainWalk {
    /// Of the last good line.
    pub position: i64,
    /// Of the last good line.
    pub link: Vec<u8>,
    /// Good lines.
    pub lines: u64,
    /// Of these, those that were sealed when they were linked.
    pub adopted: u64,
    /// Of these, those of erased accounts.
    pub erased: u64,
}

impl ChainWalk {
    /// Begins behind what was cut off.
    pub fn behind(cut: Option<&ChainMark>) -> Self {
        Self {
            position: cut.map_or(0, |cut| cut.position),
            link: cut.map(|cut| cut.link.clone()).unwrap_or_default(),
            lines: 0,
            adopted: 0,
            erased: 0,
        }
    }

    /// Looks at the next line.
    pub fn step(&mut self, key: &ChainKey, row: &AuditRow) -> Result<(), Flaw> {
        let position = self.position.saturating_add(1);
        if row.position != Some(position) {
            return Err(Flaw::Gap);
        }
        let sealed = key.check(row)?;
        let link = key.link(
            &self.link,
            position,
            row.seal.as_deref().unwrap_or_default(),
        );
        if !is_same(&link, row.link.as_deref().unwrap_or_default()) {
            return Err(Flaw::Link);
        }
        self.position = position;
        self.link = link.to_vec();
        self.lines += 1;
        self.adopted += u64::from(sealed == Sealed::Adopted);
        self.erased += u64::from(row.erasure.is_some());
        Ok(())
    }
}

fn bytes(text: &Option<String>) -> Option<&[u8]> {
    text.as_deref().map(str::as_bytes)
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// No two lists of parts have the same bytes: each is told by its length, and nothing differs from an empty one.
fn tag(key: &hmac::Key, parts: &[Option<&[u8]>]) -> Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        let length = part.map_or(0, |part| part.len() as u64 + 1);
        context.update(&length.to_be_bytes());
        context.update(part.unwrap_or_default());
    }
    let code = context.sign();
    let mut tag = Tag::default();
    tag.copy_from_slice(code.as_ref());
    tag
}

#[cfg(test)]
mod tests;
