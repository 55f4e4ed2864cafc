//! DER (X.690 section 10) as far as OCSP needs it: definite, minimal lengths, low tag numbers.
//!
//! The reader borrows and never allocates; what is not DER is an error that names the part. It does
//! not know what the values mean.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::error::Malformed;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag `[number]` of a constructed value.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The tag `[number]` of a primitive value.
pub(crate) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// Values one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// What is read, for the error.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether what is left are these octets.
    pub(crate) fn is(&self, octets: &[u8]) -> bool {
        self.rest == octets
    }

    /// The next value, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Value<'a>, Malformed> {
        let (value, rest) = split(self.rest).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(value)
    }

    /// The next value, which has this tag.
    pub(crate) fn value(&mut self, tag: u8) -> Result<Value<'a>, Malformed> {
        let value = self.any()?;
        if value.tag == tag {
            Ok(value)
        } else {
            Err(self.malformed())
        }
    }

    /// The content of the next value, which has this tag.
    pub(crate) fn content(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        Ok(self.value(tag)?.content)
    }

    /// What is inside the next value, which has this tag.
    pub(crate) fn inside(&mut self, tag: u8, what: &'static str) -> Result<Reader<'a>, Malformed> {
        Ok(Reader::new(self.content(tag)?, what))
    }

    /// What is inside the next value, if it has this tag.
    pub(crate) fn optional(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<Option<Reader<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) {
            self.inside(tag, what).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A time in the one form that RFC 5280 section 4.1.2.5.2 leaves: `YYYYMMDDHHMMSSZ`.
    pub(crate) fn time(&mut self) -> Result<Timestamp, Malformed> {
        let text = self.content(GENERALIZED_TIME)?;
        read_time(text).ok_or(self.malformed())
    }

    /// Nothing follows.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    pub(crate) fn malformed(&self) -> Malformed {
        Malformed { what: self.what }
    }
}

/// The one value that `bytes` are.
pub(crate) fn whole<'a>(
    bytes: &'a [u8],
    tag: u8,
    what: &'static str,
) -> Result<Reader<'a>, Malformed> {
    let mut reader = Reader::new(bytes, what);
    let inside = reader.inside(tag, what)?;
    reader.end()?;
    Ok(inside)
}

fn split(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    const HIGH_TAG_NUMBER: u8 = 0x1f;
    let (&tag, after_tag) = bytes.split_first()?;
    let (&first, after_first) = after_tag.split_first()?;
    if tag & HIGH_TAG_NUMBER == HIGH_TAG_NUMBER {
        return None;
    }
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81 => match after_first.first()? {
            0..=0x7f => return None,
            &octet => (usize::from(octet), 3),
        },
        0x82 => match after_first.first_chunk::<2>()? {
            [0, _] => return None,
            &octets => (usize::from(u16::from_be_bytes(octets)), 4),
        },
        // Indefinite, or longer than anything that is read here.
        _ => return None,
    };
    let end = header + length;
    let value = Value {
        tag,
        whole: bytes.get(..end)?,
        content: bytes.get(header..end)?,
    };
    Some((value, &bytes[end..]))
}

fn read_time(text: &[u8]) -> Option<Timestamp> {
    let (&last, digits) = text.split_last()?;
    if digits.len() != 14 || last != b'Z' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        digits[range]
            .iter()
            .fold(0_i16, |sum, digit| 10 * sum + i16::from(digit - b'0'))
    };
    let small = |range| i8::try_from(number(range)).ok();
    DateTime::new(
        number(0..4),
        small(4..6)?,
        small(6..8)?,
        small(8..10)?,
        small(10..12)?,
        small(12..14)?,
        0,
    )
    .ok()
    .and_then(|time| TimeZone::UTC.to_timestamp(time).ok())
}

/// A value of these parts.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    match u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes() {
        [0, 0, 0, short @ 0..=0x7f] => out.push(short),
        [0, 0, 0, octet] => out.extend([0x81, octet]),
        [0, 0, high, low] => out.extend([0x82, high, low]),
        [0, a, b, c] => out.extend([0x83, a, b, c]),
        [a, b, c, d] => out.extend([0x84, a, b, c, d]),
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A time, its fraction of a second cut off. Years beyond 9999 do not exist in [`Timestamp`].
pub(crate) fn time(time: Timestamp) -> Vec<u8> {
    let at = TimeZone::UTC.to_datetime(time);
    // Before the year 0 there is nothing to write; a clock that says so is refused by callers.
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        at.year().max(0),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    value(GENERALIZED_TIME, &[text.as_bytes()])
}

/// A positive INTEGER of these big-endian octets.
pub(crate) fn unsigned(octets: &[u8]) -> Vec<u8> {
    match octets.first() {
        Some(0x80..) => value(INTEGER, &[&[0], octets]),
        Some(_) => value(INTEGER, &[octets]),
        None => value(INTEGER, &[&[0]]),
    }
}

/// The shortest big-endian octets of a positive INTEGER.
pub(crate) fn read_unsigned(content: &[u8]) -> Option<&[u8]> {
    match content {
        [0, 0x80..=0xff, ..] => Some(&content[1..]),
        [1..=0x7f, ..] => Some(content),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<(u8, usize)> {
        split(bytes)
            .map(|(value, rest)| (value.content.len().try_into().unwrap_or(255), rest.len()))
    }

    #[test]
    fn lengths_are_definite_and_minimal() {
        assert_eq!(read(&[4, 1, 7, 9]), Some((1, 1)));
        assert_eq!(read(&[4, 0]), Some((0, 0)));
        let long = [vec![4, 0x81, 0x80], vec![0; 128]].concat();
        assert_eq!(read(&long), Some((128, 0)));
        for wrong in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 7],
            &[4, 0x82, 0, 1, 7],
            &[4, 0x83, 0, 0, 1, 7],
            &[0x1f, 1, 0],
            &[4, 0xff, 0],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn lengths_that_are_written_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let written = value(OCTET_STRING, &[&vec![7; length]]);
            let (value, rest) = split(&written).unwrap();
            assert_eq!((value.content.len(), rest.len()), (length, 0));
            assert_eq!(value.whole, written);
        }
    }

    #[test]
    fn times_have_one_form() {
        let time: Timestamp = "2026-11-22T21:00:09Z".parse().unwrap();
        assert_eq!(super::time(time), b"\x18\x0f20261122210009Z");
        assert_eq!(read_time(b"20261122210009Z"), Some(time));
        for wrong in [
            &b""[..],
            b"20261122210009",
            b"202611222100Z",
            b"20261122210009.5Z",
            b"20261122210009+0000",
            b"20261322210009Z",
            b"20260229000000Z",
            b"20261122210060Z",
            b"2026112221000xZ",
        ] {
            assert_eq!(read_time(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn integers_are_positive_and_minimal() {
        for (content, octets) in [
            (&[1][..], &[1][..]),
            (&[0x7f, 0xff], &[0x7f, 0xff]),
            (&[0, 0x80], &[0x80]),
        ] {
            assert_eq!(read_unsigned(content), Some(octets));
            assert_eq!(unsigned(octets)[2..], *content);
        }
        for wrong in [
            &[][..],
            &[0],
            &[0, 1],
            &[0x80],
            &[0xff, 0xff],
            &[0, 0, 0x80],
        ] {
            assert_eq!(read_unsigned(wrong), None, "{wrong:?}");
        }
    }
}
