//! The operator's words: a TOML file becomes a resolved configuration.
//!
//! ```text
//!    text --collect--> File --resolve--> Draft --addressable, reach--> Config
//!            |           |                 |             |
//!     wrong spelling   (file)       names and bounds   rationales, what nobody reaches
//!            '-----------'--------- Report --------------'---------> Findings
//! ```
//!
//! [`load`] reads one file, [`parse`] a text. Both give a [`Config`] in which nothing is left
//! undecided, or [`Findings`]: every mistake at once, each with its place and what to do. A file
//! with one mistake gives no configuration at all. Certificates, keys and revocation lists are
//! only named here; whoever opens them finds the place of each name beside it.

// Words: what a single value means.

mod place;

mod error;

mod word;

mod units;

mod name;

mod path;

mod pattern;

mod method;

mod component;

mod host;

mod server;

mod secret;

// What comes out.

mod decision;

mod integrity;

mod model;

// From text to tables.

mod refused;

mod schema;

mod collect;

mod choices;

mod file;

// From tables to what comes out.

mod resolve;

use std::io::{self, Read as _};
use std::path::Path;

pub use component::{Component, ComponentError, Parameter};
pub use decision::{Control, Decision};
pub use error::{Finding, Findings, MAX_FINDINGS, Severity};
pub use host::{HostError, HostName};
pub use integrity::{
    AnswerKey, Answers, Demand, KeyClient, RegisteredKey, Replay, SignatureRule, Signatures,
    SigningKey,
};
pub use method::{Method, MethodError};
pub use model::{
    AccessLog, Admin, Allow, Audit, Certificate, Class, Clients, Config, Durability, FhirBase,
    Limits, ListKeeping, ListSource, Listener, NameKind, Ocsp, Patterns, Protocol, Purpose, Rate,
    Rationale, Revocation, Role, Route, Server, Stapling, TlsPolicy, Trust, Upgrade, Upstream,
    UpstreamIdentity, WebSocket, WhenStale, Witness, WorkerCount, Workers,
};
pub use name::{
    CertificateName, ClassName, KeyName, ListenerName, NameError, RoleName, RouteName, Sentence,
    SentenceError, TrustName, UpstreamName,
};
pub use path::{PathError, PathPrefix};
pub use pattern::{ClientError, ClientName, ClientPattern};
pub use place::{Place, Placed};
pub use resolve::Outside;
pub use resolve::addressable::{ADDRESSABLE, Addressable};
pub use secret::{FilePath, Secret};
pub use server::{Authority, BaseUrl, HttpUrl, ListUrl, OcspUrl, Origin, UrlError};
pub use units::{ByteSize, UnitError, parse_duration, show_duration};

use crate::collect::Read as _;
use crate::error::Report;
use crate::resolve::{addressable, reach};

/// The largest file that is read, in bytes. A configuration is written by people.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Reads and resolves the configuration file at `path`. Paths in it are relative to its folder.
///
/// Fails closed: one mistake, and there is no configuration.
pub fn load(path: &Path) -> Result<Config, Findings> {
    examine(path).map_err(|mistaken| mistaken.findings)
}

/// The same, for whoever wants to look at the files that a mistaken configuration names.
pub fn examine(path: &Path) -> Result<Config, Mistaken> {
    match text(path) {
        Ok(text) => examine_text(path, &text),
        Err(findings) => Err(Mistaken {
            findings,
            outside: None,
        }),
    }
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct Mistaken {
    /// Every mistake in it.
    pub findings: Findings,
    /// What it names outside of itself, where that much could be told.
    pub outside: Option<Outside>,
}

fn text(path: &Path) -> Result<String, Findings> {
    let bytes = read(path).map_err(|error| {
        let message = format!("cannot be read: {error}");
        let hint = Some(what_to_do(&error));
        Findings::from_iter([Finding::error(&Place::whole(path), message, hint)])
    })?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        // What was cut off at the limit is too large before it is anything else.
        Err(_) if bytes.len() > MAX_FILE_BYTES => Err(too_large(path)),
        Err(error) => {
            let sound = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            let place = collect::Source::new(path, sound).place(sound.len(), String::new());
            let hint = Some("save the file as UTF-8");
            Err(Findings::from_iter([Finding::error(
                &place,
                "this is not UTF-8",
                hint,
            )]))
        }
    }
}

/// Reads at most one byte more than is taken.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Whoever opens a pipe waits for somebody to write to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a file",
        ));
    }
    let limit = u64::try_from(MAX_FILE_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limit)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn what_to_do(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path; config/examples holds files to begin with",
        io::ErrorKind::PermissionDenied => "let the user that runs this program read it",
        io::ErrorKind::InvalidInput => "name a file that holds the configuration",
        // Others are about the machine; their own words are all that is known.
        _ => "look at the disk, and at what the kernel's log says of it",
    }
}

/// Resolves the text of a configuration file. `path` is for messages, and its folder is what
/// relative paths are joined to; nothing is opened.
///
/// Fails closed: one mistake, and there is no configuration.
pub fn parse(path: &Path, text: &str) -> Result<Config, Findings> {
    examine_text(path, text).map_err(|mistaken| mistaken.findings)
}

fn examine_text(path: &Path, text: &str) -> Result<Config, Mistaken> {
    if text.len() > MAX_FILE_BYTES {
        return Err(Mistaken {
            findings: too_large(path),
            outside: None,
        });
    }
    let mut report = Report::default();
    let source = collect::Source::new(path, text);
    let draft = source.read::<file::File>(&mut report).map(|file| {
        let draft = resolve::resolve(file, path, &mut report);
        reach::warn(&draft, &mut report);
        let decisions = addressable::judge(&draft, &mut report);
        (draft, decisions)
    });
    match report.into_result() {
        Ok(warnings) => {
            let (draft, decisions) = draft.expect("what cannot be read is reported");
            Ok(draft.into_config(path, text, decisions, warnings))
        }
        Err(findings) => {
            let outside = draft.and_then(|(draft, _)| draft.into_outside(&findings));
            Err(Mistaken { findings, outside })
        }
    }
}

/// The JSON Schema (draft 2020-12) of the file, for editors. `config/schema.json` is this text.
pub fn schema() -> String {
    schema::document(file::File::schema())
}

fn too_large(path: &Path) -> Findings {
    let message = format!("larger than {}", ByteSize::bytes(MAX_FILE_BYTES as u64));
    let hint = Some("a configuration is written by people; is this one?");
    Findings::from_iter([Finding::error(&Place::whole(path), message, hint)])
}
