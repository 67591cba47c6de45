//! Reading the audit log and judging its chain, for administrators and operators alike. Never changes a line.

use std::collections::HashSet;

use super::cursor;
use crate::domain::{AccountId, AuditRow, ChainKey, ChainMark, ChainWalk, Flaw, MarkKind};
use crate::store::{AuditFilter, AuditMarks, PageLimit, Store, StoreResult};

/// How often retention may cut what is being read before we give up.
const CUTS_MAX: u32 = 10;

/// Some lines, newest first.
#[derive(Debug)]
pub struct AuditPage {
    /// The lines.
    pub rows: Vec<AuditRow>,
    /// Where the next page begins, for the same filter; `None`: there is none.
    pub next: Option<String>,
}

/// A cursor that we did not make, or not for this list.
#[derive(Debug, thiserror::Error)]
#[error("the cursor is not one of this list")]
pub(crate) struct StrangeCursor;

/// What was found out about the chain.
#[derive(Debug)]
pub struct ChainReport {
    /// How far it is whole: the last good line.
    pub walk: ChainWalk,
    /// The first thing that is wrong, if any.
    pub broken: Option<Broken>,
    /// Lines that were sealed and waited for their place when the look began, and still did at its end.
    pub unlinked: u64,
    /// What was cut off the beginning, if anything.
    pub cut: Option<ChainMark>,
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A line, by its id, which should have had this position.
    Line {
        /// Its place in the chain.
        position: i64,
        /// In the table.
        id: i64,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// A line without a place yet.
    Unlinked {
        /// In the table.
        id: i64,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// One line is there twice.
    Copied {
        /// The later of the two.
        id: i64,
    },
    /// A mark of the chain was not made by us, or is gone while there are lines.
    Mark(MarkKind),
    /// The chain ends before its mark says: its newest lines are missing.
    Shortened {
        /// Where it should end.
        position: i64,
    },
    /// A line that was noted down earlier is not in the chain.
    Unexpected {
        /// Its place.
        position: i64,
    },
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line { position, id, flaw } => {
                write!(
                    f,
                    "line {position} of the chain (id {id}): {}",
                    flaw.describe()
                )
            }
            Self::Unlinked { id, flaw } => {
                write!(
                    f,
                    "line with id {id}, not in the chain yet: {}",
                    flaw.describe()
                )
            }
            Self::Copied { id } => write!(f, "line with id {id}: it is a copy of another line"),
            Self::Mark(MarkKind::Head) => {
                f.write_str("the mark of the end of the chain is not ours")
            }
            Self::Mark(MarkKind::Cut) => f.write_str("the mark of what was removed is not ours"),
            Self::Shortened { position } => write!(
                f,
                "the chain ends before line {position}: its newest lines are missing"
            ),
            Self::Unexpected { position } => write!(
                f,
                "line {position} of the chain is not the one that was expected: the log was replaced"
            ),
        }
    }
}

/// A page of the lines that fit. With a `reader`, a moment of what others caused may be missing.
pub(crate) async fn page(
    store: &dyn Store,
    key: &ChainKey,
    filter: &AuditFilter,
    cursor: Option<&str>,
    limit: PageLimit,
    reader: Option<AccountId>,
) -> StoreResult<Result<AuditPage, StrangeCursor>> {
    let list = format!("{filter:?}");
    let before = match cursor {
        None => None,
        Some(cursor) => match cursor::read(key, &list, cursor).map(|place| place.parse()) {
            Some(Ok(id)) => Some(id),
            _ => return Ok(Err(StrangeCursor)),
        },
    };
    let rows = store.audit_page(filter, before, limit, reader).await?;
    let is_full = rows.len() >= usize::from(limit.rows());
    let last = rows.last().filter(|_| is_full);
    let next = last.map(|row| cursor::write(key, &list, &row.id.to_string()));
    Ok(Ok(AuditPage { rows, next }))
}

/// Goes through the whole log. `expected`: a place and a link that somebody noted down.
pub(crate) async fn verify(
    store: &dyn Store,
    key: &ChainKey,
    expected: Option<(i64, Vec<u8>)>,
) -> StoreResult<ChainReport> {
    // First, so that a line which is linked meanwhile is met again further on: no line is in neither number, or in both.
    let (mut waiting, flaw) = unlinked(store, key).await?;
    let mut marks = store.audit_marks().await?;
    let mut cuts = 0;
    loop {
        let (walk, broken) = walk(store, key, &marks, expected.as_ref(), &mut waiting).await?;
        let now = store.audit_marks().await?;
        // What was read may have been removed meanwhile: then its end of the chain has moved. Or the chain began.
        let has_begun = marks.head.is_none() && now.head.is_some();
        let has_moved = has_begun || now.cut != marks.cut;
        if broken.is_some() && has_moved && cuts < CUTS_MAX {
            marks = now;
            cuts += 1;
            continue;
        }
        let copied = store.copied_audit().await?.map(|id| Broken::Copied { id });
        return Ok(ChainReport {
            walk,
            broken: broken.or(flaw).or(copied),
            unlinked: waiting.len() as u64,
            cut: marks.cut,
        });
    }
}

async fn walk(
    store: &dyn Store,
    key: &ChainKey,
    marks: &AuditMarks,
    expected: Option<&(i64, Vec<u8>)>,
    waiting: &mut HashSet<i64>,
) -> StoreResult<(ChainWalk, Option<Broken>)> {
    let AuditMarks { head, cut } = marks;
    let mut walk = ChainWalk::behind(cut.as_ref());
    for (kind, mark) in [(MarkKind::Cut, cut), (MarkKind::Head, head)] {
        if mark.as_ref().is_some_and(|mark| !key.is_ours(kind, mark)) {
            return Ok((walk, Some(Broken::Mark(kind))));
        }
    }
    let mut ends = Ends::new(head.as_ref(), expected);
    if let Some(broken) = ends.pass(&walk) {
        return Ok((walk, Some(broken)));
    }
    loop {
        let rows = store.audit_chain(walk.position, PageLimit::MAX).await?;
        for row in &rows {
            waiting.remove(&row.id);
            if let Err(flaw) = walk.step(key, row) {
                let position = walk.position.saturating_add(1);
                let broken = Broken::Line {
                    position,
                    id: row.id,
                    flaw,
                };
                return Ok((walk, Some(broken)));
            }
            if let Some(broken) = ends.pass(&walk) {
                return Ok((walk, Some(broken)));
            }
        }
        if rows.is_empty() {
            let is_lost = head.is_none() && walk.lines > 0;
            let lost = is_lost.then_some(Broken::Mark(MarkKind::Head));
            let broken = lost.or_else(|| ends.missed(&walk));
            return Ok((walk, broken));
        }
    }
}

/// The places at which the chain must have a certain link.
struct Ends<'a> {
    head: Option<(i64, &'a [u8])>,
    expected: Option<(i64, &'a [u8])>,
}

impl<'a> Ends<'a> {
    fn new(head: Option<&'a ChainMark>, expected: Option<&'a (i64, Vec<u8>)>) -> Self {
        Self {
            head: head.map(|head| (head.position, head.link.as_slice())),
            expected: expected.map(|(position, link)| (*position, link.as_slice())),
        }
    }

    fn pass(&mut self, walk: &ChainWalk) -> Option<Broken> {
        let is_here = |end: &(i64, &[u8])| end.0 == walk.position;
        if let Some((position, link)) = self.head.filter(is_here) {
            self.head = None;
            if walk.link != link {
                return Some(Broken::Shortened { position });
            }
        }
        if let Some((position, link)) = self.expected.filter(is_here) {
            self.expected = None;
            if walk.link != link {
                return Some(Broken::Unexpected { position });
            }
        }
        None
    }

    /// What should have come.
    fn missed(&self, walk: &ChainWalk) -> Option<Broken> {
        if let Some((position, _)) = self.head {
            return Some(Broken::Shortened { position });
        }
        match self.expected {
            // Of what was cut off, nothing can be said any more.
            Some((position, _)) if position > walk.position => {
                Some(Broken::Unexpected { position })
            }
            _ => None,
        }
    }
}

/// The lines that wait for their place, and the first of them that is wrong.
async fn unlinked(
    store: &dyn Store,
    key: &ChainKey,
) -> StoreResult<(HashSet<i64>, Option<Broken>)> {
    let (mut after, mut waiting) = (0, HashSet::new());
    loop {
        let rows = store.unlinked_audit(after, PageLimit::MAX).await?;
        let Some(last) = rows.last() else {
            return Ok((waiting, None));
        };
        after = last.id;
        waiting.extend(rows.iter().map(|row| row.id));
        // One without a seal comes from an earlier release, and is counted when it is linked.
        let flawed = rows.iter().filter(|row| row.seal.is_some());
        let flaw = flawed
            .filter_map(|row| Some((row.id, key.check(row).err()?)))
            .next();
        if let Some((id, flaw)) = flaw {
            return Ok((waiting, Some(Broken::Unlinked { id, flaw })));
        }
    }
}
