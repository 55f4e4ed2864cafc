//! The grammar of the ClientHello message.
//!
//! Standards: RFC 8446 4.1.2 and 4.2, RFC 5246 7.4.1.2. Every length is exact and no byte is left
//! over; an extension comes once, and `pre_shared_key` last. What this file does not do: it does not
//! gather the message from its records (`reader` does), and whether the offer is good enough is for
//! the `rules`.

use super::cursor::{Cursor, Fault};
use super::extensions::EXTENSIONS;
use super::offer::{ClientHello, ProtocolNames, extension};
use std::collections::BTreeSet;

/// The type and the length of a handshake message (RFC 8446 4).
pub(super) const MESSAGE_HEADER_BYTES: usize = 4;

/// Reads a whole handshake message of type ClientHello, its header included.
pub(super) fn client_hello(message: &[u8], record_version: u16) -> Result<ClientHello, Fault> {
    const SUITES: &str = "cipher_suites";
    let mut cursor = Cursor::new(message);
    cursor.take(MESSAGE_HEADER_BYTES, "handshake header")?;
    let legacy_version = cursor.u16("legacy_version")?;
    cursor.take(32, "random")?;
    cursor.vector8(0..=32, "legacy_session_id")?;
    let suites = cursor.vector16(2..=0xfffe, SUITES)?.u16s(SUITES)?;
    let compression_methods = cursor.vector8(1..=255, "legacy_compression_methods")?;
    let mut hello = ClientHello {
        record_version,
        legacy_version,
        versions: vec![legacy_version],
        suites,
        compression_methods: compression_methods.bytes().to_vec(),
        extensions: Vec::new(),
        groups: Vec::new(),
        key_share_groups: None,
        signatures: Vec::new(),
        certificate_signatures: Vec::new(),
        server_name: None,
        protocols: ProtocolNames::default(),
        point_formats: None,
    };
    // A hello without extensions ends here (RFC 5246 7.4.1.2).
    if !cursor.is_empty() {
        let block = cursor.vector16(0..=0xffff, "extensions")?;
        cursor.end("extensions")?;
        extensions(block, &mut hello)?;
    }
    Ok(hello)
}

fn extensions(mut block: Cursor<'_>, hello: &mut ClientHello) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    while !block.is_empty() {
        let start = block;
        let number = block.u16("extension_type")?;
        let row = EXTENSIONS.iter().find(|row| row.number == number);
        let what = row.map_or("extension", |row| row.name);
        if !seen.insert(number) {
            return Err(start.illegal(what));
        }
        hello.extensions.push(number);
        let mut content = block.vector16(0..=0xffff, what)?;
        if let Some(row) = row {
            (row.read)(&mut content, what, hello)?;
            content.end(what)?;
        }
        if number == extension::PRE_SHARED_KEY && !block.is_empty() {
            return Err(start.illegal(what));
        }
    }
    Ok(())
}
