//! Names what was attempted when a driver fails, and sorts its errors by what a caller can do. Never shows values.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::{StoreError, StoreResult};

/// Names what was attempted when the driver fails.
pub(crate) trait Attempt<T> {
    /// Turns the driver's error into the store's.
    fn attempting(self, attempted: &'static str) -> StoreResult<T>;
}

impl<T> Attempt<T> for Result<T, sqlx::Error> {
    fn attempting(self, attempted: &'static str) -> StoreResult<T> {
        self.map_err(|source| match &source {
            sqlx::Error::PoolTimedOut => StoreError::Busy { attempted, source },
            sqlx::Error::Database(error) if is_busy(error.as_ref()) => {
                StoreError::Busy { attempted, source }
            }
            sqlx::Error::Database(error) if is_refused_value(error.as_ref()) => {
                StoreError::BadRow {
                    attempted,
                    what: "value",
                }
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::BadRow {
                attempted,
                what: "column",
            },
            _ => StoreError::Unavailable { attempted, source },
        })
    }
}

/// The database answers, but others are in the way: trying again may help.
pub(crate) fn is_busy(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return POSTGRES_BUSY.contains(&code.as_ref());
    }
    // SQLITE_BUSY and SQLITE_LOCKED in all their extended forms: the low byte is the primary code.
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6))
}

/// PostgreSQL's class 22: a value that it cannot hold, such as a text with a zero byte. Says nothing of its health.
fn is_refused_value(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<PgDatabaseError>().is_some()
        && error.code().is_some_and(|code| code.starts_with("22"))
}

/// Serialization failure, deadlock, too many connections, lock not available, statement timeout.
const POSTGRES_BUSY: [&str; 5] = ["40001", "40P01", "53300", "55P03", "57014"];
