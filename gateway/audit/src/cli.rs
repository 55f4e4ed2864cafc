//! What a person types and sees: `audit verify`, `audit show`.
//!
//! Results go to stdout: a verdict with its `finding:` and `note:` lines, or records. Trouble goes to
//! stderr as `error:` and `hint:` lines. Exit codes of `verify`: 0 good, 1 tampered, 2 truncated, 3
//! cannot verify, 4 I/O; of the rest: 0 done, 1 failed; 64 wrong usage.

mod prove;

mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::Value;
use terminal::{Progress, Shell, complain, counted};

use crate::frame::Fault;
use crate::keygen::{self, KeygenError};
use crate::merkle::key::{KeyError, Verifier};
use crate::merkle::offline::OfflineError;
use crate::prove::ProveError;
use crate::public_key::{self, PublicKeyError};
use crate::seal::reader::ReaderError;
use crate::verify::{self, Asked, Finding, Report, Verdict};

/// Verify and read an audit log of phigate.
#[derive(Debug, Parser)]
#[command(
    name = "audit",
    version,
    after_help = "Example:\n  audit verify /var/lib/phigate/audit"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that nothing in a log was changed, removed or added.
    ///
    /// Exit codes: 0 good, 1 tampered, 2 truncated or rolled back, 3 cannot verify, 4 I/O.
    /// Works on the log of a running gateway.
    #[command(after_help = "Example:\n  audit verify /var/lib/phigate/audit")]
    Verify {
        /// The log's directory.
        directory: PathBuf,
        /// A file with the public key that the log's checkpoints must be signed with, kept outside
        /// of it. Else log.vkey beside the log's directory; else the key that the log names itself.
        #[arg(long, value_name = "VKEY")]
        key: Option<PathBuf>,
        /// Pass only what is signed with a key from outside.
        #[arg(long)]
        strict: bool,
        /// Print nothing but what is wrong.
        #[arg(long, conflicts_with = "json")]
        quiet: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the records of a log, oldest first.
    #[command(
        after_help = "Example:\n  audit show --json /var/lib/phigate/audit | jq 'select(.type == \"refusal\")'"
    )]
    Show {
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
    },
    /// Prove that an entry is in a log, or that the log only grew, as a text for others to check.
    ///
    /// An entry is proved to be in the last checkpoint (C2SP tlog-proof). Two sizes are proved to
    /// belong to one log that only grew (C2SP tlog-witness, add-checkpoint); the larger must be that of
    /// a checkpoint.
    #[command(
        after_help = "Examples:\n  audit prove /var/lib/phigate/audit --entry 4711 --leaf 4711.leaf > 4711.tlog-proof\n  audit prove /var/lib/phigate/audit --from 1000 > grown"
    )]
    Prove {
        /// The log's directory.
        directory: PathBuf,
        /// The number of the entry, from 0, as `audit show --json` prints it.
        #[arg(long, value_name = "N", required_unless_present = "from")]
        entry: Option<u64>,
        /// Where to write the bytes of the entry, which the proof is checked with.
        #[arg(long, value_name = "FILE", requires = "entry", conflicts_with = "from")]
        leaf: Option<PathBuf>,
        /// The smaller size: that of a checkpoint that somebody kept.
        #[arg(long, value_name = "SIZE", conflicts_with = "entry")]
        from: Option<u64>,
        /// The larger size: that of a checkpoint. Without it, the last one.
        #[arg(long, value_name = "SIZE", requires = "from")]
        to: Option<u64>,
    },
    /// Check a proof of `audit prove`, without the log.
    ///
    /// Exit codes: 0 it holds, 1 it does not, 64 wrong usage.
    #[command(
        after_help = "Examples:\n  audit check 4711.tlog-proof --key log.vkey --leaf 4711.leaf\n  audit check grown --key log.vkey --old checkpoint.of.last.year"
    )]
    Check {
        /// The proof.
        proof: PathBuf,
        /// A file with the public key of the log.
        #[arg(long, value_name = "VKEY")]
        key: PathBuf,
        /// The bytes of the entry.
        #[arg(long, value_name = "FILE", required_unless_present = "old")]
        leaf: Option<PathBuf>,
        /// The older checkpoint that was kept.
        #[arg(long, value_name = "FILE", conflicts_with = "leaf")]
        old: Option<PathBuf>,
    },
    /// Make the keys of a log, and a key pair for whoever reads it.
    ///
    /// Writes audit.keys and reader.pem, which the gateway's configuration names, and reader.key, which
    /// belongs to whoever reads the log. Nothing that exists is replaced.
    #[command(
        after_help = "Example:\n  audit keygen --name clinic.example/audit --out /etc/phigate"
    )]
    Keygen {
        /// The log's name, which stands in every checkpoint: a host of yours and a path, without a
        /// scheme.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The directory to write to, which must exist.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  audit completions bash > /etc/bash_completion.d/audit")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages into a directory.
    #[command(after_help = "Example:\n  audit manual /usr/local/share/man/man1")]
    Manual {
        /// The directory, which must exist.
        directory: PathBuf,
    },
}

const IO: u8 = 4;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let command = match terminal::parse(std::env::args_os()) {
        Ok(Arguments { command }) => command,
        Err(code) => return code,
    };
    let mut out = io::stdout().lock();
    let ended = match command {
        Command::Verify {
            directory,
            key,
            strict,
            quiet,
            json,
        } => {
            let form = Form { quiet, json };
            key_for(&directory, key)
                .and_then(|key| verify(&directory, key.as_ref(), strict, form, &mut out))
        }
        Command::Show {
            directory,
            json,
            follow,
            reader,
        } => {
            let asked = show::Asked {
                json,
                follow,
                reader,
            };
            show::show(&directory, &asked, &mut out)
        }
        Command::Prove {
            directory,
            entry,
            leaf,
            from,
            to,
        } => {
            let claim = match (entry, from) {
                (Some(entry), _) => prove::Claim::Included { entry, leaf },
                // One of both is there: the parser saw to it.
                (None, from) => prove::Claim::Grown {
                    from: from.unwrap_or(0),
                    to,
                },
            };
            prove::prove(&directory, claim, &mut out)
        }
        Command::Check {
            proof,
            key,
            leaf,
            old,
        } => {
            let against = match (leaf, old) {
                (Some(leaf), _) => prove::Against::Leaf(leaf),
                (None, old) => prove::Against::Old(old.unwrap_or_default()),
            };
            prove::check(&proof, &key, &against, &mut out)
        }
        Command::Keygen {
            name,
            out: directory,
        } => keygen(&name, &directory, &mut out),
        Command::Completions { shell } => {
            drop(out);
            return terminal::completions(Arguments::command(), shell);
        }
        Command::Manual { directory } => return terminal::manual(Arguments::command(), &directory),
    };
    match ended {
        Ok(code) => code,
        // Whoever reads our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => failure.report(),
    }
}

/// Why a command could not do its work.
enum Failure {
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
    ReaderFile {
        path: PathBuf,
        error: io::Error,
    },
    Reader {
        path: PathBuf,
        error: ReaderError,
    },
    Name {
        error: KeyError,
    },
    Keygen(KeygenError),
}

impl Failure {
    fn report(&self) -> ExitCode {
        match self {
            Failure::Output(error) => terminal::unwritten(error),
            Failure::Read {
                directory,
                error,
                code,
            } => {
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
                (*code).into()
            }
            Failure::Stuck { at, fault } => terminal::fail(
                format_args!("the log cannot be read further: {at} is {fault}"),
                Some("`audit verify` says what is wrong"),
            ),
            Failure::ReaderFile { path, error } => terminal::fail(
                format_args!("cannot read the key {}: {error}", path.display()),
                Some("--reader names a file that holds the secret key of a reader"),
            ),
            Failure::Reader { path, error } => terminal::fail(
                format_args!("{} holds no reader's secret key: {error}", path.display()),
                Some("it is the file reader.key that `audit keygen` wrote"),
            ),
            Failure::Name { error } => terminal::misused(
                format_args!("--name: {error}"),
                "a log is named by a host of yours and a path, such as clinic.example/audit",
            ),
            Failure::Keygen(error) => terminal::fail(error, Some(error.hint())),
            Failure::PublicKey(error @ PublicKeyError::Read { .. }) => {
                complain(error, Some("--key names a file that holds the public key"));
                IO.into()
            }
            Failure::Prove(error) => terminal::fail(error, Some(error.hint())),
            Failure::Unproved { path, error } => terminal::fail(
                format_args!("{} proves nothing: {error}", path.display()),
                Some("a proof holds for one entry, or one older checkpoint, and one key"),
            ),
            Failure::Open { path, error } => terminal::fail(
                format_args!("cannot read {}: {error}", path.display()),
                Some(prove::hint(error)),
            ),
            Failure::Write { path, error } => terminal::fail(
                format_args!("cannot write {}: {error}", path.display()),
                Some(prove::hint(error)),
            ),
            Failure::PublicKey(error) => terminal::misused(error, error.hint()),
        }
    }
}

/// A public key, and the file that it was read from.
struct Key {
    path: PathBuf,
    verifier: Verifier,
}

/// The key that was named, else the one beside the log's directory, if there is one.
fn key_for(directory: &Path, named: Option<PathBuf>) -> Result<Option<Key>, Failure> {
    let path = match named {
        Some(path) => path,
        None => match public_key::beside(directory) {
            path if path.exists() => path,
            _ => return Ok(None),
        },
    };
    let verifier = public_key::read(&path).map_err(Failure::PublicKey)?;
    Ok(Some(Key { path, verifier }))
}

const UNSIGNED: &str = "the log is not signed: this finds every change but one that wrote the log anew from some point on, or cut it exactly behind a batch";

/// How a verdict is printed.
#[derive(Clone, Copy)]
struct Form {
    quiet: bool,
    json: bool,
}

fn verify(
    directory: &Path,
    key: Option<&Key>,
    strict: bool,
    form: Form,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::Read {
        directory: directory.to_owned(),
        error,
        code: IO,
    };
    let asked = Asked {
        key: key.map(|key| &key.verifier),
        strict,
    };
    let progress = Progress::new(form.quiet);
    let report = verify::verify_watched(directory, &asked, &mut |segment, last| {
        progress.at(format_args!("verifying segment {segment} of {last}"));
    })
    .map_err(failed)?;
    drop(progress);
    let verdict = report.verdict();
    let printed = if form.json {
        print_report_json(&report, verdict, key, out)
    } else if form.quiet && verdict == Verdict::Good {
        Ok(())
    } else {
        print_report(&report, verdict, key, form.quiet, out)
    };
    printed
        .and_then(|()| out.flush())
        .map_err(Failure::Output)?;
    if report.findings.contains(&Finding::Empty)
        && let Some(near) = log_near(directory)
    {
        let found = format_args!("there is no log in {}", directory.display());
        complain(found, Some(&format!("name {}", near.display())));
    }
    Ok((verdict as u8).into())
}

/// A log beside a directory that is none: the demo's directory holds one, and a log holds `wal`.
fn log_near(directory: &Path) -> Option<PathBuf> {
    let below = directory.join("audit");
    let above = directory.parent().map(Path::to_owned);
    [Some(below), above]
        .into_iter()
        .flatten()
        .find(|near| near.join("wal").is_dir())
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Tampered => "tampered",
        Verdict::Truncated => "truncated",
        Verdict::CannotVerify => "cannot verify",
    }
}

fn print_report(
    report: &Report,
    verdict: Verdict,
    key: Option<&Key>,
    quiet: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(
        out,
        "{}: {} in {} and {}",
        word(verdict),
        counted(report.entries, "entry/entries"),
        counted(report.batches, "batch/batches"),
        counted(report.segments, "segment")
    )?;
    if let (Some(first), Some(last)) = (report.first, report.last) {
        write!(out, ", from {first} to {last}")?;
    }
    let live = if report.live {
        ", being written to"
    } else {
        ""
    };
    writeln!(out, "{live}")?;
    for finding in &report.findings {
        writeln!(out, "finding: {finding}")?;
    }
    if quiet {
        return Ok(());
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    let Some(signed) = &report.signed else {
        return writeln!(out, "note: {UNSIGNED}");
    };
    writeln!(
        out,
        "signed: {} in {}, {} at the end not signed yet",
        counted(signed.entries, "entry/entries"),
        counted(signed.checkpoints, "checkpoint"),
        counted(report.unsigned(), "entry/entries"),
    )?;
    match (&signed.key, key) {
        (Some(known), Some(key)) => writeln!(out, "key: {known} from {}", key.path.display()),
        (Some(known), None) => writeln!(
            out,
            "key: self-asserted, {known}\nnote: a log that was written and signed anew as a whole would look the same; compare the key with the one that the gateway wrote, or give it with --key"
        ),
        (None, _) => writeln!(out, "key: unknown"),
    }
}

fn print_report_json(
    report: &Report,
    verdict: Verdict,
    key: Option<&Key>,
    out: &mut impl Write,
) -> io::Result<()> {
    let text = |item: &dyn std::fmt::Display| Value::String(item.to_string());
    let document = serde_json::json!({
        "verdict": word(verdict),
        "signed": report.signed.is_some(),
        "signed_entries": report.signed.as_ref().map_or(0, |signed| signed.entries),
        "unsigned_entries": report.unsigned(),
        "checkpoints": report.signed.as_ref().map_or(0, |signed| signed.checkpoints),
        "key": report.signed.as_ref().and_then(|signed| signed.key.as_ref()).map(ToString::to_string),
        "key_self_asserted": report.signed.as_ref().map(|signed| signed.self_asserted),
        "key_file": key.map(|key| key.path.display().to_string()),
        "live": report.live,
        "segments": report.segments,
        "batches": report.batches,
        "entries": report.entries,
        "first": report.first,
        "last": report.last,
        "findings": report.findings.iter().map(|finding| text(finding)).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(|note| text(note)).collect::<Vec<_>>(),
    });
    writeln!(out, "{document}")
}

fn keygen(name: &str, directory: &Path, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let name = name.parse().map_err(|error| Failure::Name { error })?;
    let paths = keygen::keygen(directory, &name).map_err(Failure::Keygen)?;
    for path in paths {
        writeln!(out, "{}", path.display()).map_err(Failure::Output)?;
    }
    Ok(ExitCode::SUCCESS)
}
