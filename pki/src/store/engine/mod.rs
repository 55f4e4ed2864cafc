//! What the inventory's SQL runs on: SQLite in a file, or PostgreSQL on a server.
//!
//! The SQL is written once, in what both understand. Three words differ and are rewritten for
//! PostgreSQL: parameters (`?1`), `instr`, and the beginning of a transaction. Both engines keep the
//! same promise: a change is durable when its commit returns, and a write transaction holds the one
//! write lock from its start, so that nothing changes between what it reads and what it writes.

pub(super) mod postgres;
pub(super) mod sqlite;

use std::ops::Deref;

use super::StoreError;
use postgres::Postgres;
use sqlite::Sqlite;

/// Longest SQL whose statement stays prepared, in octets.
const MOST_KEPT_OCTETS: usize = 1000;

/// A parameter, or what stands in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Octets(Vec<u8>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(octets: &[u8]) -> Self {
        Self::Octets(octets.to_vec())
    }
}

/// A row of an answer.
#[derive(Debug)]
pub(super) struct Row(Vec<Value>);

impl Row {
    pub(super) fn integer(&self, column: usize) -> Result<i64, StoreError> {
        self.optional_integer(column)?.ok_or(MISSHAPEN)
    }

    pub(super) fn optional_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            _ => Err(MISSHAPEN),
        }
    }

    pub(super) fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.optional_text(column)?.ok_or(MISSHAPEN)
    }

    pub(super) fn optional_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(MISSHAPEN),
        }
    }

    pub(super) fn optional_octets(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.0.get(column) {
            Some(Value::Octets(octets)) => Ok(Some(octets)),
            Some(Value::Null) => Ok(None),
            _ => Err(MISSHAPEN),
        }
    }

    /// As it is, to be written elsewhere.
    pub(super) fn into_values(self) -> Vec<Value> {
        self.0
    }
}

const MISSHAPEN: StoreError = StoreError::Corrupt { what: "a column" };

/// One of the two.
#[derive(Debug)]
pub(super) enum Engine {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Engine {
    /// Runs a statement, and says how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.execute(sql, values),
            Self::Postgres(postgres) => postgres.execute(sql, values),
        }
    }

    /// Hands each row of the answer to `take`, which must not use the engine.
    pub(super) fn each(
        &self,
        sql: &str,
        values: &[Value],
        take: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.each(sql, values, take),
            Self::Postgres(postgres) => postgres.each(sql, values, take),
        }
    }

    /// The whole answer, of a statement that bounds it.
    pub(super) fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        self.each(sql, values, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The first row of the answer, if there is one.
    pub(super) fn first(&self, sql: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// The number that is the whole answer.
    pub(super) fn number(&self, sql: &str, values: &[Value]) -> Result<i64, StoreError> {
        self.first(sql, values)?.ok_or(MISSHAPEN)?.integer(0)
    }

    /// Runs several statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.batch(sql),
            Self::Postgres(postgres) => postgres.batch(sql),
        }
    }

    /// Rows of these tables were written with places of their own choosing; the engine's own choice
    /// goes on beyond them.
    pub(super) fn ids_were_given(&self, tables: &[&str]) -> Result<(), StoreError> {
        match self {
            // AUTOINCREMENT looks for itself.
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(postgres) => tables.iter().try_for_each(|table| {
                postgres.batch(&format!(
                    "SELECT setval(pg_get_serial_sequence('pki.{table}', 'id'), max(id)) FROM {table}"
                ))
            }),
        }
    }

    /// Begins a change. It holds the write lock from here on, so that what it reads stays true
    /// until it commits. Dropped without a commit, nothing of it happened.
    pub(super) fn write(&self) -> Result<Transaction<'_>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.batch("BEGIN IMMEDIATE")?,
            Self::Postgres(postgres) => postgres.begin_write()?,
        }
        Ok(Transaction {
            engine: self,
            open: true,
        })
    }

    /// Begins to read: everything that is read until it is dropped is of one moment.
    pub(super) fn snapshot(&self) -> Result<Transaction<'_>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.batch("BEGIN DEFERRED")?,
            Self::Postgres(postgres) => postgres.begin_snapshot()?,
        }
        Ok(Transaction {
            engine: self,
            open: true,
        })
    }

    /// Ends the connection in order.
    pub(super) fn close(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.close(),
            Self::Postgres(postgres) => {
                postgres.close();
                Ok(())
            }
        }
    }

    fn end(&self, how: End) -> Result<(), StoreError> {
        match (self, how) {
            (Self::Sqlite(sqlite), End::Commit) => sqlite.batch("COMMIT"),
            (Self::Sqlite(sqlite), End::Rollback) => sqlite.batch("ROLLBACK"),
            (Self::Postgres(postgres), how) => postgres.end(how),
        }
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Rollback,
}

/// Something that happens whole or not at all.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    engine: &'a Engine,
    open: bool,
}

impl Transaction<'_> {
    /// Makes it durable.
    pub(super) fn commit(mut self) -> Result<(), StoreError> {
        self.engine.end(End::Commit)?;
        self.open = false;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.engine
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // If that fails, the connection is of no use any more, and says so at its next use.
            let _ = self.engine.end(End::Rollback);
        }
    }
}
