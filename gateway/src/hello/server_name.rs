//! The server name that a client asks for.
//!
//! Standards: RFC 6066 3 (the extension), RFC 1034 3.5 and RFC 1123 2.1 (what a host name is).
//! What this file does not do: it does not say whether anyone here has that name.

use super::cursor::{Cursor, Fault};
use std::fmt;
use std::net::IpAddr;

const WHAT: &str = "server_name";

/// What the `server_name` extension of a hello holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// A DNS name in lower case, without a trailing dot.
    Host(Box<str>),
    /// A literal address. RFC 6066 3 forbids it and Mbed TLS and .NET send it, when they are given
    /// an address to connect to. It names no site: TLS libraries, ours among them, go on as if the
    /// extension were not there, and refusing it would shut out devices that do nothing worse.
    Address(IpAddr),
}

impl ServerName {
    /// The DNS name, if it is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Host(name) => Some(name),
            Self::Address(_) => None,
        }
    }

    /// Reads the content of the extension: exactly one name, of type `host_name`. A second name, and
    /// a name of a type that RFC 6066 does not define, is refused.
    pub(super) fn read(extension: &mut Cursor<'_>) -> Result<Self, Fault> {
        const HOST_NAME: u8 = 0;
        let mut list = extension.vector16(1..=0xffff, WHAT)?;
        let start = list;
        if list.u8(WHAT)? != HOST_NAME {
            return Err(start.illegal(WHAT));
        }
        let name = list.vector16(1..=0xffff, WHAT)?;
        if !list.is_empty() {
            return Err(list.illegal(WHAT));
        }
        Self::parse(name.bytes()).ok_or_else(|| name.illegal(WHAT))
    }

    /// Letters, digits, hyphens and underscores in labels of 1 to 63, 253 in all, no hyphen at
    /// either end of a label, no trailing dot, and a last label that is no number. Underscores are
    /// none of RFC 1123, and common in the names of containers.
    fn parse(name: &[u8]) -> Option<Self> {
        const LONGEST: usize = 253;
        let name = str::from_utf8(name).ok()?;
        if let Ok(address) = name.parse() {
            return Some(Self::Address(address));
        }
        let labels_hold = name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        let last = name.rsplit('.').next()?;
        let number = last.bytes().all(|byte| byte.is_ascii_digit());
        (name.len() <= LONGEST && labels_hold && !number)
            .then(|| Self::Host(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::FaultKind;
    use super::*;
    use proptest::prelude::*;

    fn read(content: &[u8]) -> Result<ServerName, Fault> {
        let mut cursor = Cursor::new(content);
        let name = ServerName::read(&mut cursor)?;
        cursor.end(WHAT)?;
        Ok(name)
    }

    fn named(name: &str) -> Vec<u8> {
        let length = u16::try_from(name.len()).unwrap();
        let (list, entry) = ((length + 3).to_be_bytes(), length.to_be_bytes());
        [&list[..], &[0], &entry, name.as_bytes()].concat()
    }

    fn illegal(at: usize) -> Result<ServerName, Fault> {
        let kind = FaultKind::Illegal;
        let what = WHAT;
        Err(Fault { kind, what, at })
    }

    #[test]
    fn a_host_name_is_read_in_lower_case() {
        let name = read(&named("Gateway.Example")).unwrap();
        assert_eq!(name, ServerName::Host("gateway.example".into()));
        assert_eq!(name.host(), Some("gateway.example"));
    }

    #[test]
    fn a_literal_address_is_no_host() {
        for literal in ["127.0.0.1", "::1", "2001:db8::7"] {
            let name = read(&named(literal)).unwrap();
            assert_eq!(name, ServerName::Address(literal.parse().unwrap()));
            assert_eq!(name.host(), None);
        }
    }

    #[test]
    fn a_name_that_is_no_host_name_is_refused() {
        let long = "a.".repeat(126) + "aa";
        let long_label = "a".repeat(64) + ".example";
        for name in [
            "gateway.example.",
            ".example",
            "gateway..example",
            "-gateway.example",
            "gateway-.example",
            "gateway example",
            "gateway.example:8443",
            "[::1]",
            "1.2.3",
            "1.2.3.4.5",
            "127.0.0.256",
            "g\u{e4}teway.example",
            "gateway\0.example",
            "*.example",
            &long,
            &long_label,
        ] {
            assert_eq!(read(&named(name)), illegal(5), "{name}");
        }
    }

    #[test]
    fn the_longest_name_is_read() {
        assert!(read(&named(&("a.".repeat(126) + "a"))).is_ok());
        assert!(read(&named(&("a".repeat(63) + ".example"))).is_ok());
    }

    #[test]
    fn a_second_name_is_refused() {
        let mut content = named("a.example");
        content.extend_from_slice(&[0, 0, 1, b'b']);
        content[1] += 4;
        assert_eq!(read(&content), illegal(14));
    }

    #[test]
    fn a_name_of_another_type_is_refused() {
        let mut content = named("a.example");
        content[2] = 1;
        assert_eq!(read(&content), illegal(2));
    }

    #[test]
    fn an_empty_list_and_an_empty_name_are_malformed() {
        for content in [&[][..], &[0, 0], &[0, 3, 0, 0, 0]] {
            let fault = read(content).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Malformed, "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_as_a_host_is_read_so_again(name in "[a-zA-Z0-9._-]{1,40}") {
            if let Some(ServerName::Host(host)) = ServerName::parse(name.as_bytes()) {
                prop_assert_eq!(ServerName::parse(host.as_bytes()), Some(ServerName::Host(host)));
            }
        }
    }
}
