//! What stands behind the gateway.
//!
//! An https server is known by root certificates that are named here, never by those of the
//! system: whoever gets a public certificate for its name would else be taken for it.

use std::collections::BTreeSet;

use super::{Context, must_exist, rationale};
use crate::choices::ProtocolWord;
use crate::collect::Optional;
use crate::error::Report;
use crate::file;
use crate::host::HostName;
use crate::integrity::AnswerKey;
use crate::model::{FhirBase, Protocol, Server, Upstream, UpstreamIdentity};
use crate::name::{CertificateName, TrustName};
use crate::place::{Place, Placed, quoted};
use crate::secret::{FilePath, PathText};
use crate::server::{Authority, ServerUrl};

/// `None`: it is not known what its server is, and that is noted.
pub(super) fn upstream(table: file::Upstream, context: &mut Context<'_>) -> Option<Upstream> {
    let tls = TlsKeys {
        table: &table.place,
        trust: table.trust,
        server_name: table.server_name,
        client_certificate: table.client_certificate,
    };
    if let Some(name) = tls.client_certificate.given() {
        must_exist(
            "certificate",
            name,
            context.certificates.as_ref(),
            context.report,
        );
    }
    let Placed { value: url, place } = table.servers?.value.0.into_iter().next()?;
    let server = match url {
        ServerUrl::Https(authority) => tls.into_https(authority, context)?,
        ServerUrl::Http(authority) => {
            tls.refuse(context.report);
            Server::Http { authority }
        }
        ServerUrl::Unix(path) => {
            tls.refuse(context.report);
            let path = Placed {
                value: PathText(path),
                place: place.clone(),
            };
            Server::Unix {
                socket: socket(context.file(path), context.report),
            }
        }
    };
    let protocol = match (table.protocol.value, &server) {
        (ProtocolWord::Auto, Server::Https { .. }) => Protocol::Alpn,
        (ProtocolWord::Auto, Server::Http { .. } | Server::Unix { .. }) => Protocol::Http11,
        (ProtocolWord::Http11, _) => Protocol::Http11,
        (ProtocolWord::Http2, _) => Protocol::Http2,
    };
    Some(Upstream {
        server: Placed {
            value: server,
            place,
        },
        protocol,
        connect: table.connect.value,
        head: table.head.value,
        idle: table.idle.value,
        connections: table.connections.value,
        fhir_base: table
            .fhir_base
            .into_given()
            .map_or(FhirBase::Unstated, FhirBase::Stated),
        signed: table.signed,
        answer_key: match table.answer_key {
            Optional::Given(path) => AnswerKey::Stated(context.file(path)),
            Optional::Absent | Optional::Wrong => AnswerKey::Unstated,
        },
        rationale: rationale(table.rationale, &table.place),
        place: table.place,
    })
}

/// The keys that only a server over TLS has.
struct TlsKeys<'t> {
    table: &'t Place,
    trust: Optional<PathText>,
    server_name: Optional<HostName>,
    client_certificate: Optional<CertificateName>,
}

impl TlsKeys<'_> {
    fn into_https(self, authority: Authority, context: &mut Context<'_>) -> Option<Server> {
        let roots = match self.trust {
            Optional::Given(path) => {
                refuse_name_of_trust_set(&path, context);
                context.file(path)
            }
            Optional::Wrong => context.required_file(None, self.table),
            Optional::Absent => {
                let hint = "write trust = \"hospital-root.pem\", the file with the roots that vouch \
                            for this server; those of the system are never used";
                context
                    .report
                    .error(&self.table.child("trust"), "missing", hint);
                context.required_file(None, self.table)
            }
        };
        let server_name = match self.server_name.into_given() {
            Some(name) => name.value,
            None => authority.host.clone(),
        };
        let identity = match self.client_certificate {
            Optional::Given(name) => UpstreamIdentity::Certificate(name),
            Optional::Absent => UpstreamIdentity::Nothing,
            Optional::Wrong => return None,
        };
        Some(Server::Https {
            authority,
            roots,
            server_name,
            identity,
        })
    }

    /// Without TLS none of them would do anything, and an operator would think that it did.
    fn refuse(&self, report: &mut Report) {
        let given = [
            self.trust.given().map(|given| &given.place),
            self.server_name.given().map(|given| &given.place),
            self.client_certificate.given().map(|given| &given.place),
        ];
        for place in given.into_iter().flatten() {
            let hint = "leave it out, or write the server as https://HOST:PORT";
            report.error(place, "without TLS to the server this has no effect", hint);
        }
    }
}

/// `trust` is the name of a set on a listener and a file here: the two are easily mixed up.
fn refuse_name_of_trust_set(path: &Placed<PathText>, context: &mut Context<'_>) {
    let text = &path.value.0;
    let is_set = |sets: &BTreeSet<TrustName>| sets.iter().any(|set| set.as_str() == text);
    if context.trust.as_ref().is_some_and(is_set) {
        let message = format!(
            "{} is a trust set, and the roots of a server are a file",
            quoted(text)
        );
        let hint = format!("write the path of the file; one of this very name is \"./{text}\"");
        context.report.error(&path.place, message, &hint);
    }
}

fn socket(socket: FilePath, report: &mut Report) -> FilePath {
    let length = socket.path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        let message = format!(
            "the path of the socket has {length} bytes; the longest has {LONGEST_SOCKET_PATH}"
        );
        report.error(
            &socket.place,
            message,
            "put the socket into a folder nearer the root",
        );
    }
    socket
}

/// `sun_path` of Linux without its last NUL (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;
