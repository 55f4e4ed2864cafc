//! `audit disclose`, and what `audit check` says of a disclosure.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use terminal::{counted, tell};

use super::failure::Failure;
use super::source::Source;
use crate::disclose::disclose;
use crate::disclosure::{Disclosure, DisclosureError, Shown};
use crate::rotate::Known;
use crate::select::Filter;
use crate::show::Line;

/// Disclose one entry of a log, as a text that anybody can check with the log's public key.
///
/// The text holds the entry, what shows that it is the one that was sealed, and the proof that it is in
/// the last checkpoint (C2SP tlog-proof). It opens no other entry. `audit check` checks it, and prints
/// the entry as `audit show --json` does.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit disclose /var/lib/phigate/audit --entry 4711 > 4711.disclosed\n  audit check 4711.disclosed --key log.vkey"
)]
pub(super) struct Disclose {
    #[command(flatten)]
    source: Source,
    /// The number of the entry, from 0, as `audit show --json` prints it.
    #[arg(long, value_name = "N")]
    entry: u64,
    /// Disclose the raw target of the request too: path and query, which may name a patient.
    #[arg(long)]
    target: bool,
}

impl Disclose {
    /// Prints the disclosure, once it is on record that it will be.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let source = &self.source;
        source.look()?;
        let mut unsealer = source.unsealer()?;
        let verb = if self.target {
            "disclose target"
        } else {
            "disclose"
        };
        source.record(verb, &Filter::default())?;
        let disclosed = disclose(&source.directory, self.entry, &mut unsealer, self.target);
        let text = disclosed.map_err(Failure::Disclose)?.to_string();
        let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        printed.map_err(Failure::Output)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Checks a disclosure, and prints what it shows: the entry, and to whom watches what it was held
/// against.
pub(super) fn check(
    path: &Path,
    text: &[u8],
    known: &Known,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let undisclosed = |error: DisclosureError| Failure::Undisclosed {
        path: path.to_owned(),
        error,
    };
    let disclosure = Disclosure::parse(text).map_err(undisclosed)?;
    let shown = known.with_any(|key| {
        let shown = disclosure.check(key)?;
        let size = shown.head.size;
        Ok((shown, size))
    });
    let shown = shown.map_err(undisclosed)?;
    print(&shown, out).map_err(Failure::Output)?;
    let (sequence, name) = (shown.sequence, known.given().name());
    let size = counted(shown.head.size, "entry/entries");
    tell(format_args!(
        "good: it is entry {sequence} of the log {name} of {size}"
    ));
    Ok(ExitCode::SUCCESS)
}

fn print(shown: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    let line = Line::new(Some(shown.sequence), &shown.entry);
    let line = match shown.target {
        Some(target) => line.with_target(target),
        None => line,
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)?;
    out.flush()
}
