//! What a ClientHello offers, as a value.
//!
//! Standards: RFC 8446 4.1.2 and 4.2, RFC 8701 (GREASE). Values are kept as they stand on the wire
//! and in its order, those that nobody knows and those of GREASE included. What this file does not
//! do: it reads no bytes (`grammar` does) and judges nothing (`rules` do). The random, the session
//! id, tickets, key shares and binders are not kept.

use super::server_name::ServerName;
use std::fmt;

/// Whether a cipher suite, extension, group, version or signature scheme is one of the values that
/// RFC 8701 2 reserves to keep receivers tolerant of what they do not know.
pub const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// The numbers of the extensions that are spoken of here (IANA, TLS ExtensionType Values).
pub(super) mod extension {
    pub(crate) const SERVER_NAME: u16 = 0;
    pub(crate) const SUPPORTED_GROUPS: u16 = 10;
    pub(crate) const EC_POINT_FORMATS: u16 = 11;
    pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(crate) const ALPN: u16 = 16;
    pub(crate) const EXTENDED_MASTER_SECRET: u16 = 23;
    pub(crate) const SESSION_TICKET: u16 = 35;
    pub(crate) const PRE_SHARED_KEY: u16 = 41;
    pub(crate) const EARLY_DATA: u16 = 42;
    pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
    pub(crate) const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    pub(crate) const POST_HANDSHAKE_AUTH: u16 = 49;
    pub(crate) const SIGNATURE_ALGORITHMS_CERT: u16 = 50;
    pub(crate) const KEY_SHARE: u16 = 51;
    pub(crate) const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// A ClientHello that follows the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The version of the record that it began in. It means nothing (RFC 8446 5.1).
    pub record_version: u16,
    /// `legacy_version`, which before TLS 1.3 was the highest version that the client has.
    pub legacy_version: u16,
    /// The versions of `supported_versions`, else `legacy_version` alone.
    pub versions: Vec<u16>,
    /// The cipher suites, signaling values included.
    pub suites: Vec<u16>,
    /// The compression methods.
    pub compression_methods: Vec<u8>,
    /// The types of the extensions.
    pub extensions: Vec<u16>,
    /// `supported_groups`; empty where the extension is absent.
    pub groups: Vec<u16>,
    /// The groups of `key_share`, which may be none; `None` where the extension is absent.
    pub key_share_groups: Option<Vec<u16>>,
    /// `signature_algorithms`; empty where the extension is absent.
    pub signatures: Vec<u16>,
    /// `signature_algorithms_cert`; empty where the extension is absent.
    pub certificate_signatures: Vec<u16>,
    /// The server name, if there is one.
    pub server_name: Option<ServerName>,
    /// The application protocols; empty where the extension is absent.
    pub protocols: ProtocolNames,
    /// `ec_point_formats`, if it is there.
    pub point_formats: Option<Vec<u8>>,
}

impl ClientHello {
    /// The highest version that is offered. Of `supported_versions` only those with the major
    /// version of TLS count, so that neither GREASE nor a draft passes for a high version; `None`
    /// where it holds none of them.
    pub fn highest_version(&self) -> Option<u16> {
        if self.has_extension(extension::SUPPORTED_VERSIONS) {
            let known = |version: &u16| version.to_be_bytes()[0] == 3;
            self.versions.iter().copied().filter(known).max()
        } else {
            Some(self.legacy_version)
        }
    }

    /// Whether the client would speak this version: where it lists versions, one of the list; where
    /// it does not, any up to `legacy_version` and TLS 1.2 (RFC 8446 4.2.1, D.2).
    pub fn offers_version(&self, version: u16) -> bool {
        const TLS_1_2: u16 = 0x0303;
        if self.has_extension(extension::SUPPORTED_VERSIONS) {
            self.versions.contains(&version)
        } else {
            version <= self.legacy_version.min(TLS_1_2)
        }
    }

    /// Whether TLS_FALLBACK_SCSV is among the suites (RFC 7507 2).
    pub fn offers_fallback(&self) -> bool {
        const TLS_FALLBACK_SCSV: u16 = 0x5600;
        self.suites.contains(&TLS_FALLBACK_SCSV)
    }

    /// Whether it knows secure renegotiation, by the extension or by the signaling suite
    /// (RFC 5746 3.3, 3.4).
    pub fn offers_renegotiation_info(&self) -> bool {
        const TLS_EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;
        self.has_extension(extension::RENEGOTIATION_INFO)
            || self.suites.contains(&TLS_EMPTY_RENEGOTIATION_INFO_SCSV)
    }

    /// Whether `extended_master_secret` is there (RFC 7627 5.1).
    pub fn offers_extended_master_secret(&self) -> bool {
        self.has_extension(extension::EXTENDED_MASTER_SECRET)
    }

    /// Whether `session_ticket` is there, with a ticket or to ask for one (RFC 5077 3.2).
    pub fn offers_session_ticket(&self) -> bool {
        self.has_extension(extension::SESSION_TICKET)
    }

    /// Whether `pre_shared_key` is there (RFC 8446 4.2.11).
    pub fn offers_pre_shared_key(&self) -> bool {
        self.has_extension(extension::PRE_SHARED_KEY)
    }

    /// Whether `early_data` is there (RFC 8446 4.2.10).
    pub fn offers_early_data(&self) -> bool {
        self.has_extension(extension::EARLY_DATA)
    }

    /// Whether `post_handshake_auth` is there (RFC 8446 4.2.6).
    pub fn offers_post_handshake_auth(&self) -> bool {
        self.has_extension(extension::POST_HANDSHAKE_AUTH)
    }

    /// Whether an extension of this type is there.
    pub fn has_extension(&self, extension: u16) -> bool {
        self.extensions.contains(&extension)
    }
}

/// The application protocols of a hello, in its order (RFC 7301 3.1). Names are any bytes; those of
/// GREASE are among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProtocolNames {
    /// As on the wire, each name behind its length: many short names cost no more than they were.
    encoded: Box<[u8]>,
}

impl ProtocolNames {
    /// Takes names that stand behind their lengths; the grammar has looked at them.
    pub(super) fn new(encoded: &[u8]) -> Self {
        let encoded = encoded.into();
        Self { encoded }
    }

    /// The names, the preferred one first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.encoded;
        std::iter::from_fn(move || {
            let (&length, behind) = rest.split_first()?;
            let (name, behind) = behind.split_at_checked(usize::from(length))?;
            rest = behind;
            Some(name)
        })
    }

    /// Whether there is none, as when the extension is absent.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }
}

impl fmt::Debug for ProtocolNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(<[u8]>::escape_ascii);
        f.debug_list()
            .entries(names.map(|name| name.to_string()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_values_of_grease_are_known_and_no_others() {
        let grease: Vec<u16> = (0..=u16::MAX).filter(|value| is_grease(*value)).collect();
        let reserved: Vec<u16> = (0..16).map(|n| 0x0a0a + n * 0x1010).collect();
        assert_eq!(grease, reserved);
    }

    #[test]
    fn protocol_names_come_in_the_order_of_the_wire() {
        let names = ProtocolNames::new(b"\x02h2\x08http/1.1");
        assert_eq!(names.iter().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
        assert_eq!(format!("{names:?}"), r#"["h2", "http/1.1"]"#);
    }

    #[test]
    fn no_protocol_names_are_empty() {
        assert!(ProtocolNames::default().is_empty());
        assert_eq!(ProtocolNames::default().iter().count(), 0);
    }
}
