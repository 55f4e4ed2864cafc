//! Hosts: what stands in a `Host` field and in a URL, without its port.
//!
//! A [`HostName`] is the host of RFC 3986 section 3.2.2 in the one spelling that is compared:
//! lower case, no port, no trailing dot, IPv6 in brackets. Nothing here resolves a name.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::error::Advice;
use crate::place::quoted;
use crate::word::Word;

/// A host: a DNS name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// Parses a host and folds its case. IPv6 may come with or without brackets.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.contains("//") {
            return Err(HostError::Url);
        }
        if text.contains('*') {
            return Err(HostError::Wildcard);
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
            return Ok(Self(format!("[{address}]")));
        }
        if let Some((_, port)) = text.rsplit_once(':') {
            let port = port.bytes().all(|byte| byte.is_ascii_digit());
            return Err(if port {
                HostError::Port
            } else {
                HostError::Address
            });
        }
        parse_dns_name(&text.to_ascii_lowercase()).map(Self)
    }

    /// The host as it stands in a URL or a `Host` field, without port.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when the host is one and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').and_then(|text| text.parse().ok()),
            None => self.0.parse().ok(),
        }
    }

    /// Whether this is the machine itself: an address of the loopback network, or `localhost`
    /// (RFC 6761 section 6.3). Whoever connects to `localhost` must use a loopback address, not
    /// whatever a resolver says.
    pub fn is_loopback(&self) -> bool {
        match self.address() {
            Some(address) => address.is_loopback(),
            None => self.0 == "localhost",
        }
    }
}

/// A map by host can be asked with a text: only one that is spelled as hosts are compared is found.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS name (RFC 1123 section 2.1, with `_`, which internal names have), or an IPv4 address.
fn parse_dns_name(text: &str) -> Result<String, HostError> {
    if let Some(found) = text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c))
    {
        return Err(HostError::Character { found });
    }
    if text.ends_with('.') {
        return Err(HostError::TrailingDot);
    }
    if text.len() > LONGEST_DNS_NAME {
        return Err(HostError::TooLong { length: text.len() });
    }
    let sound = |label: &str| {
        (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if let Some(label) = text.split('.').find(|label| !sound(label)) {
        return Err(HostError::Label {
            label: label.to_owned(),
        });
    }
    // Some readers take any name that ends in a number for an IPv4 address, each in its own way.
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = last.strip_prefix("0x").unwrap_or(last);
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || (number.len() < last.len() && number.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if numeric && text.parse::<IpAddr>().is_err() {
        return Err(HostError::Address);
    }
    Ok(text.to_owned())
}

const LONGEST_DNS_NAME: usize = 253;

/// Why a text is not a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is nothing.
    Empty,
    /// A whole URL.
    Url,
    /// `*`: each host is named.
    Wildcard,
    /// A port after the host.
    Port,
    /// It looks like an IP address and is none.
    Address,
    /// A dot at the end.
    TrailingDot,
    /// A label that is empty, over 63 bytes, or has `-` at an end (RFC 1035 section 2.3.1).
    Label {
        /// The label.
        label: String,
    },
    /// A character that no host has.
    Character {
        /// The character.
        found: char,
    },
    /// Longer than a DNS name can be (RFC 1035 section 2.3.4).
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl HostError {
    /// What to write instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url => Some("write the host alone, such as api.clinic.example"),
            Self::Wildcard => Some("name each host; a route lives only on the hosts that it names"),
            Self::Port => Some("leave the port out"),
            Self::TrailingDot => Some("leave the last dot out"),
            Self::Character { found } if !found.is_ascii() => {
                Some("write the name as DNS has it (\"xn--...\", RFC 5890)")
            }
            Self::Empty
            | Self::Address
            | Self::Label { .. }
            | Self::Character { .. }
            | Self::TooLong { .. } => None,
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an empty host"),
            Self::Url => write!(f, "a URL where a host is expected"),
            Self::Wildcard => write!(f, "a host with \"*\" in it"),
            Self::Port => write!(f, "a host with a port"),
            Self::Address => write!(f, "it looks like an IP address and is none"),
            Self::TrailingDot => write!(f, "a host with a dot at its end"),
            Self::Label { label } => write!(f, "{} is no label of a DNS name", quoted(label)),
            Self::Character { found } => {
                write!(f, "a host with {} in it", quoted(&found.to_string()))
            }
            Self::TooLong { length } => {
                write!(
                    f,
                    "a host of {length} bytes; the longest has {LONGEST_DNS_NAME}"
                )
            }
        }
    }
}

impl std::error::Error for HostError {}

impl Word for HostName {
    const NOUN: &'static str = "a host";
    const EXAMPLE: &'static str = "api.clinic.example";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Result<String, HostError> {
        HostName::parse(text).map(|host| host.to_string())
    }

    #[test]
    fn a_host_has_one_spelling() {
        assert_eq!(
            host("API.Clinic.Example").as_deref(),
            Ok("api.clinic.example")
        );
        assert_eq!(host("10.0.0.5").as_deref(), Ok("10.0.0.5"));
        assert_eq!(host("[::1]").as_deref(), Ok("[::1]"));
        assert_eq!(host("0:0:0:0:0:0:0:1").as_deref(), Ok("[::1]"));
        assert_eq!(host("fhir_1").as_deref(), Ok("fhir_1"));
    }

    #[test]
    fn a_host_with_anything_beside_it_is_refused() {
        assert_eq!(host(""), Err(HostError::Empty));
        assert_eq!(host("api.example:8443"), Err(HostError::Port));
        assert_eq!(host("[::1]:8443"), Err(HostError::Port));
        assert_eq!(host("api.example."), Err(HostError::TrailingDot));
        assert_eq!(host("*.example"), Err(HostError::Wildcard));
        assert_eq!(host("https://api.example"), Err(HostError::Url));
        assert_eq!(
            host("a..b"),
            Err(HostError::Label {
                label: String::new()
            })
        );
        assert_eq!(
            host("-a.b"),
            Err(HostError::Label {
                label: "-a".to_owned()
            })
        );
        assert_eq!(host("a b"), Err(HostError::Character { found: ' ' }));
        assert_eq!(
            host("b\u{fc}cher.example"),
            Err(HostError::Character { found: '\u{fc}' })
        );
        assert_eq!(
            host(&format!("{}a", "ab.".repeat(90))),
            Err(HostError::TooLong { length: 271 })
        );
    }

    #[test]
    fn a_name_that_some_take_for_an_address_is_refused() {
        for text in [
            "127.1",
            "10.0.0.256",
            "2130706433",
            "a.0x7f",
            "01.2.3.4",
            "fe80::1%eth0",
        ] {
            assert_eq!(host(text), Err(HostError::Address), "{text}");
        }
    }

    #[test]
    fn loopback_is_the_machine_itself() {
        for (text, loopback) in [
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("localhost", true),
            ("LOCALHOST", true),
            ("localhost.example", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(
                HostName::parse(text).unwrap().is_loopback(),
                loopback,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_host_reads_back_what_it_prints(text in "[a-zA-Z0-9.:\\[\\]_-]{0,24}") {
            if let Ok(host) = HostName::parse(&text) {
                prop_assert_eq!(HostName::parse(host.as_str()), Ok(host.clone()));
                prop_assert_eq!(host.address().is_some(), host.as_str().parse::<IpAddr>().is_ok()
                    || host.as_str().starts_with('['));
            }
        }

        #[test]
        fn no_host_is_too_strange_to_be_answered(text in "\\[?.{0,30}") {
            let _ = HostName::parse(&text);
        }
    }
}
