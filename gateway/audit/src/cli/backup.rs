//! `audit backup`: the signed part of a log in another place.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use terminal::{Progress, complain, counted, tell};

use super::failure::Failure;
use super::verify::{Key, by, key_for, print_report, report_json};
use crate::backup::{self, BackupError, Made};
use crate::event::{self, Event};
use crate::reading;

/// Copy a log to another place, up to its last checkpoint, and verify the copy.
///
/// The copy is a log that verify, show and report take; nothing is added to it. Done again with the
/// same place, it brings the backup up to date: what cannot change any more is not copied again. A log
/// that was put back, cut or written anew since is refused, and the backup stays as it was; so it does
/// when anything fails. Works on the log of a running gateway, which puts it on record first.
///
/// Exit codes: 0 done; of the log or its copy: 1 tampered, or another log or history than the backup's, 2
/// truncated or rolled back, 3 cannot verify; 4 I/O, or the place cannot be used.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit backup /var/lib/phigate/audit --to /var/backups/phigate/audit --key log.vkey"
)]
pub(super) struct Backup {
    /// The log's directory.
    directory: PathBuf,
    /// The place: a directory that is not there yet, an empty one, or a backup of this log. Beside it,
    /// in DIR.aside, the new one is made.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// A file with the public key that the log's checkpoints must be signed with. Else log.vkey beside
    /// the log's directory; else the key that the log names itself.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Makes the backup, and says what it holds.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let key = key_for(&self.directory, self.key)?;
        let asked = by(key.as_ref());
        let begun = backup::begin(&self.directory, &self.to).map_err(Failure::Backup)?;
        record(&self.directory, begun.entries())?;
        let progress = Progress::new(self.json);
        let made = begun.make(&asked, &mut |stage| progress.at(stage));
        drop(progress);
        let made = made.or_else(|error| told(error, key.as_ref(), self.json, out))?;
        print(&made, key.as_ref(), self.json, out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Puts on record that the log is about to be copied. Fails where a gateway should have recorded it and
/// did not; says so where nobody can.
pub(super) fn record(directory: &Path, entries: u64) -> Result<(), Failure> {
    let by = reading::own_hand();
    let event = Event::Backup(event::Backup { entries, by });
    match reading::put(directory, event) {
        Ok(_) => Ok(()),
        Err(error) if error.must_stop() => Err(Failure::NotBegun(error)),
        Err(error) => {
            tell(format_args!("note: this copy is not on record: {error}"));
            Ok(())
        }
    }
}

/// Tells of a failure; of a verdict, all that was found first.
pub(super) fn told<T>(
    error: BackupError,
    key: Option<&Key>,
    json: bool,
    out: &mut impl Write,
) -> Result<T, Failure> {
    if let BackupError::Verdict(report) = &error {
        let verdict = report.verdict();
        let printed = if json {
            writeln!(out, "{}", report_json(report, verdict, key))
        } else {
            print_report(report, verdict, key, false, out)
        };
        printed
            .and_then(|()| out.flush())
            .map_err(Failure::Output)?;
    }
    Err(Failure::Backup(error))
}

fn print(made: &Made, key: Option<&Key>, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let Made {
        report,
        head,
        before,
        done,
    } = made;
    let verdict = report.verdict();
    let printed = if json {
        let mut document = report_json(report, verdict, key);
        document["root"] = json!(head.root.to_string());
        document["new_entries"] = json!(head.size - before);
        document["copied_files"] = json!(done.files);
        document["copied_bytes"] = json!(done.bytes);
        document["missing_keys"] = json!(done.missing_keys);
        document["missing_witnessed"] = json!(done.missing_witnessed);
        writeln!(out, "{document}")
    } else {
        print_report(report, verdict, key, false, out).and_then(|()| {
            writeln!(
                out,
                "root: {}\nbacked up: {}, {} of them new; {} and {} copied",
                head.root,
                counted(head.size, "entry/entries"),
                head.size - before,
                counted(done.files, "file"),
                counted(done.bytes, "byte"),
            )
        })
    };
    printed
        .and_then(|()| out.flush())
        .map_err(Failure::Output)?;
    for name in &done.missing_keys {
        complain(
            format_args!(
                "the log has no record of the key keys/{name} any more, and does not tell that it was destroyed"
            ),
            Some("the backup keeps the one that it has: put it back into the log from there"),
        );
    }
    for name in &done.missing_witnessed {
        complain(
            format_args!(
                "the log has {name} no more, or less of it than the backup, which keeps it"
            ),
            Some("it is what a witness cosigned: put it back into the log from there"),
        );
    }
    Ok(())
}
