//! Every way in which a hello is refused, and the alert that answers it.
//!
//! Standards: the section stands in each row of `answer`. What this file does not do: it decides
//! nothing, and it holds no byte of the hello beyond code points; evidence is numbers and places.

use std::fmt;

/// The numbers of the alerts that answer a hello (RFC 8446 6, RFC 5246 7.2, RFC 7507 2, RFC 7301 3.2).
pub mod alert {
    /// A message or record that has no place here.
    pub const UNEXPECTED_MESSAGE: u8 = 10;
    /// A record longer than TLS allows.
    pub const RECORD_OVERFLOW: u8 = 22;
    /// No acceptable set of parameters.
    pub const HANDSHAKE_FAILURE: u8 = 40;
    /// Well-formed, but against the meaning of a field.
    pub const ILLEGAL_PARAMETER: u8 = 47;
    /// Not well-formed.
    pub const DECODE_ERROR: u8 = 50;
    /// No version in common.
    pub const PROTOCOL_VERSION: u8 = 70;
    /// A fallback that was not needed.
    pub const INAPPROPRIATE_FALLBACK: u8 = 86;
    /// An extension that has to be there is not.
    pub const MISSING_EXTENSION: u8 = 109;
    /// No application protocol in common.
    pub const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// Why a connection gets no further than its hello.
///
/// `at` counts bytes from the first byte of the connection, record headers included; where
/// something is missing, it is the place where it should have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloRefusal {
    /// The first bytes are no protocol that is known here.
    Garbage {
        /// The first of them.
        first: u8,
    },
    /// The first bytes are a request in plain HTTP.
    PlainHttp,
    /// The first bytes are the CLIENT-HELLO of SSL 2.0, which some clients use to offer TLS as well.
    Ssl2 {
        /// The highest version that it offers, 0x0002 for SSL 2.0 itself.
        version: u16,
    },
    /// A record has a major version other than 3.
    RecordVersion {
        /// The version of the record.
        version: u16,
        /// Where its header begins.
        at: usize,
    },
    /// A record before the end of the hello is none of handshake messages.
    UnexpectedRecord {
        /// Its content type.
        content_type: u8,
        /// Where its header begins.
        at: usize,
    },
    /// A record is longer than 2^14 bytes.
    RecordOverflow {
        /// The length that it declares.
        length: usize,
        /// Where its header begins.
        at: usize,
    },
    /// A record of handshake messages is empty.
    EmptyRecord {
        /// Where its header begins.
        at: usize,
    },
    /// The hello is spread over more records than are read.
    TooManyRecords {
        /// How many are read.
        limit: usize,
    },
    /// The first handshake message is no ClientHello.
    UnexpectedMessage {
        /// Its type.
        message_type: u8,
        /// Where it begins.
        at: usize,
    },
    /// The hello is longer than is read.
    TooLarge {
        /// The length that it declares, in bytes.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The last record of the hello goes on after it.
    NotAligned {
        /// Where the hello ends.
        at: usize,
    },
    /// A field is too short, too long, or does not end where its length says.
    Malformed {
        /// The field, in the words of its standard.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A field is well-formed and means something that it must not.
    Illegal {
        /// The field, in the words of its standard.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A first hello claims to renegotiate.
    Renegotiation {
        /// Where.
        at: usize,
    },
    /// The client says that it fell back, and a higher version was there to have.
    Fallback {
        /// The highest version that the client offers, if it offers one that is known.
        highest: Option<u16>,
        /// The highest version of the listener.
        ours: u16,
    },
    /// No version in common.
    ProtocolVersion {
        /// The highest version that the client offers, if it offers one that is known.
        highest: Option<u16>,
        /// The lowest version of the listener, if it has one.
        minimum: Option<u16>,
    },
    /// An extension that the rest of the hello calls for is not there.
    MissingExtension {
        /// Its type.
        extension: u16,
    },
    /// The compression methods are not those of the version.
    Compression,
    /// A key share is of a group that is not among the supported groups, or comes twice.
    KeyShare {
        /// The group.
        group: u16,
    },
    /// No cipher suite in common.
    NoSharedSuite,
    /// No group in common.
    NoSharedGroup,
    /// No signature scheme in common.
    NoSharedSignature,
    /// A TLS 1.2 handshake would lack the extended master secret.
    NoExtendedMasterSecret,
    /// A TLS 1.2 client does not take uncompressed points.
    PointFormats,
    /// No application protocol in common.
    NoSharedProtocol,
}

impl HelloRefusal {
    /// The number of the fatal alert that answers it. `None` for a peer that does not speak TLS.
    pub const fn alert(&self) -> Option<u8> {
        self.answer().0
    }

    /// The standard and section that asks for the alert, or that the peer's protocol comes from.
    pub const fn citation(&self) -> &'static str {
        self.answer().1
    }

    /// The table: one row a refusal, its alert and who says so.
    const fn answer(&self) -> (Option<u8>, &'static str) {
        use alert::{
            DECODE_ERROR, HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, INAPPROPRIATE_FALLBACK,
            MISSING_EXTENSION, NO_APPLICATION_PROTOCOL, PROTOCOL_VERSION, RECORD_OVERFLOW,
            UNEXPECTED_MESSAGE,
        };
        match self {
            Self::Garbage { .. } => (None, "RFC 8446 5.1"),
            Self::PlainHttp => (None, "RFC 9110 9.1, RFC 9113 3.4"),
            // A client that can do SSL 2.0 alone reads no alert.
            Self::Ssl2 {
                version: 0..=0x02ff,
            } => (None, "RFC 6176 3"),
            Self::Ssl2 { .. } => (Some(PROTOCOL_VERSION), "RFC 5246 E.1, E.2; RFC 8446 D.5"),
            Self::RecordVersion { .. } => (Some(PROTOCOL_VERSION), "RFC 5246 6.2.1, E.1"),
            Self::UnexpectedRecord { .. } => (Some(UNEXPECTED_MESSAGE), "RFC 8446 5, 5.1"),
            Self::RecordOverflow { .. } => (Some(RECORD_OVERFLOW), "RFC 8446 5.1"),
            Self::EmptyRecord { .. } => (Some(UNEXPECTED_MESSAGE), "RFC 8446 5.1, 5.4"),
            Self::TooManyRecords { .. } => (Some(DECODE_ERROR), "RFC 8446 6.2"),
            Self::UnexpectedMessage { .. } => (Some(UNEXPECTED_MESSAGE), "RFC 8446 4, 6.2"),
            Self::TooLarge { .. } => (Some(DECODE_ERROR), "RFC 8446 6.2"),
            Self::NotAligned { .. } => (Some(UNEXPECTED_MESSAGE), "RFC 8446 5.1"),
            Self::Malformed { .. } => (Some(DECODE_ERROR), "RFC 8446 6"),
            Self::Illegal { .. } => (Some(ILLEGAL_PARAMETER), "RFC 8446 6"),
            Self::Renegotiation { .. } => (Some(HANDSHAKE_FAILURE), "RFC 5746 3.6"),
            Self::Fallback { .. } => (Some(INAPPROPRIATE_FALLBACK), "RFC 7507 3"),
            Self::ProtocolVersion { .. } => (
                Some(PROTOCOL_VERSION),
                "RFC 8446 4.2.1, D.2, D.5; RFC 5246 E.1; RFC 8996 4, 5",
            ),
            Self::MissingExtension { .. } => (Some(MISSING_EXTENSION), "RFC 8446 9.2"),
            Self::Compression => (Some(ILLEGAL_PARAMETER), "RFC 8446 4.1.2"),
            Self::KeyShare { .. } => (Some(ILLEGAL_PARAMETER), "RFC 8446 4.2.8"),
            Self::NoSharedSuite => (Some(HANDSHAKE_FAILURE), "RFC 8446 4.1.1; RFC 5246 7.4.1.3"),
            Self::NoSharedGroup => (Some(HANDSHAKE_FAILURE), "RFC 8446 4.1.1; RFC 8422 5.1"),
            Self::NoSharedSignature => (
                Some(HANDSHAKE_FAILURE),
                "RFC 8446 4.1.1, 4.4.3; RFC 5246 7.4.3; RFC 9155 2",
            ),
            Self::NoExtendedMasterSecret => {
                (Some(HANDSHAKE_FAILURE), "RFC 7627 5, 5.2; RFC 9325 3.5")
            }
            Self::PointFormats => (Some(ILLEGAL_PARAMETER), "RFC 8422 5.1.2"),
            Self::NoSharedProtocol => (Some(NO_APPLICATION_PROTOCOL), "RFC 7301 3.2"),
        }
    }
}

/// A fatal alert as a record of its own, to be written as it is before the connection is closed.
///
/// `version` is the client's: `ClientHello.legacy_version`, or
/// [`HelloReader::version`](super::HelloReader::version) where there is no hello. The record bears
/// that version, held between SSL 3.0 and TLS 1.2. It is what a ServerHello for this client would
/// bear, what RFC 7507 3 demands, and the only one that a client of SSL 3.0, TLS 1.0 or TLS 1.1
/// takes for an answer: several refuse a record with a version above their own without reading the
/// alert. A TLS 1.3 client says TLS 1.2 in this field, and has to see that (RFC 8446 5.1).
pub const fn alert_record(alert: u8, version: u16) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    const SSL_3_0: u16 = 0x0300;
    const TLS_1_2: u16 = 0x0303;
    let version = if version < SSL_3_0 {
        SSL_3_0
    } else if version > TLS_1_2 {
        TLS_1_2
    } else {
        version
    };
    let [major, minor] = version.to_be_bytes();
    [ALERT, major, minor, 0, 2, FATAL, alert]
}

impl fmt::Display for HelloRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Garbage { first } => {
                write!(f, "what arrived is not TLS: its first byte is {first:#04x}")
            }
            Self::PlainHttp => f.write_str("plain HTTP arrived where TLS is spoken"),
            Self::Ssl2 { version } => write!(
                f,
                "an SSL 2.0 hello arrived, its highest version is {}",
                Version(version)
            ),
            Self::RecordVersion { version, at } => write!(
                f,
                "the record at byte {at} has version {version:#06x}, its first half must be 3"
            ),
            Self::UnexpectedRecord { content_type, at } => write!(
                f,
                "the record at byte {at} is of type {content_type}, the hello takes type 22"
            ),
            Self::RecordOverflow { length, at } => write!(
                f,
                "the record at byte {at} declares {length} bytes, at most 16384 are allowed"
            ),
            Self::EmptyRecord { at } => write!(f, "the record at byte {at} is empty"),
            Self::TooManyRecords { limit } => {
                write!(f, "the hello is spread over more than {limit} records")
            }
            Self::UnexpectedMessage { message_type, at } => write!(
                f,
                "the handshake message at byte {at} is of type {message_type}, a ClientHello is 1"
            ),
            Self::TooLarge { length, limit } => write!(
                f,
                "the hello declares {length} bytes, at most {limit} are read"
            ),
            Self::NotAligned { at } => {
                write!(f, "the record goes on after the hello, at byte {at}")
            }
            Self::Malformed { what, at } => write!(f, "{what} is malformed at byte {at}"),
            Self::Illegal { what, at } => {
                write!(f, "{what} holds what it must not, at byte {at}")
            }
            Self::Renegotiation { at } => {
                write!(f, "the first hello claims to renegotiate, at byte {at}")
            }
            Self::Fallback { highest, ours } => write!(
                f,
                "the client fell back to {}, the listener has {}",
                Offered(highest),
                Version(ours)
            ),
            Self::ProtocolVersion { highest, minimum } => write!(
                f,
                "the client offers {} at most, the listener {} at least",
                Offered(highest),
                Offered(minimum)
            ),
            Self::MissingExtension { extension } => {
                write!(f, "extension {extension} is missing")
            }
            Self::Compression => f.write_str("the compression methods are not null alone"),
            Self::KeyShare { group } => write!(
                f,
                "the key share of group {group:#06x} comes twice or is not among the supported groups"
            ),
            Self::NoSharedSuite => f.write_str("no cipher suite in common"),
            Self::NoSharedGroup => f.write_str("no group in common"),
            Self::NoSharedSignature => f.write_str("no signature scheme in common"),
            Self::NoExtendedMasterSecret => {
                f.write_str("TLS 1.2 is offered without the extended master secret")
            }
            Self::PointFormats => f.write_str("uncompressed points are not among the formats"),
            Self::NoSharedProtocol => f.write_str("no application protocol in common"),
        }
    }
}

impl std::error::Error for HelloRefusal {}

/// A version in words.
struct Version(u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0002 => f.write_str("SSL 2.0"),
            0x0300 => f.write_str("SSL 3.0"),
            0x0301 => f.write_str("TLS 1.0"),
            0x0302 => f.write_str("TLS 1.1"),
            0x0303 => f.write_str("TLS 1.2"),
            0x0304 => f.write_str("TLS 1.3"),
            unknown => write!(f, "version {unknown:#06x}"),
        }
    }
}

/// The highest or lowest version of a list that may be empty.
struct Offered(Option<u16>);

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => Version(version).fmt(f),
            None => f.write_str("no known version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_record_is_fatal_and_bears_the_version_of_the_client() {
        assert_eq!(alert_record(86, 0x0302), [21, 3, 2, 0, 2, 2, 86]);
        assert_eq!(alert_record(70, 0x0300), [21, 3, 0, 0, 2, 2, 70]);
    }

    #[test]
    fn an_alert_record_bears_no_version_that_a_record_cannot_have() {
        assert_eq!(alert_record(70, 0x0002)[1..3], [3, 0]);
        assert_eq!(alert_record(70, 0x0304)[1..3], [3, 3]);
        assert_eq!(alert_record(70, 0xfefd)[1..3], [3, 3]);
    }

    #[test]
    fn each_refusal_is_answered_by_the_alert_that_its_standard_names() {
        let (at, what, highest) = (0, "field", None);
        for (alert, refusals) in [
            (
                10,
                &[
                    HelloRefusal::UnexpectedRecord {
                        content_type: 23,
                        at,
                    },
                    HelloRefusal::EmptyRecord { at },
                    HelloRefusal::UnexpectedMessage {
                        message_type: 2,
                        at,
                    },
                    HelloRefusal::NotAligned { at },
                ][..],
            ),
            (22, &[HelloRefusal::RecordOverflow { length: 20000, at }]),
            (
                40,
                &[
                    HelloRefusal::Renegotiation { at },
                    HelloRefusal::NoSharedSuite,
                    HelloRefusal::NoSharedGroup,
                    HelloRefusal::NoSharedSignature,
                    HelloRefusal::NoExtendedMasterSecret,
                ],
            ),
            (
                47,
                &[
                    HelloRefusal::Illegal { what, at },
                    HelloRefusal::Compression,
                    HelloRefusal::KeyShare { group: 29 },
                    HelloRefusal::PointFormats,
                ],
            ),
            (
                50,
                &[
                    HelloRefusal::Malformed { what, at },
                    HelloRefusal::TooManyRecords { limit: 1 },
                    HelloRefusal::TooLarge {
                        length: 2,
                        limit: 1,
                    },
                ],
            ),
            (
                70,
                &[
                    HelloRefusal::RecordVersion {
                        version: 0x0400,
                        at,
                    },
                    HelloRefusal::ProtocolVersion {
                        highest,
                        minimum: None,
                    },
                ],
            ),
            (
                86,
                &[HelloRefusal::Fallback {
                    highest,
                    ours: 0x0304,
                }],
            ),
            (109, &[HelloRefusal::MissingExtension { extension: 51 }]),
            (120, &[HelloRefusal::NoSharedProtocol]),
        ] {
            for refusal in refusals {
                assert_eq!(refusal.alert(), Some(alert), "{refusal:?}");
                assert!(refusal.citation().starts_with("RFC "), "{refusal:?}");
            }
        }
    }

    #[test]
    fn a_peer_that_does_not_speak_tls_gets_no_alert() {
        assert_eq!(HelloRefusal::Garbage { first: 0 }.alert(), None);
        assert_eq!(HelloRefusal::PlainHttp.alert(), None);
        assert_eq!(HelloRefusal::Ssl2 { version: 2 }.alert(), None);
        assert_eq!(HelloRefusal::Ssl2 { version: 0x0301 }.alert(), Some(70));
    }

    #[test]
    fn versions_are_named_as_people_name_them() {
        for (version, name) in [
            (0x0002, "SSL 2.0"),
            (0x0300, "SSL 3.0"),
            (0x0301, "TLS 1.0"),
            (0x0302, "TLS 1.1"),
            (0x0303, "TLS 1.2"),
            (0x0304, "TLS 1.3"),
            (0xfefd, "version 0xfefd"),
        ] {
            assert_eq!(Version(version).to_string(), name);
        }
    }

    #[test]
    fn a_refusal_names_versions_as_people_do() {
        let refusal = HelloRefusal::Fallback {
            highest: Some(0x0302),
            ours: 0x0304,
        };
        assert_eq!(
            refusal.to_string(),
            "the client fell back to TLS 1.1, the listener has TLS 1.3"
        );
    }
}
