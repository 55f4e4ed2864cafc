//! Gathers the first hello of a connection from its records, while they arrive.
//!
//! Standards: RFC 8446 5.1, RFC 5246 6.2.1 (records and fragmentation). A record is not waited for:
//! its bytes are taken as they come, each once, and what is wrong is refused as soon as it shows. A
//! client that trickles costs no more than one that does not. What this file does not do: it does
//! not keep the bytes, which the TLS library needs as well; it reads nothing behind the record in
//! which the hello ends, where early data may follow.
//!
//! Fails closed: a refusal is final.

use super::cursor::{Fault, FaultKind};
use super::first::{self, HANDSHAKE};
use super::grammar::{self, MESSAGE_HEADER_BYTES};
use super::offer::ClientHello;
use super::refusal::HelloRefusal;
use std::fmt;

/// How long a ClientHello may be, in bytes after its header of four. One with a post-quantum key
/// share takes less than 2 KiB; BoringSSL draws the line at the same place.
pub const MAX_HELLO_BYTES: usize = 16 * 1024;

/// Over how many records it may be spread. Each holds at least one byte, so that a small hello cut
/// into single bytes still fits.
pub const MAX_RECORDS: usize = 1024;

/// How many bytes can be received while [`HelloReader::read`] still asks for more, at the most.
pub const MAX_FLIGHT_BYTES: usize =
    MESSAGE_HEADER_BYTES + MAX_HELLO_BYTES + MAX_RECORDS * RECORD_HEADER_BYTES;

/// Content type, version and length (RFC 8446 5.1).
const RECORD_HEADER_BYTES: usize = 5;

/// The type of the message (RFC 8446 4).
const CLIENT_HELLO: u8 = 1;

/// The longest fragment (RFC 8446 5.1).
const MAX_FRAGMENT_BYTES: usize = 1 << 14;

/// Reads the first hello of one connection.
#[derive(Default)]
pub struct HelloReader {
    /// How many of the received bytes were looked at.
    seen: usize,
    records: usize,
    /// Bytes of the current record that have not arrived yet.
    missing: usize,
    /// Version of the first record.
    record_version: Option<u16>,
    /// The message, as far as it has arrived.
    message: Vec<u8>,
    /// Where in the message each record but the first begins.
    seams: Vec<usize>,
    done: bool,
    refusal: Option<HelloRefusal>,
}

impl HelloReader {
    /// A reader for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// The hello, once it is there. `received` is everything from the first byte of the connection
    /// on: the same bytes as at the last call and what arrived since. `None` asks for more, and
    /// once the hello was returned it is all that is returned.
    ///
    /// A refusal is final: the same is returned at each later call.
    pub fn read(&mut self, received: &[u8]) -> Result<Option<ClientHello>, HelloRefusal> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let outcome = self.advance(received);
        self.refusal = outcome.as_ref().err().copied();
        outcome
    }

    /// The version that an [alert](super::alert_record) to this client bears: that of its hello as
    /// far as it arrived, else that of its record, else TLS 1.0, which every client of TLS takes.
    pub fn version(&self) -> u16 {
        const TLS_1_0: u16 = 0x0301;
        if let Some(HelloRefusal::Ssl2 { version }) = self.refusal {
            return version;
        }
        match *self.message {
            [CLIENT_HELLO, _, _, _, major, minor, ..] => u16::from_be_bytes([major, minor]),
            _ => self.record_version.unwrap_or(TLS_1_0),
        }
    }

    fn advance(&mut self, received: &[u8]) -> Result<Option<ClientHello>, HelloRefusal> {
        if self.done {
            return Ok(None);
        }
        if self.records == 0 && !first::is_tls(received)? {
            return Ok(None);
        }
        loop {
            if self.missing == 0 {
                if self.is_whole() {
                    return self.finish().map(Some);
                }
                if self.records == MAX_RECORDS {
                    return Err(HelloRefusal::TooManyRecords { limit: MAX_RECORDS });
                }
                let unseen = received.get(self.seen..).unwrap_or_default();
                let Some(header) = unseen.first_chunk() else {
                    return Ok(None);
                };
                self.begin_record(*header)?;
            }
            let unseen = received.get(self.seen..).unwrap_or_default();
            let fragment = &unseen[..unseen.len().min(self.missing)];
            if fragment.is_empty() {
                return Ok(None);
            }
            self.message.extend_from_slice(fragment);
            self.seen += fragment.len();
            self.missing -= fragment.len();
            self.judge_header()?;
        }
    }

    /// Takes the header of a record, which has to be one of handshake messages: while the hello is
    /// not whole, nothing else may come in between (RFC 8446 5.1).
    fn begin_record(&mut self, header: [u8; RECORD_HEADER_BYTES]) -> Result<(), HelloRefusal> {
        let [content_type, major, minor, high, low] = header;
        let at = self.seen;
        let version = u16::from_be_bytes([major, minor]);
        let length = usize::from(u16::from_be_bytes([high, low]));
        if content_type != HANDSHAKE {
            return Err(HelloRefusal::UnexpectedRecord { content_type, at });
        }
        if major != 3 {
            return Err(HelloRefusal::RecordVersion { version, at });
        }
        self.record_version.get_or_insert(version);
        if self.records > 0 {
            self.seams.push(self.message.len());
        }
        self.records += 1;
        self.seen += RECORD_HEADER_BYTES;
        self.missing = length;
        match length {
            0 => Err(HelloRefusal::EmptyRecord { at }),
            1..=MAX_FRAGMENT_BYTES => Ok(()),
            _ => Err(HelloRefusal::RecordOverflow { length, at }),
        }
    }

    /// Looks at what has arrived of the header of the message.
    fn judge_header(&self) -> Result<(), HelloRefusal> {
        if let Some(&message_type) = self.message.first()
            && message_type != CLIENT_HELLO
        {
            return Err(HelloRefusal::UnexpectedMessage {
                message_type,
                at: self.place(0),
            });
        }
        let Some(length) = self.declared() else {
            return Ok(());
        };
        if length > MAX_HELLO_BYTES {
            return Err(HelloRefusal::TooLarge {
                length,
                limit: MAX_HELLO_BYTES,
            });
        }
        // A key change follows the hello, so it ends with its record (RFC 8446 5.1).
        let end = MESSAGE_HEADER_BYTES + length;
        if self.message.len() + self.missing > end {
            return Err(HelloRefusal::NotAligned {
                at: self.place(end),
            });
        }
        Ok(())
    }

    /// The length that the message declares, once that has arrived.
    fn declared(&self) -> Option<usize> {
        let &[_, high, middle, low] = self.message.first_chunk::<MESSAGE_HEADER_BYTES>()?;
        Some(usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low))
    }

    fn is_whole(&self) -> bool {
        self.declared()
            .is_some_and(|length| self.message.len() == MESSAGE_HEADER_BYTES + length)
    }

    fn finish(&mut self) -> Result<ClientHello, HelloRefusal> {
        let record_version = self.record_version.unwrap_or_default();
        let hello = grammar::client_hello(&self.message, record_version)
            .map_err(|fault| self.refusal(fault))?;
        self.done = true;
        Ok(hello)
    }

    fn refusal(&self, fault: Fault) -> HelloRefusal {
        let what = fault.what;
        let at = self.place(fault.at);
        match fault.kind {
            FaultKind::Malformed => HelloRefusal::Malformed { what, at },
            FaultKind::Illegal => HelloRefusal::Illegal { what, at },
            FaultKind::Renegotiation => HelloRefusal::Renegotiation { at },
        }
    }

    /// Where on the connection a byte of the message stands.
    fn place(&self, at: usize) -> usize {
        let before = self.seams.iter().filter(|seam| **seam <= at).count();
        at + (before + 1) * RECORD_HEADER_BYTES
    }
}

/// Shows the shape only: a hello may hold tickets.
impl fmt::Debug for HelloReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelloReader")
            .field("records", &self.records)
            .field("message_bytes", &self.message.len())
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
