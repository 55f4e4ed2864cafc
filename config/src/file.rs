//! The file as it is typed: one row a key, with its type, its absence, its bounds and its words.
//!
//! The rows make the reader and the JSON Schema alike, and the doc comments are what an editor
//! shows to an operator. What keys mean together, and which names exist, is not decided here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::choices::{CertificateUse, ProtocolWord, RatePer};
use crate::collect::{List, Named, NonEmpty, Read, Rows, Value, table};
use crate::component::Component;
use crate::error::Report;
use crate::host::HostName;
use crate::integrity::{Answers, Demand};
use crate::method::Method;
use crate::model::{AccessLog, Durability, NameKind, TlsPolicy, Upgrade, WhenStale};
use crate::name::{
    AllowWord, CertificateName, ClassName, KeyName, ListenerName, PurposeText, RationaleText,
    RoleName, RouteName, TrustName, UpstreamName,
};
use crate::path::PathPrefix;
use crate::pattern::{ClientName, ClientPattern};
use crate::secret::{ListText, PathText, SecretText, StapleText};
use crate::server::{AdminWord, BaseUrl, OcspUrl, Origin, ServerUrl};
use crate::units::ByteSize;

table! {
    /// Configuration of the phigate transmission security gateway.
    File {
        /// Where one line of JSON for each request goes, for operators. It never holds a request
        /// up and is no audit record.
        access_log: AccessLog => or_default(AccessLog::Off);
        /// How long requests under way may take after the gateway was told to stop.
        drain: Duration => or_default(seconds(30)), within seconds(0), hours(1);
        /// The threads that serve.
        workers: Workers => inner;
        /// The audit log: a durable record of each request before its response leaves.
        audit: Audit => inner;
        /// The private listener for health, metrics and status.
        admin: Admin => inner;
        /// Trust sets: who vouches for clients, by name.
        trust: Named<TrustName, Trust> => inner;
        /// Certificates of the gateway itself, by name.
        certificates: Named<CertificateName, Certificate> => inner;
        /// Where clients connect, by name.
        listeners: Named<ListenerName, Listener> => inner;
        /// Clients that may do the same things, by name.
        roles: Named<RoleName, Role> => inner;
        /// What signatures of messages have in common. Needed when a route asks for signatures, or
        /// when the gateway signs.
        signatures: Signatures => inner;
        /// What stands behind the gateway, by name.
        upstreams: Named<UpstreamName, Upstream> => inner;
        /// Which requests go where, and who may make them. Their order means nothing.
        routes: Rows<Route> => optional;
    }

    /// The threads that serve.
    Workers {
        /// How many threads serve. Without it, one for each core.
        count: NonZeroU32 => optional, within count(1), count(1024);
        /// Keep each thread on a core of its own.
        pin: bool => or_default(false);
    }

    /// The audit log.
    Audit {
        /// The folder of the log. One gateway writes to it, nobody else.
        directory: PathText => required("\"/var/lib/phigate/audit\"");
        /// The log's own keys, as `audit keygen` makes them: what its checkpoints are signed with and
        /// what patients are named with. Without them a rationale is needed.
        keys: SecretText => optional;
        /// The passphrase that the keys are encrypted with, if they are.
        passphrase: SecretText => optional;
        /// Public keys of those who may read the records, which are encrypted to them. Without any a
        /// rationale is needed.
        readers: List<PathText> => optional;
        /// What a record has survived when its response leaves: a loss of power, or only a crash
        /// of the gateway. "buffered" needs a rationale.
        durability: Durability => or_default(Durability::Durable);
        /// How many records may wait for the disk; with more, requests are answered 503.
        queue_entries: NonZeroU32 => or_default(count(65_536)), within count(16), count(16_777_216);
        /// How many bytes of records may wait for the disk; with more, requests are answered 503.
        queue_bytes: ByteSize => or_default(ByteSize::mib(64)), within ByteSize::mib(1), ByteSize::gib(16);
        /// Free space below which clients that proved nothing are counted instead of recorded one
        /// by one.
        min_free: ByteSize => or_default(ByteSize::mib(256)), within ByteSize::mib(1), ByteSize::gib(1024);
        /// Size of a segment file, a multiple of 4096B.
        segment_size: ByteSize => or_default(ByteSize::mib(64)), within ByteSize::mib(1), ByteSize::gib(4);
        /// Who cosigns the log's checkpoints, on other machines, so that a log that was put back to an
        /// older state is found. At most 16.
        witnesses: Rows<Witness> => optional;
        /// Classes of retention by name: how long the records of routes are kept that name one. The rest is
        /// "standard". Each month of a class has keys of its own, which `audit destroy` ends.
        classes: Named<ClassName, Class> => inner;
        /// Why the log may be unsigned, readable or buffered, or lie on a file system that may not
        /// keep its word (tmpfs, overlay, network).
        rationale: RationaleText => optional;
    }

    /// A class of retention.
    Class {
        /// For how many years records are kept, from the end of the month in which they were written.
        /// Fewer than 6 need a rationale.
        keep_years: NonZeroU32 => or_default(count(6)), within count(1), count(100);
        /// Why they are kept for fewer years.
        rationale: RationaleText => optional;
    }

    /// A witness of the audit log (C2SP tlog-witness).
    Witness {
        /// Where it is asked: what stands before /add-checkpoint.
        url: BaseUrl => required("\"https://witness.example\"");
        /// File with its public key, which its operator gives out: witness.vkey of `audit witness
        /// keygen`, or the vkey of another one.
        key: PathText => required("\"witness.vkey\"");
        /// File with the root certificates (PEM) that vouch for an https witness. Those of the system
        /// are never used.
        authority: PathText => optional;
        /// It is asked no oftener than this, while the log grows.
        every: Duration => or_default(seconds(10)), within seconds(1), hours(1);
        /// It may lag so long until there is a warning and a record.
        alarm: Duration => or_default(minutes(5)), within seconds(1), hours(24);
    }

    /// The private listener for health, metrics and status.
    Admin {
        /// A loopback address and port, or "off".
        listen: AdminWord => or_default(AdminWord::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090)));
    }

    /// A trust set.
    Trust {
        /// Files with the root certificates (PEM) that vouch for clients.
        roots: NonEmpty<PathText> => required("[\"devices-root.pem\"]");
        /// Files with certificates of issuing authorities (PEM): for the signatures of revocation
        /// lists, and for devices that send nothing but their own certificate.
        intermediates: List<PathText> => or_default(List(Vec::new()));
        /// How a certificate is taken back: by revocation lists, by OCSP, or "off", which needs a rationale.
        revocation: Revocation => required("{ crls = [\"/var/lib/phigate/crl/\"] }, or \"off\" with a rationale");
        /// The kind of subject alternative name that a client certificate holds exactly once.
        identity: NameKind => or_default(NameKind::SanUri);
        /// Why a stale list counts, or why nothing is revoked.
        rationale: RationaleText => optional;
    }

    /// Revocation by lists, by OCSP, or by both.
    Crls {
        /// Revocation lists (PEM or DER): files, folders of files, and http URLs of lists that are
        /// fetched. Each is looked at again and again; what changes comes into force by itself.
        crls: NonEmpty<ListText> => optional;
        /// What a list past its next update is worth. "accept" needs a rationale.
        when_stale: WhenStale => or_default(WhenStale::Refuse);
        /// A folder of the gateway's own for the lists that it fetched, so that they are at hand after a
        /// restart. Needed with an http URL.
        kept: PathText => optional;
        /// How often a list is asked for that is fetched. One that did not change is not sent again.
        refresh: Duration => or_default(seconds(3)), within seconds(1), hours(24);
        /// The responder that is asked for the status of a client's own certificate by OCSP, before its first
        /// request is served and again and again. Lists then cover the authorities above it.
        ocsp: OcspUrl => optional;
        /// How long its answer counts at most, however long it says.
        ocsp_max_age: Duration => or_default(minutes(5)), within seconds(1), hours(24);
    }

    /// A certificate of the gateway itself.
    Certificate {
        /// File with the certificate and its issuers (PEM), the certificate first.
        chain: PathText => required("\"api.chain.pem\"");
        /// Where the private key (PEM) is: file:PATH, env:NAME or credential:NAME (systemd).
        key: SecretText => required("\"file:api.key.pem\"");
        /// Where its OCSP answer comes from, which is stapled: the http URL of a responder, "certificate" for the
        /// URL in the certificate, or a file (DER) that something else keeps fresh. Without it, nothing is stapled.
        ocsp: StapleText => optional;
    }

    /// Where clients connect.
    Listener {
        /// Addresses with ports.
        listen: NonEmpty<SocketAddr> => required("[\"0.0.0.0:8443\", \"[::]:8443\"]");
        /// What TLS is spoken.
        tls: TlsPolicy => or_default(TlsPolicy::Modern);
        /// Certificates by name. The first answers clients that do not say which host they want.
        certificates: NonEmpty<CertificateName> => required("[\"api\"]");
        /// What is asked of clients.
        clients: Clients => required("{ certificates = \"required\", trust = \"devices\" }");
        /// What a connection may take.
        limits: Limits => inner;
    }

    /// What a listener asks of clients.
    Clients {
        /// Whether clients need a certificate. Less than "required" needs a rationale on a
        /// listener that carries ePHI.
        certificates: CertificateUse => required("\"required\"");
        /// The trust set that vouches for clients, by name.
        trust: TrustName => optional;
        /// Why clients need no certificate.
        rationale: RationaleText => optional;
    }

    /// What a connection may take.
    Limits {
        /// Connections at once.
        connections: NonZeroU32 => or_default(count(20_000)), within count(1), count(10_000_000);
        /// Connections at once from one address.
        connections_per_address: NonZeroU32 => or_default(count(200)), within count(1), count(10_000_000);
        /// From accept to the end of the TLS handshake.
        handshake: Duration => or_default(seconds(10)), within seconds(1), minutes(5);
        /// From the first byte of a request's head to its last.
        head: Duration => or_default(seconds(10)), within seconds(1), minutes(5);
        /// Size of a request's head.
        head_bytes: ByteSize => or_default(ByteSize::kib(32)), within ByteSize::kib(1), ByteSize::mib(1);
        /// Fields in a request's head.
        head_fields: NonZeroU32 => or_default(count(100)), within count(8), count(10_000);
        /// Between requests on a connection that is kept.
        idle: Duration => or_default(seconds(75)), within seconds(1), hours(24);
        /// Age of a connection. Without it 1h where clients have certificates, else 24h.
        age: Duration => optional, within seconds(1), hours(24 * 7);
        /// HTTP/2 streams at once on a connection.
        streams: NonZeroU32 => or_default(count(100)), within count(1), count(10_000);
    }

    /// Clients that may do the same things.
    Role {
        /// Names of clients; "*" stands for anything within one segment between ":" or "/".
        clients: List<ClientPattern> => required("[\"urn:example:pump-*\"]");
        /// What the role is for, in your own words; it stands in reports.
        purpose: PurposeText => optional;
        /// The trust set under which the names count. Needed when there is more than one.
        trust: TrustName => optional;
    }

    /// What signatures of messages (RFC 9421) have in common.
    Signatures {
        /// The folder in which the window of what was accepted is kept across restarts, so that
        /// nothing is accepted twice. Needed when a route takes signatures.
        replay: PathText => optional;
        /// How many accepted signatures are remembered at once. When all are taken, further signed
        /// requests are refused.
        window: NonZeroU32 => or_default(count(1_000_000)), within count(1000), count(100_000_000);
        /// Where the gateway's own private key (PKCS#8 in PEM; P-256, P-384, Ed25519 or RSA) is:
        /// file:PATH, env:NAME or credential:NAME (systemd). Needed when the gateway signs.
        key: SecretText => optional;
        /// Registered keys, which count beside those of certificates. The name is the keyid.
        keys: Named<KeyName, SignatureKey> => inner;
    }

    /// A registered key.
    SignatureKey {
        /// File with the public key (SubjectPublicKeyInfo in PEM).
        public: PathText => required("\"lab-robot.pub.pem\"");
        /// The only client, by the name that its certificate proves, whose requests the key may
        /// sign. Without it, those of any client.
        client: ClientName => optional;
    }

    /// What stands behind the gateway.
    Upstream {
        /// Its server: https://HOST:PORT, http://HOST:PORT or unix:PATH. Off loopback, http needs
        /// a rationale.
        servers: NonEmpty<ServerUrl> => required("[\"https://10.0.0.5:8443\"]");
        /// File with the root certificates (PEM) that vouch for an https server. Those of the
        /// system are never used.
        trust: PathText => optional;
        /// The name in the certificate of an https server. Without it, the host of its URL.
        server_name: HostName => optional;
        /// The certificate, by name, with which the gateway proves itself to an https server. On a
        /// route with ePHI a server that gets none, and no unix socket, needs a rationale.
        client_certificate: CertificateName => optional;
        /// The protocol spoken with it. "auto" is HTTP/2 or HTTP/1.1 by ALPN on https, else
        /// HTTP/1.1.
        protocol: ProtocolWord => or_default(ProtocolWord::Auto);
        /// To connect, TLS included.
        connect: Duration => or_default(seconds(3)), within Duration::from_millis(100), minutes(5);
        /// From the end of the request to the head of the answer.
        head: Duration => or_default(seconds(60)), within Duration::from_millis(100), hours(1);
        /// How long an idle connection is kept. Keep it below what the server keeps: many close
        /// after 5s, and a request must not meet a connection that is being closed.
        idle: Duration => or_default(seconds(4)), within seconds(0), hours(1);
        /// Connections at once, for each worker. WebSockets have half as many of their own.
        connections: NonZeroU32 => or_default(count(256)), within count(1), count(100_000);
        /// The base URL of a FHIR server, under which its patients are known.
        fhir_base: BaseUrl => optional;
        /// Whether requests to it carry the gateway's own signature.
        signed: bool => or_default(false);
        /// File with the public key (PEM) with which it signs its answers. With it, signed answers
        /// are verified.
        answer_key: PathText => optional;
        /// Why it is spoken to without TLS, or cannot tell the gateway from others.
        rationale: RationaleText => optional;
    }

    /// Which requests go where.
    Route {
        /// The name that stands in the record of each request that took it.
        name: RouteName => required("\"observations\"");
        /// The only listeners on which it exists, by name.
        listeners: NonEmpty<ListenerName> => required("[\"devices\"]");
        /// The only hosts on which it exists.
        hosts: NonEmpty<HostName> => required("[\"api.clinic.example\"]");
        /// Prefix of whole segments: "/fhir" covers "/fhir/Patient" and not "/fhirx". The longest
        /// prefix wins.
        path: PathPrefix => required("\"/fhir\"");
        /// The only methods it takes; others are answered 405.
        methods: NonEmpty<Method> => required("[\"GET\", \"HEAD\"]");
        /// Roles that may use it, by name, or "anyone", which needs a rationale on a route with
        /// ePHI. Empty: nobody.
        allow: List<AllowWord> => or_default(List(Vec::new()));
        /// Where its requests go, by name.
        upstream: UpstreamName => required("\"fhir\"");
        /// Whether it carries FHIR.
        fhir: bool => or_default(false);
        /// Whether it may carry electronic protected health information. false needs a rationale.
        ephi: bool => or_default(true);
        /// The class of retention of its records, by name. Without one, "standard".
        class: ClassName => optional;
        /// Record the intent before forwarding even where the method is safe: for operations that
        /// change something on GET.
        intent: bool => or_default(false);
        /// Largest body of a request.
        body_limit: ByteSize => or_default(ByteSize::mib(16)), within ByteSize::bytes(0), ByteSize::gib(1024);
        /// Longest pause in a body.
        body_idle: Duration => or_default(seconds(15)), within seconds(1), hours(1);
        /// The least that a body must bring in a second.
        body_rate: ByteSize => or_default(ByteSize::kib(1)), within ByteSize::bytes(0), ByteSize::gib(1);
        /// How often one client may come. Without it, as often as it likes.
        rate: Rate => optional;
        /// Protocols that its connections may switch to. "websocket" needs GET.
        upgrade: List<Upgrade> => or_default(List(Vec::new()));
        /// Origins whose pages may open a WebSocket. Without any, those of the host that is asked.
        origins: List<Origin> => or_default(List(Vec::new()));
        /// How long a WebSocket may carry nothing in either direction.
        upgrade_idle: Duration => or_default(minutes(15)), within seconds(1), hours(24);
        /// The greatest age of a WebSocket. It does not outlive the age of its connection.
        upgrade_age: Duration => or_default(hours(12)), within seconds(1), hours(24);
        /// Let "%2F" stand in a path. It never divides segments.
        encoded_slash: bool => or_default(false);
        /// Whether requests with content state its digest (RFC 9530). "off" needs a rationale.
        digest: Demand => or_default(Demand::WhenPresent);
        /// Whether requests are signed (RFC 9421). Without it, "off".
        signature: Demand => optional;
        /// Components that a signature has to cover, spelled without quotes around the name. Without
        /// it, "@method", "@authority", "@path" and "@query". "@query" counts only when there is a
        /// query; of a request with content, content-digest and content-type are covered besides.
        signature_covers: NonEmpty<Component> => optional;
        /// The oldest a signature may be, by its `created`. Without it, 300s.
        signature_age: Duration => optional, within seconds(1), hours(1);
        /// How far ahead a client's clock may be. Without it, 30s.
        signature_skew: Duration => optional, within seconds(0), minutes(5);
        /// Registered keys, by name, that count beside the key of the client's certificate.
        signature_keys: List<KeyName> => optional;
        /// Content up to this size is checked before any of it is forwarded.
        buffer: ByteSize => or_default(ByteSize::mib(1)), within ByteSize::bytes(0), ByteSize::mib(16);
        /// Whether larger content passes where a signature is required: while it is checked, its
        /// last part withheld. Without it, it is refused with 413.
        stream: bool => or_default(false);
        /// What the gateway adds to answers.
        answers: Answers => or_default(Answers::Plain);
        /// Why it carries no ePHI, why anyone may use it, or why digests are not compared.
        rationale: RationaleText => optional;
    }

    /// How often one client may come.
    Rate {
        /// What is counted: each client by its name or, without one, by its address.
        per: RatePer => or_default(RatePer::Client);
        /// So many requests, all at once if need be,
        requests: NonZeroU32 => required("20"), within count(1), count(1_000_000);
        /// in each stretch of this length.
        every: Duration => required("\"1s\""), within Duration::from_millis(100), hours(24);
    }
}

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("no row counts to 0")
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

const fn minutes(number: u64) -> Duration {
    Duration::from_mins(number)
}

const fn hours(number: u64) -> Duration {
    Duration::from_hours(number)
}

/// The word `off`, or a table.
#[derive(Debug)]
pub(crate) enum Revocation {
    Off,
    Crls(Box<Crls>),
}

impl Read for Revocation {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        match value.as_str() {
            Some("off") => Some(Self::Off),
            None if value.is_table() => {
                Crls::read(value, report).map(|crls| Self::Crls(Box::new(crls)))
            }
            _ => {
                value.wrong_type(
                    "{ crls = [...] }, { ocsp = \"http://...\" } or \"off\"",
                    report,
                );
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [Crls::schema(), { "const": "off", "description": "Nothing is ever revoked." }] })
    }
}
