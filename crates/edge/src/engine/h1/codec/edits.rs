//! What the pipeline asked to change in a head, applied while the head is written. Never touches a
//! field that is not named.

use http::{HeaderName, HeaderValue};

use super::fields::Field;
use super::known::Tag;
use super::write::line;
use crate::pipeline::HeaderEdit;

/// Edits in their order, and which names they may concern.
pub(super) struct Edits<'a> {
    edits: &'a [HeaderEdit],
    /// Bits of the names that are set or removed: most fields are passed by one look at it.
    replaced: u64,
    /// Bits of the names under which a later edit may undo an earlier one.
    repeated: u64,
}

impl<'a> Edits<'a> {
    pub(super) fn new(edits: &'a [HeaderEdit]) -> Self {
        let (mut named, mut replaced, mut repeated) = (0, 0, 0);
        for (at, edit) in edits.iter().enumerate() {
            let bit = Tag::of(name(edit).as_str().as_bytes()).bit();
            if replaces(edit) {
                // Most names that share a bit differ.
                let is_repeated = || edits[..at].iter().any(|other| name(other) == name(edit));
                if named & bit != 0 && is_repeated() {
                    repeated |= bit;
                }
                replaced |= bit;
            }
            named |= bit;
        }
        Self {
            edits,
            replaced,
            repeated,
        }
    }

    /// Whether a field that was sent has to go.
    #[inline]
    pub(super) fn replaces(&self, buffer: &[u8], field: &Field) -> bool {
        self.replaced & field.tag.bit() != 0
            && self
                .edits
                .iter()
                .filter(|edit| replaces(edit))
                .map(|edit| name(edit).as_str().as_bytes())
                .any(|name| field.is_named(buffer, Tag::of(name), name))
    }

    /// Whether what we would write ourselves under that name has to go.
    pub(super) fn replaces_name(&self, wanted: &HeaderName) -> bool {
        self.replaced & Tag::of(wanted.as_str().as_bytes()).bit() != 0
            && self
                .edits
                .iter()
                .any(|edit| replaces(edit) && name(edit) == wanted)
    }

    fn may_be_undone(&self, name: &HeaderName) -> bool {
        self.repeated != 0 && self.repeated & Tag::of(name.as_str().as_bytes()).bit() != 0
    }

    /// Gives `take` the fields that the edits add. Told from within: as an iterator, whose every step is a
    /// search, this was twice the work.
    pub(super) fn added(&self, mut take: impl FnMut(&HeaderName, &HeaderValue)) {
        for (at, edit) in self.edits.iter().enumerate() {
            let (HeaderEdit::Set(name, value) | HeaderEdit::Append(name, value)) = edit else {
                continue;
            };
            if !self.may_be_undone(name) || !is_undone(name, &self.edits[at + 1..]) {
                take(name, value);
            }
        }
    }

    /// Writes them.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.added(|name, value| line(out, name.as_str().as_bytes(), value.as_bytes()));
    }
}

fn is_undone(wanted: &HeaderName, later: &[HeaderEdit]) -> bool {
    later
        .iter()
        .any(|edit| replaces(edit) && name(edit) == wanted)
}

fn replaces(edit: &HeaderEdit) -> bool {
    matches!(edit, HeaderEdit::Set(..) | HeaderEdit::Remove(_))
}

fn name(edit: &HeaderEdit) -> &HeaderName {
    match edit {
        HeaderEdit::Set(name, _) | HeaderEdit::Append(name, _) | HeaderEdit::Remove(name) => name,
    }
}
