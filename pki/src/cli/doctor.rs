//! `pki doctor` and `pki recover`: what is typed, and what is printed.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use pki::Ca;
use pki::ca::{Finding, Unfinished, Verdict};
use serde_json::json;
use terminal::counted;

use super::args::Passphrases;
use super::{Failure, print};

/// Look the authority over: what is wrong, what will be, and what to do.
///
/// Changes nothing and reads no secret. Exit 1 if something is wrong; warnings alone are exit 0, unless --strict.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki doctor --dir pki --strict   # from a timer")]
pub(super) struct Doctor {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// A warning is exit 1, too.
    #[arg(long)]
    pub(super) strict: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// List certificates that nobody answers for after a crash or a restore, and revoke them.
///
/// Pending ones may have been signed and were not stored; unknown ones are in the log alone, because the
/// inventory is from an older backup. Revoked, it does not matter any more whether they exist.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki recover --dir pki
  pki recover --dir pki --revoke")]
pub(super) struct Recover {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Take the unknown ones in, and revoke all of them.
    #[arg(long)]
    pub(super) revoke: bool,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn examine(args: &Doctor, now: Timestamp) -> Result<String, Failure> {
    let findings = Ca::open(&args.dir)?.examine(now);
    let worst = findings.iter().map(|finding| finding.verdict).max();
    let text = told(&findings, args.json);
    match worst {
        Some(Verdict::Bad) => Err(unwell(text, "something is wrong")),
        Some(Verdict::Warning) if args.strict => Err(unwell(text, "something will go wrong")),
        _ => Ok(text),
    }
}

fn unwell(text: String, message: &str) -> Failure {
    Failure::Judged {
        text,
        message: message.to_owned(),
        hint: "each line says what to do",
        code: "unwell",
    }
}

fn told(findings: &[Finding], json: bool) -> String {
    if json {
        let findings: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check,
                    "verdict": finding.verdict.as_str(),
                    "message": finding.message,
                    "hint": finding.hint,
                })
            })
            .collect();
        return print::document(&json!({ "findings": findings }));
    }
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(
            text,
            "{:<8} {:<12} {}",
            finding.verdict.as_str(),
            finding.check,
            finding.message
        );
        if let Some(hint) = finding.hint {
            let _ = writeln!(text, "{:<8} {:<12} -> {hint}", "", "");
        }
    }
    text
}

pub(super) fn recover(args: Recover, now: Timestamp) -> Result<String, Failure> {
    let mut ca = super::open(&args.dir, args.passphrases)?;
    if args.revoke {
        return Ok(print::revoked(&ca.recover(now)?, now, args.json));
    }
    Ok(left(&ca.unfinished(now)?, args.json))
}

fn left(unfinished: &Unfinished, json: bool) -> String {
    let Unfinished {
        pending,
        unknown,
        taken_back,
        reserved,
    } = unfinished;
    if json {
        let pending: Vec<_> = pending
            .iter()
            .map(|record| json!({ "serial": record.serial.to_string(), "id": record.label }))
            .collect();
        let unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
        return print::document(&json!({
            "pending": pending,
            "unknown": unknown,
            "taken_back": taken_back.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "reserved": reserved,
        }));
    }
    let mut text = String::new();
    for record in pending {
        let _ = writeln!(text, "pending   {} {}", record.serial, record.label);
    }
    for serial in unknown {
        let _ = writeln!(text, "unknown   {serial}");
    }
    for serial in taken_back {
        let _ = writeln!(text, "revoked   {serial} (by the word of the log)");
    }
    let count = pending.len() + unknown.len() + taken_back.len();
    let _ = writeln!(text, "{} to revoke", counted(count, "certificate"));
    let _ = writeln!(
        text,
        "{} drawn and never used",
        counted(*reserved, "serial")
    );
    text
}
