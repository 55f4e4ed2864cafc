//! The names a certificate may carry in its subject alternative name (RFC 5280 section 4.2.1.6):
//! an absolute URI, a host name, an IP address, a hardware module.
//!
//! One name has one spelling. Whatever has a second spelling that a comparison of bytes would take
//! for another device (upper-case schemes, needless escapes, dot segments, a query) is refused, and
//! so is `*`, which means "any" where roles are written. Nothing is resolved or looked up, and
//! which names a certificate needs is the profile's word.

use std::fmt;
use std::net::IpAddr;

use crate::hardware::HardwareModule;

/// One subject alternative name. Made by parsing only, so a value is always well formed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// An absolute URI such as `urn:example:pump-1`: the identity of a device, program or person.
    Uri(Uri),
    /// A host name such as `api.clinic.example`, in lower case.
    Dns(Host),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// The kind and serial number of a device's hardware, beside its URI.
    Hardware(HardwareModule),
}

/// Whether a character shows nothing, or turns the text around it: two words that differ in it look the same to
/// whoever compares them. Format characters (General_Category Cf), separators of lines and paragraphs, variation
/// selectors, tags and fillers of Unicode.
#[must_use]
pub fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text of a well-formed absolute URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uri(String);

/// The text of a well-formed host name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(String);

/// Longest URI that is accepted, in characters. The standard sets no limit; logs and role patterns
/// need one.
const MAX_URI: usize = 256;
/// Longest host name, in characters (RFC 1035 section 2.3.4, without the final dot).
const MAX_HOST: usize = 253;
/// Longest label of a host name, in characters.
const MAX_LABEL: usize = 63;

impl Name {
    /// Reads an absolute URI (RFC 3986 section 4.3), in its one normal spelling.
    pub fn uri(text: &str) -> Result<Self, NameError> {
        parse_uri(text)?;
        Ok(Self::Uri(Uri(text.to_owned())))
    }

    /// Reads a host name in the preferred syntax of RFC 1034 section 3.5, folded to lower case.
    /// No wildcards: each host is named.
    pub fn dns(text: &str) -> Result<Self, NameError> {
        let lower = text.to_ascii_lowercase();
        parse_host(&lower)?;
        Ok(Self::Dns(Host(lower)))
    }

    /// Reads an IPv4 or IPv6 address in the usual notation.
    pub fn ip(text: &str) -> Result<Self, NameError> {
        text.parse()
            .map(Self::Ip)
            .map_err(|_| NameError::NotAnAddress)
    }

    /// Reads a hardware module name: `OID:HEX`, such as `1.3.6.1.4.1.99999.7:0a1b`.
    pub fn hardware(text: &str) -> Result<Self, NameError> {
        HardwareModule::parse(text)
            .map(Self::Hardware)
            .ok_or(NameError::NotAModule)
    }

    /// The kind in one word, as JSON output and the store spell it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Uri(_) => "uri",
            Self::Dns(_) => "dns",
            Self::Ip(_) => "ip",
            Self::Hardware(_) => "hardware",
        }
    }

    /// Reads back what [`Name::kind`] and `Display` wrote.
    pub fn from_parts(kind: &str, value: &str) -> Result<Self, NameError> {
        match kind {
            "uri" => Self::uri(value),
            "dns" => Self::dns(value),
            "ip" => Self::ip(value),
            "hardware" => Self::hardware(value),
            _ => Err(NameError::UnknownKind),
        }
    }
}

/// The value alone, without its kind.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(Uri(text)) | Self::Dns(Host(text)) => f.write_str(text),
            Self::Ip(address) => write!(f, "{address}"),
            Self::Hardware(module) => write!(f, "{module}"),
        }
    }
}

/// Why a text is no name. Positions count characters from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing was given.
    Empty,
    /// Longer than may be.
    TooLong {
        /// The limit, in characters.
        limit: usize,
    },
    /// A character that may not stand there.
    Character {
        /// Where.
        position: usize,
    },
    /// A `*`: in roles it means any name, so no name may contain it.
    Wildcard {
        /// Where.
        position: usize,
    },
    /// No scheme before the first colon, so the URI is relative (RFC 5280 section 4.2.1.6).
    NoScheme,
    /// Upper case where RFC 3986 section 6.2.2.1 and RFC 8141 section 3.1 make it a second
    /// spelling of the same name: scheme, URN namespace, host.
    UpperCase {
        /// Where.
        position: usize,
    },
    /// A query or fragment: two URNs that differ only there are the same name (RFC 8141
    /// section 3.1).
    QueryOrFragment {
        /// Where.
        position: usize,
    },
    /// A percent escape that is broken, in lower case, or not needed (RFC 3986 section 6.2.2).
    Escape {
        /// Where.
        position: usize,
    },
    /// A `.` or `..` segment (RFC 3986 section 6.2.2.3).
    DotSegment,
    /// `urn:` without a namespace of 2 to 32 letters, digits and hyphens and a name after it
    /// (RFC 8141 section 2).
    Urn,
    /// An authority that is neither a fully qualified host name nor an IPv4 address, or that
    /// carries user information (RFC 5280 section 4.2.1.6).
    Authority,
    /// A label that is empty, longer than 63 characters, or begins or ends with a hyphen.
    Label {
        /// Which one, counted from 0.
        index: usize,
    },
    /// A host name whose last label is a number reads as an IP address.
    LooksLikeAddress,
    /// Neither an IPv4 nor an IPv6 address.
    NotAnAddress,
    /// No object identifier and serial number.
    NotAModule,
    /// A kind other than `uri`, `dns`, `ip` and `hardware`.
    UnknownKind,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the name is empty"),
            Self::TooLong { limit } => write!(f, "the name is longer than {limit} characters"),
            Self::Character { position } => {
                write!(f, "character {} may not stand there", position + 1)
            }
            Self::Wildcard { position } => write!(
                f,
                "character {} is `*`, which no name may contain",
                position + 1
            ),
            Self::NoScheme => write!(f, "it is no absolute URI: there is no scheme"),
            Self::UpperCase { position } => write!(
                f,
                "character {} is upper case, which makes a second spelling of the same name",
                position + 1
            ),
            Self::QueryOrFragment { position } => write!(
                f,
                "a query or fragment begins at character {}",
                position + 1
            ),
            Self::Escape { position } => write!(
                f,
                "the percent escape at character {} is broken, in lower case, or not needed",
                position + 1
            ),
            Self::DotSegment => write!(f, "the path has a `.` or `..` segment"),
            Self::Urn => write!(
                f,
                "a URN reads urn:NAMESPACE:NAME, the namespace with 2 to 32 letters, digits or hyphens"
            ),
            Self::Authority => write!(
                f,
                "what follows `//` is no fully qualified host name and no IPv4 address"
            ),
            Self::Label { index } => write!(
                f,
                "label {} of the host name is empty, too long, or begins or ends with a hyphen",
                index + 1
            ),
            Self::LooksLikeAddress => write!(f, "the host name reads as an IP address"),
            Self::NotAnAddress => write!(f, "it is neither an IPv4 nor an IPv6 address"),
            Self::NotAModule => write!(
                f,
                "it is no hardware module OID:HEX, such as 1.3.6.1.4.1.99999.7:0a1b"
            ),
            Self::UnknownKind => write!(f, "the kind of name is none of uri, dns, ip, hardware"),
        }
    }
}

impl std::error::Error for NameError {}

fn parse_uri(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_URI {
        return Err(NameError::TooLong { limit: MAX_URI });
    }
    parse_characters(text)?;
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(NameError::NoScheme);
    };
    parse_scheme(scheme)?;
    if rest.is_empty() {
        return Err(NameError::NoScheme);
    }
    if scheme == "urn" {
        parse_urn(rest)?;
    }
    let path = match rest.strip_prefix("//") {
        Some(after) => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            parse_authority(authority, scheme.len() + "://".len())?;
            path
        }
        None => rest,
    };
    if path
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(NameError::DotSegment);
    }
    Ok(())
}

/// RFC 3986 section 2, without the characters that this kind of name has no use for.
fn parse_characters(text: &str) -> Result<(), NameError> {
    let octets = text.as_bytes();
    let mut position = 0;
    while position < octets.len() {
        match octets[position] {
            b'*' => return Err(NameError::Wildcard { position }),
            b'?' | b'#' => return Err(NameError::QueryOrFragment { position }),
            b'%' => {
                parse_escape(octets, position)?;
                position += 2;
            }
            octet if is_unreserved(octet) || b":/@!$&'()+,;=".contains(&octet) => {}
            _ => return Err(NameError::Character { position }),
        }
        position += 1;
    }
    Ok(())
}

fn parse_escape(octets: &[u8], position: usize) -> Result<(), NameError> {
    let digit = |offset: usize| match octets.get(position + offset) {
        Some(octet @ b'0'..=b'9') => Ok(octet - b'0'),
        Some(octet @ b'A'..=b'F') => Ok(octet - b'A' + 10),
        _ => Err(NameError::Escape { position }),
    };
    let octet = (digit(1)? << 4) | digit(2)?;
    if is_unreserved(octet) {
        return Err(NameError::Escape { position });
    }
    Ok(())
}

fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

fn parse_scheme(scheme: &str) -> Result<(), NameError> {
    for (position, octet) in scheme.bytes().enumerate() {
        match octet {
            b'a'..=b'z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if position > 0 => {}
            b'A'..=b'Z' => return Err(NameError::UpperCase { position }),
            _ => return Err(NameError::NoScheme),
        }
    }
    if scheme.is_empty() {
        return Err(NameError::NoScheme);
    }
    Ok(())
}

fn parse_urn(rest: &str) -> Result<(), NameError> {
    let (namespace, name) = rest.split_once(':').ok_or(NameError::Urn)?;
    if let Some(position) = namespace.bytes().position(|o| o.is_ascii_uppercase()) {
        return Err(NameError::UpperCase {
            position: "urn:".len() + position,
        });
    }
    let well_formed = (2..=32).contains(&namespace.len())
        && namespace
            .bytes()
            .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
        && !namespace.starts_with('-')
        && !namespace.ends_with('-');
    if !well_formed || name.is_empty() || name.starts_with('/') {
        return Err(NameError::Urn);
    }
    Ok(())
}

/// `offset` is where the authority begins in the whole URI.
fn parse_authority(authority: &str, offset: usize) -> Result<(), NameError> {
    let host = match authority.split_once(':') {
        Some((host, port)) => {
            let number = !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit());
            if !number || port.parse::<u16>().is_err() || port.starts_with('0') {
                return Err(NameError::Authority);
            }
            host
        }
        None => authority,
    };
    if let Some(position) = host.bytes().position(|o| o.is_ascii_uppercase()) {
        return Err(NameError::UpperCase {
            position: offset + position,
        });
    }
    let is_ipv4 = host.parse::<std::net::Ipv4Addr>().is_ok();
    let is_fully_qualified = host.contains('.') && parse_host(host).is_ok();
    if is_ipv4 || is_fully_qualified {
        Ok(())
    } else {
        Err(NameError::Authority)
    }
}

fn parse_host(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_HOST {
        return Err(NameError::TooLong { limit: MAX_HOST });
    }
    for (position, octet) in text.bytes().enumerate() {
        match octet {
            b'*' => return Err(NameError::Wildcard { position }),
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => {}
            _ => return Err(NameError::Character { position }),
        }
    }
    let mut last = "";
    for (index, label) in text.split('.').enumerate() {
        let well_formed = !label.is_empty()
            && label.len() <= MAX_LABEL
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !well_formed {
            return Err(NameError::Label { index });
        }
        last = label;
    }
    if last.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(NameError::LooksLikeAddress);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_names_that_devices_carry_are_accepted() {
        for text in [
            "urn:example:pump-1",
            "urn:uuid:0d5c7a30-9fd2-4b1f-9a4b-6b1c9d2e7a11",
            "urn:oid:2.16.840.1.113883.3.1",
            "https://id.gs1.example/01/09506000134352/21/12345",
            "spiffe://clinic.example/ward-3/pump-1",
            "urn:example:room%2F7",
            "tag:clinic.example,2026:pump-1",
        ] {
            assert!(Name::uri(text).is_ok(), "{text}: {:?}", Name::uri(text));
        }
    }

    #[test]
    fn what_is_no_absolute_uri_is_refused_with_the_reason() {
        use NameError as E;
        for (text, why) in [
            ("", E::Empty),
            ("pump-1", E::NoScheme),
            (":pump-1", E::NoScheme),
            ("urn:", E::NoScheme),
            ("1urn:example:x", E::NoScheme),
            ("urn:x:y", E::Urn),
            ("urn:example", E::Urn),
            ("urn:example:", E::Urn),
            ("urn:-example:x", E::Urn),
            ("urn:example:pump 1", E::Character { position: 16 }),
            ("urn:example:pümp", E::Character { position: 13 }),
            ("urn:example:pump\n", E::Character { position: 16 }),
            ("https://localhost/x", E::Authority),
            ("https://user@clinic.example/x", E::Authority),
            ("https://clinic.example:0/x", E::Authority),
            ("https:///x", E::Authority),
        ] {
            assert_eq!(Name::uri(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_second_spelling_of_a_name_is_refused() {
        use NameError as E;
        for (text, why) in [
            ("URN:example:x", E::UpperCase { position: 0 }),
            ("urn:Example:x", E::UpperCase { position: 4 }),
            ("https://Clinic.example/x", E::UpperCase { position: 8 }),
            ("urn:example:%70ump", E::Escape { position: 12 }),
            ("urn:example:a%2fb", E::Escape { position: 13 }),
            ("urn:example:a%2", E::Escape { position: 13 }),
            ("https://clinic.example/a/../b", E::DotSegment),
            ("urn:example:x?=a", E::QueryOrFragment { position: 13 }),
            ("urn:example:x#a", E::QueryOrFragment { position: 13 }),
        ] {
            assert_eq!(Name::uri(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_star_is_refused_because_roles_read_it_as_any_name() {
        assert_eq!(
            Name::uri("urn:example:pump-*"),
            Err(NameError::Wildcard { position: 17 })
        );
        assert_eq!(
            Name::dns("*.clinic.example"),
            Err(NameError::Wildcard { position: 0 })
        );
    }

    #[test]
    fn host_names_are_folded_to_lower_case() {
        assert_eq!(
            Name::dns("API.Clinic.example").unwrap().to_string(),
            "api.clinic.example"
        );
        assert!(Name::dns("localhost").is_ok());
    }

    #[test]
    fn what_is_no_host_name_is_refused_with_the_reason() {
        use NameError as E;
        for (text, why) in [
            ("", E::Empty),
            ("a..b", E::Label { index: 1 }),
            ("clinic.example.", E::Label { index: 2 }),
            ("-a.example", E::Label { index: 0 }),
            ("a_b.example", E::Character { position: 1 }),
            ("127.0.0.1", E::LooksLikeAddress),
            ("clinic.1", E::LooksLikeAddress),
        ] {
            assert_eq!(Name::dns(text), Err(why), "{text}");
        }
        let long_label = format!("{}.example", "a".repeat(64));
        assert_eq!(Name::dns(&long_label), Err(E::Label { index: 0 }));
        let long_name = vec!["a".repeat(60); 5].join(".");
        assert_eq!(Name::dns(&long_name), Err(E::TooLong { limit: 253 }));
    }

    #[test]
    fn addresses_are_read_in_both_families() {
        assert_eq!(Name::ip("::1").unwrap().to_string(), "::1");
        assert!(Name::ip("127.0.0.1").is_ok());
        assert_eq!(Name::ip("localhost"), Err(NameError::NotAnAddress));
        assert_eq!(Name::ip("127.0.0.1/8"), Err(NameError::NotAnAddress));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,80}") {
            let _ = Name::uri(&text);
            let _ = Name::dns(&text);
            let _ = Name::ip(&text);
        }

        #[test]
        fn a_name_reads_back_from_its_parts(tail in "[a-z0-9.~_-]{1,40}") {
            let name = Name::uri(&format!("urn:example:{tail}")).unwrap();
            let again = Name::from_parts(name.kind(), &name.to_string()).unwrap();
            prop_assert_eq!(again, name);
        }
    }
}
