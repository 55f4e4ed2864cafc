//! The inventory: every serial that was ever drawn and what became of it, in SQLite or PostgreSQL.
//!
//! Each change is durable when the call returns, takes the write lock from its start, and waits for
//! it a bounded time, so that several processes can work on one store. What must never happen is
//! forbidden by the schema itself. The store signs nothing and reads no clock.
//!
//! A file is the store of one machine. A server is that of several issuers who share one, and of
//! several authorities who share a server: each sees its own certificates, and all refuse a key that
//! any of them saw compromised. The verbs are the same; `engine` holds what differs.

mod crl;
mod engine;
mod error;
mod import;
mod keep;
mod lifecycle;
#[cfg(test)]
mod many;
mod query;
mod record;
mod search;
mod standing;
mod token;

use std::path::Path;
use std::time::Duration;

pub use crl::CrlState;
pub use engine::postgres::{Server, ServerError};
pub use error::StoreError;
pub use import::Imported;
pub use keep::Finding;
pub use lifecycle::{Adopted, Reservation};
pub use query::{Filter, Find, IdFilter, MAX_PAGE, Page, StatusFilter};
pub use record::{CertificateId, KeyOrigin, Record, Status};
pub use standing::Standing;
pub use token::{
    MAX_TOKENS, NewToken, TokenId, TokenPage, TokenRecord, TokenState, handle as token_handle,
};

use crate::files::{Readers, create_new};
pub use crate::profile::AuthorityRole;
use crate::public_key::KeyId;
use engine::postgres::Postgres;
use engine::sqlite::Sqlite;
use engine::{Engine, Transaction};

/// An open inventory.
#[derive(Debug)]
pub struct Store {
    engine: Engine,
    /// The authorities whose certificates are looked at; all, if empty.
    scope: Vec<AuthorityId>,
}

/// Which authority a certificate or CRL is from, by its row in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityId(i64);

/// Marks the file as ours: "pki1" in ASCII (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x706b_6931;
/// The layout of `schema.sql` (`PRAGMA user_version`).
const SCHEMA_VERSION: i32 = 2;
/// How long a change waits for another process to finish its own.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl Store {
    /// Creates an empty store in a new file that only its owner can read.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        create_new(path, Readers::Owner, b"").map_err(StoreError::File)?;
        Self::create_in(path)
    }

    /// Creates an empty store in a file that is there, and empty.
    fn create_in(path: &Path) -> Result<Self, StoreError> {
        let sqlite = Sqlite::connect(path)?;
        sqlite.write_ahead()?;
        let store = Self::on(Engine::Sqlite(sqlite));
        let transaction = store.engine.write()?;
        transaction.batch(include_str!("schema.sql"))?;
        transaction.batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        ))?;
        transaction.commit()?;
        Ok(store)
    }

    /// Opens an existing store.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing {
                path: path.to_owned(),
            });
        }
        let sqlite = Sqlite::connect(path)?;
        if sqlite.pragma("application_id")? != APPLICATION_ID {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
            });
        }
        let version = sqlite.pragma("user_version")?;
        if version != SCHEMA_VERSION {
            return Err(StoreError::Version { version });
        }
        Ok(Self::on(Engine::Sqlite(sqlite)))
    }

    /// Opens the store on a server, and creates an empty one where there is none, whole or not at
    /// all. One that is there, perhaps with certificates of other authorities, is used as it is.
    pub fn create_on(server: Server) -> Result<Self, StoreError> {
        let store = Self::on(Engine::Postgres(Box::new(Postgres::connect(server)?)));
        let transaction = store.engine.write()?;
        match judge_server(&transaction) {
            Err(StoreError::Server(ServerError::Missing)) => {
                transaction.batch("CREATE SCHEMA IF NOT EXISTS pki")?;
                transaction.batch(include_str!("schema-postgres.sql"))?;
                transaction.execute(
                    "INSERT INTO inventory (application, layout) VALUES (?1, ?2)",
                    &[
                        i64::from(APPLICATION_ID).into(),
                        i64::from(SCHEMA_VERSION).into(),
                    ],
                )?;
                transaction.commit()?;
            }
            judged => {
                drop(transaction);
                judged?;
            }
        }
        Ok(store)
    }

    /// Opens the store on a server.
    pub fn open_on(server: Server) -> Result<Self, StoreError> {
        let store = Self::on(Engine::Postgres(Box::new(Postgres::connect(server)?)));
        judge_server(&store.engine)?;
        Ok(store)
    }

    /// Adds an authority.
    pub fn add_authority(
        &mut self,
        role: AuthorityRole,
        key: KeyId,
    ) -> Result<AuthorityId, StoreError> {
        let transaction = self.begin()?;
        let id = transaction.number(
            "INSERT INTO authorities (role, key_id) VALUES (?1, ?2) RETURNING id",
            &[role.as_str().into(), key.to_string().into()],
        )?;
        transaction.commit()?;
        Ok(AuthorityId(id))
    }

    /// The authority with this role and key: a store and certificates that were mixed up from two
    /// directories do not match.
    pub fn authority(&self, role: AuthorityRole, key: KeyId) -> Result<AuthorityId, StoreError> {
        let row = self.engine.first(
            "SELECT id FROM authorities WHERE role = ?1 AND key_id = ?2",
            &[role.as_str().into(), key.to_string().into()],
        )?;
        match row {
            Some(row) => row.integer(0).map(AuthorityId),
            None => Err(StoreError::UnknownAuthority { role }),
        }
    }

    /// Looks at nothing from here on but what these authorities issued: a server may hold what
    /// others did. A key that any of them knows as compromised stays refused.
    pub fn look_only_at(&mut self, authorities: &[AuthorityId]) -> Result<(), StoreError> {
        let others = self.engine.number(
            &format!(
                "SELECT count(*) FROM authorities AS a WHERE NOT ({})",
                among(authorities, "a.id")
            ),
            &[],
        )?;
        // A condition that holds for every row is in the way of the indexes. In a file nobody joins
        // later.
        let alone = others == 0 && matches!(self.engine, Engine::Sqlite(_));
        self.scope = if alone {
            Vec::new()
        } else {
            authorities.to_vec()
        };
        Ok(())
    }

    /// Whether issuers with other directories may work on it, too.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Ends in order. Of a file, folds the write-ahead log into it, so that it alone is the store.
    pub fn close(self) -> Result<(), StoreError> {
        self.engine.close()
    }

    fn on(engine: Engine) -> Self {
        Self {
            engine,
            scope: Vec::new(),
        }
    }

    fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        self.engine.write()
    }

    /// The condition that a column holds an authority that is looked at.
    fn scoped(&self, column: &str) -> String {
        among(&self.scope, column)
    }
}

fn among(authorities: &[AuthorityId], column: &str) -> String {
    if authorities.is_empty() {
        return "1 = 1".to_owned();
    }
    let ids: Vec<String> = authorities.iter().map(|id| id.0.to_string()).collect();
    format!("{column} IN ({})", ids.join(", "))
}

/// Whether the server holds an inventory of this program and layout.
fn judge_server(engine: &Engine) -> Result<(), StoreError> {
    let tables = |named: &str| {
        engine.number(
            &format!(
                "SELECT count(*) FROM pg_catalog.pg_class AS t
                   JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
                  WHERE n.nspname = 'pki' AND {named}"
            ),
            &[],
        )
    };
    if tables("t.relname = 'inventory' AND t.relkind = 'r'")? == 0 {
        return Err(match tables("1 = 1")? {
            0 => ServerError::Missing,
            _ => ServerError::Foreign,
        }
        .into());
    }
    let row = engine
        .first("SELECT application, layout FROM inventory", &[])?
        .ok_or(ServerError::Foreign)?;
    if row.integer(0)? != i64::from(APPLICATION_ID) {
        return Err(ServerError::Foreign.into());
    }
    let version = i32::try_from(row.integer(1)?).unwrap_or(i32::MAX);
    if version != SCHEMA_VERSION {
        return Err(StoreError::Version { version });
    }
    Ok(())
}

#[cfg(test)]
#[allow(dead_code, reason = "the black-box tests use the rest of it")]
#[path = "../../tests/it/postgres.rs"]
pub(crate) mod test_server;

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use super::*;

    /// Where a store of the tests is.
    #[derive(Debug)]
    pub(crate) enum On {
        File,
        Server(Arc<test_server::Postgres>),
    }

    impl On {
        /// A store with one authority, in a place that lives as long as the first value.
        pub(crate) fn new_store(&self) -> (Home, Store, AuthorityId) {
            let (home, mut store) = self.empty_store();
            let issuing = store
                .add_authority(AuthorityRole::Issuing, KeyId([7; 20]))
                .unwrap();
            (home, store, issuing)
        }

        /// A store that knows no authority.
        pub(crate) fn empty_store(&self) -> (Home, Store) {
            let home = match self {
                Self::File => Home::File(tempfile::tempdir().unwrap()),
                Self::Server(server) => Home::Database(server.clone(), server.database()),
            };
            let store = match &home {
                Home::File(directory) => Store::create(&file_in(directory)).unwrap(),
                Home::Database(..) => Store::create_on(home.server()).unwrap(),
            };
            (home, store)
        }
    }

    /// A place with a store.
    #[derive(Debug)]
    pub(crate) enum Home {
        File(tempfile::TempDir),
        Database(Arc<test_server::Postgres>, String),
    }

    impl Home {
        pub(crate) fn open(&self) -> Store {
            match self {
                Self::File(directory) => Store::open(&file_in(directory)).unwrap(),
                Self::Database(..) => Store::open_on(self.server()).unwrap(),
            }
        }

        pub(crate) fn server(&self) -> Server {
            let Self::Database(server, database) = self else {
                unreachable!("it is in a file")
            };
            Server::new(Zeroizing::new(server.socket(database)), None)
        }
    }

    fn file_in(directory: &tempfile::TempDir) -> std::path::PathBuf {
        directory.path().join("inventory.db")
    }

    /// Makes two tests of each function: in a file, and on a server if one can be had.
    macro_rules! on_both_engines {
        ($($promise:ident),* $(,)?) => {
            mod in_a_file {
                $(#[test] fn $promise() { super::$promise(&super::On::File); })*
            }
            mod on_a_server {
                $(#[test] fn $promise() {
                    if let Some(server) = $crate::store::test_server::Postgres::shared() {
                        super::$promise(&super::On::Server(server));
                    }
                })*
            }
        };
    }
    pub(crate) use on_both_engines;

    on_both_engines!(an_authority_from_elsewhere_is_not_known);

    fn new_store() -> (tempfile::TempDir, Store, AuthorityId) {
        match On::File.new_store() {
            (Home::File(directory), store, issuing) => (directory, store, issuing),
            _ => unreachable!("it is in a file"),
        }
    }

    #[test]
    fn every_change_is_durable_before_the_call_returns() {
        let (_dir, store, _) = new_store();
        let Engine::Sqlite(sqlite) = &store.engine else {
            unreachable!("it is in a file")
        };
        assert_eq!(sqlite.pragma("synchronous").unwrap(), 2);
        assert_eq!(sqlite.pragma("foreign_keys").unwrap(), 1);
        let mode = store.engine.first("PRAGMA journal_mode", &[]).unwrap();
        assert_eq!(mode.unwrap().text(0).unwrap(), "wal");
    }

    #[test]
    fn a_store_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::MetadataExt as _;
        let (dir, _store, _) = new_store();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{entry:?}");
        }
    }

    #[test]
    fn a_closed_store_is_one_file() {
        let (dir, store, _) = new_store();
        store.close().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::Missing { .. })
        ));
        std::fs::write(
            &path,
            b"garbage, and more than a hundred octets of it".repeat(10),
        )
        .unwrap();
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::Corrupt { .. })
        ));
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::Foreign { .. })
        ));
    }

    #[test]
    fn a_store_of_another_layout_is_refused() {
        let (dir, store, _) = new_store();
        store.engine.batch("PRAGMA user_version = 1").unwrap();
        store.close().unwrap();
        assert!(matches!(
            Store::open(&dir.path().join("inventory.db")),
            Err(StoreError::Version { version: 1 })
        ));
    }

    fn an_authority_from_elsewhere_is_not_known(on: &On) {
        let (_dir, store, issuing) = on.new_store();
        assert_eq!(
            store
                .authority(AuthorityRole::Issuing, KeyId([7; 20]))
                .unwrap(),
            issuing
        );
        for (role, key) in [
            (AuthorityRole::Issuing, KeyId([8; 20])),
            (AuthorityRole::Root, KeyId([7; 20])),
        ] {
            assert!(matches!(
                store.authority(role, key),
                Err(StoreError::UnknownAuthority { .. })
            ));
        }
    }
}
