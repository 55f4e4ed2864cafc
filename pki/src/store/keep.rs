//! Keeping the inventory: whole copies of it, and whether it contradicts itself.

use std::fmt;
use std::path::Path;

use super::engine::{Engine, Row, Value};
use super::{Store, StoreError};
use crate::files::{Doing, FileError, Readers, create_new, parent_of, sync_directory};
use crate::public_key::{hex, sha256};

/// Something in the inventory that contradicts the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The file is damaged.
    File {
        /// What SQLite says of it.
        says: String,
    },
    /// A row refers to one that is not there.
    Reference {
        /// The table that it is in.
        table: String,
    },
    /// The octets of a certificate are not those that were stored.
    Fingerprint {
        /// The serial of the certificate.
        serial: String,
    },
    /// The number that is kept of a kind of certificates is not how many there are.
    Count {
        /// Their profile.
        profile: String,
        /// Their state.
        status: String,
    },
    /// There is more; so many findings are enough.
    More,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { says } => write!(f, "the file is damaged: {says}"),
            Self::Reference { table } => {
                write!(f, "a row of {table} refers to one that is not there")
            }
            Self::Fingerprint { serial } => {
                write!(
                    f,
                    "the octets of certificate {serial} are not those that were stored"
                )
            }
            Self::Count { profile, status } => {
                write!(
                    f,
                    "the number of {profile} certificates in state {status} is wrong"
                )
            }
            Self::More => write!(f, "and more"),
        }
    }
}

/// Most findings that are listed.
const MAX_FINDINGS: usize = 100;
/// Rows that are read, and written, at once.
const AT_ONCE: usize = 500;

impl Store {
    /// Writes a copy as of one moment to a new file that only its owner can read, durable when this
    /// returns. Others work on meanwhile. Of a server, the copy holds what this authority sees of it.
    ///
    /// The copy is a store of its own: [`Store::open`] opens it. What failed leaves no file.
    pub fn backup_to(&self, path: &Path) -> Result<(), StoreError> {
        create_new(path, Readers::Owner, b"").map_err(StoreError::File)?;
        self.fill(path).inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
    }

    fn fill(&self, path: &Path) -> Result<(), StoreError> {
        if let Engine::Sqlite(sqlite) = &self.engine {
            sqlite.copy_to(path)?;
            Self::open(path)?.close()?;
        } else {
            let mut copy = Self::create_in(path)?;
            self.copy_into(&mut copy)?;
            copy.close()?;
        }
        let io = |error| StoreError::File(FileError::io(Doing::Write, path, error));
        std::fs::File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(io)?;
        sync_directory(parent_of(path)).map_err(StoreError::File)
    }

    /// Copies everything that this authority sees into another store, which must not know it yet:
    /// whole or not at all. Places in lists ([`super::CertificateId`]) change.
    pub fn copy_into(&self, target: &mut Self) -> Result<(), StoreError> {
        let from = self.engine.snapshot()?;
        let to = target.engine.write()?;
        let ours = format!("SELECT key_id FROM authorities WHERE {}", self.scoped("id"));
        for authority in from.query(&ours, &[])? {
            let known = "SELECT count(*) FROM authorities WHERE key_id = ?1";
            if to.number(known, &[authority.text(0)?.into()])? > 0 {
                return Err(StoreError::NotEmpty);
            }
        }
        let by = Shifts {
            authorities: to.number("SELECT coalesce(max(id), 0) FROM authorities", &[])?,
            certificates: to.number("SELECT coalesce(max(id), 0) FROM certificates", &[])?,
            tokens: to.number("SELECT coalesce(max(id), 0) FROM tokens", &[])?,
        };
        for table in TABLES {
            table.copy(&from, &to, &by, &self.scoped(table.scope))?;
        }
        to.ids_were_given(&["authorities", "certificates", "tokens"])?;
        to.commit()
    }

    /// Looks for contradictions: in the file, between tables, and between a certificate's octets and
    /// what was noted of them. Reads everything, which takes seconds for a million certificates.
    pub fn check(&self) -> Result<Vec<Finding>, StoreError> {
        let snapshot = self.engine.snapshot()?;
        let mut findings = Vec::new();
        if let Engine::Sqlite(_) = &self.engine {
            check_file(&snapshot, &mut findings)?;
        }
        check_counts(&snapshot, &mut findings)?;
        check_octets(&snapshot, &self.scoped("issuer"), &mut findings)?;
        if findings.len() > MAX_FINDINGS {
            findings.truncate(MAX_FINDINGS);
            findings.push(Finding::More);
        }
        Ok(findings)
    }
}

fn check_file(engine: &Engine, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    for row in engine.query("SELECT integrity_check FROM pragma_integrity_check", &[])? {
        let says = row.text(0)?.to_owned();
        if says != "ok" {
            findings.push(Finding::File { says });
        }
    }
    let dangling = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_check";
    for row in engine.query(dangling, &[])? {
        let table = row.text(0)?.to_owned();
        findings.push(Finding::Reference { table });
    }
    Ok(())
}

fn check_counts(engine: &Engine, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let wrong = engine.query(
        "SELECT profile, status FROM
             (SELECT issuer, profile, status, number FROM counts
              UNION ALL
              SELECT issuer, profile, status, -count(*) AS number FROM certificates
               GROUP BY issuer, profile, status) AS both_ways
          GROUP BY issuer, profile, status HAVING sum(number) <> 0",
        &[],
    )?;
    for row in wrong {
        findings.push(Finding::Count {
            profile: row.text(0)?.to_owned(),
            status: row.text(1)?.to_owned(),
        });
    }
    Ok(())
}

fn check_octets(
    engine: &Engine,
    scope: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT id, serial, fingerprint, der FROM certificates
          WHERE id > ?1 AND {scope} ORDER BY id LIMIT {AT_ONCE}"
    );
    let mut after = 0;
    while findings.len() <= MAX_FINDINGS {
        let mut rows = 0;
        engine.each(&sql, &[after.into()], &mut |row| {
            rows += 1;
            after = row.integer(0)?;
            let noted = row.optional_text(2)?;
            if row
                .optional_octets(3)?
                .map(|der| hex(&sha256(der)))
                .as_deref()
                != noted
            {
                let serial = row.text(1)?.to_owned();
                findings.push(Finding::Fingerprint { serial });
            }
            Ok(())
        })?;
        if rows < AT_ONCE {
            break;
        }
    }
    Ok(())
}

/// By how much the places of rows move, so that they do not meet those that are there.
#[derive(Debug)]
struct Shifts {
    authorities: i64,
    certificates: i64,
    tokens: i64,
}

/// Which of them a column moves by.
#[derive(Debug, Clone, Copy)]
enum Place {
    Authority,
    Certificate,
    Token,
}

impl Shifts {
    fn of(&self, place: Place) -> i64 {
        match place {
            Place::Authority => self.authorities,
            Place::Certificate => self.certificates,
            Place::Token => self.tokens,
        }
    }
}

/// How a table is copied. Its first column is what its rows are read in order of.
struct Table {
    name: &'static str,
    columns: &'static str,
    /// The columns that hold places, by number.
    places: &'static [(usize, Place)],
    /// The column that says whose a row is.
    scope: &'static str,
    /// The table whose rows belong to those of this one, if there is one.
    details: Option<&'static Table>,
}

/// The tables in an order in which each refers to what was copied before. The counts come by
/// themselves.
const TABLES: [&Table; 4] = [&AUTHORITIES, &CRLS, &CERTIFICATES, &TOKENS];

const AUTHORITIES: Table = Table {
    name: "authorities",
    columns: "id, role, key_id, crl_floor",
    places: &[(0, Place::Authority)],
    scope: "id",
    details: None,
};

const CRLS: Table = Table {
    name: "crls",
    columns: "authority, shard, next_number, published_number, this_update, next_update, entries",
    places: &[(0, Place::Authority)],
    scope: "authority",
    details: None,
};

const CERTIFICATES: Table = Table {
    name: "certificates",
    columns: "id, issuer, serial, shard, status, profile, label, key_origin, key_sha256, reserved_at, \
              tbs_sha256, not_before, not_after, revoked_at, reason, retired_by_crl, fingerprint, \
              issued_at, der",
    places: &[(0, Place::Certificate), (1, Place::Authority)],
    scope: "issuer",
    details: Some(&NAMES),
};

const NAMES: Table = Table {
    name: "names",
    columns: "certificate, position, kind, value",
    places: &[(0, Place::Certificate)],
    scope: "certificate",
    details: None,
};

const TOKENS: Table = Table {
    name: "tokens",
    columns: "id, authority, token_sha256, profile, label, made_at, made_by, expires_at, used_at, \
              used_by, cancelled_at, cancelled_by",
    places: &[
        (0, Place::Token),
        (1, Place::Authority),
        (9, Place::Certificate),
    ],
    scope: "authority",
    details: Some(&TOKEN_NAMES),
};

const TOKEN_NAMES: Table = Table {
    name: "token_names",
    columns: "token, position, kind, value",
    places: &[(0, Place::Token)],
    scope: "token",
    details: None,
};

impl Table {
    fn copy(&self, from: &Engine, to: &Engine, by: &Shifts, scope: &str) -> Result<(), StoreError> {
        let (name, columns) = (self.name, self.columns);
        let first = columns.split(',').next().unwrap_or(columns);
        // A CRL's place is its authority's, of which there are two.
        let sql = if self.details.is_some() {
            format!(
                "SELECT {columns} FROM {name} WHERE {scope} AND {first} > ?1 ORDER BY {first} \
                 LIMIT {AT_ONCE}"
            )
        } else {
            format!("SELECT {columns} FROM {name} WHERE {scope} AND {first} > ?1")
        };
        let mut after = 0;
        loop {
            let rows = from.query(&sql, &[after.into()])?;
            let places = rows
                .iter()
                .map(|row| row.integer(0))
                .collect::<Result<Vec<_>, _>>()?;
            let mut rows = rows.into_iter().map(Row::into_values).peekable();
            while rows.peek().is_some() {
                self.insert(to, by, rows.by_ref().take(AT_ONCE))?;
            }
            let Some(&last) = places.last() else {
                return Ok(());
            };
            let Some(details) = self.details else {
                return Ok(());
            };
            after = last;
            let belonging = places
                .iter()
                .map(i64::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            details.copy(from, to, by, &format!("{} IN ({belonging})", details.scope))?;
        }
    }

    fn insert(
        &self,
        to: &Engine,
        by: &Shifts,
        rows: impl Iterator<Item = Vec<Value>>,
    ) -> Result<(), StoreError> {
        let mut values = Vec::new();
        let mut parameters = Vec::new();
        for mut row in rows {
            for &(column, place) in self.places {
                if let Some(Value::Integer(number)) = row.get_mut(column) {
                    *number = number.saturating_add(by.of(place));
                }
            }
            let numbers: Vec<String> = (values.len() + 1..=values.len() + row.len())
                .map(|number| ["?", &number.to_string()].concat())
                .collect();
            parameters.push(["(", &numbers.join(", "), ")"].concat());
            values.extend(row);
        }
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            self.name,
            self.columns,
            parameters.join(", ")
        );
        to.execute(&sql, &values)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::lifecycle::tests::{at, issue, serial};
    use super::super::tests::{Home, On, on_both_engines};
    use super::super::{AuthorityRole, Filter, Find};
    use super::*;
    use crate::public_key::KeyId;
    use crate::reason::Reason;

    on_both_engines!(
        a_copy_holds_everything_and_is_a_store_of_its_own,
        a_copy_goes_back_into_a_store_of_either_kind_that_does_not_know_it,
        a_copy_holds_nothing_of_other_authorities,
        a_sound_store_has_no_findings,
        octets_that_were_changed_are_found,
    );

    /// Two issued, one of them revoked, one CRL published, one token used.
    fn filled(on: &On) -> (Home, Store, super::super::AuthorityId) {
        let (home, mut store, issuing) = on.new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 100);
        issue(&mut store, issuing, 2, "urn:example:b", 100);
        store
            .revoke::<StoreError>(&Find::Serial(serial(2)), Reason::Superseded, at(5), Ok)
            .unwrap();
        let number = store.take_crl_number(issuing, Some(3)).unwrap();
        store
            .publish_crl::<StoreError>(issuing, Some(3), number, (at(6), at(9)), |_| Ok(()))
            .unwrap();
        (home, store, issuing)
    }

    fn contents(store: &Store) -> String {
        let listed = store.list(&Filter::default(), None, 100, at(0)).unwrap();
        let issuing = store
            .authority(AuthorityRole::Issuing, KeyId([7; 20]))
            .unwrap();
        let rows: Vec<_> = listed
            .records
            .iter()
            .map(|it| {
                let der = store.der(it.id).unwrap();
                (&it.serial, it.status, &it.names, it.revoked, der)
            })
            .map(|row| format!("{row:?}"))
            .collect();
        format!(
            "{} {rows:?} {:?}",
            listed.total,
            store.crl_states(issuing).unwrap()
        )
    }

    fn a_copy_holds_everything_and_is_a_store_of_its_own(on: &On) {
        use std::os::unix::fs::MetadataExt as _;
        let (_home, mut store, issuing) = filled(on);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy.db");
        store.backup_to(&path).unwrap();
        assert!(store.backup_to(&path).is_err(), "nothing is overwritten");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let before = contents(&store);
        issue(&mut store, issuing, 3, "urn:example:c", 100);
        let mut copy = Store::open(&path).unwrap();
        assert_eq!(contents(&copy), before);
        assert_eq!(copy.check().unwrap(), []);
        // What was published after the copy was made has numbers that are left out.
        copy.raise_crl_numbers(1000).unwrap();
        let ours = copy
            .authority(AuthorityRole::Issuing, KeyId([7; 20]))
            .unwrap();
        assert_eq!(copy.take_crl_number(ours, Some(3)).unwrap(), 1002);
        assert!(copy.take_crl_number(ours, Some(4)).unwrap() > 1000);
        issue(&mut copy, ours, 3, "urn:example:c", 100);
        let mode = copy.engine.first("PRAGMA journal_mode", &[]).unwrap();
        assert_eq!(mode.unwrap().text(0).unwrap(), "wal");
    }

    fn a_copy_goes_back_into_a_store_of_either_kind_that_does_not_know_it(on: &On) {
        let (_file, store, _) = filled(&On::File);
        let (_home, mut knows_it, _) = on.new_store();
        assert!(matches!(
            store.copy_into(&mut knows_it),
            Err(StoreError::NotEmpty)
        ));
        let (_empty, mut target) = on.empty_store();
        let other = target
            .add_authority(AuthorityRole::Issuing, KeyId([9; 20]))
            .unwrap();
        issue(&mut target, other, 77, "urn:example:z", 100);
        store.copy_into(&mut target).unwrap();
        let ours = target
            .authority(AuthorityRole::Issuing, KeyId([7; 20]))
            .unwrap();
        target.look_only_at(&[ours]).unwrap();
        assert_eq!(contents(&target), contents(&store));
        // New ones find places beyond those that were copied.
        issue(&mut target, ours, 3, "urn:example:c", 100);
        assert_eq!(target.check().unwrap(), []);
    }

    fn a_copy_holds_nothing_of_other_authorities(on: &On) {
        let (_home, mut store, issuing) = filled(on);
        let before = contents(&store);
        let other = store
            .add_authority(AuthorityRole::Issuing, KeyId([9; 20]))
            .unwrap();
        issue(&mut store, other, 2, "urn:example:b", 100);
        store.look_only_at(&[issuing]).unwrap();
        assert_eq!(store.find(&Find::Serial(serial(2))).unwrap().len(), 1);
        let filter = Filter {
            id: Some(super::super::IdFilter::Prefix("urn:".to_owned())),
            ..Filter::default()
        };
        assert_eq!(store.list(&filter, None, 10, at(0)).unwrap().total, 2);
        if matches!(on, On::File) {
            // A file has one owner; its copy is whole.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy.db");
        store.backup_to(&path).unwrap();
        assert_eq!(contents(&Store::open(&path).unwrap()), before);
    }

    fn a_sound_store_has_no_findings(on: &On) {
        let (_home, store, _) = filled(on);
        assert_eq!(store.check().unwrap(), []);
    }

    fn octets_that_were_changed_are_found(on: &On) {
        let (_home, store, _) = filled(on);
        let first = "(SELECT min(id) FROM certificates)";
        let sql = format!("UPDATE certificates SET der = ?1 WHERE id = {first}");
        store
            .engine
            .execute(&sql, &[b"something else".as_slice().into()])
            .unwrap();
        store
            .engine
            .batch("UPDATE counts SET number = number + 1 WHERE status = 'revoked'")
            .unwrap();
        assert_eq!(
            store.check().unwrap(),
            [
                Finding::Count {
                    profile: "device".to_owned(),
                    status: "revoked".to_owned()
                },
                Finding::Fingerprint {
                    serial: "01".to_owned()
                }
            ]
        );
    }

    #[test]
    fn a_file_that_was_damaged_is_found() {
        let (home, store, _) = filled(&On::File);
        store.close().unwrap();
        let Home::File(directory) = &home else {
            unreachable!("it is in a file")
        };
        let path = directory.path().join("inventory.db");
        let mut bytes = std::fs::read(&path).unwrap();
        // The same serial in the table and in its index, but not the same any more.
        let place = bytes
            .windows(64)
            .rposition(|window| window == "01".repeat(32).as_bytes())
            .unwrap();
        bytes[place] = b'f';
        std::fs::write(&path, bytes).unwrap();
        let store = home.open();
        let findings = store.check().unwrap();
        assert!(
            findings.iter().any(|it| matches!(it, Finding::File { .. })),
            "{findings:?}"
        );
    }
}
