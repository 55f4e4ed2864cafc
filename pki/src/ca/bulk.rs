//! A bulk run: row after row through the seven steps, under one key that is unlocked once.
//!
//! Before a row is issued, its files and the inventory are asked whether it was before; so a run can be
//! ended anywhere and begun again. What is wrong with a row ends the row; what would be wrong with every
//! row, such as a full disk or a log that takes no entry, ends the run.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Ca;
use crate::authority::{Authority, Issuing};
use crate::bulk::{Journal, Outcome, Place, Row, RowError, Source, Totals, Wanted};
use crate::error::Error;
use crate::files::{FileError, read_bounded};
use crate::inspect::Inspected;
use crate::issue::{Issued, KeySource, Order, Validated};
use crate::log::Asker;
use crate::outbox::Outbox;
use crate::pem::MAX_CERTIFICATE_FILE_OCTETS;
use crate::profile::{EndEntity, Names};
use crate::request::Request;
use crate::serial::Serial;
use crate::store::{Find, Record, Status, StoreError};

/// What a bulk run is to do.
#[derive(Debug)]
pub struct Bulk {
    /// What all certificates are for.
    pub profile: EndEntity,
    /// Where the rows come from.
    pub source: Source,
    /// The directory in which each gets one of its own.
    pub out: PathBuf,
    /// The journal.
    pub journal: PathBuf,
}

impl Ca {
    /// Issues a certificate for each row; `clock` is asked for each, `told` hears what became of it.
    ///
    /// # Errors
    ///
    /// What would be wrong with every row. Rows that were done until then are done.
    pub fn bulk(
        &mut self,
        bulk: &Bulk,
        clock: &mut dyn FnMut() -> Timestamp,
        told: &mut dyn FnMut(&Place, &Outcome),
    ) -> Result<Totals, Error> {
        self.refuse_if_issuer_is_revoked()?;
        let rows = bulk.source.rows(bulk.profile)?;
        let authority = self.unlock::<Issuing>()?;
        let mut journal = Journal::open(&bulk.journal)?;
        let mut totals = Totals::default();
        for row in rows {
            let Row { at, wanted } = row?;
            let out = wanted.as_ref().ok().map(|wanted| wanted.out.clone());
            let done = match wanted {
                Ok(wanted) => self.bulk_row(bulk, wanted, &authority, clock()),
                Err(error) => Err(Failed::Row(error)),
            };
            let (outcome, end) = match done {
                Ok(outcome) => (outcome, None),
                Err(Failed::Row(error)) => (failed(&error), None),
                Err(Failed::Verb(error)) if is_of_one_row(&error) => (failed(&error), None),
                Err(Failed::Verb(error)) => (failed(&error), Some(error)),
            };
            match &outcome {
                Outcome::Issued(_) => totals.issued += 1,
                Outcome::Already(_) => totals.already += 1,
                Outcome::Failed { .. } => totals.failed += 1,
            }
            journal.add(&at, out.as_deref(), &outcome)?;
            told(&at, &outcome);
            if let Some(error) = end {
                return Err(error);
            }
        }
        journal.close()?;
        Ok(totals)
    }

    fn bulk_row(
        &mut self,
        bulk: &Bulk,
        wanted: Wanted,
        authority: &Authority<Issuing>,
        now: Timestamp,
    ) -> Result<Outcome, Failed> {
        let names = bulk.profile.admit(wanted.names).map_err(Error::from)?;
        let out = bulk.out.join(&wanted.out);
        if let Some(serial) =
            self.handed_over_before(bulk, &names, wanted.request.as_deref(), &out, now)?
        {
            return Ok(Outcome::Already(serial));
        }
        if let Some(request) = &wanted.request
            && let Some(issued) = self.issued_before(bulk, &names, request, now)?
        {
            let serial = issued.serial.clone();
            self.hand_over(Outbox::prepare(&out, None, None)?, &issued)?;
            return Ok(Outcome::Already(serial));
        }
        let order = Order {
            profile: bulk.profile,
            names: names.clone(),
            key: wanted.request.map_or(KeySource::New, KeySource::Request),
            days: wanted.days,
        };
        match self.issue_row(order, &out, authority, now) {
            Ok(serial) => Ok(Outcome::Issued(serial)),
            Err(error) => {
                self.put_refusal_on_record(&error, bulk.profile, &names)?;
                Err(error.into())
            }
        }
    }

    fn issue_row(
        &mut self,
        order: Order,
        out: &Path,
        authority: &Authority<Issuing>,
        now: Timestamp,
    ) -> Result<Serial, Error> {
        let validated = Validated::check(order, self.issuing()?, now)?;
        let outbox = Outbox::prepare(out, validated.secret(), None)?;
        let issued = self.certify(validated, (authority, &Asker::Operator), now)?;
        self.hand_over(outbox, &issued)?;
        Ok(issued.serial)
    }

    /// The serial of the certificate in `out`, if it is one of these names that was issued here.
    fn handed_over_before(
        &self,
        bulk: &Bulk,
        names: &Names,
        request: Option<&[u8]>,
        out: &Path,
        now: Timestamp,
    ) -> Result<Option<Serial>, Error> {
        let path = out.join("cert.pem");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_bounded(&path, MAX_CERTIFICATE_FILE_OCTETS)?;
        let Some(inspected) = Inspected::read(&bytes) else {
            return Ok(None);
        };
        if let Some(request) = request
            && Request::parse(request)?.key().sha256() != inspected.key_sha256
        {
            return Ok(None);
        }
        let found = self.store.find(&Find::Tbs(inspected.tbs_sha256))?;
        Ok(found
            .into_iter()
            .find(|record| is_as_wanted(record, bulk, names, now))
            .map(|record| record.serial))
    }

    /// A live certificate of these names for the key of this request: a run ended between its signature and
    /// its files.
    fn issued_before(
        &self,
        bulk: &Bulk,
        names: &Names,
        request: &[u8],
        now: Timestamp,
    ) -> Result<Option<Issued>, Error> {
        let request = Request::parse(request)?;
        for record in self.store.find(&Find::Id(names.label()))? {
            if !is_as_wanted(&record, bulk, names, now) {
                continue;
            }
            let Some(der) = self.store.der(record.id)? else {
                continue;
            };
            if Inspected::read(&der)
                .is_some_and(|inspected| inspected.key_sha256 == request.key().sha256())
            {
                let serial = record.serial;
                return Ok(Some(Issued { serial, der }));
            }
        }
        Ok(None)
    }
}

/// Whether it is live, and what the row asks for.
fn is_as_wanted(record: &Record, bulk: &Bulk, names: &Names, now: Timestamp) -> bool {
    record.status == Status::Issued
        && !record.is_expired(now)
        && record.profile == bulk.profile.profile()
        && record.names == names.all()
}

/// Why a row came to nothing.
enum Failed {
    /// It is none.
    Row(RowError),
    /// It was refused, or something failed.
    Verb(Error),
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Verb(error.into())
    }
}

fn failed(error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Failed {
        error: error.to_string(),
    }
}

/// Whether another row may do better.
fn is_of_one_row(error: &Error) -> bool {
    matches!(
        error,
        Error::Profile(_)
            | Error::Request(_)
            | Error::Key { .. }
            | Error::HandOver { .. }
            | Error::File(FileError::Exists { .. } | FileError::TooLarge { .. })
            | Error::Store(
                StoreError::KeyCompromised | StoreError::KeyOfAnother | StoreError::State
            )
    )
}
