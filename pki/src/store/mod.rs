//! The inventory: every serial that was ever drawn and what became of it, in SQLite.
//!
//! Each change is durable when the call returns (`synchronous = FULL` on a write-ahead log), takes
//! the write lock from its start, and waits for it a bounded time, so that several processes can
//! work on one store. What must never happen is forbidden by the schema itself. The store signs
//! nothing and reads no clock. A store on a server, for several issuers that share one inventory,
//! will stand behind the same verbs.

mod crl;
mod lifecycle;
mod query;
mod record;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

pub use crl::CrlState;
pub use lifecycle::Reservation;
pub use query::{Filter, Find, IdFilter, MAX_PAGE, Page, StatusFilter};
pub use record::{CertificateId, KeyOrigin, Record, Status};

use crate::files::{FileError, Readers, create_new};
pub use crate::profile::AuthorityRole;
use crate::public_key::KeyId;

/// An open inventory.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
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
        let mut store = Self::connect(path)?;
        // The write-ahead log is synced at every commit; a rollback journal would also need its
        // directory synced after each, or the last commit could be undone by a power failure.
        let mode: String = store
            .connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::NoWriteAheadLog);
        }
        let transaction = store.begin()?;
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
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
        let store = Self::connect(path)?;
        let pragma = |name: &str| -> Result<i32, StoreError> {
            Ok(store
                .connection
                .pragma_query_value(None, name, |row| row.get(0))?)
        };
        if pragma("application_id")? != APPLICATION_ID {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
            });
        }
        let version = pragma("user_version")?;
        if version != SCHEMA_VERSION {
            return Err(StoreError::Version { version });
        }
        Ok(store)
    }

    /// Adds an authority.
    pub fn add_authority(
        &mut self,
        role: AuthorityRole,
        key: KeyId,
    ) -> Result<AuthorityId, StoreError> {
        let transaction = self.begin()?;
        transaction.execute(
            "INSERT INTO authorities (role, key_id) VALUES (?1, ?2)",
            (role.as_str(), key.to_string()),
        )?;
        let id = transaction.last_insert_rowid();
        transaction.commit()?;
        Ok(AuthorityId(id))
    }

    /// The authority with this role and key: a store and certificates that were mixed up from two
    /// directories do not match.
    pub fn authority(&self, role: AuthorityRole, key: KeyId) -> Result<AuthorityId, StoreError> {
        self.connection
            .query_row(
                "SELECT id FROM authorities WHERE role = ?1 AND key_id = ?2",
                (role.as_str(), key.to_string()),
                |row| row.get(0),
            )
            .map(AuthorityId)
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => StoreError::UnknownAuthority { role },
                error => error.into(),
            })
    }

    /// Folds the write-ahead log into the file and closes it, so that the file alone is the store.
    pub fn close(self) -> Result<(), StoreError> {
        self.connection
            .close()
            .map_err(|(_, error)| StoreError::from(error))
    }

    fn connect(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(Self { connection })
    }

    /// Begins a change. It holds the write lock from here on, so that what it reads stays true
    /// until it commits.
    fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

/// What failed in the store.
#[derive(Debug)]
pub enum StoreError {
    /// The file could not be created.
    File(FileError),
    /// There is no file.
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is something else.
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// The layout is one of another version of this program.
    Version {
        /// Its number.
        version: i32,
    },
    /// The file system cannot carry a write-ahead log.
    NoWriteAheadLog,
    /// The store does not know this authority.
    UnknownAuthority {
        /// Its role.
        role: AuthorityRole,
    },
    /// Another process held the write lock for too long.
    Busy,
    /// The disk is full.
    Full,
    /// The file, or the directory it lies in, cannot be written.
    ReadOnly,
    /// What is stored contradicts itself.
    Corrupt {
        /// Where.
        what: &'static str,
    },
    /// The serial was drawn before. With 128 random bits that is a broken random source.
    SerialTaken,
    /// The certificate is not in the state from which this step starts.
    State,
    /// The public key was reported as compromised.
    KeyCompromised,
    /// The public key belongs to a live certificate with other names.
    KeyOfAnother,
    /// Another failure of SQLite.
    Sqlite(rusqlite::Error),
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

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::Missing { path } => write!(f, "there is no inventory at {}", path.display()),
            Self::Foreign { path } => {
                write!(f, "{} is no inventory of this program", path.display())
            }
            Self::Version { version } => write!(
                f,
                "the inventory has layout {version}; this program knows {SCHEMA_VERSION}"
            ),
            Self::NoWriteAheadLog => {
                write!(
                    f,
                    "the file system cannot carry the inventory's write-ahead log"
                )
            }
            Self::UnknownAuthority { role } => write!(
                f,
                "the inventory does not know the {} certificate beside it",
                role.as_str()
            ),
            Self::Busy => write!(
                f,
                "another process kept the inventory locked for {} s",
                BUSY_TIMEOUT.as_secs()
            ),
            Self::Full => write!(f, "the disk with the inventory is full"),
            Self::ReadOnly => write!(f, "the inventory cannot be opened for writing"),
            Self::Corrupt { what } => write!(f, "the inventory is damaged ({what})"),
            Self::SerialTaken => write!(
                f,
                "a new random serial was drawn before: the random source is broken"
            ),
            Self::State => write!(
                f,
                "the certificate is not in the state that this step starts from"
            ),
            Self::KeyCompromised => write!(f, "the public key was reported as compromised"),
            Self::KeyOfAnother => write!(
                f,
                "the public key belongs to a live certificate with another name"
            ),
            Self::Sqlite(error) => write!(f, "the inventory failed: {error}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Sqlite(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A store with one authority, in a directory that lives as long as the first value.
    pub(crate) fn new_store() -> (tempfile::TempDir, Store, AuthorityId) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("inventory.db")).unwrap();
        let issuing = store
            .add_authority(AuthorityRole::Issuing, KeyId([7; 20]))
            .unwrap();
        (dir, store, issuing)
    }

    #[test]
    fn every_change_is_durable_before_the_call_returns() {
        let (_dir, store, _) = new_store();
        let pragma = |name| {
            store
                .connection
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
                .unwrap()
        };
        assert_eq!(pragma("synchronous"), 2.into());
        assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
        assert_eq!(pragma("foreign_keys"), 1.into());
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
        store
            .connection
            .pragma_update(None, "user_version", 1)
            .unwrap();
        store.close().unwrap();
        assert!(matches!(
            Store::open(&dir.path().join("inventory.db")),
            Err(StoreError::Version { version: 1 })
        ));
    }

    #[test]
    fn an_authority_from_elsewhere_is_not_known() {
        let (_dir, store, issuing) = new_store();
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
