//! Where clients connect, and with which certificates.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Context, Draft, must_exist, rationale};
use crate::choices::CertificateUse;
use crate::collect::Optional;
use crate::error::Report;
use crate::file;
use crate::model::{Admin, Certificate, Clients, Limits, Listener, Stapling};
use crate::name::TrustName;
use crate::place::{Place, Placed};
use crate::secret::StapleText;

pub(super) fn certificate(table: file::Certificate, context: &mut Context<'_>) -> Certificate {
    let key = context.required_secret(table.key, &table.place);
    let chain = context.required_file(table.chain, &table.place);
    let ocsp = match table.ocsp {
        Optional::Absent | Optional::Wrong => Stapling::Off,
        Optional::Given(Placed { value, place }) => match value {
            StapleText::Certificate => Stapling::Certificate(place),
            StapleText::Http(url) => Stapling::Http(Placed { value: url, place }),
            StapleText::Path(path) => Stapling::File(context.file(Placed { value: path, place })),
        },
    };
    Certificate {
        place: table.place,
        chain,
        key,
        ocsp,
    }
}

/// `None`: it is not known what is asked of clients, and that is noted.
pub(super) fn listener(table: file::Listener, context: &mut Context<'_>) -> Option<Listener> {
    let certificates = table
        .certificates
        .map(|names| names.value.0)
        .unwrap_or_default();
    for name in &certificates {
        must_exist(
            "certificate",
            name,
            context.certificates.as_ref(),
            context.report,
        );
    }
    let asked = table.clients?.value;
    let clients = clients(asked.certificates?, asked.trust, &asked.place, context)?;
    let age = match clients.value {
        Clients::Required { .. } | Clients::Optional { .. } => AGE_OF_NAMED,
        Clients::None => AGE_OF_NAMELESS,
    };
    Some(Listener {
        listen: table
            .listen
            .map(|addresses| addresses.value.0)
            .unwrap_or_default(),
        tls: table.tls.value,
        certificates,
        clients,
        rationale: rationale(asked.rationale, &asked.place),
        limits: limits(table.limits?, age),
        place: table.place,
    })
}

/// What a certificate proved is proved anew after this long, whatever a live connection holds.
const AGE_OF_NAMED: Duration = Duration::from_hours(1);
const AGE_OF_NAMELESS: Duration = Duration::from_hours(24);

fn clients(
    used: Placed<CertificateUse>,
    trust: Optional<TrustName>,
    table: &Place,
    context: &mut Context<'_>,
) -> Option<Placed<Clients>> {
    let trust = match trust {
        Optional::Given(trust) => Some(trust),
        Optional::Absent => None,
        Optional::Wrong => return None,
    };
    if let Some(name) = &trust {
        must_exist("trust set", name, context.trust.as_ref(), context.report);
    }
    let value = match (used.value, trust) {
        (CertificateUse::Required, Some(trust)) => Clients::Required { trust },
        (CertificateUse::Optional, Some(trust)) => Clients::Optional { trust },
        (CertificateUse::None, None) => Clients::None,
        (CertificateUse::Required | CertificateUse::Optional, None) => {
            let hint = "write trust = \"NAME\", the trust set that vouches for clients";
            context.report.error(&table.child("trust"), "missing", hint);
            return None;
        }
        (CertificateUse::None, Some(trust)) => {
            let message = "a trust set where no certificate is asked for";
            let hint = "leave it out, or ask for certificates: certificates = \"required\"";
            context.report.error(&trust.place, message, hint);
            return None;
        }
    };
    Some(Placed {
        value,
        place: used.place,
    })
}

fn limits(table: file::Limits, age: Duration) -> Limits {
    Limits {
        connections: table.connections.value,
        connections_per_address: table.connections_per_address.value,
        handshake: table.handshake.value,
        head: table.head.value,
        head_bytes: table.head_bytes.value,
        head_fields: table.head_fields.value,
        idle: table.idle.value,
        age: match table.age {
            Optional::Given(age) => age.value,
            Optional::Absent | Optional::Wrong => age,
        },
        streams: table.streams.value,
    }
}

/// Two sockets on one address: the second would not open, or take every other connection.
pub(super) fn refuse_shared_addresses(draft: &Draft, report: &mut Report) {
    let mut addresses: Vec<&Placed<SocketAddr>> = draft
        .listeners
        .values()
        .flat_map(|listener| &listener.listen)
        .collect();
    if let Some(Admin::Listen(address)) = &draft.admin {
        addresses.push(address);
    }
    addresses.sort_by_key(|address| {
        let family_and_port = (address.value.is_ipv6(), address.value.port());
        (
            family_and_port,
            !address.value.ip().is_unspecified(),
            address.value,
            &address.place,
        )
    });
    let mut first: Option<&Placed<SocketAddr>> = None;
    for address in addresses {
        match first {
            Some(first) if overlap(first.value, address.value) => {
                let (earlier, later) = if first.place <= address.place {
                    (first, address)
                } else {
                    (address, first)
                };
                let Place {
                    line, column, key, ..
                } = &earlier.place;
                let message = format!(
                    "{} meets {} of {key} ({line}:{column})",
                    later.value, earlier.value
                );
                // The admin listener has an address even where nobody wrote one.
                let hint = if earlier.place.key == "admin.listen"
                    || later.place.key == "admin.listen"
                {
                    "give each its own; [admin] with listen = \"127.0.0.1:PORT\" moves that of admin"
                } else {
                    "give each its own address or port"
                };
                report.error(&later.place, message, hint);
            }
            _ => first = Some(address),
        }
    }
}

/// Families do not meet: an IPv6 socket is opened for IPv6 alone.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}
