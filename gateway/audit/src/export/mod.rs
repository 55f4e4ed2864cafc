//! The log in the words of others: FHIR AuditEvent, OCSF, CSV, DICOM audit messages.
//!
//! [`join`] makes of the records of a request one [`Exchange`]; a format makes of it documents. All of
//! it is pure: entries in, bytes out, in bounded memory. What is sealed is opened before it comes here,
//! and that somebody reads the log is recorded before.
//!
//! Patients stay pseudonyms. A format has a file here and a row in [`Format::ALL`].

pub mod join;

mod balp;

mod ocsf;

mod csv;

mod xml;

mod syslog;

mod dicom;

#[cfg(test)]
mod testing;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::{Entry, Event, Pseudonym, Time};
use crate::exchange::Exchange;
use join::{Bounds, Joiner};

/// Into which words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Requests as FHIR R4 AuditEvent resources (IHE BALP), one a line.
    Balp,
    /// Requests as OCSF events, one a line.
    Ocsf,
    /// Requests as a table (RFC 4180).
    Csv,
    /// Audit messages of DICOM by syslog (RFC 5424), counted in octets.
    Dicom,
}

impl Format {
    /// All of them, with the name that an operator types.
    pub const ALL: &'static [(Format, &'static str)] = &[
        (Format::Balp, "balp"),
        (Format::Ocsf, "ocsf"),
        (Format::Csv, "csv"),
        (Format::Dicom, "dicom"),
    ];
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Format, FormatError> {
        let row = Format::ALL.iter().find(|(_, known)| *known == name);
        row.map(|(format, _)| *format).ok_or(FormatError)
    }
}

/// There is no format of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatError;

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a format is one of")?;
        for (number, (_, name)) in Format::ALL.iter().enumerate() {
            write!(f, "{} {name}", if number == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for FormatError {}

/// Who wrote the log, as far as the log told, and who exports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The machine that exports.
    pub host: String,
    /// The log's name, as it stands in its checkpoints; of a log that is not signed, its id in hex.
    pub log: String,
    /// The version of the writer; empty until it is known.
    pub version: String,
    /// The process id of the writer.
    pub process: Option<u32>,
}

impl Source {
    fn learn(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(it) => {
                it.version.clone_into(&mut self.version);
                self.process = Some(it.pid);
            }
            // A verifier key begins with the log's name (C2SP signed-note, "Verifier keys").
            Event::SigningKey(it) => {
                if let Some((name, _)) = it.key.split_once('+') {
                    name.clone_into(&mut self.log);
                }
            }
            _ => {}
        }
    }
}

/// Makes documents of entries.
#[derive(Debug)]
pub struct Exporter {
    format: Format,
    source: Source,
    joiner: Joiner,
    told: Vec<Exchange>,
    /// Of whom alone is told; nothing when of all.
    patients: Option<BTreeSet<Pseudonym>>,
}

impl Exporter {
    /// What is known of the source; the log tells more.
    #[must_use]
    pub fn new(format: Format, source: Source) -> Exporter {
        Exporter {
            format,
            source,
            joiner: Joiner::new(Bounds::default()),
            told: Vec::new(),
            patients: None,
        }
    }

    /// Who wrote the log, as far as it told.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What stands before the first document.
    pub fn head(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Csv => csv::head(out),
            Format::Balp | Format::Ocsf | Format::Dicom => {}
        }
    }

    /// Tells of no other patients than those of these names.
    #[must_use]
    pub fn about(mut self, patients: BTreeSet<Pseudonym>) -> Exporter {
        self.patients = Some(patients);
        self
    }

    /// Takes the next entry of the log, and adds to `out` the documents that are finished by it. Told are
    /// requests of which one record was asked for, and events that were; but every entry has to come
    /// here, or what belongs to them is not known.
    pub fn take(&mut self, sequence: u64, entry: &Entry<'_>, is_asked: bool, out: &mut Vec<u8>) {
        self.source.learn(&entry.event);
        self.joiner.take(sequence, entry, is_asked, &mut self.told);
        self.write(out);
        if is_asked && self.format == Format::Dicom {
            dicom::write_event(sequence, entry, &self.source, out);
        }
    }

    /// Takes an entry whose documents were written before: what it tells of its connection is needed.
    pub fn recall(&mut self, sequence: u64, entry: &Entry<'_>) {
        self.source.learn(&entry.event);
        if entry.event.request().is_none() {
            let is_asked = false;
            self.joiner.take(sequence, entry, is_asked, &mut self.told);
        }
    }

    /// Adds the documents of requests that began before `before`, as they are known.
    pub fn tell_older(&mut self, before: Time, out: &mut Vec<u8>) {
        self.joiner.tell_older(before, &mut self.told);
        self.write(out);
    }

    /// The first entry that another exporter has to [recall](Exporter::recall) to go on from here, if
    /// there is any.
    #[must_use]
    pub fn needs_from(&self) -> Option<u64> {
        self.joiner.needs_from()
    }

    /// The first record of a request that is not written yet, if there is any.
    #[must_use]
    pub fn untold_from(&self) -> Option<u64> {
        self.joiner.untold_from()
    }

    /// Adds the documents of whatever is open: the log ends here. Returns of how many requests.
    pub fn end(&mut self, out: &mut Vec<u8>) -> usize {
        self.joiner.end(&mut self.told);
        let open = self.told.len();
        self.write(out);
        open
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        for mut exchange in self.told.drain(..) {
            if !exchange.is_asked {
                continue;
            }
            if let Some(asked) = &self.patients {
                exchange.keep_patients(asked);
                if exchange.patients.is_empty() {
                    // A part of it, in which the others stand.
                    continue;
                }
            }
            match self.format {
                Format::Balp => balp::write(&exchange, &self.source, out),
                Format::Ocsf => ocsf::write(&exchange, &self.source, out),
                Format::Csv => csv::write(&exchange, out),
                Format::Dicom => dicom::write(&exchange, &self.source, out),
            }
        }
    }
}
