//! `audit show`: the records of a log, opened for a reader.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::source::{self, Select, Source, Untold};
use crate::event::kind_name;
use crate::opened::{self, Content, Item, Walk};
use crate::seal::sealed::Header;
use crate::show::{Human, HumanTarget, Line};

/// Print the records of a log, oldest first.
///
/// Conditions of one kind are alternatives; those of different kinds must all hold.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  audit show --json /var/lib/phigate/audit | jq 'select(.type == \"refusal\")'\n  audit show /var/lib/phigate/audit --outcome refused --since 2026-11-01\n  audit show /var/lib/phigate/audit --patient 'https://fhir.example/fhir|17'"
)]
pub(super) struct Show {
    #[command(flatten)]
    source: Source,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Wait for more at the end, until interrupted. Links that come meanwhile are followed from there on.
    #[arg(long)]
    follow: bool,
    /// Show the raw targets of requests too: paths and queries, which may name patients.
    #[arg(long)]
    targets: bool,
    #[command(flatten)]
    select: Select,
}

impl Show {
    /// Fails in the end when an entry could not be shown, and shows all others.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let source = &self.source;
        source.look()?;
        let mut filter = self.select.filter(&source.directory)?;
        // The key first: whoever has none has not read anything.
        let unsealer = source.unsealer()?;
        let verb = if self.targets { "show targets" } else { "show" };
        source.record(verb, &filter)?;
        let unsealer = source::follow_links(source, unsealer, &mut filter)?;
        let mut walk = Walk::new(&source.directory, unsealer).with_targets(self.targets);
        let mut untold = Untold::default();
        loop {
            match walk.step().map_err(|error| source.stuck(error))? {
                Some(item) => {
                    if let Some(names) = &mut filter.patients {
                        let taken = opened::take_links(names, &item);
                        taken.map_err(|error| source.unlinked(error.into()))?;
                    }
                    if filter.takes(&item) {
                        untold.count(&item);
                        print(&item, self.json, out).map_err(Failure::Output)?;
                    }
                }
                None => {
                    out.flush().map_err(Failure::Output)?;
                    if !self.follow {
                        break;
                    }
                    opened::pause();
                }
            }
        }
        untold.tell();
        Ok(if untold.is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn print(item: &Item<'_>, json: bool, out: &mut impl Write) -> io::Result<()> {
    let target = item.target.as_ref();
    let target = target.and_then(|target| target.as_ref().ok());
    match (&item.content, target) {
        (Content::Entry(entry), target) if json => {
            let line = Line::new(Some(item.sequence), entry);
            let line = match target {
                Some(target) => line.with_target(target.raw()),
                None => line,
            };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)
        }
        (Content::Entry(entry), Some(target)) => {
            writeln!(out, "{}{}", Human(entry), HumanTarget(target.raw()))
        }
        (Content::Entry(entry), None) => writeln!(out, "{}", Human(entry)),
        (Content::Closed(header) | Content::Gone(header), _) => {
            print_closed(item.sequence, header, json, out)
        }
        (Content::Wrong(_), _) => Ok(()),
    }
}

/// What stands in the clear of an entry that does not open.
fn print_closed(
    sequence: u64,
    header: &Header,
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let kind = kind_name(header.kind.0).unwrap_or("unknown");
    let (time, key) = (header.time, header.key);
    if json {
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
