//! `audit keep`, `audit hold` and `audit destroy`: how long a log is kept, and how that ends.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{ArgGroup, Args};
use serde_json::json;
use terminal::{Progress, counted};

use super::failure::Failure;
use super::verify::{Key, key_for};
use crate::destroy::{self, Ended, KeepError, Which};
use crate::event::{self, Time};
use crate::keeping::{Keeping, YEARS};
use crate::reading::own_hand;
use crate::seal::epoch::Epoch;
use crate::verify::Asked;

/// Say how long each month of a log is kept, what holds it, and what ended.
///
/// A month of a class is kept from its end for the longest period that was in force when it was written,
/// or is now; six years where nothing says more (45 CFR 164.316(b)(2)(i)). The log is verified first: one that
/// was changed might hide a hold. Needs no secret, and is no read of what is in the records.
///
/// Exit codes: 0 done, 1 the log does not verify or cannot be read, 64 wrong usage.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  audit keep /var/lib/phigate/audit")]
pub(super) struct Keep {
    /// The log's directory. The gateway may be running.
    directory: PathBuf,
    /// A file with the public key that the log is signed with. Else log.vkey beside its directory.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Hold months of a log, whatever their age, or let them go.
///
/// While a hold stands, `audit destroy` destroys no key of a month that it covers. Holds are entries of the
/// log, with who placed or released them and why; a gateway that serves the log records them.
///
/// Exit codes: 0 done, 1 failed, 64 wrong usage.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  audit hold /var/lib/phigate/audit --name case-17 --from 2026-01 --to 2026-06 --reason 'subpoena of 3 July'\n  audit hold /var/lib/phigate/audit --name case-17 --release --reason 'case closed'"
)]
pub(super) struct Hold {
    /// The log's directory. The gateway may be running.
    directory: PathBuf,
    /// Its name, at most 64 bytes. Placed again under the same name it covers both.
    #[arg(long)]
    name: String,
    /// The first month that it covers; without it, all before the last.
    #[arg(long, value_name = "MONTH")]
    from: Option<String>,
    /// The last month that it covers; without it, all from the first on, those to come as well.
    #[arg(long, value_name = "MONTH")]
    to: Option<String>,
    /// Let go what it covers.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    release: bool,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// A file with the public key that the log is signed with. Else log.vkey beside its directory.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
}

/// Destroy the keys of months whose time is over, so that nobody reads their entries any more.
///
/// Entries, hashes and proofs stay: the log verifies as before. Nothing is destroyed before its time or while
/// a hold covers it, whoever asks. The log says who did it and why, before and after. Indexes in the log's
/// directory are removed with it and can be made again; backups follow when `audit backup` brings them up to
/// date; copies elsewhere are not reached.
///
/// Exit codes: 0 done, or nothing is due; 1 failed; 64 wrong usage.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which").required(true),
    after_help = "Examples:\n  audit destroy /var/lib/phigate/audit --due --reason 'retention schedule 12'\n  audit destroy /var/lib/phigate/audit --epoch 2020-11/standard --reason 'retention schedule 12'"
)]
pub(super) struct Destroy {
    /// The log's directory. The gateway may be running.
    directory: PathBuf,
    /// Every month and class whose time is over and that nobody holds.
    #[arg(long, group = "which")]
    due: bool,
    /// A month and class, such as 2020-11/standard; may be repeated.
    #[arg(long, value_name = "EPOCH", group = "which")]
    epoch: Vec<Epoch>,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// A file with the public key that the log is signed with. Else log.vkey beside its directory.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
}

impl Keep {
    /// Prints a line for each month and class, and the holds.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let key = key_for(&self.directory, self.key)?;
        let progress = Progress::new(false);
        let found = destroy::keeping(&self.directory, &asked(key.as_ref()), &mut watch(&progress));
        drop(progress);
        let keeping = found.map_err(failed(&self.directory))?;
        let printed = if self.json {
            print_json(&keeping, now(), out)
        } else {
            print(&keeping, now(), out)
        };
        printed.map_err(Failure::Output)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Hold {
    /// Places or releases it.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let key = key_for(&self.directory, self.key)?;
        let hold = event::Hold {
            name: &self.name,
            placed: !self.release,
            from: self.from.as_deref(),
            to: self.to.as_deref(),
            reason: &self.reason,
            by: own_hand(),
        };
        let progress = Progress::new(false);
        let asked = asked(key.as_ref());
        let done = destroy::hold(&self.directory, &asked, hold, &mut watch(&progress));
        drop(progress);
        done.map_err(failed(&self.directory))?;
        let does = if self.release { "released" } else { "placed" };
        writeln!(out, "{does}: {}", self.name.escape_debug()).map_err(Failure::Output)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Destroy {
    /// Destroys, and prints what.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let key = key_for(&self.directory, self.key)?;
        let which = if self.due {
            Which::Due
        } else {
            Which::Named(self.epoch)
        };
        let progress = Progress::new(false);
        let mut ended = Ended::default();
        let destroyed = destroy::destroy(
            &self.directory,
            &asked(key.as_ref()),
            &which,
            &self.reason,
            &now,
            &mut watch(&progress),
            &mut ended,
        );
        drop(progress);
        let mut print = || -> io::Result<()> {
            if ended.epochs.is_empty() && destroyed.is_ok() {
                writeln!(out, "nothing is due")?;
            }
            for (epoch, records) in &ended.epochs {
                writeln!(out, "destroyed: {epoch}, {}", counted(*records, "key"))?;
            }
            for index in &ended.indexes {
                writeln!(out, "removed: {index}, which can be made again")?;
            }
            out.flush()
        };
        // What ended is told also when another one could not, and that it could not in any case.
        let printed = print();
        destroyed.map_err(failed(&self.directory))?;
        printed.map_err(Failure::Output)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn asked(key: Option<&Key>) -> Asked<'_> {
    Asked {
        key: key.map(|key| &key.verifier),
        ..Asked::default()
    }
}

fn watch(progress: &Progress) -> impl FnMut(u64, u64) {
    |segment, last| progress.at(format_args!("verifying segment {segment} of {last}"))
}

fn failed(directory: &Path) -> impl FnOnce(KeepError) -> Failure {
    |error| Failure::Keep {
        directory: directory.to_owned(),
        error,
    }
}

fn now() -> Time {
    Time::from_system(SystemTime::now())
}

/// How an epoch stands, in a word, and since when or until when.
fn state(keeping: &Keeping, epoch: &Epoch, now: Time) -> (&'static str, Time, Option<String>) {
    let due = keeping.due(epoch);
    match (keeping.end_of(epoch), keeping.held(epoch)) {
        (Some(end), _) if end.done => ("destroyed", end.at, None),
        (Some(end), _) => ("half destroyed", end.at, None),
        (None, Some(name)) => ("held", due, Some(name.to_owned())),
        (None, None) if due <= now => ("due", due, None),
        (None, None) => ("kept", due, None),
    }
}

fn print(keeping: &Keeping, now: Time, out: &mut impl Write) -> io::Result<()> {
    for (epoch, life) in keeping.epochs() {
        let keys = counted(life.keys, "key");
        let (state, time, hold) = state(keeping, epoch, now);
        let word = match state {
            "kept" => "until",
            "destroyed" | "half destroyed" => "at",
            _ => "since",
        };
        write!(out, "{epoch} {keys} {state}")?;
        match hold {
            Some(name) => writeln!(out, " by {}, due {time}", name.escape_debug())?,
            None => writeln!(out, " {word} {time}")?,
        }
    }
    for (name, held) in keeping.holds() {
        // The log may be somebody else's.
        let from = held.from.as_deref().unwrap_or("the first").escape_debug();
        let to = held.to.as_deref().unwrap_or("all to come").escape_debug();
        let (name, reason) = (name.escape_debug(), held.reason.escape_debug());
        writeln!(
            out,
            "hold {name}: {from} to {to}, since {} by user {}: {reason}",
            held.since, held.by.uid
        )?;
    }
    let mut classes: Vec<_> = keeping
        .in_force()
        .map(|(class, years)| format!("{class} {}", counted(years, "year")))
        .collect();
    if classes.is_empty() {
        classes.push(format!(
            "nothing is said of periods, so {YEARS} years count"
        ));
    }
    writeln!(out, "in force: {}", classes.join(", "))?;
    if keeping.epochs().next().is_none() {
        writeln!(
            out,
            "note: the records are not encrypted, so no key can be destroyed"
        )?;
    }
    out.flush()
}

fn print_json(keeping: &Keeping, now: Time, out: &mut impl Write) -> io::Result<()> {
    let epochs = keeping.epochs().map(|(epoch, life)| {
        let (state, _, hold) = state(keeping, epoch, now);
        let end = life.end.as_ref();
        json!({
            "epoch": epoch.to_string(),
            "keys": life.keys,
            "state": state,
            "due": keeping.due(epoch),
            "held_by": hold,
            "ended": end.map(|end| json!({
                "at": end.at, "uid": end.by.uid, "reason": end.reason, "done": end.done,
            })),
        })
    });
    let holds = keeping.holds().map(|(name, held)| {
        json!({
            "name": name,
            "from": held.from,
            "to": held.to,
            "since": held.since,
            "uid": held.by.uid,
            "login_uid": held.by.login_uid,
            "reason": held.reason,
        })
    });
    let classes = keeping
        .in_force()
        .map(|(class, years)| json!({ "class": class.to_string(), "years": years }));
    let document = json!({
        "epochs": epochs.collect::<Vec<_>>(),
        "holds": holds.collect::<Vec<_>>(),
        "in_force": classes.collect::<Vec<_>>(),
    });
    writeln!(out, "{document}")?;
    out.flush()
}
