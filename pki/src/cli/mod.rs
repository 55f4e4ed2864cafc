//! The command line: every word that a person sees, the exit codes, and the only clock.
//!
//! Results go to standard output and nothing else does; what went wrong goes to standard error as
//! `error:` and `hint:` lines. It decides nothing about certificates.

mod args;
mod backup;
mod bulk;
mod ceremony;
mod doctor;
mod hint;
mod print;
mod renew;
mod renewal_args;
mod token;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use jiff::Timestamp;
use pki::code;
use pki::files::{Doing, FileError, read_bounded};
use pki::log::LogError;
use pki::pem::{self, MAX_CERTIFICATE_FILE_OCTETS};
use pki::profile::ProfileError;
use pki::renewal::RenewalError;
use pki::request::MAX_REQUEST_OCTETS;
use pki::serve::{Enrolling, Serving};
use pki::{
    AuditLog, AuthorityName, Ca, EndEntity, Error, Filter, Find, Inspected, InventorySettings,
    KeySettings, KeySource, Name, NameConstraints, Names, NewKeys, Order, PassphraseSources, Plan,
    Publication, Renewal, SecretSource,
};

use args::{Authority, Cli, Command, Passphrases, Which};

/// Why a command did not end well.
enum Failure {
    /// What was typed makes no sense: exit 64.
    Usage { message: String, hint: &'static str },
    /// The authority refused, or something failed: exit 1. Large, so it lives elsewhere.
    Refused(Box<Error>),
    /// It was done, and the result is no good one: it is printed, then said so. Exit 1.
    Judged {
        text: String,
        message: String,
        hint: &'static str,
        code: &'static str,
    },
    /// A certificate was not renewed, or none was obtained: exit 1.
    Renewal(Box<RenewalError>),
    /// Nothing was done because it is not time yet, which is a result of its own: exit 3.
    NotDue(String),
    /// The result could not be written.
    Output(io::Error),
}

impl From<RenewalError> for Failure {
    fn from(error: RenewalError) -> Self {
        Self::Renewal(Box::new(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Error::from(error).into()
    }
}

/// Runs the program with its arguments.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let command = match terminal::parse::<Cli>(args) {
        Ok(Cli { command }) => command,
        Err(code) => return code,
    };
    match command {
        Command::Completions(args) => terminal::completions(Cli::command(), args.shell),
        Command::Manual(args) => terminal::manual(Cli::command(), &args.dir),
        Command::Authority(command) => {
            let on_record = command.on_record();
            let log = on_record.map(|(verb, dir)| (verb, AuditLog::of(dir)));
            let result = run(*command, Timestamp::now());
            let unrecorded =
                log.and_then(|(verb, log)| Some((verb, record(&log, verb, &result).err()?)));
            let code = end(result);
            if let Some((verb, error)) = unrecorded {
                terminal::tell(format_args!(
                    "warning: that `pki {verb}` was run is not on record: {error}\nhint: {}",
                    hint::log(&error)
                ));
            }
            code
        }
    }
}

/// Puts on record that a verb was run, and how it ended. What it did has entries of its own, without which
/// it was not done; so one that only reads goes on without, and says so.
fn record(log: &AuditLog, verb: &str, result: &Result<String, Failure>) -> Result<(), LogError> {
    let code = match result {
        Ok(_) => None,
        Err(Failure::Usage { .. }) => Some(code::USAGE),
        Err(Failure::Output(_)) => Some(code::OUTPUT),
        Err(Failure::Judged { code, .. }) => Some(*code),
        Err(Failure::Refused(error)) => Some(error.code()),
        Err(Failure::Renewal(error)) => Some(error.code()),
        Err(Failure::NotDue(_)) => Some(code::NOT_DUE),
    };
    match log.record(|recorder| recorder.verb(verb, code)) {
        // Where there is no authority there is nothing to write to; and who was refused for want of the log
        // has been told.
        Err(LogError::Missing { .. }) if result.is_err() => Ok(()),
        Err(_) if matches!(result, Err(Failure::Refused(error)) if is_log(error)) => Ok(()),
        Err(_) if matches!(result, Err(Failure::Renewal(error)) if error.is_of_authority(is_log)) => {
            Ok(())
        }
        recorded => recorded,
    }
}

fn is_log(error: &Error) -> bool {
    matches!(error, Error::Log(_) | Error::IssuedUnrecorded { .. })
}

/// Prints what came of it.
fn end(result: Result<String, Failure>) -> ExitCode {
    match result.and_then(|text| terminal::put(&text).map_err(Failure::Output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage { message, hint }) => terminal::misused(message, hint),
        Err(Failure::Judged {
            text,
            message,
            hint,
            ..
        }) => match terminal::put(&text) {
            Ok(()) => terminal::fail(message, Some(hint)),
            Err(error) => terminal::unwritten(&error),
        },
        Err(Failure::Refused(error)) => {
            terminal::complain(&error, Some(&hint::hint(&error)));
            if is_misuse(&error) {
                terminal::USAGE.into()
            } else {
                ExitCode::FAILURE
            }
        }
        Err(Failure::Renewal(error)) => terminal::fail(&error, Some(&renew::hint(&error))),
        Err(Failure::NotDue(text)) => match terminal::put(&text) {
            Ok(()) => renew::NOT_DUE.into(),
            Err(error) => terminal::unwritten(&error),
        },
        Err(Failure::Output(error)) => terminal::fail(
            format_args!("cannot write the result: {error}"),
            Some("what was asked for is done; `pki list` and `pki show` tell it again"),
        ),
    }
}

/// Whether what was typed alone makes no sense, whatever the authority holds.
fn is_misuse(error: &Error) -> bool {
    match error {
        Error::CrlDays { .. }
        | Error::NoDirectoryName { .. }
        | Error::ReasonForAuthorities { .. } => true,
        Error::Profile(error) => match error {
            ProfileError::Days { .. }
            | ProfileError::KindOfName { .. }
            | ProfileError::NumberOfNames { .. }
            | ProfileError::SameNameTwice => true,
            ProfileError::BeyondIssuer { .. }
            | ProfileError::NotPermitted { .. }
            | ProfileError::IssuerOutOfDate { .. }
            | ProfileError::Clock { .. } => false,
        },
        // All others depend on files, on the inventory or on the clock.
        _ => false,
    }
}

/// Runs one command and returns what it prints.
fn run(command: Authority, now: Timestamp) -> Result<String, Failure> {
    match command {
        Authority::Init(args) => {
            let (dir, json, root_only) = (args.dir.clone(), args.json, args.root_only);
            let plan = plan(args.name, args.issuer, init_keys(args.keys)?)?;
            let ca = if root_only {
                Ca::init_root(&dir, &plan, now)?
            } else {
                Ca::init(&dir, &plan, now)?
            };
            Ok(print::init(&ca, &ca.crls()?, json))
        }
        Authority::Issue(args) => {
            let json = args.json;
            let (order, dir, out, passphrases) = order(args)?;
            let issued = open(&dir, passphrases)?.issue(order, &out, now)?;
            Ok(print::issued(&issued, now, json))
        }
        Authority::Revoke(args) => {
            let find = find(args.which)?;
            let mut ca = open(&args.dir, args.passphrases)?;
            let revoked = ca.revoke(&find, args.reason, now)?;
            Ok(print::revoked(&revoked, now, args.json))
        }
        Authority::Crl(args) => {
            let which = if args.due { Renewal::Due } else { Renewal::All };
            let mut ca = open(&args.dir, args.passphrases)?;
            let crls = ca.sign_crls(which, args.days, now)?;
            let wanted = ca.wanted_root_crl(now)?;
            Ok(print::crls(&crls, wanted.as_deref(), args.json))
        }
        Authority::List(args) => list(&args, now),
        Authority::Show(args) => show(args, now),
        Authority::Bulk(args) => bulk::run(args),
        Authority::Token(args) => token::run(args, now),
        Authority::Doctor(args) => doctor::examine(&args, now),
        Authority::Recover(args) => doctor::recover(args, now),
        Authority::Backup(args) => backup::backup(&args, now),
        Authority::Restore(args) => backup::restore(&args, now),
        Authority::Serve(args) => {
            terminal::start_logging();
            let ca = open(&args.dir, args.passphrases)?;
            let mut serving = Serving::of(&ca);
            serving.listen = args.listen.unwrap_or(serving.listen);
            let est = args.est.zip(args.est_certificate);
            serving.est = est.map(|(listen, certificate)| Enrolling {
                listen,
                certificate,
            });
            pki::serve::run(ca, &serving, Timestamp::now)?;
            Ok(String::new())
        }
        Authority::Passphrase(args) => {
            let new = PassphraseSources {
                keys: args.new,
                root: args.new_root,
            };
            let files = open(&args.dir, args.passphrases)?.change_passphrases(&new)?;
            Ok(print::passphrases(&files, args.json))
        }
        Authority::Ceremony(args) => ceremony::run(*args, now),
        Authority::Renew(args) => renew::renew(args, now),
        Authority::Enrol(args) => renew::enrol(args, now),
    }
}

/// The authority in a directory, with passphrases from where the command line says.
fn open(directory: &Path, passphrases: Passphrases) -> Result<Ca, Failure> {
    Ok(Ca::open(directory)?.with_passphrases(passphrases.into()))
}

/// Where the keys of a new authority go.
fn init_keys(args: args::Keys) -> Result<NewKeys, Failure> {
    let places = KeySettings {
        passphrase: args.passphrases.passphrase,
        root_passphrase: args.passphrases.root_passphrase,
        root: args.root_key,
        issuing: args.issuing_key,
    };
    let in_tokens = places.root.is_some() && places.issuing.is_some();
    new_keys(places, args.existing_key, in_tokens)
}

fn new_keys(places: KeySettings, existing: bool, in_tokens: bool) -> Result<NewKeys, Failure> {
    let misused = |message: &str, hint| Failure::Usage {
        message: message.to_owned(),
        hint,
    };
    if existing && places.root.is_none() && places.issuing.is_none() {
        return Err(misused(
            "--existing-key is about keys in tokens, and none is named",
            "give --root-key URI or --issuing-key URI",
        ));
    }
    if places.passphrase.is_some() && in_tokens {
        return Err(misused(
            "all keys are in tokens, and a token has a PIN instead of a passphrase",
            "leave --passphrase away, and name the PIN with pin-source in the URI",
        ));
    }
    Ok(NewKeys { places, existing })
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

/// What was typed, as a plan.
fn plan(name: AuthorityName, args: args::Issuer, keys: NewKeys) -> Result<Plan, Failure> {
    let publication = args
        .url
        .map(|url| {
            Publication::new(&url, args.shards).map_err(|error| Failure::Usage {
                message: format!("--url {}: {error}", url.escape_debug()),
                hint: "give a URL such as http://pki.clinic.example; all that stands there is signed",
            })
        })
        .transpose()?;
    let mut hosts = Vec::new();
    for text in &args.permit_dns {
        hosts.push(Name::dns(text).map_err(|error| bad_name("--permit-dns", text, &error))?);
    }
    let constraints = (!hosts.is_empty() || !args.permit_ip.is_empty())
        .then(|| NameConstraints::new(&hosts, args.permit_ip))
        .transpose()
        .map_err(|error| Failure::Usage {
            message: error.to_string(),
            hint: "name the domains above the hosts, not each host",
        })?;
    Ok(Plan {
        name,
        publication,
        constraints,
        keys,
        inventory: args
            .postgres
            .map(|postgres| inventory(postgres, args.postgres_trust))
            .transpose()?,
    })
}

/// Where the inventory of a new authority is to be.
fn inventory(postgres: SecretSource, trust: Option<PathBuf>) -> Result<InventorySettings, Failure> {
    // Later verbs may run in another directory.
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).map_err(|error| FileError::Io {
            doing: Doing::Open,
            path,
            source: error,
        })
    };
    Ok(InventorySettings {
        postgres,
        trust: trust.map(absolute).transpose()?,
    })
}

/// What was typed, as an order.
fn order(args: args::Issue) -> Result<(Order, PathBuf, PathBuf, Passphrases), Failure> {
    let names = names(args.profile, &args.names)?;
    let key = match (&args.csr, args.key_passphrase) {
        (Some(path), _) => KeySource::Request(read_bounded(path, MAX_REQUEST_OCTETS)?),
        (None, None) => KeySource::New,
        (None, Some(source)) => {
            let passphrase = source.read_new("passphrase of the new key");
            KeySource::NewEncrypted(passphrase.map_err(|error| Error::Secret { source, error })?)
        }
    };
    let order = Order {
        profile: args.profile,
        names,
        key,
        days: args.days,
    };
    Ok((order, args.dir, args.out, args.passphrases))
}

/// The names of a server, or the one name of anybody else.
fn names(profile: EndEntity, args: &args::NameArgs) -> Result<Names, Failure> {
    let mut names = Vec::new();
    match profile {
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
        EndEntity::Device | EndEntity::Client | EndEntity::Operator | EndEntity::Responder => {
            let (Some(text), true, true) = (&args.id, args.dns.is_empty(), args.ip.is_empty())
            else {
                return Err(Failure::Usage {
                    message: format!(
                        "a {} has exactly one name, and it is a URI",
                        profile.profile().name
                    ),
                    hint: "give --id URI, such as --id urn:example:pump-1, and no --dns or --ip",
                });
            };
            names.push(Name::uri(text).map_err(|error| bad_name("--id", text, &error))?);
        }
    }
    if let Some(text) = &args.hardware_module {
        let flag = "--hardware-module";
        names.push(Name::hardware(text).map_err(|error| bad_name(flag, text, &error))?);
    }
    profile.admit(names).map_err(|error| Failure::Usage {
        message: error.to_string(),
        hint: "see `pki issue --help`",
    })
}

fn bad_name(flag: &str, text: &str, error: &pki::name::NameError) -> Failure {
    Failure::Usage {
        message: format!("{flag} {}: {error}", text.escape_debug()),
        hint: "a device is named like urn:example:pump-1, its hardware like 1.3.6.1.4.1.99999.7:0a1b, a server like api.clinic.example",
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
