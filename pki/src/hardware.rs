//! The hardware module name of a device: the kind of hardware and its serial number, as a name in a
//! certificate (RFC 4108 section 5, id-on-hardwareModuleName; IEEE 802.1AR section 8.10.4).
//!
//! Written `1.3.6.1.4.1.99999.7:0a1b`: the object identifier of the kind, and the serial number's
//! octets in lower-case hexadecimal. One name has one spelling.

use std::fmt;

use x509_parser::asn1_rs::{Any, Class, FromDer as _, Oid, Tag};

/// id-on-hardwareModuleName, 1.3.6.1.5.5.7.8.4.
pub(crate) const OID: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 4];

/// Most arcs of an object identifier. Enterprise trees are about ten deep.
const MAX_ARCS: usize = 20;
/// Most octets of a serial number.
const MAX_SERIAL: usize = 32;

/// A hardware module name. Made by parsing only, so a value is always well formed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HardwareModule {
    /// hwType.
    kind: Vec<u64>,
    /// hwSerialNum.
    serial: Vec<u8>,
}

impl HardwareModule {
    /// Reads `OID:HEX`. `None` if it is anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, serial) = text.split_once(':')?;
        let name = Self {
            kind: parse_kind(kind)?,
            serial: parse_serial(serial)?,
        };
        Some(name)
    }

    /// The DER of HardwareModuleName, the value of the other name.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer
                    .next()
                    .write_oid(&yasna::models::ObjectIdentifier::from_slice(&self.kind));
                writer.next().write_bytes(&self.serial);
            });
        })
    }

    /// Reads what stands in an other name behind its type: `[0]` around the DER of the value.
    pub(crate) fn from_other_name(value: &[u8]) -> Option<Self> {
        let (rest, explicit) = Any::from_der(value).ok()?;
        if !rest.is_empty()
            || explicit.class() != Class::ContextSpecific
            || explicit.tag() != Tag(0)
        {
            return None;
        }
        let (rest, sequence) = Any::from_der(explicit.data).ok()?;
        if !rest.is_empty() || sequence.tag() != Tag::Sequence {
            return None;
        }
        let (rest, kind) = Oid::from_der(sequence.data).ok()?;
        let (rest, serial) = Any::from_der(rest).ok()?;
        if !rest.is_empty() || serial.tag() != Tag::OctetString {
            return None;
        }
        let name = Self {
            kind: kind.iter()?.collect(),
            serial: serial.data.to_vec(),
        };
        // By way of the text, so that no name comes in that could not be typed.
        Self::parse(&name.to_string())
    }
}

/// `OID:HEX`.
impl fmt::Display for HardwareModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, arc) in self.kind.iter().enumerate() {
            let separator = if position == 0 { "" } else { "." };
            write!(f, "{separator}{arc}")?;
        }
        f.write_str(":")?;
        self.serial
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

fn parse_kind(text: &str) -> Option<Vec<u64>> {
    let arcs: Vec<u64> = text.split('.').map(parse_arc).collect::<Option<_>>()?;
    // X.660: below 0 and 1 there are 40 arcs; an identifier has at least two. Below 2 there may be
    // more, but tools disagree on how such a first octet reads, and enterprises live below 1.
    let well_formed = matches!(arcs[..], [0..=2, 0..40, ..]);
    (well_formed && arcs.len() <= MAX_ARCS).then_some(arcs)
}

/// A number below 2^32 without leading zeros.
fn parse_arc(text: &str) -> Option<u64> {
    let plain = !text.is_empty()
        && text.bytes().all(|octet| octet.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse::<u32>().ok().map(u64::from))?
}

fn parse_serial(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let lower = |octet: &u8| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
    if digits.is_empty()
        || !digits.len().is_multiple_of(2)
        || digits.len() > 2 * MAX_SERIAL
        || !digits.iter().all(lower)
    {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_name_reads_back_from_text_and_from_der() {
        for text in ["1.3.6.1.4.1.99999.7:0a1b", "2.16.4294967295:00", "0.39:ff"] {
            let name = HardwareModule::parse(text).unwrap();
            assert_eq!(name.to_string(), text);
            let value = yasna::construct_der(|writer| {
                writer.write_tagged(yasna::Tag::context(0), |writer| {
                    writer.write_der(&name.to_der());
                });
            });
            assert_eq!(HardwareModule::from_other_name(&value), Some(name));
        }
    }

    #[test]
    fn a_name_has_one_spelling() {
        for text in [
            "",
            ":",
            "1.3",
            "1.3:",
            "1.3:0",
            "1.3:0A",
            "1.03:00",
            "1:00",
            "3.1:00",
            "1.40:00",
            "1.3.4294967296:00",
            "1..3:00",
            "1.3:00:11",
            " 1.3:00",
            "1.+3:00",
        ] {
            assert_eq!(HardwareModule::parse(text), None, "{text}");
        }
        let long = format!("1.3:{}", "00".repeat(MAX_SERIAL + 1));
        assert_eq!(HardwareModule::parse(&long), None);
    }
}
