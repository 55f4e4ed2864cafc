//! `pki bulk`: what is typed, and what is printed.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use pki::bulk::{Outcome, Source, Totals};
use pki::store::IdFilter;
use pki::{Bulk, EndEntity};
use serde_json::json;
use terminal::counted;

use super::args::{Passphrases, end_entity, id_filter};
use super::{Failure, print};

/// Issue many certificates: a row of a table, or a request in a directory, for each.
///
/// The table is a file of comma-separated values with a header: id, and any of csr (a file, relative to the
/// table), hardware, days, out (a directory below OUT). Without csr a new key is made. A request in a
/// directory names itself, as far as --allow permits.
///
/// A row that fails does not stop the others. Run it again to go on: what is issued is not issued twice. The
/// journal tells each row's end, one JSON object a line.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki bulk --dir pki --profile device --table pumps.csv --out pumps
  pki bulk --dir pki --profile device --requests csr --allow 'urn:example:pump-*' --out pumps")]
#[command(group(clap::ArgGroup::new("source").required(true).args(["table", "requests"])))]
pub(super) struct BulkArgs {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// What the certificates are for.
    #[arg(long, value_name = "PROFILE", value_parser = end_entity())]
    pub(super) profile: EndEntity,
    /// A table of certificates that are wanted.
    #[arg(long, value_name = "FILE")]
    pub(super) table: Option<PathBuf>,
    /// A directory of PKCS #10 requests, PEM or DER.
    #[arg(long, value_name = "REQUESTS", requires = "allow")]
    pub(super) requests: Option<PathBuf>,
    /// A name that requests may ask for, or its beginning if it ends with `*`. May be given several times.
    #[arg(long, value_name = "NAME", value_parser = id_filter, conflicts_with = "table")]
    pub(super) allow: Vec<IdFilter>,
    /// Directory in which each certificate gets one of its own.
    #[arg(long, value_name = "OUT")]
    pub(super) out: PathBuf,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// The journal [default: OUT/journal.jsonl].
    #[arg(long, value_name = "FILE")]
    pub(super) journal: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: BulkArgs) -> Result<String, Failure> {
    let source = match (args.table, args.requests) {
        (Some(table), _) => Source::Table(table),
        (None, Some(directory)) => Source::Requests {
            directory,
            allow: args.allow,
        },
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    let mut ca = super::open(&args.dir, args.passphrases)?;
    pki::staging::CreatedDirectories::down_to(&args.out)?.keep();
    let bulk = Bulk {
        profile: args.profile,
        source,
        journal: args
            .journal
            .unwrap_or_else(|| args.out.join("journal.jsonl")),
        out: args.out,
    };
    let totals = ca.bulk(&bulk, &mut Timestamp::now, &mut |at, outcome| {
        if let Outcome::Failed { error } = outcome {
            terminal::tell(format_args!("{at}: {error}"));
        }
    })?;
    let text = told(totals, &bulk, args.json);
    if totals.failed == 0 {
        return Ok(text);
    }
    Err(Failure::Judged {
        text,
        message: format!("{} failed", counted(totals.failed, "row")),
        hint: "mend them and run it again: what is issued is not issued twice",
        code: "rows_failed",
    })
}

fn told(totals: Totals, bulk: &Bulk, json: bool) -> String {
    let Totals {
        issued,
        already,
        failed,
    } = totals;
    if json {
        return print::document(&json!({
            "issued": issued,
            "already": already,
            "failed": failed,
            "out": print::path(&bulk.out),
            "journal": print::path(&bulk.journal),
        }));
    }
    format!(
        "issued    {issued}\nalready   {already}\nfailed    {failed}\njournal   {}\n",
        bulk.journal.display()
    )
}
