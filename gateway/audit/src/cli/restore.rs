//! `audit restore`: the drill, and the way back from a backup.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use serde_json::json;
use terminal::{Progress, complain, counted};
use zeroize::Zeroizing;

use super::backup::told;
use super::failure::Failure;
use super::verify::{Key, key_for, print_report, report_json};
use crate::restore::{self, Drill, Sealed};
use crate::seal::hpke::SecretKey;
use crate::seal::reader;
use crate::verify::Asked;

/// Verify a backup of a log, or make a log of it that goes on.
///
/// With --verify everything in the backup is verified, with a public key from outside, and nothing is
/// written. With --reader every entry that is sealed to that reader is opened too, and nothing of it
/// shown. With --to the backup is copied into a fresh directory, verified there once more, and gets an
/// entry that tells who went back to it, why, and how far; the gateway signs it at its next start.
///
/// What was written behind the backup is not in the restored log. A gateway does not start on it while a
/// witness remembers more.
///
/// Exit codes: 0 good; 1 tampered, 2 truncated or rolled back, 3 cannot verify, or the reader's key
/// opens nothing; 4 I/O, or the place cannot be used.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["verify", "to"])),
    after_help = "Examples:\n  audit restore /var/backups/phigate/audit --verify --key log.vkey --reader reader.key\n  audit restore /var/backups/phigate/audit --to /var/lib/phigate/audit --key log.vkey --reason 'disk replaced, ticket 4711'"
)]
pub(super) struct Restore {
    /// The backup.
    backup: PathBuf,
    /// Only verify it.
    #[arg(long)]
    verify: bool,
    /// Make a log of it in this directory, which must not be there yet, or be empty.
    #[arg(long, value_name = "DIR", requires = "reason")]
    to: Option<PathBuf>,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT", requires = "to")]
    reason: Option<String>,
    /// A file with the public key of the log, from outside of the backup. Else log.vkey beside the
    /// backup.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
    /// A file with the secret key of a reader, to prove that the records can be read.
    #[arg(long, value_name = "FILE")]
    reader: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Restore {
    /// Verifies, and restores if that is asked.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let key = key_for(&self.backup, self.key)?;
        let asked = Asked {
            key: key.as_ref().map(|key| &key.verifier),
            strict: true,
            ..Asked::default()
        };
        let reader = self.reader.as_deref().map(secret).transpose()?;
        let progress = Progress::new(self.json);
        let mut watch = |stage| progress.at(stage);
        let drill = match (&self.to, &self.reason) {
            (Some(to), Some(reason)) => {
                restore::restore(&self.backup, to, reason, &asked, reader, &mut watch)
                    .map(|restored| restored.drill)
            }
            _ => restore::drill(&self.backup, &asked, reader, &mut watch),
        };
        drop(progress);
        let drill = drill.or_else(|error| told(error, key.as_ref(), self.json, out))?;
        print(&drill, self.to.as_deref(), key.as_ref(), self.json, out)?;
        if drill.is_unreadable() {
            complain(
                "what is sealed in this backup does not open for this reader",
                Some(
                    "--reader names the secret half of a key that [audit] readers named when it was written",
                ),
            );
            return Ok(UNREADABLE.into());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The exit code of a backup that nobody is proved to read.
const UNREADABLE: u8 = 3;

/// A reader's secret key.
fn secret(path: &Path) -> Result<SecretKey, Failure> {
    const LONGEST: usize = 4096;
    let path = path.to_owned();
    // Sized ahead, so that no half of it is left behind by a buffer that grew.
    let mut pem = Zeroizing::new(Vec::with_capacity(2 * LONGEST));
    let read = File::open(&path).and_then(|file| file.take(LONGEST as u64).read_to_end(&mut pem));
    if let Err(error) = read {
        return Err(Failure::KeyFile { path, error });
    }
    reader::parse_secret(&pem).map_err(|error| Failure::Reader { path, error })
}

fn print(
    drill: &Drill,
    to: Option<&Path>,
    key: Option<&Key>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (report, head) = (&drill.report, drill.head);
    let verdict = report.verdict();
    let printed = if json {
        let mut document = report_json(report, verdict, key);
        document["root"] = json!(head.root.to_string());
        document["restored_to"] = json!(to.map(|to| to.display().to_string()));
        let keys = drill.keys.iter().map(|key| {
            json!({ "key": key.name, "record": key.has_record, "opened": key.opened, "closed": key.closed, "wrong": key.wrong })
        });
        document["epochs"] = keys.collect();
        document["reader_tried"] = json!(drill.was_tried);
        writeln!(out, "{document}")
    } else {
        print_report(report, verdict, key, false, out).and_then(|()| {
            writeln!(out, "root: {}", head.root)?;
            for key in &drill.keys {
                writeln!(out, "{}", line(key, drill.was_tried))?;
            }
            let entries = counted(head.size, "entry/entries");
            match to {
                Some(to) => writeln!(
                    out,
                    "restored: {entries} in {}; the entry that tells of it is signed at the next start of the gateway",
                    to.display()
                ),
                None => writeln!(out, "the backup is whole: {entries}"),
            }
        })
    };
    printed.and_then(|()| out.flush()).map_err(Failure::Output)
}

/// What is said of a key of the log.
fn line(key: &Sealed, was_tried: bool) -> String {
    let all = counted(key.opened + key.closed + key.wrong, "entry/entries");
    let name = &key.name;
    match key {
        Sealed {
            has_record: false, ..
        } => {
            format!("epoch: {name}, {all} that nobody reads: there is no record of the key")
        }
        _ if !was_tried => format!("epoch: {name}, {all}; --reader proves that they can be read"),
        Sealed {
            opened,
            closed: 0,
            wrong: 0,
            ..
        } => format!("epoch: {name}, {opened} of {all} opened"),
        Sealed {
            opened,
            closed,
            wrong,
            ..
        } => format!(
            "epoch: {name}, {opened} of {all} opened, {closed} sealed to others, {wrong} not what was sealed"
        ),
    }
}
