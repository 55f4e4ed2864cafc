//! The inventory in a file, by SQLite.
//!
//! Each change is durable when its commit returns: `synchronous = FULL` on a write-ahead log.

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, ToSql, params_from_iter};

use super::{MOST_KEPT_OCTETS, Row, Value};
use crate::store::{BUSY_TIMEOUT, StoreError};

/// A connection to the file.
#[derive(Debug)]
pub(in crate::store) struct Sqlite {
    connection: Connection,
}

/// Statements that stay prepared.
const PREPARED: usize = 64;

impl Sqlite {
    /// Connects to a file that is there.
    pub(in crate::store) fn connect(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        Ok(Self { connection })
    }

    /// Switches the file to a write-ahead log, which is synced at every commit. A rollback journal
    /// would also need its directory synced after each, or the last commit could be undone by a
    /// power failure.
    pub(in crate::store) fn write_ahead(&self) -> Result<(), StoreError> {
        let mode: String = self
            .connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode == "wal" {
            Ok(())
        } else {
            Err(StoreError::NoWriteAheadLog)
        }
    }

    /// A number that SQLite keeps beside the tables.
    pub(in crate::store) fn pragma(&self, name: &str) -> Result<i32, StoreError> {
        Ok(self
            .connection
            .pragma_query_value(None, name, |row| row.get(0))?)
    }

    /// Copies the whole database as of one moment into a file that is there, and empty.
    pub(in crate::store) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let Some(path) = path.to_str() else {
            return Err(StoreError::ReadOnly);
        };
        self.connection.execute("VACUUM INTO ?1", [path])?;
        let copy = Self::connect(Path::new(path))?;
        copy.write_ahead()?;
        copy.close()
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let changed = if sql.len() > MOST_KEPT_OCTETS {
            self.connection.execute(sql, params_from_iter(values))?
        } else {
            self.connection
                .prepare_cached(sql)?
                .execute(params_from_iter(values))?
        };
        Ok(changed as u64)
    }

    pub(super) fn each(
        &self,
        sql: &str,
        values: &[Value],
        take: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // One that is written for the occasion would only push out others.
        let (mut kept, mut used_once);
        let statement: &mut Statement<'_> = if sql.len() > MOST_KEPT_OCTETS {
            used_once = self.connection.prepare(sql)?;
            &mut used_once
        } else {
            kept = self.connection.prepare_cached(sql)?;
            &mut kept
        };
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let values = (0..columns)
                .map(|column| read(row.get_ref(column)?))
                .collect::<Result<_, StoreError>>()?;
            take(Row(values))?;
        }
        Ok(())
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Folds the write-ahead log into the file and closes it, so that the file alone is the store.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.connection
            .close()
            .map_err(|(_, error)| StoreError::from(error))
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Octets(octets) => ValueRef::Blob(octets),
        }))
    }
}

fn read(value: ValueRef<'_>) -> Result<Value, StoreError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Integer(number)),
        ValueRef::Text(text) => String::from_utf8(text.to_vec())
            .map(Value::Text)
            .map_err(|_| StoreError::Corrupt { what: "a text" }),
        ValueRef::Blob(octets) => Ok(Value::Octets(octets.to_vec())),
        ValueRef::Real(_) => Err(StoreError::Corrupt { what: "a number" }),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt {
                what: "the database file",
            },
            _ => Self::Sqlite(error),
        }
    }
}
