//! `audit report`: what is told of a patient.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use terminal::{complain, counted, tell};

use super::failure::Failure;
use super::source::{Patients, Source, Window};
use crate::checkpoints;
use crate::event::{Pseudonym, Time};
use crate::exchange::Exchange;
use crate::files::Directory;
use crate::read;
use crate::report::collect::{self, Asked, CollectError, Exchanges, MOST, Read};
use crate::report::disclosures::{Accounting, LeftOut, Recipients, account};
use crate::report::page::{Html, Page, Section, Text};
use crate::select::Filter;

/// Tell what is on record of a patient.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  audit report access /var/lib/phigate/audit --patient 'https://fhir.example/fhir|17' --html > 17.html\n  audit report disclosures /var/lib/phigate/audit --patient 'urn:oid:1.2.3|4711' --recipients recipients.toml"
)]
pub(super) struct Report {
    #[command(subcommand)]
    report: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    Access(Access),
    Disclosures(Disclosures),
}

impl Report {
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        match self.report {
            Which::Access(verb) => verb.run(out),
            Which::Disclosures(verb) => verb.run(out),
        }
    }
}

/// Every request that concerns a patient: who, when, what, what it came to, how many bytes.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit report access /var/lib/phigate/audit --patient 'https://fhir.example/fhir|17' --html > 17.html"
)]
struct Access {
    #[command(flatten)]
    common: Common,
}

/// What of a patient went to recipients outside, as 45 CFR 164.528 asks.
///
/// Names what was left out as treatment, payment or operations, and whoever the file does not classify.
/// Looks back six years unless --since says otherwise.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit report disclosures /var/lib/phigate/audit --patient 'urn:oid:1.2.3|4711' --recipients recipients.toml\n\nThe file of recipients:\n  [[recipients]]\n  clients = [\"services:urn:example:registry\"]   # as records name them; * within one segment\n  name = \"Cancer registry\"\n  address = \"1 Example Street, Example City\"\n  purpose = \"public health (45 CFR 164.512(b))\"\n  [treatment]                                   # also [payment], [operations]\n  clients = [\"devices:urn:example:pump-*\"]\n  routes = [\"ward\"]"
)]
struct Disclosures {
    #[command(flatten)]
    common: Common,
    /// A file that says who is a recipient outside, and what is treatment, payment or operations.
    #[arg(long, value_name = "FILE")]
    recipients: PathBuf,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    patients: Patients,
    #[command(flatten)]
    window: Window,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Print one HTML page, to be printed.
    #[arg(long)]
    html: bool,
    /// Read the whole log, and no index.
    #[arg(long)]
    whole: bool,
}

/// What all reports begin with.
#[derive(Debug, Serialize)]
struct Head {
    report: &'static str,
    log: String,
    made: Time,
    patients: Vec<Pseudonym>,
    since: Option<Time>,
    until: Option<Time>,
    /// Whether every entry of the log could be read, and none is missing of those that are signed.
    complete: bool,
    /// How many entries the log has.
    entries: u64,
    /// How many of them are signed, as its last checkpoint says. What was cut from behind these nobody
    /// can miss.
    signed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    sealed_to_others: u64,
    /// Losses of entries that were accepted (`audit recover`).
    losses: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unreadable: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Access {
    fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            head: &'a Head,
            requests: &'a [Exchange],
        }
        let window = self.common.window.times()?;
        let (head, found) = self.common.collect("access", window)?;
        if self.common.json {
            let requests = &found.list[..];
            print_json(
                &Document {
                    head: &head,
                    requests,
                },
                out,
            )?;
        } else {
            let sections = vec![Section {
                title: "Requests".to_owned(),
                note: None,
                columns: [&COLUMNS[..], &["request id"]].concat(),
                rows: found.list.iter().map(row_with_id).collect(),
            }];
            self.common.print("Access report", &head, sections, out)?;
        }
        Ok(head.ended())
    }
}

impl Disclosures {
    fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            head: &'a Head,
            #[serde(flatten)]
            accounting: &'a Accounting,
        }
        let recipients = recipients(&self.recipients)?;
        let (since, until) = self.common.window.times()?;
        let since = since.or_else(six_years_ago);
        let (head, found) = self.common.collect("disclosures", (since, until))?;
        let accounting = account(found.list, &recipients);
        if self.common.json {
            let accounting = &accounting;
            print_json(
                &Document {
                    head: &head,
                    accounting,
                },
                out,
            )?;
        } else {
            let sections = sections(&accounting);
            let title = "Accounting of disclosures (45 CFR 164.528)";
            self.common.print(title, &head, sections, out)?;
        }
        Ok(head.ended())
    }
}

impl Common {
    fn collect(
        &self,
        report: &'static str,
        (since, until): (Option<Time>, Option<Time>),
    ) -> Result<(Head, Exchanges), Failure> {
        let source = &self.source;
        source.look()?;
        let names = self.patients.names(&source.directory)?;
        let is_ours = source.is_ours();
        let asked = Asked {
            names: names.ok_or(Failure::NoPatient)?,
            since,
            until,
            index: !self.whole && is_ours,
        };
        if !self.whole && !is_ours {
            tell(
                "note: the log belongs to another user, who could change an index: the whole log is read",
            );
        }
        let unsealer = source.unsealer()?;
        let filter = Filter {
            patients: Some(asked.names.clone()),
            since,
            until,
            ..Filter::default()
        };
        source.record(&format!("report {report}"), &filter)?;
        // Looked at before the log is read, which may grow: the log has what is signed by now.
        let signed = checkpoints::claimed(&Directory::new(&source.directory));
        let signed = signed.map_err(|error| source.failed(error))?;
        let found = collect::collect(&source.directory, unsealer, &asked);
        let found = found.map_err(|error| match error {
            CollectError::Walk(error) => source.stuck(error),
            CollectError::Names(error) => Failure::Select {
                flag: "--patient",
                error,
            },
            CollectError::TooMany => Failure::TooMany { most: MOST },
            CollectError::Find(error) => Failure::Find(error),
        })?;
        match &found.read {
            Read::Whole { why: Some(why) } => {
                tell(format_args!(
                    "note: {why}: the whole log was read; `audit index` makes one"
                ));
            }
            Read::Index { behind } if *behind > LONG => tell(format_args!(
                "note: {} behind the index were read from the log; `audit index` takes them in",
                counted(*behind, "entry/entries")
            )),
            Read::Whole { why: None } | Read::Index { .. } => {}
        }
        let lost = read::losses(&source.directory);
        let lost = lost.map_err(|error| source.failed(error))?;
        let head = Head {
            report,
            log: source.directory.display().to_string(),
            made: Time::from_system(SystemTime::now()),
            patients: found.names.iter().collect(),
            since,
            until,
            complete: found.closed + found.wrong + lost == 0 && found.entries >= signed,
            entries: found.entries,
            signed,
            losses: lost,
            sealed_to_others: found.closed,
            unreadable: found.wrong,
        };
        Ok((head, found))
    }

    fn print(
        &self,
        title: &str,
        head: &Head,
        sections: Vec<Section>,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let patients: Vec<_> = head.patients.iter().map(Pseudonym::to_string).collect();
        let time = |time: Option<Time>, open: &str| {
            time.map_or_else(|| open.to_owned(), |time| time.to_string())
        };
        let mut facts = vec![
            ("log", head.log.clone()),
            ("made", head.made.to_string()),
            ("patient, by pseudonym", patients.join(" ")),
            ("from", time(head.since, "the beginning")),
            ("to", time(head.until, "now")),
        ];
        facts.push(("signed", head.extent()));
        if !head.complete {
            facts.push(("not complete", head.missing()));
        }
        let page = Page {
            title: title.to_owned(),
            facts,
            sections,
        };
        let written = if self.html {
            write!(out, "{}", Html(&page))
        } else {
            write!(out, "{}", Text(&page))
        };
        written.and_then(|()| out.flush()).map_err(Failure::Output)
    }
}

impl Head {
    /// What is told, and how far the signature goes.
    fn extent(&self) -> String {
        let entries = counted(self.entries, "entry/entries");
        match (self.signed, self.entries) {
            (0, _) => format!("nothing of {entries}: what was cut from the end is not missed"),
            (signed, there) if signed > there => {
                format!(
                    "{signed}, of which {} not there any more",
                    counted(signed - there, "is/are")
                )
            }
            (signed, _) => format!(
                "the first {signed} of {entries}: what was cut from behind these is not missed"
            ),
        }
    }

    /// What may be missing.
    fn missing(&self) -> String {
        let cut = self.signed.saturating_sub(self.entries);
        let all = [
            (
                self.sealed_to_others,
                "entry is/entries are",
                " sealed to readers with another key",
            ),
            (self.unreadable, "is/are", " not to be read"),
            (self.losses, "loss/losses", " of entries accepted"),
            (cut, "signed entry is/signed entries are", " not there"),
        ];
        let some = all.into_iter().filter(|(count, _, _)| *count > 0);
        let some = some.map(|(count, noun, what)| counted(count, noun) + what);
        some.collect::<Vec<_>>().join(", ")
    }

    /// A report that may lack something fails, and says so.
    fn ended(&self) -> ExitCode {
        if self.complete {
            return ExitCode::SUCCESS;
        }
        complain(
            format_args!("the report is not complete: {}", self.missing()),
            Some("--reader names the key of a reader; `audit verify` says what else is wrong"),
        );
        ExitCode::FAILURE
    }
}

/// Beyond so many entries behind the index somebody should be told.
const LONG: u64 = 100_000;

const COLUMNS: [&str; 5] = ["time", "client", "what", "result", "bytes"];

fn row(exchange: &Exchange) -> Vec<String> {
    let client = exchange.client.as_deref().unwrap_or("-");
    let who = match &exchange.user {
        Some(user) => format!("{client} for {user}"),
        None => client.to_owned(),
    };
    vec![
        exchange.began.to_string(),
        who,
        exchange.what(),
        exchange.result(),
        exchange.size(),
    ]
}

fn row_with_id(exchange: &Exchange) -> Vec<String> {
    let mut row = row(exchange);
    row.push(exchange.request_id.to_string());
    row
}

fn sections(accounting: &Accounting) -> Vec<Section> {
    let disclosures = accounting.disclosures.iter().map(|disclosure| {
        let exchange = &disclosure.exchange;
        vec![
            exchange.began.to_string(),
            disclosure.recipient.clone(),
            disclosure.address.clone(),
            disclosure.purpose.clone(),
            exchange.what(),
            exchange.size(),
            exchange.request_id.to_string(),
        ]
    });
    let left_out = |left_out: &LeftOut| {
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            left_out.why.to_owned(),
            dash(&left_out.client),
            dash(&left_out.route),
            left_out.requests.to_string(),
            left_out.first.to_string(),
            left_out.last.to_string(),
        ]
    };
    vec![
        Section {
            title: "Disclosures".to_owned(),
            note: None,
            columns: vec![
                "time",
                "recipient",
                "address",
                "purpose",
                "what",
                "bytes",
                "request id",
            ],
            rows: disclosures.collect(),
        },
        Section {
            title: "Not classified".to_owned(),
            note: Some("the file of recipients says nothing of these clients and routes"),
            columns: [&COLUMNS[..], &["request id"]].concat(),
            rows: accounting.not_classified.iter().map(row_with_id).collect(),
        },
        Section {
            title: "Left out, by client and route".to_owned(),
            note: Some("treatment, payment and operations: 45 CFR 164.528(a)(1)(i)"),
            columns: vec!["as", "client", "route", "requests", "first", "last"],
            rows: accounting.left_out.iter().map(left_out).collect(),
        },
        Section {
            title: "Without an answer".to_owned(),
            note: Some("requests that were refused, or of which no answer left"),
            columns: vec!["requests"],
            rows: vec![vec![accounting.not_released.to_string()]],
        },
    ]
}

fn print_json(document: &impl Serialize, out: &mut impl Write) -> Result<(), Failure> {
    let written = serde_json::to_writer(&mut *out, document).map_err(io::Error::from);
    written
        .and_then(|()| writeln!(out))
        .map_err(Failure::Output)
}

/// No file of recipients is longer, bytes.
const MAX_RECIPIENTS: u64 = 1024 * 1024;

fn recipients(path: &Path) -> Result<Recipients, Failure> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_RECIPIENTS).read_to_string(&mut text));
    let path = || path.to_owned();
    read.map_err(|error| Failure::Open {
        path: path(),
        error,
    })?;
    Recipients::parse(&text).map_err(|error| Failure::Recipients {
        path: path(),
        error,
    })
}

/// How far an accounting goes back (45 CFR 164.528(a)(1)).
fn six_years_ago() -> Option<Time> {
    let now = Timestamp::try_from(SystemTime::now()).ok()?;
    let then = now.to_zoned(TimeZone::UTC).checked_sub(6.years()).ok()?;
    let nanoseconds = u64::try_from(then.timestamp().as_nanosecond());
    nanoseconds.ok().map(Time)
}
