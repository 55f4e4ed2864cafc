//! Many certificates at once: the rows of a file, or the requests in a directory, one directory of files for
//! each, and a journal of what became of them.
//!
//! A row that fails does not stop the others. Run again, it goes on where it was: what is there is told by
//! the inventory and by the files, not by the journal, so a run that was killed anywhere loses nothing and
//! issues nothing twice for one request. The journal is the account for people and programs, one JSON
//! object a line, only ever added to.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::files::{Doing, FileError, Readers, read_bounded};
use crate::name::{Name, NameError};
use crate::profile::{EndEntity, NameRule};
use crate::request::{MAX_REQUEST_OCTETS, Request, RequestError};
use crate::serial::Serial;
use crate::store::IdFilter;

/// Longest row of a file, in octets.
const MAX_ROW_OCTETS: usize = 16 * 1024;

/// Most requests in one directory. Their names are sorted, so that two runs go the same way.
const MAX_REQUESTS: usize = 1_000_000;

/// Where the rows come from.
#[derive(Debug)]
pub enum Source {
    /// A file of comma-separated values with a header (RFC 4180): `id`, and any of `csr`, `hardware`,
    /// `days`, `out`. Without `csr` a new key is made.
    Table(PathBuf),
    /// The requests in a directory. Each names itself, as far as `allow` permits.
    Requests {
        /// The directory.
        directory: PathBuf,
        /// Names that may be asked for.
        allow: Vec<IdFilter>,
    },
}

/// One certificate that is wanted.
#[derive(Debug)]
pub struct Row {
    /// Where it stands: a line of the table, or the name of a file.
    pub at: Place,
    /// Its names; what makes the row no row at all is told here.
    pub wanted: Result<Wanted, RowError>,
}

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the table, counted from 1.
    Line(u64),
    /// A file of the directory.
    File(String),
}

/// What a row asks for.
#[derive(Debug)]
pub struct Wanted {
    /// The names.
    pub names: Vec<Name>,
    /// The octets of the request; a new key is made without one.
    pub request: Option<Vec<u8>>,
    /// The lifetime in days; the profile's if `None`.
    pub days: Option<u32>,
    /// The directory for its files, below the one of the run.
    pub out: String,
}

/// Why a row is none.
#[derive(Debug)]
pub enum RowError {
    /// A column is missing, doubled, or not one that is known.
    Columns,
    /// Longer than a row may be, or no text.
    Unreadable,
    /// A name.
    Name(NameError),
    /// The lifetime is no number.
    Days,
    /// The name of the directory for its files is none.
    Out,
    /// The file of the request.
    File(FileError),
    /// The request.
    Request(RequestError),
    /// It asks for a name that is not allowed, or for none.
    NotAllowed,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns => write!(
                f,
                "the columns are not those of the header, which are id and any of csr, hardware, days, out"
            ),
            Self::Unreadable => write!(
                f,
                "it is longer than {MAX_ROW_OCTETS} octets, or no text in UTF-8"
            ),
            Self::Name(error) => write!(f, "{error}"),
            Self::Days => write!(f, "days is no number from 1"),
            Self::Out => write!(
                f,
                "out is no name of a directory: letters, digits, `.`, `_`, `-`, at most 100"
            ),
            Self::File(error) => write!(f, "{error}"),
            Self::Request(error) => write!(f, "{error}"),
            Self::NotAllowed => write!(
                f,
                "the request asks for no name, or for one that is not allowed"
            ),
        }
    }
}

impl std::error::Error for RowError {}

/// For messages and the journal.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::File(name) => f.write_str(name),
        }
    }
}

impl Source {
    /// Opens it. The rows come one by one: a table of any length is never in memory as a whole.
    pub fn rows(&self, profile: EndEntity) -> Result<Rows, FileError> {
        match self {
            Self::Table(path) => {
                let file =
                    File::open(path).map_err(|error| FileError::io(Doing::Open, path, error))?;
                let mut table = Table {
                    lines: BufReader::new(file),
                    path: path.clone(),
                    line: 0,
                    columns: Vec::new(),
                    profile,
                };
                table.read_header()?;
                Ok(Rows::Table(table))
            }
            Self::Requests { directory, allow } => {
                let failed = |error| FileError::io(Doing::Open, directory, error);
                let mut files = Vec::new();
                for entry in std::fs::read_dir(directory).map_err(failed)? {
                    let path = entry.map_err(failed)?.path();
                    if path.is_file() && files.len() < MAX_REQUESTS {
                        files.push(path);
                    }
                }
                files.sort();
                Ok(Rows::Requests {
                    files: files.into_iter(),
                    allow: allow.clone(),
                    profile,
                })
            }
        }
    }
}

/// The rows of a [`Source`].
#[derive(Debug)]
pub enum Rows {
    /// Of a table.
    Table(Table),
    /// Of a directory.
    Requests {
        /// What is left of it.
        files: std::vec::IntoIter<PathBuf>,
        /// Names that may be asked for.
        allow: Vec<IdFilter>,
        /// What the certificates are for.
        profile: EndEntity,
    },
}

impl Iterator for Rows {
    type Item = Result<Row, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Table(table) => table.next_row().transpose(),
            Self::Requests {
                files,
                allow,
                profile,
            } => {
                let path = files.next()?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                Some(Ok(Row {
                    at: Place::File(name.escape_debug().to_string()),
                    wanted: request_in(&path, allow, *profile),
                }))
            }
        }
    }
}

/// A file of comma-separated values.
#[derive(Debug)]
pub struct Table {
    lines: BufReader<File>,
    path: PathBuf,
    line: u64,
    columns: Vec<Column>,
    profile: EndEntity,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    Csr,
    Hardware,
    Days,
    Out,
}

/// What stands next in the file.
enum Line {
    /// A line.
    Text(String),
    /// One that is too long, or no text.
    Unreadable,
    /// Nothing.
    End,
}

const COLUMNS: [(&str, Column); 5] = [
    ("id", Column::Id),
    ("csr", Column::Csr),
    ("hardware", Column::Hardware),
    ("days", Column::Days),
    ("out", Column::Out),
];

impl Table {
    /// Reads the first line. One that is not understood is the mistake of the file, not of a row.
    fn read_header(&mut self) -> Result<(), FileError> {
        let wrong =
            |path: &Path| FileError::io(Doing::Read, path, io::Error::other(RowError::Columns));
        let Some(Ok(fields)) = self.next_fields()? else {
            return Err(wrong(&self.path));
        };
        for field in &fields {
            let known = COLUMNS.iter().find(|(name, _)| name == field);
            match known {
                Some((_, column)) if !self.columns.contains(column) => self.columns.push(*column),
                _ => return Err(wrong(&self.path)),
            }
        }
        if self.columns.contains(&Column::Id) {
            Ok(())
        } else {
            Err(wrong(&self.path))
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>, FileError> {
        let Some(fields) = self.next_fields()? else {
            return Ok(None);
        };
        let wanted = fields.and_then(|fields| self.wanted(&fields));
        Ok(Some(Row {
            at: Place::Line(self.line),
            wanted,
        }))
    }

    /// The fields of the next line that is not empty.
    fn next_fields(&mut self) -> Result<Option<Result<Vec<String>, RowError>>, FileError> {
        loop {
            let line = match self.next_line()? {
                Line::Text(line) => line,
                Line::Unreadable => return Ok(Some(Err(RowError::Unreadable))),
                Line::End => return Ok(None),
            };
            if line.is_empty() {
                continue;
            }
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .from_reader(line.as_bytes());
            let fields = match reader.records().next() {
                Some(Ok(record)) => {
                    Ok(record.iter().map(|field| field.trim().to_owned()).collect())
                }
                Some(Err(_)) | None => Err(RowError::Columns),
            };
            return Ok(Some(fields));
        }
    }

    /// The next line without its end. Reads on to the end of one that is too long, and keeps nothing of it.
    fn next_line(&mut self) -> Result<Line, FileError> {
        let mut line = Vec::new();
        let (mut is_over, mut is_too_long) = (false, false);
        while !is_over {
            let chunk = self
                .lines
                .fill_buf()
                .map_err(|error| FileError::io(Doing::Read, &self.path, error))?;
            if chunk.is_empty() {
                if line.is_empty() && !is_too_long {
                    return Ok(Line::End);
                }
                break;
            }
            let end = chunk.iter().position(|&octet| octet == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            is_too_long |= line.len() + part.len() > MAX_ROW_OCTETS;
            if !is_too_long {
                line.extend_from_slice(part);
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            is_over = end.is_some();
            self.lines.consume(used);
        }
        self.line += 1;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(match String::from_utf8(line) {
            Ok(text) if !is_too_long => Line::Text(text),
            Ok(_) | Err(_) => Line::Unreadable,
        })
    }

    fn wanted(&self, fields: &[String]) -> Result<Wanted, RowError> {
        if fields.len() != self.columns.len() {
            return Err(RowError::Columns);
        }
        let field = |wanted: Column| {
            let columns = self.columns.iter().zip(fields);
            columns
                .filter(|(column, text)| **column == wanted && !text.is_empty())
                .map(|(_, text)| text.as_str())
                .next()
        };
        let id = field(Column::Id).ok_or(RowError::Name(NameError::Empty))?;
        let mut names = names_of(id, self.profile).map_err(RowError::Name)?;
        if let Some(module) = field(Column::Hardware) {
            names.push(Name::hardware(module).map_err(RowError::Name)?);
        }
        let days =
            field(Column::Days).map(|days| days.parse::<u32>().ok().filter(|days| *days > 0));
        let out = match field(Column::Out) {
            Some(out) if is_directory_name(out) => out.to_owned(),
            Some(_) => return Err(RowError::Out),
            None => directory_name(id),
        };
        // A path in the table is relative to the table.
        let beside = self.path.parent().unwrap_or(Path::new(""));
        let request = field(Column::Csr)
            .map(|path| read_bounded(&beside.join(path), MAX_REQUEST_OCTETS))
            .transpose()
            .map_err(RowError::File)?;
        Ok(Wanted {
            names,
            request,
            days: days.map(|days| days.ok_or(RowError::Days)).transpose()?,
            out,
        })
    }
}

/// The names in a field: hosts and addresses of a server, separated by spaces; one URI of anybody else.
fn names_of(text: &str, profile: EndEntity) -> Result<Vec<Name>, NameError> {
    match profile.name_rule() {
        NameRule::Hosts { .. } => text
            .split_ascii_whitespace()
            .map(|name| Name::ip(name).or_else(|_| Name::dns(name)))
            .collect(),
        NameRule::OneUri | NameRule::OneUriAndHardware | NameRule::None => {
            Ok(vec![Name::uri(text)?])
        }
    }
}

/// What a request in a directory asks for, if it may.
fn request_in(path: &Path, allow: &[IdFilter], profile: EndEntity) -> Result<Wanted, RowError> {
    let bytes = read_bounded(path, MAX_REQUEST_OCTETS).map_err(RowError::File)?;
    let request = Request::parse(&bytes).map_err(RowError::Request)?;
    let names = request.names(profile);
    let is_allowed = |name: &Name| {
        let text = name.to_string();
        allow.iter().any(|filter| match filter {
            IdFilter::Prefix(prefix) => text.starts_with(prefix.as_str()),
            IdFilter::Contains(whole) => text == *whole,
        })
    };
    if names.is_empty() || !names.iter().all(is_allowed) {
        return Err(RowError::NotAllowed);
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Wanted {
        out: directory_name(&stem),
        names,
        request: Some(bytes),
        days: None,
    })
}

/// Longest name of a directory, in characters.
const MAX_DIRECTORY_NAME: usize = 100;

fn is_directory_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= MAX_DIRECTORY_NAME
        && text.bytes().all(is_plain)
}

fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"._-".contains(&octet)
}

/// A name for a directory, made of a device's: `urn:example:pump-1` becomes `urn-example-pump-1`. Where
/// two names come to one directory the second row fails, because files are never overwritten.
fn directory_name(text: &str) -> String {
    let plain = |character: char| match u8::try_from(character) {
        Ok(octet) if is_plain(octet) => character,
        _ => '-',
    };
    let name: String = text.chars().take(MAX_DIRECTORY_NAME).map(plain).collect();
    name.trim_start_matches('.').to_owned()
}

/// What became of a row.
#[derive(Debug)]
pub enum Outcome {
    /// It was issued now.
    Issued(Serial),
    /// It had been issued before; its files are there.
    Already(Serial),
    /// It was not.
    Failed {
        /// Why.
        error: String,
    },
}

/// How many rows came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Issued now.
    pub issued: u64,
    /// Issued before.
    pub already: u64,
    /// Not issued.
    pub failed: u64,
}

/// The account of a run.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    lines: u64,
}

/// As many lines are added before the disk is waited for.
const LINES_A_SYNC: u64 = 256;

impl Journal {
    /// Opens it to add lines; makes it if it is not there, for its owner alone.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(Readers::Owner.file_mode())
            .open(path)
            .map_err(|error| FileError::io(Doing::Create, path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            lines: 0,
        })
    }

    /// Adds a line.
    pub fn add(
        &mut self,
        at: &Place,
        out: Option<&str>,
        outcome: &Outcome,
    ) -> Result<(), FileError> {
        let (word, serial, error) = match outcome {
            Outcome::Issued(serial) => ("issued", Some(serial), None),
            Outcome::Already(serial) => ("already", Some(serial), None),
            Outcome::Failed { error } => ("failed", None, Some(error)),
        };
        let line = json!({
            "row": at.to_string(),
            "outcome": word,
            "serial": serial.map(ToString::to_string),
            "out": out,
            "error": error,
        });
        let written = writeln!(self.file, "{line}");
        self.lines += 1;
        written
            .and_then(|()| match self.lines % LINES_A_SYNC {
                0 => self.file.sync_data(),
                _ => Ok(()),
            })
            .map_err(|error| FileError::io(Doing::Write, &self.path, error))
    }

    /// Makes all lines durable.
    pub fn close(self) -> Result<(), FileError> {
        self.file
            .sync_all()
            .map_err(|error| FileError::io(Doing::Write, &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<Row>, FileError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.csv");
        std::fs::write(&path, text).unwrap();
        Source::Table(path).rows(EndEntity::Device)?.collect()
    }

    #[test]
    fn a_table_is_read_row_by_row_and_a_bad_row_is_only_itself() {
        let mut text =
            b"id,days,out\r\nurn:example:a,30,a\n\n\"urn:example:b\",,\nurn:example:c,0,\n"
                .to_vec();
        text.extend(b"urn:example:d,,../x\nnot a name,,\nurn:example:e,,,\n");
        text.extend(vec![b'x'; MAX_ROW_OCTETS * 3]);
        text.extend(b"\n\xff\nurn:example:f,,\n");
        let rows = rows(&text).unwrap();
        let told: Vec<String> = rows
            .iter()
            .map(|row| match &row.wanted {
                Ok(wanted) => format!(
                    "{}: {} {:?} {}",
                    row.at, wanted.names[0], wanted.days, wanted.out
                ),
                Err(error) => format!("{}: {error:?}", row.at),
            })
            .collect();
        assert_eq!(
            told,
            [
                "line 2: urn:example:a Some(30) a",
                "line 4: urn:example:b None urn-example-b",
                "line 5: Days",
                "line 6: Out",
                "line 7: Name(Character { position: 3 })",
                "line 8: Columns",
                "line 9: Unreadable",
                "line 10: Unreadable",
                "line 11: urn:example:f None urn-example-f",
            ]
        );
    }

    #[test]
    fn a_header_that_is_not_understood_is_the_mistake_of_the_file() {
        for header in ["", "csr\n", "id,id\n", "id,name\n", "ID\n"] {
            assert!(rows(header.as_bytes()).is_err(), "{header}");
        }
    }

    #[test]
    fn a_directory_is_named_after_the_device_and_stays_below_the_run() {
        for (name, directory) in [
            ("urn:example:pump-1", "urn-example-pump-1"),
            ("../../etc", "-..-etc"),
            ("https://a.example/b", "https---a.example-b"),
        ] {
            assert_eq!(directory_name(name), directory);
        }
        assert!(directory_name(&"é".repeat(1000)).len() <= MAX_DIRECTORY_NAME);
    }
}
