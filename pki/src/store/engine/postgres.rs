//! The inventory on a server, by PostgreSQL, for several issuers that share one.
//!
//! The same promises as in a file, from a server that is set up for them: each session asks for
//! `synchronous_commit`, and a server that runs without `fsync` or `full_page_writes` is refused.
//! A change takes one advisory lock at its start, so that two changes are never under way at once.
//! Every wait ends: for a connection, for the lock, for a statement, for an answer.
//!
//! A connection that is lost ends the verb that used it. Nothing is tried again: whether a commit
//! that got no answer was kept is known to the server alone. The next verb connects anew.
//!
//! The engine waits for the server on the thread that calls it, and must not be called from within
//! an asynchronous runtime, as little as a file may be read there.

mod server;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{StreamExt as _, pin_mut};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

pub use server::{Server, ServerError};

use super::{End, MOST_KEPT_OCTETS, Row, Value};
use crate::store::StoreError;

/// A connection to the server, which is made anew when a verb begins and it was lost.
pub(in crate::store) struct Postgres {
    server: Server,
    runtime: Runtime,
    session: RefCell<Option<Session>>,
    transaction: Cell<State>,
}

/// What ends with the connection.
struct Session {
    client: Client,
    connection: JoinHandle<()>,
    /// Prepared statements, by the SQL that they came from.
    statements: HashMap<String, Statement>,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none.
    None,
    /// It is under way.
    Open,
    /// Something in it failed. The server answers a COMMIT of such a one as if all were well.
    Failed,
}

/// Longest wait for an answer. The server gives up on a statement before that.
const PATIENCE: Duration = Duration::from_secs(75);
/// Longest wait for a connection to end in order.
const GOODBYE: Duration = Duration::from_secs(1);
/// Statements that stay prepared; beyond that, all are prepared anew.
const MOST_STATEMENTS: usize = 256;
/// The lock that a change holds: "pkistore" in ASCII. One for all that is in the database.
const WRITE_LOCK: i64 = 0x706b_6973_746f_7265;

/// What each session asks for. Whoever went away while it held the lock is noticed within a minute.
const SESSION: &str = "SET search_path = pki, pg_temp;
    SET synchronous_commit = on;
    SET lock_timeout = '10s';
    SET statement_timeout = '60s';
    SET idle_in_transaction_session_timeout = '60s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET client_min_messages = warning";

impl Postgres {
    /// Connects, and judges how the server is set up.
    pub(in crate::store) fn connect(server: Server) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ServerError::Unreachable(error.to_string()))?;
        let postgres = Self {
            server,
            runtime,
            session: RefCell::new(None),
            transaction: Cell::new(State::None),
        };
        postgres.ready()?;
        Ok(postgres)
    }

    pub(super) fn begin_write(&self) -> Result<(), StoreError> {
        self.begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")?;
        let locked = self.each(
            "SELECT 1 FROM pg_advisory_xact_lock(?1)",
            &[WRITE_LOCK.into()],
            &mut |_| Ok(()),
        );
        if locked.is_err() {
            let _ = self.end(End::Rollback);
        }
        locked
    }

    pub(super) fn begin_snapshot(&self) -> Result<(), StoreError> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn begin(&self, sql: &str) -> Result<(), StoreError> {
        self.batch(sql)?;
        self.transaction.set(State::Open);
        Ok(())
    }

    pub(super) fn end(&self, how: End) -> Result<(), StoreError> {
        let state = self.transaction.get();
        let ended = match (how, state) {
            (End::Commit, State::Open) => self.batch("COMMIT"),
            _ => self.batch("ROLLBACK"),
        };
        self.transaction.set(State::None);
        if ended.is_err() {
            // Whatever the connection is in the middle of, nothing else may happen in it.
            self.forget();
        }
        match (how, state) {
            (End::Commit, State::Failed) => Err(StoreError::State),
            _ => ended,
        }
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        self.with(async |client| client.execute_raw(&statement, values).await)
    }

    pub(super) fn each(
        &self,
        sql: &str,
        values: &[Value],
        take: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let statement = self.prepared(sql)?;
        let columns = statement.columns().len();
        let rows = self.with(async |client| client.query_raw(&statement, values).await)?;
        pin_mut!(rows);
        loop {
            let next = self.wait(rows.next()).map(Option::transpose);
            let Some(row) = self.judged(next)? else {
                return Ok(());
            };
            let values = (0..columns).map(|column| row.try_get(column)).collect();
            take(Row(self.judged(Ok(values))?))?;
        }
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.ready()?;
        self.with(async |client| client.batch_execute(sql).await)
    }

    /// Says good-bye, so that the server's log has nothing to complain of.
    pub(super) fn close(&self) {
        if let Some(session) = self.session.take() {
            drop(session.client);
            let _ = self
                .runtime
                .block_on(async { tokio::time::timeout(GOODBYE, session.connection).await });
        }
    }

    /// Sees to a connection. A transaction cannot go on over another one than it began on.
    fn ready(&self) -> Result<(), StoreError> {
        let usable = |session: &Session| !session.client.is_closed();
        if self.session.borrow().as_ref().is_some_and(usable) {
            return Ok(());
        }
        if self.transaction.get() != State::None {
            return Err(ServerError::Lost.into());
        }
        let (client, connection) = self.wait(self.server.connect())??;
        self.session.replace(Some(Session {
            client,
            connection,
            statements: HashMap::new(),
        }));
        self.set_up().inspect_err(|_| self.forget())
    }

    fn set_up(&self) -> Result<(), StoreError> {
        self.with(async |client| client.batch_execute(SESSION).await)?;
        for setting in ["fsync", "full_page_writes"] {
            let sql = format!("SELECT current_setting('{setting}')");
            let row = self.with(async |client| client.query_one(sql.as_str(), &[]).await)?;
            if !matches!(row.try_get(0), Ok("on")) {
                return Err(ServerError::Unsafe { setting }.into());
            }
        }
        Ok(())
    }

    fn prepared(&self, sql: &str) -> Result<Statement, StoreError> {
        self.ready()?;
        let known = |session: &Session| session.statements.get(sql).cloned();
        if let Some(statement) = self.session.borrow().as_ref().and_then(known) {
            return Ok(statement);
        }
        let theirs = in_their_words(sql);
        let statement = self.with(async |client| client.prepare(&theirs).await)?;
        if let Some(session) = self.session.borrow_mut().as_mut()
            && sql.len() <= MOST_KEPT_OCTETS
        {
            if session.statements.len() >= MOST_STATEMENTS {
                session.statements.clear();
            }
            session.statements.insert(sql.to_owned(), statement.clone());
        }
        Ok(statement)
    }

    /// Does something with the connection that there is.
    fn with<T>(
        &self,
        act: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let done = match self.session.borrow().as_ref() {
            Some(session) => self.wait(act(&session.client)),
            None => Err(ServerError::Lost.into()),
        };
        self.judged(done)
    }

    /// Waits for an answer, but not for ever.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, StoreError> {
        let in_time = async { tokio::time::timeout(PATIENCE, future).await };
        self.runtime
            .block_on(in_time)
            .map_err(|_| ServerError::Lost.into())
    }

    /// Draws the consequences of what went wrong: for the transaction, and for the connection.
    fn judged<T>(
        &self,
        done: Result<Result<T, tokio_postgres::Error>, StoreError>,
    ) -> Result<T, StoreError> {
        let done = done.and_then(|answer| answer.map_err(|error| translated(&error)));
        if done.is_err() && self.transaction.get() == State::Open {
            self.transaction.set(State::Failed);
        }
        if matches!(done, Err(StoreError::Server(ServerError::Lost))) {
            self.forget();
        }
        done
    }

    fn forget(&self) {
        self.session.replace(None);
    }
}

/// Prints where, and nothing of what was said there.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("server", &self.server)
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

/// Our SQL in the words of PostgreSQL. No text of ours holds a question mark.
fn in_their_words(sql: &str) -> String {
    sql.replace('?', "$").replace("instr(", "strpos(")
}

/// What went wrong, in our words. What a server says in detail may quote a row, and is left out.
fn translated(error: &tokio_postgres::Error) -> StoreError {
    let Some(said) = error.as_db_error() else {
        return if error.is_closed() || is_io(error) {
            ServerError::Lost.into()
        } else {
            ServerError::Other {
                code: String::new(),
                message: error.to_string(),
            }
            .into()
        };
    };
    let code = said.code();
    let message = said.message().to_owned();
    if *code == SqlState::LOCK_NOT_AVAILABLE {
        StoreError::Busy
    } else if *code == SqlState::DISK_FULL {
        StoreError::Full
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        StoreError::ReadOnly
    } else if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) {
        StoreError::Corrupt {
            what: "the server's files",
        }
    } else if *code == SqlState::QUERY_CANCELED {
        ServerError::Slow.into()
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE || code.code().starts_with("28") {
        ServerError::Denied(message).into()
    } else if code.code().starts_with("57P")
        || code.code().starts_with("08")
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
    {
        ServerError::Lost.into()
    } else {
        ServerError::Other {
            code: code.code().to_owned(),
            message,
        }
        .into()
    }
}

/// Whether the error is one of the connection itself.
fn is_io(error: &tokio_postgres::Error) -> bool {
    error
        .source()
        .is_some_and(<dyn StdError>::is::<std::io::Error>)
}

impl ToSql for Value {
    fn to_sql(
        &self,
        column: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *column == Type::INT8 => number.to_sql(column, out),
            Self::Text(text) if <&str as ToSql>::accepts(column) => {
                text.as_str().to_sql(column, out)
            }
            Self::Octets(octets) if *column == Type::BYTEA => octets.to_sql(column, out),
            _ => Err("a parameter of another type than its column".into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(column: &Type, octets: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        match *column {
            Type::INT8 => i64::from_sql(column, octets).map(Self::Integer),
            Type::INT4 => i32::from_sql(column, octets).map(|number| Self::Integer(number.into())),
            Type::BYTEA => <&[u8]>::from_sql(column, octets).map(Self::from),
            _ => <&str>::from_sql(column, octets).map(Self::from),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(column: &Type) -> bool {
        matches!(*column, Type::INT8 | Type::INT4 | Type::BYTEA)
            || <&str as FromSql<'_>>::accepts(column)
    }
}
