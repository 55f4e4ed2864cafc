//! `pki ceremony`: what is typed, and what is printed for eyes that compare.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use pki::ceremony::{CeremonyError, MAX_ANSWER_OCTETS, MAX_REQUEST_OCTETS, SigningRequest};
use pki::files::read_bounded;
use pki::key::TokenUri;
use pki::name::is_invisible;
use pki::profile::Validity;
use pki::{AuthorityName, Ca, Certified, Error, Imported, KeySettings, SecretSource};
use serde_json::{Value, json};

use super::args::{Issuer, Passphrases, Unrepeated, authority_name, secret_source, token_uri};
use super::print::hexadecimal;
use super::renewal_args::{Fingerprint, fingerprint};
use super::{Failure, print};

/// Keep the root's key on a machine that is never on a network: request, sign, import.
///
/// The root is made there (`pki init --root-only`). The issuing machine makes its own key and a request;
/// the root signs it; the answer is imported. What goes between them are two files, on a USB stick or on paper.
/// The root's CRL goes the same way, well before its nextUpdate: `pki crl` there, then `import` of its crl/root.crl.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki init --root-only --dir root --name \"Clinic North\" --passphrase terminal      # offline
  pki ceremony request --dir pki --name \"Clinic North\" --out request.pem           # where it will issue
  pki ceremony sign --dir root --request request.pem                               # offline: look, compare
  pki ceremony sign --dir root --request request.pem --request-sha256 4f0c… --witness Ada --out answer.pem
  pki ceremony import --dir pki --in answer.pem --root-sha256 9b1e…                # where it will issue")]
pub(super) struct Ceremony {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Request(Request),
    Sign(Sign),
    Import(Import),
}

/// Make an issuing CA that waits for its certificate: its key, and a request to the root.
///
/// DIR must not exist or be empty. The request says in words what is asked for; nothing signs these words,
/// so tell its SHA-256 to whoever signs it by another way than the file goes. It lies in DIR/ca/request.pem, too;
/// the same command again writes it again.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki ceremony request --dir pki --name \"Clinic North\" --url http://pki.clinic.example \\
    --permit-dns clinic.example --passphrase file:/etc/pki/passphrase --out request.pem")]
pub(super) struct Request {
    /// Directory to create.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// What the authority is called in its certificates.
    #[arg(long, value_name = "NAME", default_value = "phigate", value_parser = authority_name)]
    pub(super) name: AuthorityName,
    #[command(flatten)]
    pub(super) issuer: Issuer,
    /// Where the passphrase of the issuing key is: file:PATH, env:NAME, credential:NAME (of systemd) or
    /// terminal. Without, the key is not encrypted.
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source))]
    pub(super) passphrase: Option<SecretSource>,
    /// Make the issuing key in a token: a PKCS #11 URI (RFC 7512) with module-path and pin-source.
    #[arg(long, value_name = "URI", value_parser = Unrepeated(token_uri))]
    pub(super) issuing_key: Option<TokenUri>,
    /// Use the key that is in the token already, on P-256.
    #[arg(long)]
    pub(super) existing_key: bool,
    /// The request; a new file.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Sign a request with the root's key.
///
/// Without --request-sha256 it says what would be signed, signs nothing, and ends with 1. Compare the SHA-256
/// with what you were told by another way, not with what is on the screen; then give it. The answer holds the
/// certificate, the root's, and its CRL, signed anew. A request that was signed before gets the same certificate.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki ceremony sign --dir root --request request.pem
  pki ceremony sign --dir root --request request.pem --request-sha256 4f0c… --witness Ada --out answer.pem")]
pub(super) struct Sign {
    /// Directory of the root.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// The request.
    #[arg(long, value_name = "FILE")]
    pub(super) request: PathBuf,
    /// SHA-256 of the request's file in hexadecimal, as it was told where the request was made.
    #[arg(long, value_name = "HEX", value_parser = fingerprint, requires = "out")]
    pub(super) request_sha256: Option<Fingerprint>,
    /// Who is there. May be given several times. Put on record.
    #[arg(long, value_name = "NAME", value_parser = witness)]
    pub(super) witness: Vec<String>,
    /// The answer; a new file.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Import what was signed where the root's key is: an answer, or a later CRL of the root.
///
/// All of it is judged first: that it is from the root with this fingerprint, for this key, as it was asked for,
/// and in date. Then the authority can issue. A CRL that revokes the issuing CA ends that.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki ceremony import --dir pki --in answer.pem --root-sha256 9b1e…
  pki ceremony import --dir pki --in root.crl")]
pub(super) struct Import {
    /// Directory that made the request.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// What was brought: an answer, or the root's crl/root.crl.
    #[arg(long = "in", value_name = "FILE")]
    pub(super) input: PathBuf,
    /// SHA-256 of the root's certificate in hexadecimal, as it was told where the root's key is. Needed for an
    /// answer.
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub(super) root_sha256: Option<Fingerprint>,
    /// Where the passphrase of the issuing key is [default: keys.passphrase in ca/authority.toml].
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source))]
    pub(super) passphrase: Option<SecretSource>,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

impl Ceremony {
    /// What is on record of it: the verb, and whose it is.
    pub(super) fn on_record(&self) -> (&'static str, &Path) {
        match &self.verb {
            Verb::Request(args) => ("ceremony request", &args.dir),
            Verb::Sign(args) => ("ceremony sign", &args.dir),
            Verb::Import(args) => ("ceremony import", &args.dir),
        }
    }
}

/// Most witnesses of one ceremony.
const MAX_WITNESSES: usize = 16;

fn witness(text: &str) -> Result<String, &'static str> {
    const MAX: usize = 80;
    let hides = |c: char| c.is_control() || is_invisible(c);
    let is_name = (1..=MAX).contains(&text.chars().count()) && !text.chars().any(hides);
    is_name
        .then(|| text.to_owned())
        .ok_or("a witness has a name of 1 to 80 printable characters")
}

pub(super) fn run(args: Ceremony, now: Timestamp) -> Result<String, Failure> {
    match args.verb {
        Verb::Request(args) => request(args, now),
        Verb::Sign(args) => sign(args, now),
        Verb::Import(args) => import(args, now),
    }
}

fn request(args: Request, now: Timestamp) -> Result<String, Failure> {
    let places = KeySettings {
        passphrase: args.passphrase,
        issuing: args.issuing_key,
        ..KeySettings::default()
    };
    let in_tokens = places.issuing.is_some();
    let keys = super::new_keys(places, args.existing_key, in_tokens)?;
    let plan = super::plan(args.name, args.issuer, keys)?;
    let request = Ca::request(&args.dir, &plan, &args.out, now)?;
    if args.json {
        let mut value = asked_json(&request);
        value["file"] = print::path(&args.out).into();
        return Ok(print::document(&value));
    }
    let mut text = asked(&request);
    let _ = writeln!(text, "wrote     {}", args.out.display());
    Ok(
        text + "next      have it signed where the root's key is, and tell its SHA-256 there by another way\n"
    )
}

fn sign(args: Sign, now: Timestamp) -> Result<String, Failure> {
    if args.witness.len() > MAX_WITNESSES {
        return Err(Failure::Usage {
            message: format!("{} witnesses were given", args.witness.len()),
            hint: "name at most 16",
        });
    }
    let bytes = read_bounded(&args.request, MAX_REQUEST_OCTETS)?;
    let request = SigningRequest::read(&bytes).map_err(Error::from)?;
    let mut ca = super::open(&args.dir, args.passphrases)?;
    let validity = ca.grant(now)?;
    let (Some(confirmed), Some(out)) = (args.request_sha256, args.out) else {
        return Err(Failure::Judged {
            text: granted(&ca, &request, &validity, args.json),
            message: "nothing was signed: nobody confirmed the request".to_owned(),
            hint: "compare its SHA-256 with what you were told where it was made, and give it: --request-sha256 HEX --out FILE",
            code: pki::code::UNCONFIRMED,
        });
    };
    if confirmed.0 != request.sha256 {
        let found = request.sha256;
        return Err(Error::from(CeremonyError::Unconfirmed { found }).into());
    }
    let signed = ca.sign_request(&request, &args.witness, &out, now)?;
    Ok(certified(
        &request,
        &signed,
        (&args.witness, &out),
        args.json,
    ))
}

fn import(args: Import, now: Timestamp) -> Result<String, Failure> {
    let brought = read_bounded(&args.input, MAX_ANSWER_OCTETS)?;
    let passphrases = Passphrases {
        passphrase: args.passphrase,
        root_passphrase: None,
    };
    let root_sha256 = args.root_sha256.map(|given| given.0);
    let imported = Ca::import(&args.dir, &brought, root_sha256, passphrases.into(), now)?;
    let Imported { ca, revoked } = imported;
    let crls = ca.crls()?;
    if args.json {
        return Ok(print::document(&json!({
            "name": ca.name(),
            "root_sha256": hexadecimal(&ca.root().sha256()),
            "serial": ca.issuing()?.serial().to_string(),
            "not_after": ca.issuing()?.validity().not_after.to_string(),
            "revoked": revoked,
            "files": { "trust": print::path(&ca.trust_file()), "crl": print::path(&ca.crl_directory()) },
            "crls": crls.iter().map(print::crl_json).collect::<Vec<_>>(),
        })));
    }
    let mut text = print::init(&ca, &crls, false) + &print::crl_lines(&crls);
    if revoked {
        text += "revoked   the issuing CA: it issues nothing any more\n";
    }
    Ok(text)
}

/// What a request asks for, in the words of who compares.
fn asked(request: &SigningRequest) -> String {
    let wishes = &request.wishes;
    let permitted = wishes.constraints.as_ref();
    let mut text = String::new();
    for (word, value) in [
        ("name", wishes.name.as_str().to_owned()),
        (
            "url",
            wishes.url.clone().unwrap_or_else(|| "nowhere".to_owned()),
        ),
        (
            "permits",
            permitted.map_or_else(|| "any server".to_owned(), ToString::to_string),
        ),
        (
            "key",
            format!("sha256 {}", hexadecimal(&request.key.sha256())),
        ),
        (
            "request",
            format!("sha256 {}", hexadecimal(&request.sha256)),
        ),
    ] {
        let _ = writeln!(text, "{word:<9} {value}");
    }
    text
}

fn asked_json(request: &SigningRequest) -> Value {
    let wishes = &request.wishes;
    json!({
        "name": wishes.name.as_str(),
        "url": wishes.url,
        "permits": wishes.constraints.as_ref().map(ToString::to_string),
        "key_id": request.key.key_id().to_string(),
        "key_sha256": hexadecimal(&request.key.sha256()),
        "request_sha256": hexadecimal(&request.sha256),
    })
}

/// What would be signed.
fn granted(ca: &Ca, request: &SigningRequest, validity: &Validity, json: bool) -> String {
    if json {
        let mut value = asked_json(request);
        value["root"] = ca.root().common_name().into();
        value["not_before"] = validity.not_before.to_string().into();
        value["not_after"] = validity.not_after.to_string().into();
        return print::document(&value);
    }
    let mut text = asked(request);
    let _ = writeln!(
        text,
        "valid     {} to {}",
        validity.not_before, validity.not_after
    );
    let _ = writeln!(text, "root      {}", ca.root().common_name());
    text
}

fn certified(
    request: &SigningRequest,
    signed: &Certified,
    (witnesses, out): (&[String], &Path),
    json: bool,
) -> String {
    let record = &signed.record;
    let validity = record.validity;
    if json {
        let mut value = asked_json(request);
        value["serial"] = record.serial.to_string().into();
        value["subject"] = record.label.as_str().into();
        value["not_after"] = validity
            .map(|validity| validity.not_after.to_string())
            .into();
        value["root_sha256"] = hexadecimal(&signed.root_sha256).into();
        value["witnesses"] = witnesses.into();
        value["file"] = print::path(out).into();
        value["crls"] = signed.crls.iter().map(print::crl_json).collect();
        return print::document(&value);
    }
    let mut text = asked(request);
    let _ = writeln!(text, "signed    {}, serial {}", record.label, record.serial);
    if let Some(validity) = validity {
        let _ = writeln!(
            text,
            "valid     {} to {}",
            validity.not_before, validity.not_after
        );
    }
    for witness in witnesses {
        let _ = writeln!(text, "witness   {witness}");
    }
    text += &print::crl_lines(&signed.crls);
    let _ = writeln!(
        text,
        "root      sha256 {}",
        hexadecimal(&signed.root_sha256)
    );
    let _ = writeln!(text, "wrote     {}", out.display());
    text + "next      import it where the request was made, and tell the root's SHA-256 there by another way\n"
}
