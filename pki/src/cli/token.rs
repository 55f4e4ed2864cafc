//! `pki token`: what is typed, and what is printed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use pki::store::{MAX_PAGE, TokenId, TokenPage, TokenRecord, TokenState};
use pki::{Ca, EndEntity};
use serde_json::{Value, json};
use terminal::counted;

use super::args::{NameArgs, end_entity, span};
use super::{Failure, print};

/// Make, list and cancel one-time tokens for enrolment over the network.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki token make --dir pki --profile device --id urn:example:pump-1 > pump-1.token")]
pub(super) struct Token {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Make(Make),
    List(List),
    Cancel(Cancel),
}

/// Make a token: whoever shows it gets one certificate, with these names, once.
///
/// It is printed here and never again; the inventory keeps its hash.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki token make --dir pki --profile device --id urn:example:pump-1 > pump-1.token")]
pub(super) struct Make {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// What the certificate will be for.
    #[arg(long, value_name = "PROFILE", value_parser = end_entity())]
    pub(super) profile: EndEntity,
    #[command(flatten)]
    pub(super) names: NameArgs,
    /// How long it can be used: 12h, 7d; at most 90d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
    pub(super) valid_for: SignedDuration,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// List tokens, in the order in which they were made. The tokens themselves are not there.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki token list --dir pki")]
pub(super) struct List {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PAGE)))]
    pub(super) limit: u32,
    /// Continue after this place: the "next" of the page before.
    #[arg(long, value_name = "PLACE", value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) after: Option<i64>,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Take a token back that was not used.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki token cancel --dir pki --place 17")]
pub(super) struct Cancel {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Which: its place, as `pki token list` shows it.
    #[arg(long, value_name = "PLACE", value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) place: i64,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

impl Token {
    /// What is on record of it: the verb, and whose it is.
    pub(super) fn on_record(&self) -> (&'static str, &Path) {
        match &self.verb {
            Verb::Make(args) => ("token make", &args.dir),
            Verb::List(args) => ("token list", &args.dir),
            Verb::Cancel(args) => ("token cancel", &args.dir),
        }
    }
}

pub(super) fn run(args: Token, now: Timestamp) -> Result<String, Failure> {
    match args.verb {
        Verb::Make(args) => {
            if args.valid_for > pki::MAX_TOKEN_LIFE || args.valid_for.is_zero() {
                return Err(Failure::Usage {
                    message: "a token is valid for 1 hour to 90 days".to_owned(),
                    hint: "make it when it is needed",
                });
            }
            let names = super::names(args.profile, &args.names)?;
            let mut ca = Ca::open(&args.dir)?;
            let (token, record) = ca.make_token(args.profile, &names, args.valid_for, now)?;
            if args.json {
                let mut value = told(&record, now);
                value["token"] = Value::from(token.expose().as_str());
                return Ok(print::document(&value));
            }
            // Alone on its line, so that it goes into a file as it is.
            Ok(format!("{}\n", *token.expose()))
        }
        Verb::List(args) => {
            let after = args.after.map(TokenId::from_number);
            let page = Ca::open(&args.dir)?.tokens(after, args.limit)?;
            Ok(list(&page, now, args.json))
        }
        Verb::Cancel(args) => {
            let record =
                Ca::open(&args.dir)?.cancel_token(TokenId::from_number(args.place), now)?;
            if args.json {
                return Ok(print::document(&told(&record, now)));
            }
            Ok(format!("cancelled {} {}\n", args.place, record.label))
        }
    }
}

fn list(page: &TokenPage, now: Timestamp, json: bool) -> String {
    if json {
        return print::document(&json!({
            "tokens": page.tokens.iter().map(|token| told(token, now)).collect::<Vec<_>>(),
            "total": page.total,
            "next": page.next.map(TokenId::number),
        }));
    }
    let mut text = String::new();
    if !page.tokens.is_empty() {
        let mut rows = vec![["PLACE", "STATE", "PROFILE", "ID", "EXPIRES"].map(str::to_owned)];
        rows.extend(page.tokens.iter().map(|token| {
            [
                token.id.number().to_string(),
                state(token, now).to_owned(),
                token.profile.name.to_owned(),
                token.label.clone(),
                token.expires_at.to_string(),
            ]
        }));
        text += &print::table(&rows);
    }
    let _ = writeln!(text, "{}", counted(page.total, "token"));
    if let Some(next) = page.next {
        let _ = writeln!(text, "go on with --after {}", next.number());
    }
    text
}

fn state(token: &TokenRecord, now: Timestamp) -> &'static str {
    match token.state {
        TokenState::Open if token.expires_at < now => "expired",
        TokenState::Open => "open",
        TokenState::Used { .. } => "used",
        TokenState::Cancelled { .. } => "cancelled",
    }
}

fn told(token: &TokenRecord, now: Timestamp) -> Value {
    let ended = match &token.state {
        TokenState::Open => None,
        TokenState::Used { at, .. } | TokenState::Cancelled { at, .. } => Some(at.to_string()),
    };
    json!({
        "place": token.id.number(),
        "handle": token.handle,
        "state": state(token, now),
        "profile": token.profile.name,
        "id": token.label,
        "names": token.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "made_at": token.made_at.to_string(),
        "made_by": token.made_by,
        "expires_at": token.expires_at.to_string(),
        "ended_at": ended,
    })
}
