//! `audit verify`: the verdict as text and as JSON.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use terminal::{Progress, complain, counted};

use super::failure::{Failure, IO};
use super::prove;
use crate::merkle::key::Verifier;
use crate::merkle::note::MAX_BYTES;
use crate::public_key;
use crate::verify::{self, Asked, Cosigned, Finding, InForce, Report, Verdict};

/// Check that nothing in a log was changed, removed or added.
///
/// Exit codes: 0 good, 1 tampered, 2 truncated or rolled back, 3 cannot verify, 4 I/O.
/// Works on the log of a running gateway.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  audit verify /var/lib/phigate/audit")]
pub(super) struct Verify {
    /// The log's directory.
    directory: PathBuf,
    /// A file with the public key that the log's checkpoints must be signed with, kept outside
    /// of it; the first, the last or any between, if the key was rotated. Else log.vkey beside the log's directory; else the key that the log names itself.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
    /// Pass only what is signed with a key from outside.
    #[arg(long)]
    strict: bool,
    /// A file with the public key of a witness, whose cosignatures are verified; may be repeated.
    #[arg(long, value_name = "VKEY")]
    witness: Vec<PathBuf>,
    /// A file with a cosigned checkpoint from outside of the log, as a witness hands it out at
    /// /<SHA-256 of the log's name>/checkpoint; may be repeated. The log must lead to it.
    #[arg(long, value_name = "FILE", requires = "witness")]
    cosigned: Vec<PathBuf>,
    /// Print nothing but what is wrong.
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Prints the verdict, which is the exit code too.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let form = Form {
            quiet: self.quiet,
            json: self.json,
        };
        let key = key_for(&self.directory, self.key)?;
        let read = |path: &PathBuf| public_key::read(path).map_err(Failure::PublicKey);
        let witnesses: Vec<_> = self.witness.iter().map(read).collect::<Result<_, _>>()?;
        let cosigned: Vec<_> = self
            .cosigned
            .iter()
            .map(|path| cosigned(path))
            .collect::<Result<_, _>>()?;
        let asked = Asked {
            key: key.as_ref().map(|key| &key.verifier),
            strict: self.strict,
            witnesses: &witnesses,
            cosigned: &cosigned,
        };
        verify(&self.directory, key.as_ref(), &asked, form, out)
    }
}

/// A public key, and the file that it was read from.
pub(super) struct Key {
    path: PathBuf,
    pub(super) verifier: Verifier,
}

/// The key that was named, else the one beside the log's directory, if there is one.
pub(super) fn key_for(directory: &Path, named: Option<PathBuf>) -> Result<Option<Key>, Failure> {
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

/// What is asked of a log that is to be copied: strictly by a key from outside, where there is one.
pub(super) fn by(key: Option<&Key>) -> Asked<'_> {
    Asked {
        key: key.map(|key| &key.verifier),
        strict: key.is_some(),
        ..Asked::default()
    }
}

/// A checkpoint from outside.
fn cosigned(path: &Path) -> Result<Cosigned, Failure> {
    let note = prove::read(path, MAX_BYTES)?;
    let from = path.display().to_string();
    Ok(Cosigned { from, note })
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
    asked: &Asked<'_>,
    form: Form,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::Read {
        directory: directory.to_owned(),
        error,
        code: IO,
    };
    let progress = Progress::new(form.quiet);
    let report = verify::verify_watched(directory, asked, &mut |segment, last| {
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

/// The verdict as text.
pub(super) fn print_report(
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
    if signed.keys.len() > 1 {
        for InForce { key, from } in &signed.keys {
            writeln!(out, "signed with: {key} from entry {from} on")?;
        }
    }
    match (&signed.key, key) {
        (Some(known), Some(key)) => writeln!(out, "key: {known} from {}", key.path.display()),
        (Some(known), None) => writeln!(
            out,
            "key: self-asserted, {known}\nnote: a log that was written and signed anew as a whole would look the same; compare the key with the one that the gateway wrote, or give it with --key"
        ),
        (None, _) => writeln!(out, "key: unknown"),
    }?;
    print_witnessed(report, out)
}

fn print_witnessed(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for witnessed in &report.witnessed {
        let name = witnessed.name.as_deref().unwrap_or("-");
        let entries = counted(witnessed.entries, "entry/entries");
        write!(out, "witnessed: {entries} by {name}+{}", witnessed.id)?;
        match witnessed.until {
            Some(until) => writeln!(out, " at {until}")?,
            None => writeln!(out, ", not verified")?,
        }
    }
    let tail = counted(report.unwitnessed(), "entry/entries");
    if report
        .witnessed
        .iter()
        .any(|witnessed| witnessed.is_verified)
    {
        writeln!(out, "witnessed: {tail} at the end by nobody yet")
    } else if report.witnessed.is_empty() {
        writeln!(out, "witnessed: by nobody")
    } else {
        writeln!(
            out,
            "note: no key of these witnesses was given: give it with --witness, or their cosignatures prove nothing"
        )
    }
}

fn print_report_json(
    report: &Report,
    verdict: Verdict,
    key: Option<&Key>,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{}", report_json(report, verdict, key))
}

/// The verdict as JSON.
pub(super) fn report_json(report: &Report, verdict: Verdict, key: Option<&Key>) -> Value {
    let text = |item: &dyn std::fmt::Display| Value::String(item.to_string());
    serde_json::json!({
        "verdict": word(verdict),
        "signed": report.signed.is_some(),
        "signed_entries": report.signed.as_ref().map_or(0, |signed| signed.entries),
        "unsigned_entries": report.unsigned(),
        "checkpoints": report.signed.as_ref().map_or(0, |signed| signed.checkpoints),
        "key": report.signed.as_ref().and_then(|signed| signed.key.as_ref()).map(ToString::to_string),
        "keys": report.signed.as_ref().map_or_else(Vec::new, |signed| signed.keys.iter().map(|known| {
            serde_json::json!({ "key": known.key.to_string(), "from_entry": known.from })
        }).collect()),
        "key_self_asserted": report.signed.as_ref().map(|signed| signed.self_asserted),
        "key_file": key.map(|key| key.path.display().to_string()),
        "witnesses": report.witnessed.iter().map(|witnessed| serde_json::json!({
            "name": witnessed.name,
            "id": witnessed.id,
            "verified": witnessed.is_verified,
            "entries": witnessed.entries,
            "until": witnessed.until,
        })).collect::<Vec<_>>(),
        "clock": report.signed.as_ref().map(|signed| serde_json::json!({
            "checkpoints": signed.clock.checkpoints,
            "unsynchronized": signed.clock.unsynchronized,
            "first_at": signed.clock.first,
            "since": signed.clock.since,
            "max_error_us": signed.clock.max_error_us,
        })),
        "unwitnessed_entries": report.unwitnessed(),
        "live": report.live,
        "segments": report.segments,
        "batches": report.batches,
        "entries": report.entries,
        "lost_entries": report.lost,
        "first": report.first,
        "last": report.last,
        "findings": report.findings.iter().map(|finding| text(finding)).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(|note| text(note)).collect::<Vec<_>>(),
    })
}
