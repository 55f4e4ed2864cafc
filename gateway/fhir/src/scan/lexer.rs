//! Tokens of JSON, cut anywhere. It tells the reader what begins, ends and is called how, and copies
//! a text only if the reader wants it and it does not lie whole in the piece.
//!
//! Standard: RFC 8259, strictly; documents of which each begins on a line of its own (NDJSON).

use zeroize::Zeroizing;

use super::key::Key;
use super::reader::{Field, Reader};
use crate::found::Reason;
use crate::text;

/// Where in a document the next byte stands.
pub(crate) struct Lexer {
    place: Place,
    /// Whether a line ended since the last document.
    line_ended: bool,
    text: Text,
    kept: Zeroizing<Vec<u8>>,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A document, or the end.
    Between,
    /// A value.
    Value,
    /// A value or the end of the array.
    FirstValue,
    /// A key or the end of the object.
    FirstKey,
    /// A key.
    Key,
    /// What divides a key from its value.
    Colon,
    /// A comma or the end of what is open.
    After,
    /// More of a text.
    Text,
    /// What was escaped.
    Escape,
    /// So many digits of an escape, and their value so far.
    Digits(u8, u16),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    /// More of a number.
    Number(Number),
}

/// The part of a number that was read last (RFC 8259 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

/// What becomes of the text that is being read.
#[derive(Debug, Clone, Copy)]
struct Text {
    target: Target,
    /// The first half of a character that was escaped in two.
    half: Option<u16>,
    /// Longer than is kept, or no text at all.
    lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Key,
    Field(Field),
    Nobody,
}

impl Lexer {
    /// Bytes that are kept of a text.
    pub(crate) const KEPT: usize = 512;

    pub(crate) fn new() -> Lexer {
        Lexer {
            place: Place::Between,
            line_ended: true,
            text: Text {
                target: Target::Nobody,
                half: None,
                lost: false,
            },
            kept: Zeroizing::new(Vec::with_capacity(Self::KEPT)),
        }
    }

    /// Reads more characters, which are whole.
    ///
    /// # Errors
    /// Why no more can be read.
    pub(crate) fn push(&mut self, bytes: &[u8], reader: &mut Reader) -> Result<(), Reason> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.place {
                Place::Text => self.text(rest, reader)?,
                Place::Escape => {
                    self.escape(byte)?;
                    after
                }
                Place::Digits(count, value) => {
                    self.digit(byte, count, value)?;
                    after
                }
                Place::Word(word) => {
                    self.word(byte, word)?;
                    after
                }
                Place::Number(part) => match next_of_number(part, byte) {
                    Some(part) => {
                        self.place = Place::Number(part);
                        after
                    }
                    None => {
                        end_of_number(part)?;
                        self.place = Place::After;
                        rest
                    }
                },
                Place::Between => {
                    self.between(byte, reader)?;
                    after
                }
                _ if is_space(byte) => skip_spaces(after),
                _ => {
                    self.structure(byte, reader)?;
                    after
                }
            };
        }
        Ok(())
    }

    /// Says that there is no more.
    ///
    /// # Errors
    /// The end came early.
    pub(crate) fn finish(&self) -> Result<(), Reason> {
        if self.is_between() {
            Ok(())
        } else {
            Err(Reason::Truncated)
        }
    }

    /// Whether no document is open.
    pub(crate) fn is_between(&self) -> bool {
        self.place == Place::Between
    }

    fn between(&mut self, byte: u8, reader: &mut Reader) -> Result<(), Reason> {
        match byte {
            b'\n' => self.line_ended = true,
            b' ' | b'\t' | b'\r' => {}
            _ if !self.line_ended => return Err(Reason::Syntax),
            b'{' | b'[' => {
                self.line_ended = false;
                self.value(byte, reader)?;
            }
            // Any other value is JSON, and no resource.
            b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => return Err(Reason::NotFhir),
            _ => return Err(Reason::Syntax),
        }
        Ok(())
    }

    /// A byte that is neither a space nor within a text, word or number.
    fn structure(&mut self, byte: u8, reader: &mut Reader) -> Result<(), Reason> {
        match (self.place, byte) {
            (Place::FirstKey | Place::Key, b'"') => {
                self.begin(Target::Key);
                Ok(())
            }
            (Place::Colon, b':') => {
                self.place = Place::Value;
                Ok(())
            }
            (Place::After, b',') => {
                self.place = if reader.in_object() {
                    Place::Key
                } else {
                    Place::Value
                };
                Ok(())
            }
            (Place::After | Place::FirstKey, b'}') if reader.in_object() => {
                self.close(reader);
                Ok(())
            }
            (Place::After | Place::FirstValue, b']') if !reader.in_object() => {
                self.close(reader);
                Ok(())
            }
            (Place::Value | Place::FirstValue, byte) => self.value(byte, reader),
            _ => Err(Reason::Syntax),
        }
    }

    fn value(&mut self, byte: u8, reader: &mut Reader) -> Result<(), Reason> {
        self.place = match byte {
            b'{' => {
                reader.open(true)?;
                Place::FirstKey
            }
            b'[' => {
                reader.open(false)?;
                Place::FirstValue
            }
            b'"' => {
                let target = reader.wants().map_or(Target::Nobody, Target::Field);
                self.begin(target);
                return Ok(());
            }
            b't' => Place::Word(b"rue"),
            b'f' => Place::Word(b"alse"),
            b'n' => Place::Word(b"ull"),
            b'-' => Place::Number(Number::Minus),
            b'0' => Place::Number(Number::Zero),
            b'1'..=b'9' => Place::Number(Number::Integer),
            _ => return Err(Reason::Syntax),
        };
        Ok(())
    }

    fn close(&mut self, reader: &mut Reader) {
        reader.close();
        self.place = if reader.is_root() {
            Place::Between
        } else {
            Place::After
        };
    }

    fn begin(&mut self, target: Target) {
        self.place = Place::Text;
        self.kept.clear();
        self.text = Text {
            target,
            half: None,
            lost: false,
        };
    }

    /// Reads on in a text, and returns what stands behind what was read.
    fn text<'a>(&mut self, bytes: &'a [u8], reader: &mut Reader) -> Result<&'a [u8], Reason> {
        let plain = plain(bytes);
        let (part, rest) = bytes.split_at(plain);
        let Some((stop, after)) = rest.split_first() else {
            self.keep(part);
            return Ok(rest);
        };
        match stop {
            b'"' => {
                self.end(part, reader);
                Ok(after)
            }
            b'\\' => {
                self.keep(part);
                self.place = Place::Escape;
                Ok(after)
            }
            // A control character (RFC 8259 7).
            _ => Err(Reason::Syntax),
        }
    }

    /// Ends a text, of which this is the last part.
    fn end(&mut self, part: &[u8], reader: &mut Reader) {
        if self.text.target == Target::Nobody {
            self.place = Place::After;
            return;
        }
        // Mostly the last part is all of it, and nothing is copied.
        let whole = if self.kept.is_empty() && self.text.half.is_none() && !self.text.lost {
            Some(part).filter(|part| part.len() <= Self::KEPT)
        } else {
            self.keep(part);
            self.lose_half();
            (!self.text.lost).then_some(self.kept.as_slice())
        };
        match self.text.target {
            Target::Key => {
                reader.key(whole.map_or(Key::Other, Key::of));
                self.place = Place::Colon;
            }
            Target::Field(field) => {
                // Parts are whole characters, and escapes are made to some.
                match whole.and_then(|text| str::from_utf8(text).ok()) {
                    Some(text) => reader.text(field, text),
                    None => reader.lost(field),
                }
                self.place = Place::After;
            }
            Target::Nobody => self.place = Place::After,
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let limit = match self.text.target {
            Target::Nobody => return,
            Target::Key => Key::LONGEST,
            Target::Field(_) => Self::KEPT,
        };
        if part.is_empty() {
            return;
        }
        self.lose_half();
        if self.kept.len() + part.len() <= limit {
            self.kept.extend_from_slice(part);
        } else {
            self.text.lost = true;
        }
    }

    /// Half a character is none.
    fn lose_half(&mut self) {
        if self.text.half.take().is_some() {
            self.text.lost = true;
        }
    }

    fn escape(&mut self, byte: u8) -> Result<(), Reason> {
        let character = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.place = Place::Digits(4, 0);
                return Ok(());
            }
            _ => return Err(Reason::Syntax),
        };
        self.keep(&[character]);
        self.place = Place::Text;
        Ok(())
    }

    fn digit(&mut self, byte: u8, count: u8, value: u16) -> Result<(), Reason> {
        let digit = text::hex(byte).ok_or(Reason::Syntax)?;
        let value = value << 4 | u16::from(digit);
        if count > 1 {
            self.place = Place::Digits(count - 1, value);
            return Ok(());
        }
        self.place = Place::Text;
        if self.text.target != Target::Nobody {
            self.unit(value);
        }
        Ok(())
    }

    /// A unit of UTF-16 that was escaped (RFC 8259 7).
    fn unit(&mut self, unit: u16) {
        let half = self.text.half.take();
        let units = half.into_iter().chain([unit]);
        let mut characters = char::decode_utf16(units);
        match (characters.next(), characters.next()) {
            (Some(Ok(character)), None) => {
                self.keep(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            (Some(Err(_)), None) if half.is_none() && unit < 0xdc00 => self.text.half = Some(unit),
            _ => self.text.lost = true,
        }
    }

    fn word(&mut self, byte: u8, word: &'static [u8]) -> Result<(), Reason> {
        match word.split_first() {
            Some((first, rest)) if *first == byte => {
                self.place = if rest.is_empty() {
                    Place::After
                } else {
                    Place::Word(rest)
                };
                Ok(())
            }
            _ => Err(Reason::Syntax),
        }
    }
}

/// The part of a number that this byte belongs to; `None` when the number ended before it.
fn next_of_number(part: Number, byte: u8) -> Option<Number> {
    Some(match (part, byte) {
        (Number::Minus, b'0') => Number::Zero,
        (Number::Minus, b'1'..=b'9') | (Number::Integer, b'0'..=b'9') => Number::Integer,
        (Number::Zero | Number::Integer, b'.') => Number::Point,
        (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
        (Number::Zero | Number::Integer | Number::Fraction, b'e' | b'E') => Number::Exponent,
        (Number::Exponent, b'+' | b'-') => Number::Sign,
        (Number::Exponent | Number::Sign | Number::Power, b'0'..=b'9') => Number::Power,
        _ => return None,
    })
}

fn end_of_number(part: Number) -> Result<(), Reason> {
    match part {
        Number::Zero | Number::Integer | Number::Fraction | Number::Power => Ok(()),
        Number::Minus | Number::Point | Number::Exponent | Number::Sign => Err(Reason::Syntax),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| is_space(**byte)).count();
    &bytes[spaces..]
}

/// How many bytes come before a quotation mark, a backslash or a control character: eight at a time,
/// since most of what passes is text.
fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let found = stops(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let found = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
    at + found.unwrap_or(rest.len())
}

/// The high bit of each byte at which a text stops; bits above the lowest may be set without cause.
fn stops(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ u64::from_ne_bytes([b'"'; 8]));
    let backslash = zero(word ^ u64::from_ne_bytes([b'\\'; 8]));
    let control = word.wrapping_sub(u64::from_ne_bytes([0x20; 8])) & !word;
    (quote | backslash | control) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stops_where_it_stops_one_byte_at_a_time() {
        for byte in 0..=255_u8 {
            for before in 0..20 {
                for filler in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                    let mut bytes = vec![filler; 24];
                    bytes[before] = byte;
                    let slow = bytes
                        .iter()
                        .position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20);
                    assert_eq!(plain(&bytes), slow.unwrap_or(24), "{byte} at {before}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_those_of_rfc_8259() {
        let is_number = |text: &str| {
            let mut lexer = Lexer::new();
            let mut reader = Reader::new(crate::found::Limits::default());
            let text = format!("[{text}]");
            lexer.push(text.as_bytes(), &mut reader).is_ok() && lexer.is_between()
        };
        for number in ["0", "-0", "10", "1.5", "-1.50e+10", "0e0", "1E-2"] {
            assert!(is_number(number), "{number}");
        }
        for number in [
            "01", "+1", ".5", "1.", "-", "1e", "1e+", "0x1", "1.e1", "--1", "NaN",
        ] {
            assert!(!is_number(number), "{number}");
        }
    }
}
