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
    /// The schema is of a release too far ahead of this one.
    #[error(
        "the database's schema is version {found}, and this release works with {ours} and the one after: \
         start the release that migrated it, or one just before"
    )]
    SchemaTooNew {
        /// Its version.
        found: i64,
        /// The newest version of this release.
        ours: i64,
    },
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

impl StoreError {
    /// Whether the database itself is away or busy, rather than what it holds at odds with us.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unavailable { .. })
    }
}
