//! One statement with its values, and one row of an answer, the same for both databases. Never knows what a statement
//! means, and never builds its text: that is written out where it is used.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Row as _};

use super::super::attempt::Attempt as _;
use super::super::postgres::pool::Urgency;
use super::super::{StoreError, StoreResult};
use super::database::Executor;
use crate::domain::AccountId;

/// How many statements this process ran: a test is a process of its own.
#[cfg(test)]
pub(crate) static RUN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// A statement to run. Both databases read `$1` as the first value.
#[derive(Clone)]
pub(crate) struct Statement {
    attempted: &'static str,
    sql: &'static str,
    values: Vec<Value>,
    urgency: Urgency,
    is_repeatable: bool,
    reader: Option<Reader>,
}

/// For whom a server that lags may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// This account, once the server has whatever it wrote.
    Account(AccountId),
    /// Whoever can tell from the answer how old it is.
    Judging,
}

/// What columns hold. Instants are numbers, ids are text.
#[derive(Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

impl Statement {
    pub(crate) fn new(attempted: &'static str, sql: &'static str) -> Self {
        Self {
            attempted,
            sql,
            values: Vec::new(),
            urgency: Urgency::Usual,
            is_repeatable: true,
            reader: None,
        }
    }

    /// For what is tried even while the circuit breaker is open.
    pub(crate) fn vital(mut self) -> Self {
        self.urgency = Urgency::Vital;
        self
    }

    /// For a change that is a statement by itself: when the connection ends it may have happened, and is not repeated.
    pub(crate) fn once(mut self) -> Self {
        self.is_repeatable = false;
        self
    }

    /// For what `reader` looks through: a server that lags may answer, if it has whatever that account wrote. Never for
    /// what decides whether somebody gets in.
    pub(crate) fn may_lag(mut self, reader: AccountId) -> Self {
        self.reader = Some(Reader::Account(reader));
        self
    }

    /// For an answer that says of which version it is, and is asked for again where it is too old.
    pub(crate) fn may_lag_visibly(mut self) -> Self {
        self.reader = Some(Reader::Judging);
        self
    }

    /// For what somebody waits for at a login form: rather refused soon than late.
    pub(crate) fn soon(mut self) -> Self {
        self.urgency = Urgency::Login;
        self
    }

    /// Gives the next `$n` its value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// How many rows it touched.
    pub(crate) async fn execute(self, on: impl Executor) -> StoreResult<u64> {
        #[cfg(test)]
        RUN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        on.execute(self).await
    }

    pub(crate) async fn fetch_optional(self, on: impl Executor) -> StoreResult<Option<Row>> {
        Ok(self.fetch_all(on).await?.into_iter().next())
    }

    pub(crate) async fn fetch_all(self, on: impl Executor) -> StoreResult<Vec<Row>> {
        #[cfg(test)]
        RUN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        on.fetch(self).await
    }

    /// Who reads, where a server that lags may answer.
    pub(crate) fn reader(&self) -> Option<Reader> {
        self.reader
    }

    pub(crate) fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// The same statement, if it does no harm to run it twice.
    pub(crate) fn repeatable(&self) -> Option<Self> {
        self.is_repeatable.then(|| self.clone())
    }

    pub(crate) fn attempted(&self) -> &'static str {
        self.attempted
    }

    pub(crate) fn sql(&self) -> &'static str {
        self.sql
    }

    pub(crate) fn for_sqlite(self) -> Result<SqliteArguments, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        for value in self.values {
            match value {
                Value::Text(text) => arguments.add(text),
                Value::Number(number) => arguments.add(number),
                Value::Bytes(bytes) => arguments.add(bytes),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    pub(crate) fn for_postgres(self) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        for value in self.values {
            match value {
                Value::Text(text) => arguments.add(text),
                Value::Number(number) => arguments.add(number),
                Value::Bytes(bytes) => arguments.add(bytes),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

impl From<&Vec<u8>> for Value {
    fn from(bytes: &Vec<u8>) -> Self {
        Self::Bytes(Some(bytes.clone()))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        Self::Bytes(bytes)
    }
}

/// One row of an answer; its columns are read by their names.
pub(crate) struct Row {
    attempted: &'static str,
    columns: Columns,
}

enum Columns {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn from_sqlite(attempted: &'static str, row: SqliteRow) -> Self {
        Self {
            attempted,
            columns: Columns::Sqlite(row),
        }
    }

    pub(crate) fn from_postgres(attempted: &'static str, row: PgRow) -> Self {
        Self {
            attempted,
            columns: Columns::Postgres(row),
        }
    }

    pub(crate) fn text(&self, column: &str) -> StoreResult<&str> {
        self.present(self.optional_text(column)?)
    }

    pub(crate) fn optional_text(&self, column: &str) -> StoreResult<Option<&str>> {
        match &self.columns {
            Columns::Sqlite(row) => row.try_get(column),
            Columns::Postgres(row) => row.try_get(column),
        }
        .attempting(self.attempted)
    }

    pub(crate) fn number(&self, column: &str) -> StoreResult<i64> {
        self.present(self.optional_number(column)?)
    }

    pub(crate) fn optional_number(&self, column: &str) -> StoreResult<Option<i64>> {
        match &self.columns {
            Columns::Sqlite(row) => row.try_get(column),
            Columns::Postgres(row) => row.try_get(column),
        }
        .attempting(self.attempted)
    }

    pub(crate) fn bytes(&self, column: &str) -> StoreResult<Vec<u8>> {
        self.present(self.optional_bytes(column)?)
    }

    pub(crate) fn optional_bytes(&self, column: &str) -> StoreResult<Option<Vec<u8>>> {
        match &self.columns {
            Columns::Sqlite(row) => row.try_get(column),
            Columns::Postgres(row) => row.try_get(column),
        }
        .attempting(self.attempted)
    }

    pub(crate) fn flag(&self, column: &str) -> StoreResult<bool> {
        match &self.columns {
            Columns::Sqlite(row) => row.try_get(column),
            Columns::Postgres(row) => row.try_get(column),
        }
        .attempting(self.attempted)
    }

    /// A value of the row that a parser of the domain must accept.
    pub(crate) fn read<T>(&self, what: &'static str, parsed: Option<T>) -> StoreResult<T> {
        parsed.ok_or(StoreError::BadRow {
            attempted: self.attempted,
            what,
        })
    }

    fn present<T>(&self, value: Option<T>) -> StoreResult<T> {
        self.read("column", value)
    }
}
