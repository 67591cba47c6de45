//! How durable storage fails, by what a caller can do about it. Never shows values or SQL to the outside.

/// An operation of the store failed; nothing of it took effect, except where `Unavailable` says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Other writers held the database, or all connections were in use, beyond the time allowed: try again later.
    #[error("{attempted}: the database is busy")]
    Busy {
        /// What was attempted.
        attempted: &'static str,
        /// The driver's reason.
        #[source]
        source: sqlx::Error,
    },
    /// The database cannot be reached or used. A commit that failed this way may have happened.
    #[error("{attempted}: the database is not available")]
    Unavailable {
        /// What was attempted.
        attempted: &'static str,
        /// The driver's reason.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("migrating the database failed")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A row holds what this version cannot read.
    #[error("{attempted}: a stored {what} is not readable")]
    BadRow {
        /// What was attempted.
        attempted: &'static str,
        /// Which value.
        what: &'static str,
    },
    /// A value is larger than the column it belongs in.
    #[error("the connection options are unusable: {0}")]
    Options(String),
}
