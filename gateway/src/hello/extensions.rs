//! The extensions that are read, one row each.
//!
//! Standards: the section stands in each row. A row reads the whole content of its extension or
//! refuses the hello. What this file does not do: an extension without a row is noted by its type
//! and its content not looked at; the TLS library reads what it knows of them.

use super::cursor::{Cursor, Fault, FaultKind};
use super::offer::{ClientHello, ProtocolNames, extension};
use super::server_name::ServerName;

/// How one extension is read.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// Its number.
    pub number: u16,
    /// Its name in the registry.
    pub name: &'static str,
    /// Where its content is defined.
    pub citation: &'static str,
    /// Reads the content into the hello. What it leaves over is trailing bytes, and refused.
    pub(super) read: fn(&mut Cursor<'_>, &'static str, &mut ClientHello) -> Result<(), Fault>,
}

const fn row(
    number: u16,
    name: &'static str,
    citation: &'static str,
    read: fn(&mut Cursor<'_>, &'static str, &mut ClientHello) -> Result<(), Fault>,
) -> Extension {
    Extension {
        number,
        name,
        citation,
        read,
    }
}

/// The table.
#[rustfmt::skip]
pub const EXTENSIONS: &[Extension] = &[
    row(extension::SERVER_NAME, "server_name", "RFC 6066 3", server_name),
    row(extension::SUPPORTED_GROUPS, "supported_groups", "RFC 8446 4.2.7", supported_groups),
    row(extension::EC_POINT_FORMATS, "ec_point_formats", "RFC 8422 5.1.2", ec_point_formats),
    row(extension::SIGNATURE_ALGORITHMS, "signature_algorithms", "RFC 8446 4.2.3", signature_algorithms),
    row(extension::ALPN, "application_layer_protocol_negotiation", "RFC 7301 3.1", protocols),
    row(extension::EXTENDED_MASTER_SECRET, "extended_master_secret", "RFC 7627 5.1", empty),
    row(extension::PRE_SHARED_KEY, "pre_shared_key", "RFC 8446 4.2.11", pre_shared_key),
    row(extension::EARLY_DATA, "early_data", "RFC 8446 4.2.10", empty),
    row(extension::SUPPORTED_VERSIONS, "supported_versions", "RFC 8446 4.2.1", supported_versions),
    row(extension::PSK_KEY_EXCHANGE_MODES, "psk_key_exchange_modes", "RFC 8446 4.2.9", psk_key_exchange_modes),
    row(extension::POST_HANDSHAKE_AUTH, "post_handshake_auth", "RFC 8446 4.2.6", empty),
    row(extension::SIGNATURE_ALGORITHMS_CERT, "signature_algorithms_cert", "RFC 8446 4.2.3", signature_algorithms_cert),
    row(extension::KEY_SHARE, "key_share", "RFC 8446 4.2.8", key_share),
    row(extension::RENEGOTIATION_INFO, "renegotiation_info", "RFC 5746 3.2, 3.6", renegotiation_info),
];

fn server_name(
    content: &mut Cursor<'_>,
    _: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    hello.server_name = Some(ServerName::read(content)?);
    Ok(())
}

/// `NamedGroup named_group_list<2..2^16-1>`
fn supported_groups(
    content: &mut Cursor<'_>,
    what: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    hello.groups = content.vector16(2..=0xffff, what)?.u16s(what)?;
    Ok(())
}

/// `ECPointFormat ec_point_format_list<1..2^8-1>`
fn ec_point_formats(
    content: &mut Cursor<'_>,
    what: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    hello.point_formats = Some(content.vector8(1..=0xff, what)?.bytes().to_vec());
    Ok(())
}

/// `SignatureScheme supported_signature_algorithms<2..2^16-2>`
fn signature_algorithms(
    content: &mut Cursor<'_>,
    what: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    hello.signatures = content.vector16(2..=0xfffe, what)?.u16s(what)?;
    Ok(())
}

fn signature_algorithms_cert(
    content: &mut Cursor<'_>,
    what: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    hello.certificate_signatures = content.vector16(2..=0xfffe, what)?.u16s(what)?;
    Ok(())
}

/// `ProtocolName protocol_name_list<2..2^16-1>`, of `opaque ProtocolName<1..2^8-1>`
fn protocols(
    content: &mut Cursor<'_>,
    what: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    let mut list = content.vector16(2..=0xffff, what)?;
    let encoded = list.bytes();
    while !list.is_empty() {
        list.vector8(1..=0xff, what)?;
    }
    hello.protocols = ProtocolNames::new(encoded);
    Ok(())
}

/// `ProtocolVersion versions<2..254>`
fn supported_versions(
    content: &mut Cursor<'_>,
    what: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    hello.versions = content.vector8(2..=254, what)?.u16s(what)?;
    Ok(())
}

/// `KeyShareEntry client_shares<0..2^16-1>`, of a group and `opaque key_exchange<1..2^16-1>`
fn key_share(
    content: &mut Cursor<'_>,
    what: &'static str,
    hello: &mut ClientHello,
) -> Result<(), Fault> {
    let mut list = content.vector16(0..=0xffff, what)?;
    let mut groups = Vec::new();
    while !list.is_empty() {
        groups.push(list.u16(what)?);
        list.vector16(1..=0xffff, what)?;
    }
    hello.key_share_groups = Some(groups);
    Ok(())
}

/// `PskKeyExchangeMode ke_modes<1..255>`
fn psk_key_exchange_modes(
    content: &mut Cursor<'_>,
    what: &'static str,
    _: &mut ClientHello,
) -> Result<(), Fault> {
    content.vector8(1..=255, what)?;
    Ok(())
}

/// `PskIdentity identities<7..2^16-1>`, each `opaque identity<1..2^16-1>` and a `uint32`;
/// `PskBinderEntry binders<33..2^16-1>`, each `opaque PskBinderEntry<32..255>`; as many of these as
/// of those.
fn pre_shared_key(
    content: &mut Cursor<'_>,
    what: &'static str,
    _: &mut ClientHello,
) -> Result<(), Fault> {
    let start = *content;
    let (mut identities, mut binders) = (0_usize, 0_usize);
    let mut list = content.vector16(7..=0xffff, what)?;
    while !list.is_empty() {
        list.vector16(1..=0xffff, what)?;
        list.take(4, what)?;
        identities += 1;
    }
    let mut list = content.vector16(33..=0xffff, what)?;
    while !list.is_empty() {
        list.vector8(32..=255, what)?;
        binders += 1;
    }
    if identities == binders {
        Ok(())
    } else {
        Err(start.illegal(what))
    }
}

/// `opaque renegotiated_connection<0..255>`, which is empty in the first hello of a connection.
fn renegotiation_info(
    content: &mut Cursor<'_>,
    what: &'static str,
    _: &mut ClientHello,
) -> Result<(), Fault> {
    let start = *content;
    if content.vector8(0..=255, what)?.is_empty() {
        Ok(())
    } else {
        Err(start.fault(FaultKind::Renegotiation, what))
    }
}

/// An extension whose presence says all.
fn empty(content: &mut Cursor<'_>, what: &'static str, _: &mut ClientHello) -> Result<(), Fault> {
    content.end(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_number_of_its_own_and_a_standard() {
        for (at, row) in EXTENSIONS.iter().enumerate() {
            assert!(row.citation.starts_with("RFC "), "{}", row.name);
            let after = &EXTENSIONS[at + 1..];
            assert!(after.iter().all(|other| other.number != row.number));
        }
    }
}
