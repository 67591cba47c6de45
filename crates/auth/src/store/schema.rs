//! Which schema versions this release works with. Pure: never reads or changes a database.
//!
//! In a rolling deploy the newest instance migrates while its predecessors serve on, and one of them may be started
//! again. So each release only adds what its predecessor can ignore, and works one version ahead of its own.

use super::{StoreError, StoreResult};

/// How far ahead of its own migrations a release still works.
const SKEW: i64 = 1;

/// What is to be done about a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// Migrations of ours are missing.
    Behind,
    /// Nothing.
    Usable,
}

/// Judges a schema by the newest migration in it, `None` where there is none, and the newest of ours.
pub(crate) fn judge(found: Option<i64>, ours: i64) -> StoreResult<Schema> {
    match found {
        Some(found) if found > ours.saturating_add(SKEW) => {
            Err(StoreError::SchemaTooNew { found, ours })
        }
        Some(found) if found >= ours => Ok(Schema::Usable),
        _ => Ok(Schema::Behind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_migrated_used_or_refused_by_how_far_it_is_ahead() {
        let judged: Vec<_> = [None, Some(6), Some(7), Some(8)]
            .into_iter()
            .map(|found| judge(found, 7).unwrap())
            .collect();
        let (behind, usable) = (Schema::Behind, Schema::Usable);
        assert_eq!(judged, [behind, behind, usable, usable]);
        let refused = judge(Some(9), 7).unwrap_err().to_string();
        assert!(
            refused.contains("version 9") && refused.contains("7"),
            "{refused}"
        );
    }
}
