//! `audit show`: the records of a log, opened for a reader.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use terminal::{complain, counted};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::entry;
use crate::event::kind_name;
use crate::keygen::READER_SECRET;
use crate::read::{self, Reader, Step};
use crate::seal::hpke::SecretKey;
use crate::seal::opener::OpenError;
use crate::seal::reader;
use crate::seal::sealed::Header;
use crate::show::{Human, Line};
use crate::unseal::{UnsealError, Unsealer};

/// Print the records of a log, oldest first.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit show --json /var/lib/phigate/audit | jq 'select(.type == \"refusal\")'"
)]
pub(super) struct Show {
    /// The log's directory.
    directory: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Wait for more at the end, until interrupted.
    #[arg(long)]
    follow: bool,
    /// A file with the secret key of a reader that the records were encrypted to. Without it,
    /// reader.key beside the log's directory.
    #[arg(long, value_name = "FILE")]
    reader: Option<PathBuf>,
}

impl Show {
    /// Fails in the end when an entry could not be shown, and shows all others.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        show(&self.directory, &self, out)
    }
}

fn show(directory: &Path, asked: &Show, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::Read {
        directory: directory.to_owned(),
        error,
        code: 1,
    };
    if !directory.join("wal").is_dir() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    let key = reader_key(directory, asked.reader.as_deref())?;
    let mut printer = Printer {
        unsealer: Unsealer::new(directory, key).map_err(failed)?,
        json: asked.json,
        wrong: 0,
        closed: 0,
    };
    let mut reader = Reader::new(directory);
    // On a live log the last batch can be seen half-written; one more look tells.
    let mut faults = 0;
    loop {
        match reader.step().map_err(failed)? {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                faults = 0;
                for (sequence, leaf) in read::entries(sequence, &records) {
                    printer
                        .print(sequence, leaf, out)
                        .map_err(Failure::Output)?;
                }
            }
            Step::End if !asked.follow => {
                out.flush().map_err(Failure::Output)?;
                return Ok(printer.ended());
            }
            Step::End => {
                out.flush().map_err(Failure::Output)?;
                pause();
            }
            Step::Fault(fault) => {
                out.flush().map_err(Failure::Output)?;
                faults += 1;
                if faults > 20 {
                    let at = reader.position();
                    let at = format!(
                        "what stands in segment {} at byte {}",
                        at.segment, at.offset
                    );
                    return Err(Failure::Stuck { at, fault });
                }
                pause();
            }
        }
    }
}

/// No file with a key is longer than this, bytes.
const MAX_KEY_FILE: usize = 4096;

/// The reader's secret key: the one that is asked for, or the one beside the log's directory.
fn reader_key(directory: &Path, asked: Option<&Path>) -> Result<Option<SecretKey>, Failure> {
    let path = match asked {
        Some(path) => path.to_owned(),
        // Of `audit` the parent is written as nothing, and of `.` not at all.
        None => match directory
            .canonicalize()
            .ok()
            .as_deref()
            .and_then(Path::parent)
        {
            Some(beside) => beside.join(READER_SECRET),
            None => return Ok(None),
        },
    };
    // Sized ahead, so that no half of it is left behind by a buffer that grew.
    let mut pem = Zeroizing::new(Vec::with_capacity(2 * MAX_KEY_FILE));
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_KEY_FILE as u64).read_to_end(&mut pem));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound && asked.is_none() => Ok(None),
        Err(error) => Err(Failure::ReaderFile { path, error }),
        Ok(_) => match reader::parse_secret(&pem) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(Failure::Reader { path, error }),
        },
    }
}

struct Printer {
    unsealer: Unsealer,
    json: bool,
    /// Entries that are not what an entry is.
    wrong: u64,
    /// Entries that are sealed to others.
    closed: u64,
}

impl Printer {
    fn print(&mut self, sequence: u64, leaf: &[u8], out: &mut impl Write) -> io::Result<()> {
        let bytes = match self.unsealer.unseal(leaf) {
            Ok(bytes) => bytes,
            Err(UnsealError::Sealed {
                header,
                error: OpenError::NoKey { .. },
            }) => {
                self.closed += 1;
                return self.print_closed(sequence, &header, out);
            }
            Err(error) => {
                self.complain(sequence, &error);
                return Ok(());
            }
        };
        let entry = match entry::decode(&bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.complain(sequence, &error);
                return Ok(());
            }
        };
        if self.json {
            serde_json::to_writer(&mut *out, &Line::new(Some(sequence), &entry))?;
            writeln!(out)
        } else {
            writeln!(out, "{}", Human(&entry))
        }
    }

    /// What stands in the clear of an entry that does not open.
    fn print_closed(&self, sequence: u64, header: &Header, out: &mut impl Write) -> io::Result<()> {
        let kind = kind_name(header.kind.0).unwrap_or("unknown");
        let (time, key) = (header.time, header.key);
        if self.json {
            let line = json!({
                "sequence": sequence,
                "time": time,
                "type": "sealed",
                "kind": kind,
                "key": key.to_string(),
            });
            writeln!(out, "{line}")
        } else {
            writeln!(out, "{time} sealed {kind}, key {key}")
        }
    }

    fn complain(&mut self, sequence: u64, error: &dyn std::fmt::Display) {
        self.wrong += 1;
        let hint = "`audit verify` says what else is wrong";
        complain(format_args!("entry {sequence}: {error}"), Some(hint));
    }

    fn ended(&self) -> ExitCode {
        if self.closed > 0 {
            complain(
                format_args!(
                    "{} sealed to readers with another key",
                    counted(self.closed, "entry is/entries are")
                ),
                Some(
                    "--reader names the secret half of a key that [audit] readers named when they were written",
                ),
            );
        }
        if self.wrong + self.closed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command-line tool that waits for more"
    )]
    std::thread::sleep(Duration::from_millis(100));
}
