//! Which schema versions this release works with. Pure: never reads or changes a database.
//!
//! In a rolling deploy the newest instance migrates while its predecessors serve on, and one of them may be started
//! again. So each release only adds what its predecessor can ignore, and works one version ahead of its own.

use super::{StoreError, StoreResult};

/// How far ahead of its own migrations a release still works.
const SKEW: i64 = 1;

/// What bringing a schema up to date would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The newest migration in it; `None`: it is empty.
    pub found: Option<i64>,
    /// The newest migration of this release.
    pub ours: i64,
    /// What is missing, in the order in which it would run.
    pub missing: Vec<Step>,
}

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub name: String,
}

/// Compares the newest migration of a schema with all of ours. Fails like a start would.
pub(crate) fn plan(found: Option<i64>, ours: Vec<Step>) -> StoreResult<Plan> {
    let newest = ours
        .iter()
        .map(|step| step.version)
        .max()
        .unwrap_or_default();
    judge(found, newest)?;
    let is_missing = |step: &Step| found.is_none_or(|found| step.version > found);
    Ok(Plan {
        found,
        ours: newest,
        missing: ours.into_iter().filter(is_missing).collect(),
    })
}

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
    fn a_plan_names_what_is_missing_and_nothing_else() {
        let step = |version| Step {
            version,
            name: format!("step {version}"),
        };
        let ours = || vec![step(1), step(2), step(3)];
        let missing = |found| plan(found, ours()).unwrap().missing;
        assert_eq!(missing(None), ours());
        assert_eq!(missing(Some(2)), [step(3)]);
        assert_eq!(missing(Some(3)), []);
        assert_eq!(missing(Some(4)), [], "of the release after this");
        assert!(plan(Some(5), ours()).is_err());
    }

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
