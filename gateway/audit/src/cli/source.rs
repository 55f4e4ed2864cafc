//! What every verb that reads records is given: the log, the keys that open it, and which records.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use terminal::{complain, counted, tell};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::event::Time;
use crate::keeping::is_old;
use crate::keygen::{KEYS, READER_SECRET};
use crate::keys;
use crate::opened::{self, Content, Item, LinkError, WalkError};
use crate::reading::{self, Recorded};
use crate::seal::hpke::SecretKey;
use crate::seal::opener::OpenError;
use crate::seal::pseudonym::TenantKey;
use crate::seal::reader;
use crate::select::{self, Asked, Filter, Names, Outcome, RecordType, SelectError};
use crate::unseal::Unsealer;

/// Which log, and with what it is opened.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// The log's directory.
    pub(super) directory: PathBuf,
    /// A file with the secret key of a reader that the records were encrypted to. Without it,
    /// reader.key beside the log's directory.
    #[arg(long, value_name = "FILE")]
    reader: Option<PathBuf>,
    /// Read without putting that on record, as a copy that is kept as evidence. Else every read is an
    /// entry of the log.
    #[arg(long)]
    unrecorded: bool,
}

impl Source {
    /// Puts on record that the log is about to be read by a verb. Fails where somebody should have
    /// recorded it and did not; says so where nobody can.
    pub(super) fn record(&self, verb: &str, filter: &Filter) -> Result<(), Failure> {
        if self.unrecorded {
            tell("note: this read is not on record: --unrecorded");
            return Ok(());
        }
        match reading::record(&self.directory, verb, filter) {
            Ok(Recorded::Served | Recorded::Alone) => Ok(()),
            Err(error) if error.must_stop() => Err(Failure::Unrecorded(error)),
            Err(error) => {
                tell(format_args!("note: this read is not on record: {error}"));
                Ok(())
            }
        }
    }

    /// Whether the log belongs to this user. What another one can put in the place of an index is not to
    /// be believed, nor to be made there.
    pub(super) fn is_ours(&self) -> bool {
        let owner = std::fs::metadata(&self.directory).map(|found| found.uid());
        owner.is_ok_and(|owner| owner == rustix::process::geteuid().as_raw())
    }

    /// Says no when there is no log.
    pub(super) fn look(&self) -> Result<(), Failure> {
        if self.directory.join("wal").is_dir() {
            Ok(())
        } else {
            Err(self.failed(io::ErrorKind::NotFound.into()))
        }
    }

    /// What opens the log's entries.
    pub(super) fn unsealer(&self) -> Result<Unsealer, Failure> {
        let key = self.reader_key()?;
        Unsealer::new(&self.directory, key).map_err(|error| self.failed(error))
    }

    /// The log cannot be read.
    pub(super) fn failed(&self, error: io::Error) -> Failure {
        Failure::Read {
            directory: self.directory.clone(),
            error,
            code: 1,
        }
    }

    /// A walk cannot go on.
    pub(super) fn stuck(&self, error: WalkError) -> Failure {
        match error {
            WalkError::Read(error) => self.failed(error),
            WalkError::Stuck { at, fault } => Failure::Stuck {
                at: format!(
                    "what stands in segment {} at byte {}",
                    at.segment, at.offset
                ),
                fault,
            },
        }
    }

    /// Links cannot be followed.
    pub(super) fn unlinked(&self, error: LinkError) -> Failure {
        match error {
            LinkError::Walk(error) => self.stuck(error),
            LinkError::Names(error) => Failure::Select {
                flag: "--patient",
                error,
            },
        }
    }

    /// The reader's secret key: the one that is asked for, or the one beside the log's directory.
    pub(super) fn reader_key(&self) -> Result<Option<SecretKey>, Failure> {
        let asked = self.reader.as_deref();
        let Some((path, pem)) = key_file(&self.directory, asked, READER_SECRET)? else {
            return Ok(None);
        };
        let key = reader::parse_secret(&pem);
        key.map(Some)
            .map_err(|error| Failure::Reader { path, error })
    }
}

/// Which records.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which records")]
pub(super) struct Select {
    #[command(flatten)]
    patients: Patients,
    /// Records that name this client, as trust:name or by the name alone. May be repeated.
    #[arg(long, value_name = "NAME")]
    client: Vec<String>,
    /// Records of requests on this route. May be repeated.
    #[arg(long, value_name = "NAME")]
    route: Vec<String>,
    /// What it came to: a status (404), a class (4xx), a code, or a word such as refused or released.
    /// May be repeated.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Vec<String>,
    /// Records of this type. May be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Vec<String>,
    #[command(flatten)]
    window: Window,
}

impl Select {
    /// The filter, with the names that were typed; `follow_links` finds the others.
    pub(super) fn filter(self, directory: &Path) -> Result<Filter, Failure> {
        let parse = |flag, error| Failure::Select { flag, error };
        let outcomes: Result<Vec<Outcome>, _> =
            self.outcome.iter().map(|text| text.parse()).collect();
        let kinds: Result<Vec<RecordType>, _> = self.kind.iter().map(|text| text.parse()).collect();
        let (since, until) = self.window.times()?;
        Ok(Filter {
            patients: self.patients.names(directory)?,
            clients: self.client,
            routes: self.route,
            outcomes: outcomes.map_err(|error| parse("--outcome", error))?,
            kinds: kinds.map_err(|error| parse("--type", error))?,
            since,
            until,
        })
    }
}

/// Which stretch of time.
#[derive(Debug, Args)]
pub(super) struct Window {
    /// Not before: a date (UTC) or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before: RFC 3339; or a date (UTC), the whole of which is meant.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Window {
    /// From when, and before when.
    pub(super) fn times(&self) -> Result<(Option<Time>, Option<Time>), Failure> {
        let failed = |flag| move |error| Failure::Select { flag, error };
        let since = self.since.as_deref().map(select::since).transpose();
        let until = self.until.as_deref().map(select::until).transpose();
        let (since, until) = (
            since.map_err(failed("--since"))?,
            until.map_err(failed("--until"))?,
        );
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(failed("--until")(SelectError::Window));
        }
        Ok((since, until))
    }
}

/// Which patients.
#[derive(Debug, Args)]
pub(super) struct Patients {
    /// Records that name this patient: SYSTEM|VALUE, where SYSTEM is that of an identifier or the
    /// upstream's fhir_base; or a pseudonym as records show it; or @FILE, with one of these a line,
    /// so that none is seen in the list of processes. Found under every name that the log links with it.
    /// May be repeated.
    #[arg(long, value_name = "PATIENT")]
    patient: Vec<String>,
    /// Look for these names alone, not for those that are linked with them.
    #[arg(long, requires = "patient")]
    unlinked: bool,
    /// A file with the key that patients are named with. Without it, audit.keys beside the log's
    /// directory.
    #[arg(long, value_name = "FILE", requires = "patient")]
    keys: Option<PathBuf>,
}

/// No list of patients is longer, bytes.
const MAX_LIST: u64 = 256 * 1024;

impl Patients {
    /// Their names; `None` when no patient was asked for.
    pub(super) fn names(&self, directory: &Path) -> Result<Option<Names>, Failure> {
        let failed = |error| Failure::Select {
            flag: "--patient",
            error,
        };
        if self.patient.is_empty() {
            return Ok(None);
        }
        let mut asked: Vec<Asked> = Vec::new();
        for text in &self.patient {
            match text.strip_prefix('@') {
                Some(path) => {
                    for line in list(Path::new(path))?.lines() {
                        let line = line.trim();
                        if !line.is_empty() {
                            asked.push(line.parse().map_err(failed)?);
                        }
                    }
                }
                None => asked.push(text.parse().map_err(failed)?),
            }
        }
        let takes_key = |asked: &Asked| matches!(asked, Asked::Identifier { .. });
        let key = if asked.iter().any(takes_key) {
            tenant_key(directory, self.keys.as_deref())?
        } else {
            None
        };
        let mut found = Vec::new();
        for asked in &asked {
            found.extend(asked.pseudonyms(key.as_ref()).map_err(failed)?);
        }
        let names = if self.unlinked {
            Names::alone(found)
        } else {
            Names::linked(found)
        };
        names.map(Some).map_err(failed)
    }
}

fn list(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_LIST).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| Failure::Open {
        path: path.to_owned(),
        error,
    })
}

fn tenant_key(directory: &Path, asked: Option<&Path>) -> Result<Option<TenantKey>, Failure> {
    let Some((path, text)) = key_file(directory, asked, KEYS)? else {
        return Ok(None);
    };
    let key = keys::patients(&text);
    key.map(Some).map_err(|error| Failure::Keys { path, error })
}

/// No file with a key is longer than this, bytes.
const MAX_KEY_FILE: usize = 4096;

/// Where a key was read, and what was.
type KeyFile = (PathBuf, Zeroizing<Vec<u8>>);

/// A file with a key: the one that is asked for, or the one of this name beside the log's directory.
fn key_file(
    directory: &Path,
    asked: Option<&Path>,
    name: &str,
) -> Result<Option<KeyFile>, Failure> {
    let path = match asked {
        Some(path) => path.to_owned(),
        // Of `audit` the parent is written as nothing, and of `.` not at all.
        None => match directory
            .canonicalize()
            .ok()
            .as_deref()
            .and_then(Path::parent)
        {
            Some(beside) => beside.join(name),
            None => return Ok(None),
        },
    };
    // Sized ahead, so that no half of it is left behind by a buffer that grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_KEY_FILE));
    let read =
        File::open(&path).and_then(|file| file.take(MAX_KEY_FILE as u64).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound && asked.is_none() => Ok(None),
        Err(error) => Err(Failure::KeyFile { path, error }),
        Ok(_) => Ok(Some((path, bytes))),
    }
}

/// Finds the other names of the patients who are asked for.
pub(super) fn follow_links(
    source: &Source,
    unsealer: Unsealer,
    filter: &mut Filter,
) -> Result<Unsealer, Failure> {
    let followed = opened::follow_links(&source.directory, unsealer, filter);
    followed.map_err(|error| source.unlinked(error))
}

/// What it means that so many entries are under keys that are gone.
pub(super) fn gone(entries: u64) -> String {
    let entries = counted(entries, "entry is/entries are");
    format!(
        "{entries} under keys that are gone: `audit keep` says what was destroyed, `audit verify` whether more is missing"
    )
}

/// Counts what a reader could not be told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Entries that are not what an entry is.
    wrong: u64,
    /// Entries that are sealed to others.
    closed: u64,
    /// Entries whose keys are gone, and those among them that are young for that.
    gone: u64,
    gone_early: u64,
    /// Targets that this reader may not open.
    shut: u64,
}

impl Untold {
    /// Counts an item that is no entry, and complains of one that should be.
    pub(super) fn count(&mut self, item: &Item<'_>) {
        match &item.content {
            Content::Entry(_) => {}
            Content::Closed(_) => self.closed += 1,
            Content::Gone(header) => {
                self.gone += 1;
                let now = Time::from_system(SystemTime::now());
                self.gone_early += u64::from(!is_old(header.time, now));
            }
            Content::Wrong(wrong) => self.complain(item.sequence, wrong),
        }
        match &item.target {
            Some(Err(OpenError::Scope)) => self.shut += 1,
            Some(Err(error)) => self.complain(item.sequence, error),
            Some(Ok(_)) | None => {}
        }
    }

    fn complain(&mut self, sequence: u64, wrong: &dyn std::fmt::Display) {
        self.wrong += 1;
        complain(
            format_args!("entry {sequence}: {wrong}"),
            Some("`audit verify` says what else is wrong"),
        );
    }

    /// Whether anything was left out.
    pub(super) fn is_some(&self) -> bool {
        self.wrong + self.closed + self.shut + self.gone_early > 0
    }

    /// Says what was left out. That the time of old entries is over is no failure.
    pub(super) fn tell(&self) {
        if self.gone > 0 {
            tell(format_args!("note: {}", gone(self.gone)));
        }
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
        if self.shut > 0 {
            complain(
                format_args!(
                    "{} not for this reader",
                    counted(self.shut, "request target is/request targets are")
                ),
                Some("ask a reader who may open targets"),
            );
        }
    }
}
