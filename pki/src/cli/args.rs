//! What is typed: commands, flags and the reading of their values. A value that is not well formed
//! is wrong usage (exit 64); what an authority refuses to a well-formed one is not decided here.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;
use pki::constraints::Network;
use pki::key::TokenUri;
use pki::publication::MAX_SHARDS;
use pki::reason::REASONS;
use pki::store::{IdFilter, MAX_PAGE, Status, StatusFilter};
use pki::{AuthorityName, EndEntity, PassphraseSources, Reason, SecretSource, Serial};
use terminal::Shell;

use super::backup::{Backup, Restore};
use super::bulk::BulkArgs;
use super::ceremony::Ceremony;
use super::doctor::{Doctor, Recover};
use super::renewal_args::{Enrol, Renew};
use super::token::Token;

/// A certificate authority for devices, and for the servers, programs and people they talk to.
#[derive(Debug, Parser)]
#[command(
    name = "pki",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 refused or failed, 3 not due yet, 64 wrong usage.

Example:
  pki init  --dir pki --name \"Clinic North\"
  pki issue --dir pki --profile device --id urn:example:pump-1 --csr pump-1.csr --out pump-1
  pki list  --dir pki --expires-within 30d"
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Authority(Box<Authority>),
    Completions(Completions),
    Manual(Manual),
}

/// What is done with an authority.
#[derive(Debug, Subcommand)]
pub(super) enum Authority {
    Init(Box<Init>),
    Issue(Issue),
    Revoke(Revoke),
    Crl(Crl),
    List(List),
    Show(Show),
    Bulk(BulkArgs),
    Token(Token),
    Doctor(Doctor),
    Recover(Recover),
    Backup(Backup),
    Restore(Restore),
    Serve(Serve),
    Passphrase(Passphrase),
    Ceremony(Box<Ceremony>),
    Renew(Renew),
    #[command(visible_alias = "enroll")]
    Enrol(Enrol),
}

impl Authority {
    /// What it is called on record, and the directory of the authority whose record that is; `None` if that
    /// authority is elsewhere, and so is the record. Exhaustive, so that no verb is left out.
    pub(super) fn on_record(&self) -> Option<(&'static str, &Path)> {
        Some(match self {
            Self::Init(args) => ("init", &args.dir),
            Self::Issue(args) => ("issue", &args.dir),
            Self::Revoke(args) => ("revoke", &args.dir),
            Self::Crl(args) => ("crl", &args.dir),
            Self::List(args) => ("list", &args.dir),
            Self::Show(args) => ("show", &args.dir),
            Self::Bulk(args) => ("bulk", &args.dir),
            Self::Token(args) => args.on_record(),
            Self::Doctor(args) => ("doctor", &args.dir),
            Self::Recover(args) => ("recover", &args.dir),
            Self::Backup(args) => ("backup", &args.dir),
            // A verification touches no authority.
            Self::Restore(args) => ("restore", args.dir.as_deref()?),
            Self::Serve(args) => ("serve", &args.dir),
            Self::Passphrase(args) => ("passphrase", &args.dir),
            Self::Ceremony(args) => args.on_record(),
            Self::Renew(args) => ("renew", args.dir.as_deref()?),
            Self::Enrol(_) => return None,
        })
    }
}

/// Create an authority: a root, an issuing CA, an empty inventory and the first CRLs.
///
/// DIR must not exist or be empty. Afterwards it holds trust.pem (what a verifier trusts), crl/
/// (what it reads for revocation), ca/ (secret keys and inventory, for the owner alone) and audit/ (the
/// record of every command, for `audit verify DIR/audit`; keep a copy of log.vkey elsewhere).
///
/// With --url every certificate says where its CRL, its OCSP responder and its issuer are found:
/// run `pki serve` there. The CRL then has shards. Both are fixed, because certificates repeat them.
///
/// With --permit-dns or --permit-ip the issuing CA can certify servers with these names alone, also
/// in the hands of a thief (RFC 5280 section 4.2.1.10).
///
/// With --passphrase the keys are encrypted; with --root-key or --issuing-key a token makes them, and
/// never gives them out.
///
/// With --postgres the inventory is on a server, for several issuers that share it.
///
/// With --root-only there is a root alone, for a machine that is never on a network: see `pki ceremony`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki init --dir pki --name \"Clinic North\" --passphrase file:/etc/pki/passphrase
  pki init --dir pki --name \"Clinic North\" --url http://pki.clinic.example \\
           --permit-dns clinic.example --permit-ip 10.0.0.0/8
  pki init --dir pki --postgres file:/etc/pki/postgres --postgres-trust /etc/pki/postgres.pem
  pki init --dir pki --root-passphrase terminal --issuing-key \\
    'pkcs11:token=pki;object=issuing?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pki/pin'")]
pub(super) struct Init {
    /// Directory to create.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// What the authority is called in its certificates.
    #[arg(long, value_name = "NAME", default_value = "phigate", value_parser = authority_name)]
    pub(super) name: AuthorityName,
    /// Create a root and no issuing CA.
    #[arg(long, conflicts_with_all = ["url", "permit_dns", "permit_ip", "issuing_key", "postgres"])]
    pub(super) root_only: bool,
    #[command(flatten)]
    pub(super) issuer: Issuer,
    #[command(flatten)]
    pub(super) keys: Keys,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// What an issuing CA is to be.
#[derive(Debug, Args)]
pub(super) struct Issuer {
    /// Where `pki serve` will be reached: http://HOST[:PORT][/PATH].
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Parts of the issuing CA's CRL, each signed alone.
    #[arg(long, value_name = "N", default_value_t = 16, requires = "url",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SHARDS)))]
    pub(super) shards: u16,
    /// Servers may be certified in this domain and below. May be given several times.
    #[arg(long, value_name = "DOMAIN")]
    pub(super) permit_dns: Vec<String>,
    /// Servers may be certified in this network: 10.0.0.0/8. May be given several times.
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    pub(super) permit_ip: Vec<Network>,
    /// Keep the inventory on a PostgreSQL server, whose connection string is at SOURCE: file:PATH,
    /// env:NAME or credential:NAME (of systemd).
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source))]
    pub(super) postgres: Option<SecretSource>,
    /// The roots (PEM) that the server's certificate must lead to, unless it is on this machine.
    #[arg(long, value_name = "FILE", requires = "postgres")]
    pub(super) postgres_trust: Option<PathBuf>,
}

/// Where the keys of a new authority go.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Make the root's key in a token: a PKCS #11 URI (RFC 7512) with module-path and pin-source.
    #[arg(long, value_name = "URI", value_parser = Unrepeated(token_uri), conflicts_with = "root_passphrase")]
    pub(super) root_key: Option<TokenUri>,
    /// Make the issuing CA's key in a token.
    #[arg(long, value_name = "URI", value_parser = Unrepeated(token_uri))]
    pub(super) issuing_key: Option<TokenUri>,
    /// Use the keys that are in the tokens already: P-384 for the root, P-256 for the issuing CA.
    #[arg(long)]
    pub(super) existing_key: bool,
}

/// Where passphrases are. They are never typed on a command line.
#[derive(Debug, Args)]
pub(super) struct Passphrases {
    /// Where the passphrase of the authority's key files is: file:PATH, env:NAME, credential:NAME
    /// (of systemd) or terminal [default: keys.passphrase in ca/authority.toml].
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source))]
    pub(super) passphrase: Option<SecretSource>,
    /// Where that of the root's key file is, if it has its own [default: keys.root_passphrase].
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source))]
    pub(super) root_passphrase: Option<SecretSource>,
}

impl From<Passphrases> for PassphraseSources {
    fn from(passphrases: Passphrases) -> Self {
        Self {
            keys: passphrases.passphrase,
            root: passphrases.root_passphrase,
        }
    }
}

/// Issue a certificate.
///
/// A device, client (a program) or operator (a person) has one name, a URI. A server has host names
/// and addresses. Writes cert.pem, chain.pem and trust.pem in OUT, with --new-key also key.pem; no
/// file is ever overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki issue --dir pki --profile device --id urn:example:pump-1 --csr pump-1.csr --out pump-1
  pki issue --dir pki --profile server --dns api.clinic.example --ip 10.0.0.5 --new-key --out api")]
#[command(group(clap::ArgGroup::new("key").required(true).args(["csr", "new_key"])))]
pub(super) struct Issue {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// What the certificate is for.
    #[arg(long, value_name = "PROFILE", value_parser = end_entity())]
    pub(super) profile: EndEntity,
    #[command(flatten)]
    pub(super) names: NameArgs,
    /// Certify the key of this PKCS #10 request, PEM or DER. The secret key stays where it is.
    #[arg(long, value_name = "FILE")]
    pub(super) csr: Option<PathBuf>,
    /// Make a new P-256 key here. Better let the holder make it, and use --csr.
    #[arg(long)]
    pub(super) new_key: bool,
    /// Encrypt key.pem by the passphrase that is at SOURCE (see --passphrase). A gateway reads plain
    /// keys only.
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source), conflicts_with = "csr")]
    pub(super) key_passphrase: Option<SecretSource>,
    /// Directory for the files; created if it is not there.
    #[arg(long, value_name = "OUT")]
    pub(super) out: PathBuf,
    /// Lifetime in days, within the profile's limit [default: 90].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) days: Option<u32>,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// What a certificate is to be called.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The name of a device, client or operator: an absolute URI. For a server, one host name.
    #[arg(long, value_name = "NAME")]
    pub(super) id: Option<String>,
    /// A host name of a server. May be given several times.
    #[arg(long, value_name = "HOST")]
    pub(super) dns: Vec<String>,
    /// An IP address of a server. May be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Vec<String>,
    /// The hardware of a device, beside its name: OID:HEX, its kind and serial number (RFC 4108).
    #[arg(long, value_name = "MODULE")]
    pub(super) hardware_module: Option<String>,
}

/// Revoke certificates, and publish the CRL that says so.
///
/// Final: a revoked certificate never becomes good again. --id revokes every live certificate of
/// that name. A gateway that reads crl/, or fetches what is published of it, acts on it by itself within
/// seconds.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki revoke --dir pki --id urn:example:pump-1 --reason keyCompromise")]
pub(super) struct Revoke {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) which: Which,
    /// Why (RFC 5280 section 5.3.1).
    #[arg(long, value_name = "NAME", ignore_case = true, value_parser = reason())]
    pub(super) reason: Reason,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Sign all CRLs anew from the inventory.
///
/// Run it from a timer, well before nextUpdate: a verifier that fails closed refuses everybody
/// once its CRL is stale. A gateway that reads crl/, or fetches what is published of it, takes new ones by
/// itself.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki crl --dir pki")]
pub(super) struct Crl {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Validity of the issuing CA's CRL in days [default: crl.issuing_days in ca/authority.toml].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) days: Option<u32>,
    /// Only those past half of their validity, or whose file is gone: for a timer.
    #[arg(long)]
    pub(super) due: bool,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// List certificates, in the order in which they were issued, with an exact count.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki list --dir pki --profile device --expires-within 30d
  pki list --dir pki --id 'urn:example:pump-*' --json")]
pub(super) struct List {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Only those in this state; "issued" includes what has expired since.
    #[arg(long, value_name = "STATUS", value_parser = status())]
    pub(super) status: Option<StatusFilter>,
    /// Only those of this profile.
    #[arg(long, value_name = "PROFILE", value_parser = any_profile())]
    pub(super) profile: Option<String>,
    /// Only those with a name that contains TEXT, or that begins with it if it ends with `*`.
    #[arg(long, value_name = "TEXT", value_parser = id_filter)]
    pub(super) id: Option<IdFilter>,
    /// Only live ones that expire within this time: 12h, 30d, 2w.
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(super) expires_within: Option<SignedDuration>,
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

/// Show everything that is known of a certificate; of a name, of all its certificates, latest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki show --dir pki --id urn:example:pump-1
  pki show --dir pki --serial 4f0c… --pem > cert.pem")]
pub(super) struct Show {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) which: Which,
    /// Print the certificates themselves in PEM.
    #[arg(long, conflicts_with = "json")]
    pub(super) pem: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Serve what verifiers ask for over plain HTTP: OCSP, CRLs, and the certificates of the authorities.
///
/// All of it is signed, so there is no TLS. While it runs, it signs CRLs anew at half of their time,
/// and keeps a certificate of its own for OCSP, renewed before it ends. A revocation by `pki revoke`
/// is in the next answer. SIGTERM ends it. Its log goes to standard error; PHIGATE_LOG says how much.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki serve --dir pki --listen 10.0.0.5:80
  openssl ocsp -issuer pki/crl/issuing.pem -cert pump-1/cert.pem -CAfile pki/trust.pem \\
    -url http://127.0.0.1:8080/ocsp")]
pub(super) struct Serve {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Where to listen; port 0 is a free one [default: serve.listen in ca/authority.toml].
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<SocketAddr>,
    /// Where to listen for enrolment over TLS (EST, RFC 7030); nowhere if not given.
    #[arg(long, value_name = "ADDR:PORT", requires = "est_certificate")]
    pub(super) est: Option<SocketAddr>,
    /// Directory with the chain.pem and key.pem of the enrolment listener, as `pki issue --profile server`
    /// writes them.
    #[arg(long, value_name = "DIR", requires = "est")]
    pub(super) est_certificate: Option<PathBuf>,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
}

/// Change the passphrase of the authority's key files, or encrypt files that are plain.
///
/// --new is for all key files but that of a root with a passphrase of its own, which --new-root
/// changes. Each file is replaced in one step; ca/authority.toml then says where the passphrases are.
/// Interrupted, it is done by doing it again. Backups keep the old passphrase.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki passphrase --dir pki --new file:/etc/pki/passphrase
  pki passphrase --dir pki --passphrase file:/etc/pki/old --new file:/etc/pki/passphrase
  pki passphrase --dir pki --new-root terminal")]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["new", "new_root"])))]
pub(super) struct Passphrase {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Where the new passphrase is.
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source))]
    pub(super) new: Option<SecretSource>,
    /// Where the new passphrase of the root's key file alone is.
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(secret_source))]
    pub(super) new_root: Option<SecretSource>,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Which certificate.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// By serial number, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = serial)]
    pub(super) serial: Option<Serial>,
    /// By name, in full.
    #[arg(long, value_name = "NAME")]
    pub(super) id: Option<String>,
    /// By the certificate itself, PEM or DER; of a chain, its first.
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
}

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki completions bash > /etc/bash_completion.d/pki")]
pub(super) struct Completions {
    /// Which shell.
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}

/// Write the manual pages, one a command.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pki manual /usr/local/share/man/man1")]
pub(super) struct Manual {
    /// Directory for the pages; it must be there.
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,
}

pub(super) fn authority_name(text: &str) -> Result<AuthorityName, String> {
    AuthorityName::parse(text).map_err(|error| error.to_string())
}

fn network(text: &str) -> Result<Network, String> {
    Network::parse(text).map_err(|error| error.to_string())
}

/// A file may be named from where one stands; it is remembered from the root.
pub(super) fn secret_source(text: &str) -> Result<SecretSource, String> {
    let absolute = match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => std::path::absolute(path)
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok())
            .map(|path| format!("file:{path}")),
        _ => None,
    };
    SecretSource::parse(absolute.as_deref().unwrap_or(text)).map_err(|error| error.to_string())
}

fn serial(text: &str) -> Result<Serial, String> {
    Serial::parse(text).map_err(|error| error.to_string())
}

pub(super) fn token_uri(text: &str) -> Result<TokenUri, String> {
    TokenUri::parse(text).map_err(|error| error.to_string())
}

/// Reads a value that may be a secret in the wrong place: an error does not repeat it.
#[derive(Clone)]
pub(super) struct Unrepeated<T>(pub(super) fn(&str) -> Result<T, String>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Unrepeated<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        flag: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let value = value.to_str().ok_or_else(|| "it is no text".to_owned());
        value.and_then(self.0).map_err(|message| {
            let flag = flag.map_or_else(String::new, ToString::to_string);
            let error = format!("{flag}: {message}");
            command.clone().error(ErrorKind::ValueValidation, error)
        })
    }
}

const END_ENTITIES: [EndEntity; 4] = [
    EndEntity::Server,
    EndEntity::Device,
    EndEntity::Client,
    EndEntity::Operator,
];

pub(super) fn end_entity() -> impl TypedValueParser<Value = EndEntity> {
    PossibleValuesParser::new(END_ENTITIES.map(|profile| profile.profile().name)).map(|name| {
        END_ENTITIES
            .into_iter()
            .find(|profile| profile.profile().name == name)
            .expect("the value is one of the possible ones")
    })
}

fn any_profile() -> PossibleValuesParser {
    PossibleValuesParser::new(pki::profile::PROFILES.iter().map(|profile| profile.name))
}

fn reason() -> impl TypedValueParser<Value = Reason> {
    PossibleValuesParser::new(REASONS.iter().map(|row| row.name))
        .map(|name| Reason::parse(&name).expect("the value is one of the possible ones"))
}

const STATUSES: [(&str, StatusFilter); 5] = [
    ("reserved", StatusFilter::Stored(Status::Reserved)),
    ("pending", StatusFilter::Stored(Status::Pending)),
    ("issued", StatusFilter::Stored(Status::Issued)),
    ("revoked", StatusFilter::Stored(Status::Revoked)),
    ("expired", StatusFilter::Expired),
];

fn status() -> impl TypedValueParser<Value = StatusFilter> {
    PossibleValuesParser::new(STATUSES.map(|(name, _)| name)).map(|name| {
        STATUSES
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, status)| status)
            .expect("the value is one of the possible ones")
    })
}

// clap wants a Result of every parser.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn id_filter(text: &str) -> Result<IdFilter, String> {
    Ok(match text.strip_suffix('*') {
        Some(prefix) => IdFilter::Prefix(prefix.to_owned()),
        None => IdFilter::Contains(text.to_owned()),
    })
}

pub(super) fn span(text: &str) -> Result<SignedDuration, String> {
    const WANTED: &str = "a time is a number and h, d or w, such as 30d, up to 100 years";
    const MOST_HOURS: i64 = 100 * 365 * 24;
    let hours_of = |unit| match unit {
        'h' => Some(1),
        'd' => Some(24),
        'w' => Some(7 * 24),
        _ => None,
    };
    let unit = text.chars().last().ok_or(WANTED)?;
    let number: u32 = text
        .strip_suffix(unit)
        .and_then(|number| number.parse().ok())
        .ok_or(WANTED)?;
    let hours = hours_of(unit).ok_or(WANTED)? * i64::from(number);
    if hours > MOST_HOURS {
        return Err(WANTED.to_owned());
    }
    Ok(SignedDuration::from_hours(hours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|help| help.contains("pki ")),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(span("30d"), Ok(SignedDuration::from_hours(720)));
        assert_eq!(span("12h"), Ok(SignedDuration::from_hours(12)));
        assert_eq!(span("2w"), Ok(SignedDuration::from_hours(336)));
        for wrong in ["", "d", "30", "30m", "-1d", "1.5d", "4294967295w", "30é"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
