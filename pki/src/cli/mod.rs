//! The command line: every word that a person sees, the exit codes, and the only clock.
//!
//! Results go to standard output and nothing else does; what went wrong goes to standard error as
//! `error:` and `hint:` lines. It decides nothing about certificates.

mod args;
mod hint;
mod print;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use jiff::Timestamp;
use pki::files::read_bounded;
use pki::pem::{self, MAX_CERTIFICATE_FILE_OCTETS};
use pki::request::MAX_REQUEST_OCTETS;
use pki::{Ca, EndEntity, Error, Filter, Find, Inspected, KeySource, Name, Names, Order};

use args::{Cli, Command, Which};

/// Wrong usage, as in sysexits.h.
const USAGE: u8 = 64;

/// Why a command did not end well.
enum Failure {
    /// What was typed makes no sense: exit 64.
    Usage { message: String, hint: &'static str },
    /// The authority refused, or something failed: exit 1. Large, so it lives elsewhere.
    Refused(Box<Error>),
    /// The result could not be written.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<pki::files::FileError> for Failure {
    fn from(error: pki::files::FileError) -> Self {
        Error::from(error).into()
    }
}

/// Runs the program with its arguments.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(&error),
    };
    let result = run(cli.command, Timestamp::now()).and_then(|text| put(&text));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage { message, hint }) => {
            complain(&message, Some(hint));
            ExitCode::from(USAGE)
        }
        Err(Failure::Refused(error)) => {
            complain(&error.to_string(), hint::hint(&error).as_deref());
            ExitCode::FAILURE
        }
        Err(Failure::Output(error)) => {
            complain(
                &format!("cannot write the result: {error}"),
                Some("what was asked for is done; `pki list` and `pki show` tell it again"),
            );
            ExitCode::FAILURE
        }
    }
}

/// Runs one command and returns what it prints.
fn run(command: Command, now: Timestamp) -> Result<String, Failure> {
    match command {
        Command::Init(args) => {
            let ca = Ca::init(&args.dir, &args.name, now)?;
            Ok(print::init(&ca, &ca.crls()?, args.json))
        }
        Command::Issue(args) => {
            let json = args.json;
            let (order, dir, out) = order(args)?;
            let issued = Ca::open(&dir)?.issue(order, &out, now)?;
            Ok(print::issued(&issued, now, json))
        }
        Command::Revoke(args) => {
            let find = find(args.which)?;
            let revoked = Ca::open(&args.dir)?.revoke(&find, args.reason, now)?;
            Ok(print::revoked(&revoked, now, args.json))
        }
        Command::Crl(args) => {
            let crls = Ca::open(&args.dir)?.sign_crls(args.days, now)?;
            Ok(print::crls(&crls, args.json))
        }
        Command::List(args) => list(&args, now),
        Command::Show(args) => show(args, now),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "pki", &mut script);
            Ok(String::from_utf8_lossy(&script).into_owned())
        }
        Command::Manual(args) => {
            clap_mangen::generate_to(Cli::command(), &args.dir).map_err(|source| {
                pki::files::FileError::Io {
                    doing: pki::files::Doing::Write,
                    path: args.dir,
                    source,
                }
            })?;
            Ok(String::new())
        }
    }
}

fn list(args: &args::List, now: Timestamp) -> Result<String, Failure> {
    let expires_by = args
        .expires_within
        .map(|span| now.checked_add(span).unwrap_or(Timestamp::MAX));
    let filter = Filter {
        status: args.status,
        profile: args.profile.as_deref().and_then(pki::profile::named),
        id: args.id.clone(),
        expires_by,
    };
    let after = args.after.map(pki::store::CertificateId::from_number);
    let page = Ca::open(&args.dir)?.list(&filter, after, args.limit, now)?;
    Ok(print::list(&page, now, args.json))
}

fn show(args: args::Show, now: Timestamp) -> Result<String, Failure> {
    let find = find(args.which)?;
    let ca = Ca::open(&args.dir)?;
    let mut records = Vec::new();
    for record in ca.show(&find)? {
        let pem = ca.der(record.id)?.map(|der| pem::certificate(&der));
        if args.pem && pem.is_none() {
            let serial = record.serial;
            return Err(Error::NotStored { serial }.into());
        }
        records.push((record, pem));
    }
    if args.pem {
        return Ok(records.into_iter().filter_map(|(_, pem)| pem).collect());
    }
    Ok(print::show(&records, now, args.json))
}

/// What was typed, as an order.
fn order(args: args::Issue) -> Result<(Order, std::path::PathBuf, std::path::PathBuf), Failure> {
    let names = names(&args)?;
    let key = match &args.csr {
        None => KeySource::New,
        Some(path) => KeySource::Request(read_bounded(path, MAX_REQUEST_OCTETS)?),
    };
    let order = Order {
        profile: args.profile,
        names,
        key,
        days: args.days,
    };
    Ok((order, args.dir, args.out))
}

/// The names of a server, or the one name of anybody else.
fn names(args: &args::Issue) -> Result<Names, Failure> {
    let mut names = Vec::new();
    match args.profile {
        EndEntity::Server => {
            let id = args.id.iter().map(|text| ("--id", text));
            for (flag, text) in id.chain(args.dns.iter().map(|text| ("--dns", text))) {
                names.push(Name::dns(text).map_err(|error| bad_name(flag, text, &error))?);
            }
            for text in &args.ip {
                names.push(Name::ip(text).map_err(|error| bad_name("--ip", text, &error))?);
            }
            if names.is_empty() {
                return Err(Failure::Usage {
                    message: "a server needs at least one name".to_owned(),
                    hint: "give --dns HOST or --ip ADDRESS",
                });
            }
        }
        EndEntity::Device | EndEntity::Client | EndEntity::Operator => {
            let (Some(text), true, true) = (&args.id, args.dns.is_empty(), args.ip.is_empty())
            else {
                return Err(Failure::Usage {
                    message: format!(
                        "a {} has exactly one name, and it is a URI",
                        args.profile.profile().name
                    ),
                    hint: "give --id URI, such as --id urn:example:pump-1, and no --dns or --ip",
                });
            };
            names.push(Name::uri(text).map_err(|error| bad_name("--id", text, &error))?);
        }
    }
    args.profile.admit(names).map_err(|error| Failure::Usage {
        message: error.to_string(),
        hint: "see `pki issue --help`",
    })
}

fn bad_name(flag: &str, text: &str, error: &pki::name::NameError) -> Failure {
    Failure::Usage {
        message: format!("{flag} {}: {error}", text.escape_debug()),
        hint: "a device is named like urn:example:pump-1, a server like api.clinic.example",
    }
}

/// What was typed, as something to look for. A certificate is known by what was signed in it.
fn find(which: Which) -> Result<Find, Failure> {
    match which {
        Which {
            serial: Some(serial),
            ..
        } => Ok(Find::Serial(serial)),
        Which { id: Some(id), .. } => Ok(Find::Id(id)),
        Which {
            cert: Some(path), ..
        } => {
            let bytes = read_bounded(&path, MAX_CERTIFICATE_FILE_OCTETS)?;
            let inspected = Inspected::read(&bytes).ok_or(Error::NoCertificate { path })?;
            Ok(Find::Tbs(inspected.tbs_sha256))
        }
        Which {
            serial: None,
            id: None,
            cert: None,
        } => unreachable!("clap asks for one of the three"),
    }
}

/// Help and version are results; everything else that the parser says is wrong usage.
fn refuse_usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Colors, if the terminal wants them.
            match error.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(USAGE)
        }
        _ => {
            let _ = io::stderr().write_all(usage_lines(&error.to_string()).as_bytes());
            ExitCode::from(USAGE)
        }
    }
}

/// The parser's words in the form of all other errors.
fn usage_lines(rendered: &str) -> String {
    let line = |line: &str| {
        let trimmed = line.trim_start();
        if let Some(tip) = trimmed.strip_prefix("tip: ") {
            format!("hint: {tip}\n")
        } else if let Some(usage) = trimmed.strip_prefix("Usage: ") {
            format!("hint: usage: {usage}\n")
        } else if trimmed.starts_with("For more information") {
            "hint: --help shows every flag and an example\n".to_owned()
        } else {
            format!("{line}\n")
        }
    };
    let lines = rendered.lines().filter(|line| !line.trim().is_empty());
    lines.map(line).collect()
}

fn complain(message: &str, hint: Option<&str>) {
    let hint = hint.map_or(String::new(), |hint| format!("hint: {hint}\n"));
    let text = format!("error: {message}\n{hint}");
    // If standard error is gone too, the exit code is what remains.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn put(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Output(error)),
    }
}
