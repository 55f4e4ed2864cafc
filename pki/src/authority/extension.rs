//! The extensions that rcgen does not write: alternative names with a hardware module, access to the
//! authority, and the mark of a responder.

use std::net::IpAddr;

use rcgen::CustomExtension;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

use crate::hardware;
use crate::name::Name;
use crate::publication::Pointers;

/// id-ce-subjectAltName.
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
/// id-pe-authorityInfoAccess.
pub(crate) const AUTHORITY_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
/// id-ad-ocsp.
const AD_OCSP: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1];
/// id-ad-caIssuers.
const AD_CA_ISSUERS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 2];
/// id-pkix-ocsp-nocheck.
const NO_CHECK: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 5];

/// The alternative names (RFC 5280 section 4.2.1.6), critical if the subject is empty.
pub(super) fn alternative_names(names: &[Name], is_critical: bool) -> CustomExtension {
    let der = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for name in names {
                general_name(writer.next(), name);
            }
        });
    });
    let mut extension = CustomExtension::from_oid_content(SUBJECT_ALT_NAME, der);
    extension.set_criticality(is_critical);
    extension
}

fn general_name(writer: DERWriter<'_>, name: &Name) {
    match name {
        Name::Uri(_) => uri(writer, &name.to_string()),
        Name::Dns(_) => writer.write_tagged_implicit(Tag::context(2), |writer| {
            writer.write_ia5_string(&name.to_string());
        }),
        Name::Ip(address) => {
            let octets = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            writer.write_tagged_implicit(Tag::context(7), |writer| writer.write_bytes(&octets));
        }
        Name::Hardware(module) => writer.write_tagged_implicit(Tag::context(0), |writer| {
            writer.write_sequence(|writer| {
                writer
                    .next()
                    .write_oid(&ObjectIdentifier::from_slice(hardware::OID));
                writer.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_der(&module.to_der());
                });
            });
        }),
    }
}

fn uri(writer: DERWriter<'_>, text: &str) {
    writer.write_tagged_implicit(Tag::context(6), |writer| writer.write_ia5_string(text));
}

/// Where the issuer's certificate and its responder are (RFC 5280 section 4.2.2.1), if anywhere.
pub(super) fn authority_access(pointers: &Pointers) -> Option<CustomExtension> {
    let places: Vec<(&[u64], &String)> = [
        (AD_OCSP, pointers.ocsp.as_ref()),
        (AD_CA_ISSUERS, pointers.issuer.as_ref()),
    ]
    .into_iter()
    .filter_map(|(method, place)| Some((method, place?)))
    .collect();
    if places.is_empty() {
        return None;
    }
    let der = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (method, place) in places {
                writer.next().write_sequence(|writer| {
                    writer
                        .next()
                        .write_oid(&ObjectIdentifier::from_slice(method));
                    uri(writer.next(), place);
                });
            }
        });
    });
    Some(CustomExtension::from_oid_content(AUTHORITY_ACCESS, der))
}

/// Nobody asks for the status of a responder's own certificate (RFC 6960 section 4.2.2.2.1).
pub(super) fn no_check() -> CustomExtension {
    const NULL: [u8; 2] = [0x05, 0x00];
    CustomExtension::from_oid_content(NO_CHECK, NULL.to_vec())
}
