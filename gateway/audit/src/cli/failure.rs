//! Why a command of `audit` could not do its work, and what the operator reads then.

use std::io;
#[cfg(feature = "net")]
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use terminal::complain;

use crate::backup::BackupError;
use crate::destroy::KeepError;
use crate::disclose::DiscloseError;
use crate::disclosure::DisclosureError;
use crate::frame::Fault;
use crate::index::{FindError, UpdateError};
use crate::keygen::KeygenError;
use crate::keys::KeysError;
use crate::loss::LossError;
use crate::merkle::key::KeyError;
use crate::merkle::offline::OfflineError;
use crate::mirror::MirrorError;
use crate::prove::ProveError;
use crate::public_key::PublicKeyError;
use crate::reading::RecordError;
use crate::report::disclosures::RecipientsError;
use crate::rotate::RotateError;
use crate::seal::reader::ReaderError;
use crate::select::SelectError;
#[cfg(feature = "net")]
use crate::witness::{KeyFileError, StoreError};

/// The exit code of what the operating system refused to `verify`.
pub(super) const IO: u8 = 4;

/// Why a command could not do its work.
pub(super) enum Failure {
    Output(io::Error),
    Read {
        directory: PathBuf,
        error: io::Error,
        code: u8,
    },
    Stuck {
        at: String,
        fault: Fault,
    },
    PublicKey(PublicKeyError),
    Prove(ProveError),
    Disclose(DiscloseError),
    Undisclosed {
        path: PathBuf,
        error: DisclosureError,
    },
    Unproved {
        path: PathBuf,
        error: OfflineError,
    },
    Open {
        path: PathBuf,
        error: io::Error,
    },
    Write {
        path: PathBuf,
        error: io::Error,
    },
    KeyFile {
        path: PathBuf,
        error: io::Error,
    },
    Keys {
        path: PathBuf,
        error: KeysError,
    },
    Select {
        flag: &'static str,
        error: SelectError,
    },
    NoPatient,
    Unrecorded(RecordError),
    TooMany {
        most: usize,
    },
    Index(UpdateError),
    Find(FindError),
    Recipients {
        path: PathBuf,
        error: RecipientsError,
    },
    Reader {
        path: PathBuf,
        error: ReaderError,
    },
    Name {
        error: KeyError,
    },
    Keygen(KeygenError),
    NotOurs {
        directory: PathBuf,
    },
    Loss {
        directory: PathBuf,
        error: LossError,
    },
    Rotate(RotateError),
    Keep {
        directory: PathBuf,
        error: KeepError,
    },
    Backup(BackupError),
    Mirror(MirrorError),
    NotBegun(RecordError),
    #[cfg(feature = "net")]
    WitnessKey(KeyFileError),
    #[cfg(feature = "net")]
    WitnessState {
        directory: PathBuf,
        error: StoreError,
    },
    #[cfg(feature = "net")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
}

impl Failure {
    /// Tells of a backup that was not made; of nothing else.
    fn report_backup(&self) -> ExitCode {
        match self {
            Failure::Backup(error) => {
                complain(error, Some(error.hint()));
                error.code().into()
            }
            Failure::NotBegun(error) => {
                complain(
                    format_args!(
                        "this copy cannot be put on record, so nothing was copied: {error}"
                    ),
                    Some("a gateway that serves a log records who copies it: see its log"),
                );
                IO.into()
            }
            _ => ExitCode::FAILURE,
        }
    }

    /// Tells the operator; returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Failure::Output(error) => terminal::unwritten(error),
            Failure::Read {
                directory,
                error,
                code,
            } => unread(directory, error, *code),
            Failure::Stuck { at, fault } => terminal::fail(
                format_args!("the log cannot be read further: {at} is {fault}"),
                Some("`audit verify` says what is wrong"),
            ),
            Failure::KeyFile { path, error } => terminal::fail(
                format_args!("cannot read the key {}: {error}", path.display()),
                Some(
                    "--reader and --keys name files that `audit keygen` wrote: reader.key, audit.keys",
                ),
            ),
            Failure::Keys { path, error } => terminal::fail(
                format_args!("{} holds no key for patients: {error}", path.display()),
                Some(
                    "it is the file audit.keys that `audit keygen` wrote, or its line PATIENTS+KEY+ alone",
                ),
            ),
            Failure::Unrecorded(error) => terminal::fail(
                format_args!("this read cannot be put on record, so nothing was read: {error}"),
                Some(
                    "a gateway that serves a log records who reads it: see its log; --unrecorded reads all the same",
                ),
            ),
            Failure::NoPatient => terminal::misused(
                "a report is of a patient",
                "--patient names one; --help says how",
            ),
            Failure::TooMany { most } => terminal::fail(
                format_args!("more than {most} requests concern this patient"),
                Some("--since and --until ask for fewer"),
            ),
            Failure::Index(error) => terminal::fail(error, Some(error.hint())),
            Failure::Find(error) => terminal::fail(
                error,
                Some("somebody may be writing the log or the index: try again, or give --whole"),
            ),
            Failure::Recipients { path, error } => {
                terminal::misused(format_args!("{}: {error}", path.display()), error.hint())
            }
            Failure::Select { flag, error } => {
                terminal::misused(format_args!("{flag}: {error}"), error.hint())
            }
            Failure::Reader { path, error } => terminal::fail(
                format_args!("{} holds no reader's secret key: {error}", path.display()),
                Some("it is the file reader.key that `audit keygen` wrote"),
            ),
            Failure::Name { error } => terminal::misused(
                format_args!("--name: {error}"),
                "a log is named by a host of yours and a path, such as clinic.example/audit",
            ),
            Failure::Loss { directory, error } => terminal::fail(
                format_args!("{}: {error}", directory.display()),
                Some(error.hint()),
            ),
            Failure::NotOurs { directory } => terminal::fail(
                format_args!(
                    "{} belongs to another user, who could change an index",
                    directory.display()
                ),
                Some("make the index as that user, with sudo -u for instance"),
            ),
            Failure::Keygen(error) => terminal::fail(error, Some(error.hint())),
            Failure::Rotate(error) => terminal::fail(error, Some(error.hint())),
            Failure::Keep { directory, error } => terminal::fail(
                format_args!("{}: {error}", directory.display()),
                Some(error.hint()),
            ),
            Failure::Backup(_) | Failure::NotBegun(_) => self.report_backup(),
            #[cfg(feature = "net")]
            Failure::WitnessKey(error) => terminal::fail(error, Some(error.hint())),
            #[cfg(feature = "net")]
            Failure::WitnessState { directory, error } => terminal::fail(
                format_args!("{}: {error}", directory.display()),
                Some(error.hint()),
            ),
            #[cfg(feature = "net")]
            Failure::Listen { address, error } => terminal::fail(
                format_args!("cannot serve on {address}: {error}"),
                Some("name a free address of this machine with --listen"),
            ),
            Failure::PublicKey(error @ PublicKeyError::Read { .. }) => {
                complain(error, Some("--key names a file that holds the public key"));
                IO.into()
            }
            Failure::Prove(error) => terminal::fail(error, Some(error.hint())),
            Failure::Mirror(error) => terminal::fail(error, Some(error.hint())),
            Failure::Disclose(error) => terminal::fail(error, Some(error.hint())),
            Failure::Undisclosed { path, error } => terminal::fail(
                format_args!("{} discloses nothing: {error}", path.display()),
                Some(error.hint()),
            ),
            Failure::Unproved { path, error } => terminal::fail(
                format_args!("{} proves nothing: {error}", path.display()),
                Some("a proof holds for one entry, or one older checkpoint, and one key"),
            ),
            Failure::Open { path, error } => terminal::fail(
                format_args!("cannot read {}: {error}", path.display()),
                Some(file_hint(error)),
            ),
            Failure::Write { path, error } => terminal::fail(
                format_args!("cannot write {}: {error}", path.display()),
                Some(file_hint(error)),
            ),
            Failure::PublicKey(error) => terminal::misused(error, error.hint()),
        }
    }
}

/// What is wrong with a file that was named on the command line.
fn file_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "name a file that exists",
        io::ErrorKind::AlreadyExists => "name a file that does not exist yet",
        _ => "check that this user may use the file",
    }
}

/// Tells that a log cannot be read.
fn unread(directory: &Path, error: &io::Error, code: u8) -> ExitCode {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => {
            "name the directory that [audit] directory names in the gateway's configuration"
        }
        io::ErrorKind::PermissionDenied => {
            "the log belongs to the gateway's user; read it as that user or as root"
        }
        io::ErrorKind::NotADirectory => "name the directory, not a file in it",
        _ => "check the disk",
    };
    let error = format_args!("cannot read {}: {error}", directory.display());
    complain(error, Some(hint));
    code.into()
}
