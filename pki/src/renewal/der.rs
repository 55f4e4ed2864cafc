//! The little DER that enrolment needs beside certificates: a signing request that repeats a name
//! octet by octet (RFC 2986), and the certificates of a message that holds nothing else
//! (RFC 5652 section 5, RFC 7030 section 4.1.3).
//!
//! Bytes in, bytes out. Nothing that is read here is trusted: whether a certificate is the one that
//! was asked for is `answer`'s business.

use rcgen::SigningKey as _;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag as ReadTag};
use yasna::Tag;
use yasna::models::ObjectIdentifier;

use crate::key::PrivateKey;
use crate::name::Name;
use crate::public_key::KeyKind;

/// Most certificates of one message.
const MAX_CERTIFICATES: usize = 16;

/// extensionRequest (RFC 2985 section 5.4.2).
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];
/// id-ce-subjectAltName.
const ALTERNATIVE_NAME: &[u64] = &[2, 5, 29, 17];
/// id-signedData, as content octets.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// A name without any part, as DER.
pub(super) const EMPTY_NAME: &[u8] = &[0x30, 0x00];

/// A signing request for `key` that asks for this subject and these alternative names, both as DER:
/// RFC 7030 section 4.2.2 wants them exactly as they stand in the old certificate. `None` if the key
/// could not sign.
pub(super) fn request(key: &PrivateKey, subject: &[u8], names: &[u8]) -> Option<Vec<u8>> {
    let info = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            writer.next().write_der(subject);
            writer.next().write_der(key.public().spki());
            writer
                .next()
                .write_tagged_implicit(Tag::context(0), |writer| {
                    writer.write_set(|writer| {
                        writer.next().write_sequence(|writer| {
                            writer.next().write_oid(&oid(EXTENSION_REQUEST));
                            writer.next().write_set(|writer| {
                                writer.next().write_sequence(|writer| {
                                    writer.next().write_sequence(|writer| {
                                        writer.next().write_oid(&oid(ALTERNATIVE_NAME));
                                        writer.next().write_bytes(names);
                                    });
                                });
                            });
                        });
                    });
                });
        });
    });
    let signature = key.sign(&info).ok()?;
    let (algorithm, has_null): (&[u64], bool) = match key.public().kind() {
        KeyKind::P256 => (&[1, 2, 840, 10_045, 4, 3, 2], false),
        KeyKind::P384 => (&[1, 2, 840, 10_045, 4, 3, 3], false),
        KeyKind::Ed25519 => (&[1, 3, 101, 112], false),
        // RFC 3279 section 2.2.1: the parameters of RSA are NULL.
        KeyKind::Rsa => (&[1, 2, 840, 113_549, 1, 1, 11], true),
    };
    Some(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&info);
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(algorithm));
                if has_null {
                    writer.next().write_null();
                }
            });
            writer
                .next()
                .write_bitvec_bytes(&signature, 8 * signature.len());
        });
    }))
}

/// The value of a subject alternative name of one URI, host name or address.
pub(super) fn alternative_name(name: &Name) -> Vec<u8> {
    let text = name.to_string();
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            let writer = writer.next();
            match name {
                Name::Dns(_) => writer.write_tagged_implicit(Tag::context(2), |writer| {
                    writer.write_ia5_string(&text);
                }),
                Name::Ip(address) => {
                    let octets = match address {
                        std::net::IpAddr::V4(address) => address.octets().to_vec(),
                        std::net::IpAddr::V6(address) => address.octets().to_vec(),
                    };
                    writer.write_tagged_implicit(Tag::context(7), |writer| {
                        writer.write_bytes(&octets);
                    });
                }
                // A hardware module is no name to enrol by.
                Name::Uri(_) | Name::Hardware(_) => {
                    writer.write_tagged_implicit(Tag::context(6), |writer| {
                        writer.write_ia5_string(&text);
                    });
                }
            }
        });
    })
}

/// The elements of a SEQUENCE OF, each with its own tag and length. `None` if it is none.
pub(super) fn elements(sequence: &[u8]) -> Option<Vec<&[u8]>> {
    const MAX: usize = 1000;
    let (any, rest) = element(sequence)?;
    if any.tag() != ReadTag::Sequence || !rest.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    let mut rest = any.data;
    while !rest.is_empty() {
        let (_, behind) = element(rest)?;
        found.push(&rest[..rest.len() - behind.len()]);
        rest = behind;
        if found.len() > MAX {
            return None;
        }
    }
    Some(found)
}

/// The certificates of a CMS message that holds nothing but certificates, in its order. `None` if it
/// is anything else, or holds none or too many.
pub(super) fn certificates(message: &[u8]) -> Option<Vec<Vec<u8>>> {
    let content_info = elements(message)?;
    let [kind, content] = content_info[..] else {
        return None;
    };
    let (kind, _) = element(kind)?;
    if kind.tag() != ReadTag::Oid || kind.data != SIGNED_DATA {
        return None;
    }
    let (explicit, _) = element(content)?;
    if !is_context(&explicit, 0) {
        return None;
    }
    // version, digestAlgorithms, encapContentInfo, certificates, crls, signerInfos
    let signed_data = elements(explicit.data)?;
    let set = signed_data
        .iter()
        .filter_map(|part| element(part))
        .map(|(part, _)| part)
        .find(|part| is_context(part, 0))?;
    let mut found = Vec::new();
    let mut rest = set.data;
    while !rest.is_empty() {
        let (certificate, behind) = element(rest)?;
        // Of the other choices (RFC 5652 section 10.2.2) none is used any more.
        if certificate.tag() != ReadTag::Sequence || found.len() == MAX_CERTIFICATES {
            return None;
        }
        found.push(rest[..rest.len() - behind.len()].to_vec());
        rest = behind;
    }
    (!found.is_empty()).then_some(found)
}

fn element(input: &[u8]) -> Option<(Any<'_>, &[u8])> {
    let (rest, any) = Any::from_der(input).ok()?;
    Some((any, rest))
}

fn is_context(any: &Any<'_>, number: u32) -> bool {
    any.class() == Class::ContextSpecific && any.tag() == ReadTag(number)
}

fn oid(arcs: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(arcs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::EndEntity;
    use crate::request::Request;
    use proptest::prelude::*;

    #[test]
    fn a_request_proves_its_key_and_asks_for_the_name() {
        for kind in [KeyKind::P256, KeyKind::P384] {
            let key = PrivateKey::generate(kind).unwrap();
            let name = Name::uri("urn:example:pump-1").unwrap();
            let der = request(&key, EMPTY_NAME, &alternative_name(&name)).unwrap();
            let granted = EndEntity::Device.admit(vec![name]).unwrap();
            let other = EndEntity::Device
                .admit(vec![Name::uri("urn:example:pump-2").unwrap()])
                .unwrap();
            let parsed = || Request::parse(&der).unwrap();
            let agreed = parsed().agree(EndEntity::Device, &granted).unwrap();
            assert_eq!(agreed.spki(), key.public().spki());
            assert!(parsed().agree(EndEntity::Device, &other).is_err());
        }
    }

    #[test]
    fn what_is_no_message_of_certificates_holds_none() {
        for wrong in [
            &b""[..],
            b"garbage",
            &[0x30, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            // signedData without content
            &[
                0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02,
            ],
        ] {
            assert_eq!(certificates(wrong), None, "{wrong:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_brings_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = certificates(&bytes);
            let _ = elements(&bytes);
        }
    }
}
