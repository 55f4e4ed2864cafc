//! JA4, the fingerprint by which the same client software is known again.
//!
//! Standard: FoxIO, "JA4: TLS Client Fingerprinting" (technical_details/JA4.md), TLS over TCP. GREASE
//! counts nowhere; the first application protocol is taken as it is. What this file does not do: a
//! fingerprint is a hint for whoever reads the log. It proves nothing and nothing is decided by it.

use super::offer::{ClientHello, extension, is_grease};
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;

impl ClientHello {
    /// Its JA4 fingerprint: 36 characters, `t13d1516h2_8daaf6152771_e5627efa2ab1` for example.
    pub fn ja4(&self) -> String {
        let mut suites = without_grease(&self.suites);
        let mut extensions = without_grease(&self.extensions);
        let (suite_count, extension_count) = (suites.len().min(99), extensions.len().min(99));
        suites.sort_unstable();
        extensions.sort_unstable();
        extensions.retain(|number| ![extension::SERVER_NAME, extension::ALPN].contains(number));
        format!(
            "t{version}{name}{suite_count:02}{extension_count:02}{protocol}_{suites}_{extensions}",
            version = version(self),
            name = if self.has_extension(extension::SERVER_NAME) {
                'd'
            } else {
                'i'
            },
            protocol = protocol(self.protocols.iter().next().unwrap_or_default()),
            suites = hash(&suites, &[]),
            extensions = hash(&extensions, &without_grease(&self.signatures)),
        )
    }
}

fn without_grease(values: &[u16]) -> Vec<u16> {
    let known = |value: &u16| !is_grease(*value);
    values.iter().copied().filter(known).collect()
}

/// The highest version that is listed, be it known or not; else the legacy one.
fn version(hello: &ClientHello) -> &'static str {
    let versions = hello.versions.iter().copied();
    match versions.filter(|version| !is_grease(*version)).max() {
        Some(0x0304) => "13",
        Some(0x0303) => "12",
        Some(0x0302) => "11",
        Some(0x0301) => "10",
        Some(0x0300) => "s3",
        Some(0x0002) => "s2",
        _ => "00",
    }
}

/// The first and the last character of a protocol name; of its hexadecimal form where one of the two
/// is no letter or digit of ASCII; zeros where there is no name.
fn protocol(name: &[u8]) -> String {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)].iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

/// The first 12 digits of the SHA-256 of a list, and of a second list behind it if that is not
/// empty; zeros for an empty list.
fn hash(list: &[u16], behind: &[u16]) -> String {
    let mut text = String::new();
    append(&mut text, list);
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    if !behind.is_empty() {
        text.push('_');
        append(&mut text, behind);
    }
    let digest = digest(&SHA256, text.as_bytes());
    text.clear();
    for byte in digest.as_ref().iter().take(6) {
        write!(text, "{byte:02x}").expect(TAKES_ALL);
    }
    text
}

fn append(text: &mut String, list: &[u16]) {
    for (at, value) in list.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(text, "{comma}{value:04x}").expect(TAKES_ALL);
    }
}

const TAKES_ALL: &str = "a String takes every write";

#[cfg(test)]
mod tests {
    use super::super::offer::ProtocolNames;
    use super::*;

    /// The example that the specification works through, in the order in which it gives it.
    fn example() -> ClientHello {
        ClientHello {
            record_version: 0x0301,
            legacy_version: 0x0303,
            versions: vec![0x3a3a, 0x0304, 0x0303],
            suites: vec![
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            compression_methods: vec![0],
            extensions: vec![
                0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
            ],
            groups: vec![],
            key_share_groups: None,
            signatures: vec![
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ],
            certificate_signatures: vec![],
            server_name: None,
            protocols: ProtocolNames::new(b"\x02h2\x08http/1.1"),
            point_formats: None,
        }
    }

    #[test]
    fn the_example_of_the_specification_has_its_fingerprint() {
        assert_eq!(example().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn without_signature_schemes_the_extensions_are_hashed_alone() {
        let mut hello = example();
        hello.signatures.clear();
        assert_eq!(hello.ja4(), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn grease_counts_nowhere() {
        let mut hello = example();
        hello.suites.insert(0, 0x0a0a);
        hello.extensions.insert(0, 0xbaba);
        hello.extensions.push(0xfafa);
        hello.signatures.insert(3, 0x1a1a);
        assert_eq!(hello.ja4(), example().ja4());
    }

    #[test]
    fn signaling_suites_count() {
        let mut hello = example();
        hello.suites.extend([0x00ff, 0x5600]);
        assert!(hello.ja4().starts_with("t13d1716h2_"));
        assert_ne!(hello.ja4()[11..23], example().ja4()[11..23]);
    }

    #[test]
    fn counts_end_at_99() {
        let mut hello = example();
        hello.suites = (0..300).collect();
        hello.extensions = (0..100).collect();
        assert!(hello.ja4().starts_with("t13d9999h2_"));
    }

    #[test]
    fn without_a_server_name_the_peer_wanted_an_address() {
        let mut hello = example();
        hello.extensions.retain(|number| *number != 0);
        assert_eq!(hello.ja4(), "t13i1515h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn lists_with_nothing_to_hash_are_zeros() {
        let mut hello = example();
        hello.suites = vec![0x0a0a];
        hello.extensions = vec![0, 16];
        assert_eq!(hello.ja4(), "t13d0002h2_000000000000_000000000000");
    }

    #[test]
    fn protocol_names_that_are_not_alphanumeric_are_shown_in_hexadecimal() {
        // The cases of the specification.
        for (name, shown) in [
            (&b""[..], "00"),
            (b"h2", "h2"),
            (b"http/1.1", "h1"),
            (b"x", "xx"),
            (b"\xab", "ab"),
            (b"\x20", "20"),
            (b"\xab\xcd", "ad"),
            (b"\x20\x61", "21"),
            (b"\x30\xab", "3b"),
            (b"\x61\x20", "60"),
            (b"\x30\x31\xab\xcd", "3d"),
            (b"\x30\xab\xcd\x31", "01"),
        ] {
            assert_eq!(protocol(name), shown, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn versions_are_shown_as_the_specification_names_them() {
        for (versions, shown) in [
            (&[0x0002][..], "s2"),
            (&[0x0300], "s3"),
            (&[0x0301], "10"),
            (&[0x0302, 0x0301], "11"),
            (&[0x0303, 0xfafa], "12"),
            (&[0x0304, 0x7f1c], "00"),
            (&[0x0a0a], "00"),
        ] {
            let mut hello = example();
            hello.versions = versions.to_vec();
            assert_eq!(version(&hello), shown, "{versions:04x?}");
        }
    }
}
