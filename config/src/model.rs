//! The resolved configuration: what the gateway works from.
//!
//! Nothing is left undecided here: what may be absent in the file is a named variant, every
//! default is filled in, every name refers to something that exists. Every path and name keeps
//! its [`Place`], because files are opened and addresses bound later, by others, who then report
//! the line that asked for it. The model holds no secret, only where each one is.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::decision::Decision;
use crate::error::{Advice, Findings};
use crate::host::HostName;
use crate::integrity::{AnswerKey, Answers, Demand, SignatureRule, Signatures};
use crate::method::Method;
use crate::name::{
    CertificateName, ClassName, ListenerName, RoleName, RouteName, Sentence, TrustName,
    UpstreamName,
};
use crate::path::PathPrefix;
use crate::pattern::ClientPattern;
use crate::place::{Place, Placed, quoted};
use crate::secret::{FilePath, Secret};
use crate::server::{Authority, BaseUrl, ListUrl, OcspUrl, Origin};
use crate::units::ByteSize;
use crate::word::Word;

/// A whole configuration in which everything is decided.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, as it was named.
    pub path: PathBuf,
    /// The file's text, byte for byte: what a record of this configuration takes its hash of.
    pub text: String,
    /// Where the access log of the operators goes. It never gates a request.
    pub access_log: AccessLog,
    /// How long requests under way may take once the gateway was told to stop.
    pub drain: Duration,
    /// The threads that serve.
    pub workers: Workers,
    /// The audit log.
    pub audit: Audit,
    /// Health, metrics and status.
    pub admin: Admin,
    /// Who vouches for clients.
    pub trust: BTreeMap<TrustName, Trust>,
    /// Certificates of the gateway itself.
    pub certificates: BTreeMap<CertificateName, Certificate>,
    /// Where clients connect. Never empty.
    pub listeners: BTreeMap<ListenerName, Listener>,
    /// Which clients may do the same things.
    pub roles: BTreeMap<RoleName, Role>,
    /// What signatures of messages have in common.
    pub signatures: Signatures,
    /// What stands behind the gateway.
    pub upstreams: BTreeMap<UpstreamName, Upstream>,
    /// Which requests go where, in the order of the file, which means nothing: no two routes
    /// share listener, host, path and method.
    pub routes: Vec<Route>,
    /// Every weakened control with its rationale, for the record at start and reload.
    pub decisions: Vec<Decision>,
    /// What probably does not do what was meant.
    pub warnings: Findings,
}

/// Where one line for each request goes, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// One JSON object a line on standard output.
    Stdout,
}

/// The threads that serve.
#[derive(Clone, Debug)]
pub struct Workers {
    /// How many.
    pub count: WorkerCount,
    /// Whether each stays on a core of its own.
    pub pin: bool,
}

/// How many threads serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    /// One for each core that the process may use.
    PerCore,
    /// This many.
    Fixed(NonZeroUsize),
}

/// Whether somebody wrote down why a control is weakened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rationale {
    /// The sentence.
    Given(Placed<Sentence>),
    /// Nobody did.
    Absent,
}

/// The audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The folder of the log, of which there is one writer.
    pub directory: FilePath,
    /// Where the log's own keys are, if it has any.
    pub keys: Option<Secret>,
    /// Where the passphrase is that they are encrypted with, if they are.
    pub passphrase: Option<Secret>,
    /// Files with the public keys that records are encrypted to. Without any they are not.
    pub readers: Vec<FilePath>,
    /// What a record has to survive before the response that waits for it leaves.
    pub durability: Placed<Durability>,
    /// How many records may wait for the disk. One more is refused.
    pub queue_entries: NonZeroU32,
    /// How many bytes of records may wait for the disk.
    pub queue_bytes: ByteSize,
    /// The free space below which peers that proved nothing are only counted.
    pub min_free: ByteSize,
    /// The size of one segment file, a multiple of 4096 bytes.
    pub segment_size: ByteSize,
    /// Who cosigns its checkpoints.
    pub witnesses: Vec<Witness>,
    /// Classes of retention. `standard` is among them where something is said of it.
    pub classes: BTreeMap<ClassName, Class>,
    /// Covers missing keys and readers, buffered durability, and a file system that may not keep its
    /// word.
    pub rationale: Rationale,
    /// Where the table stands.
    pub place: Place,
}

/// A class of retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// For how many years its records are kept.
    pub keep_years: Placed<NonZeroU32>,
    /// Covers a period under six years.
    pub rationale: Rationale,
    /// Where the table stands.
    pub place: Place,
}

/// A witness of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Where it is asked.
    pub url: Placed<BaseUrl>,
    /// The file with its public key.
    pub key: FilePath,
    /// The file with the roots that vouch for it: there for https, and only then.
    pub authority: Option<FilePath>,
    /// It is asked no oftener than this.
    pub every: Duration,
    /// It may lag so long until somebody is told.
    pub alarm: Duration,
}

/// What a record has survived when its response leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: the write was synchronized to the disk.
    Durable,
    /// A crash of the gateway, not of the machine: the write reached the system's cache.
    Buffered,
}

/// The private listener for health, metrics and status.
#[derive(Clone, Debug)]
pub enum Admin {
    /// There is none.
    Off,
    /// On this loopback address.
    Listen(Placed<SocketAddr>),
}

/// A trust set: who vouches for clients, how they are named, how they lose that trust. Names of
/// two sets never mix.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The table.
    pub place: Place,
    /// Files with root certificates (PEM). Never empty.
    pub roots: Vec<FilePath>,
    /// Files with certificates of issuing authorities (PEM), for the signatures of revocation
    /// lists and for devices that send nothing but their leaf.
    pub intermediates: Vec<FilePath>,
    /// How a certificate is taken back.
    pub revocation: Placed<Revocation>,
    /// Who is asked for the status of a leaf.
    pub ocsp: Ocsp,
    /// The kind of name that a leaf must hold exactly once.
    pub identity: NameKind,
    /// Covers stale lists and no revocation.
    pub rationale: Rationale,
}

/// How a certificate is taken back.
#[derive(Clone, Debug)]
pub enum Revocation {
    /// By certificate revocation lists (RFC 5280 section 5).
    Crls {
        /// Where the lists are. Never empty.
        sources: Vec<ListSource>,
        /// What a list past its next update is worth.
        when_stale: WhenStale,
        /// Where lists are kept that were fetched.
        kept: ListKeeping,
        /// How often a list is asked for that is fetched.
        refresh: Duration,
    },
    /// A leaf by OCSP ([`Trust::ocsp`]), and an authority by taking it out of the configuration.
    Ocsp,
    /// Not at all.
    Off,
}

/// Who is asked for the status of a client's own certificate (RFC 6960).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ocsp {
    /// Nobody.
    Off,
    /// A responder.
    Http {
        /// Where it is.
        url: Placed<OcspUrl>,
        /// How long its answer counts at most.
        max_age: Duration,
    },
}

/// Where revocation lists are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListSource {
    /// A file, or a folder of files.
    Path(FilePath),
    /// One list that is fetched over HTTP.
    Http(Placed<ListUrl>),
}

impl ListSource {
    /// Who asked for it.
    pub fn place(&self) -> &Place {
        match self {
            Self::Path(path) => &path.place,
            Self::Http(url) => &url.place,
        }
    }
}

/// Where revocation lists are kept that were fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKeeping {
    /// Nowhere, since none is fetched.
    Unstated,
    /// In this folder.
    Folder(FilePath),
}

/// What a revocation list past its `nextUpdate` is worth (RFC 5280 section 5.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStale {
    /// Nothing: nobody gets in under its issuer until there is a fresh one.
    Refuse,
    /// As much as a fresh one.
    Accept,
}

/// A kind of subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// `uniformResourceIdentifier`.
    SanUri,
    /// `dNSName`, compared in lower case.
    SanDns,
    /// `rfc822Name`.
    SanEmail,
}

/// A certificate of the gateway itself.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The table.
    pub place: Place,
    /// The file with the leaf and its issuers (PEM), the leaf first.
    pub chain: FilePath,
    /// Where the private key (PEM) is.
    pub key: Secret,
    /// Where its OCSP answer comes from, which is stapled.
    pub ocsp: Stapling,
}

/// Where the OCSP answer about a certificate of the gateway comes from (RFC 6066 section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stapling {
    /// Nowhere: nothing is stapled.
    Off,
    /// It is asked for there.
    Http(Placed<OcspUrl>),
    /// Something else keeps it fresh in this file (DER).
    File(FilePath),
    /// It is asked for where the certificate itself says (RFC 5280 section 4.2.2.1).
    Certificate(Place),
}

/// Where clients connect.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The table.
    pub place: Place,
    /// The addresses. Never empty; no two listeners share one.
    pub listen: Vec<Placed<SocketAddr>>,
    /// What TLS is spoken.
    pub tls: TlsPolicy,
    /// The certificate entries. Never empty; the first answers a client that sends no SNI.
    pub certificates: Vec<Placed<CertificateName>>,
    /// What is asked of clients.
    pub clients: Placed<Clients>,
    /// Covers clients that need no certificate.
    pub rationale: Rationale,
    /// What a connection may take.
    pub limits: Limits,
}

impl Listener {
    /// The trust set whose names clients of this listener can have.
    pub fn trust(&self) -> Option<&TrustName> {
        match &self.clients.value {
            Clients::Required { trust } | Clients::Optional { trust } => Some(&trust.value),
            Clients::None => None,
        }
    }
}

/// What TLS a listener speaks. The gateway's `tls` says what each means in versions and suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// TLS 1.3 alone.
    Modern,
    /// TLS 1.2 with forward secrecy and authenticated encryption, and 1.3.
    Intermediate,
}

/// What a listener asks of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// A certificate, or there is no connection.
    Required {
        /// Who vouches.
        trust: Placed<TrustName>,
    },
    /// A certificate is verified when it comes; one that comes and is bad ends the handshake.
    Optional {
        /// Who vouches.
        trust: Placed<TrustName>,
    },
    /// Nothing: clients stay without a name.
    None,
}

/// What connections of a listener may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: NonZeroU32,
    /// Connections at once from one address.
    pub connections_per_address: NonZeroU32,
    /// From accept to the end of the handshake, the hello included.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Bytes of a request's head.
    pub head_bytes: ByteSize,
    /// Fields in a request's head.
    pub head_fields: NonZeroU32,
    /// Between requests on a connection that is kept.
    pub idle: Duration,
    /// From accept to the last request.
    pub age: Duration,
    /// HTTP/2 streams at once on a connection.
    pub streams: NonZeroU32,
}

/// Clients that may do the same things.
#[derive(Clone, Debug)]
pub struct Role {
    /// The table.
    pub place: Place,
    /// The trust set under which the names count.
    pub trust: Placed<TrustName>,
    /// The names. Empty = nobody.
    pub clients: Patterns,
    /// What the role is for.
    pub purpose: Purpose,
}

impl Role {
    /// Whether a client that proved `name` under `trust` has this role.
    ///
    /// Fails closed: a name under another trust set, and a role without names, is `false`.
    pub fn covers(&self, trust: &TrustName, name: &str) -> bool {
        self.trust.value == *trust && self.clients.cover(name)
    }
}

/// The names and patterns of a role. However many names there are, a client is found among them in the
/// same time; patterns with a star are tried one after another.
#[derive(Clone, Debug)]
pub struct Patterns {
    all: Vec<Placed<ClientPattern>>,
    plain: HashSet<Box<str>>,
    starred: Vec<ClientPattern>,
}

impl Patterns {
    /// Whether one of them covers a name.
    pub fn cover(&self, name: &str) -> bool {
        self.plain.contains(name) || self.starred.iter().any(|pattern| pattern.matches(name))
    }
}

impl FromIterator<Placed<ClientPattern>> for Patterns {
    fn from_iter<T: IntoIterator<Item = Placed<ClientPattern>>>(patterns: T) -> Patterns {
        let all: Vec<Placed<ClientPattern>> = patterns.into_iter().collect();
        let (plain, starred): (Vec<_>, Vec<_>) = all
            .iter()
            .map(|pattern| &pattern.value)
            .partition(|pattern| pattern.is_plain());
        Patterns {
            plain: plain.into_iter().map(|name| name.as_str().into()).collect(),
            starred: starred.into_iter().cloned().collect(),
            all,
        }
    }
}

/// As they were written, in their order.
impl std::ops::Deref for Patterns {
    type Target = [Placed<ClientPattern>];

    fn deref(&self) -> &[Placed<ClientPattern>] {
        &self.all
    }
}

/// What a role is for, in the operator's words: it stands in records and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The words.
    Stated(Placed<Sentence>),
    /// Nobody said.
    Unstated,
}

/// What stands behind the gateway.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The table.
    pub place: Place,
    /// Its server.
    pub server: Placed<Server>,
    /// The protocol spoken with it.
    pub protocol: Protocol,
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the end of the request to the head of the answer.
    pub head: Duration,
    /// How long an idle connection is kept. Below what servers keep, or a request meets a
    /// connection that the server is closing.
    pub idle: Duration,
    /// Connections at once, for each worker.
    pub connections: NonZeroU32,
    /// Under which base URL its patients are known.
    pub fhir_base: FhirBase,
    /// Whether requests to it carry the gateway's own signature.
    pub signed: Placed<bool>,
    /// With which key it signs its answers.
    pub answer_key: AnswerKey,
    /// Covers plain HTTP off loopback and an upstream that cannot tell the gateway from others.
    pub rationale: Rationale,
}

/// How to reach an upstream's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// TCP without TLS.
    Http {
        /// Host and port. A host `localhost` means a loopback address, whatever a resolver says.
        authority: Authority,
    },
    /// TLS.
    Https {
        /// Host and port.
        authority: Authority,
        /// The file with the root certificates that vouch for it, and no others.
        roots: FilePath,
        /// The name that its certificate must hold (RFC 9525).
        server_name: HostName,
        /// How the gateway proves itself.
        identity: UpstreamIdentity,
    },
    /// A Unix domain socket.
    Unix {
        /// Its path, short enough for `sockaddr_un`.
        socket: FilePath,
    },
}

/// How the gateway proves itself to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamIdentity {
    /// By this certificate entry.
    Certificate(Placed<CertificateName>),
    /// Not at all.
    Nothing,
}

/// The protocol spoken with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Whatever ALPN (RFC 7301) settles on, HTTP/2 preferred. Only over TLS.
    Alpn,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113 section 3.3).
    Http2,
}

/// Under which base URL an upstream's patients are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FhirBase {
    /// This one.
    Stated(Placed<BaseUrl>),
    /// Nobody said.
    Unstated,
}

/// Which requests go where.
#[derive(Clone, Debug)]
pub struct Route {
    /// The table.
    pub place: Place,
    /// The name in the record of each request that took it. No two routes share one.
    pub name: Placed<RouteName>,
    /// The only listeners on which it exists. Never empty.
    pub listeners: Vec<Placed<ListenerName>>,
    /// The only hosts on which it exists. Never empty.
    pub hosts: Vec<Placed<HostName>>,
    /// The prefix of its paths. Among the routes of a host the longest prefix wins.
    pub path: Placed<PathPrefix>,
    /// The only methods it takes. Never empty.
    pub methods: Vec<Placed<Method>>,
    /// Who may use it.
    pub allow: Placed<Allow>,
    /// Where its requests go.
    pub upstream: Placed<UpstreamName>,
    /// Whether it carries FHIR, so that types and patients can be read off its messages.
    pub fhir: bool,
    /// Whether it may carry electronic protected health information. If so, no byte of a response
    /// leaves before its record is durable.
    pub ephi: Placed<bool>,
    /// The class of retention of its records; `standard` without one.
    pub class: Option<Placed<ClassName>>,
    /// Whether an intent record is durable before forwarding even where the method is safe.
    pub intent: bool,
    /// The largest body of a request.
    pub body_limit: ByteSize,
    /// The longest pause in a body.
    pub body_idle: Duration,
    /// The least that a body must bring in a second.
    pub body_rate: ByteSize,
    /// How often one client may come.
    pub rate: Rate,
    /// Whether its connections may become WebSockets, and which.
    pub websocket: Option<WebSocket>,
    /// Whether `%2F` may stand in a path of this route. It never divides segments.
    pub encoded_slash: bool,
    /// Whether requests with content state its digest (RFC 9530).
    pub digest: Placed<Demand>,
    /// Whether requests are signed, and how.
    pub signature: SignatureRule,
    /// Content up to this size is checked before any of it is forwarded.
    pub buffer: ByteSize,
    /// Whether larger content passes where a signature is required, its last part withheld until it
    /// is checked. If not, it is refused.
    pub stream: bool,
    /// What the gateway adds to answers.
    pub answers: Placed<Answers>,
    /// Covers `ephi = false`, `anyone` and `digest = "off"`.
    pub rationale: Rationale,
}

/// A protocol that a connection may switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upgrade {
    /// RFC 6455.
    WebSocket,
}

impl Word for Upgrade {
    const NOUN: &'static str = "a protocol";
    const EXAMPLE: &'static str = "websocket";
    const PATTERN: Option<&'static str> = Some("^websocket$");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        match text {
            "websocket" => Ok(Self::WebSocket),
            _ => {
                let message = format!(
                    "{} is no protocol that connections switch to here",
                    quoted(text)
                );
                Err(Advice::new(message, Some("write \"websocket\"")))
            }
        }
    }
}

/// Which WebSockets a route carries, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// The origins whose pages may open one. Without any, those of the host that is asked.
    pub origins: Vec<Origin>,
    /// How long one may carry nothing in either direction.
    pub idle: Duration,
    /// The greatest age of one.
    pub age: Duration,
}

/// Who may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Nobody.
    Nobody,
    /// Clients with one of these roles. Never empty.
    Roles(Vec<Placed<RoleName>>),
    /// Everybody, with or without a name.
    Anyone,
}

/// How often one client may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As often as it likes.
    Unlimited,
    /// For each client, known by its name or, without one, by its address.
    PerClient {
        /// So many requests, all at once if need be,
        requests: NonZeroU32,
        /// in each stretch of this length.
        every: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    proptest::proptest! {
        #[test]
        fn a_set_of_patterns_covers_what_one_of_them_does(
            patterns in proptest::collection::vec("[ab:/*]{1,5}", 0..6),
            name in "[ab:/]{1,5}",
        ) {
            let patterns: Vec<ClientPattern> =
                patterns.iter().filter_map(|text| ClientPattern::parse(text).ok()).collect();
            let one = patterns.iter().any(|pattern| pattern.matches(&name));
            let place = Place::whole(Path::new("gateway.toml"));
            let placed = patterns.into_iter().map(|value| Placed { value, place: place.clone() });
            proptest::prop_assert_eq!(placed.collect::<Patterns>().cover(&name), one);
        }
    }
}
