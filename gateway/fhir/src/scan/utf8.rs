//! Whole characters of a stream in pieces: UTF-8 is checked here and nowhere else.
//!
//! Standard: RFC 3629, RFC 8259 8.1 (a byte order mark at the start may be ignored).

use crate::found::Reason;

/// The beginning of a character whose end is still to come, and whether anything came before.
#[derive(Default)]
pub(crate) struct Whole {
    begun: [u8; 3],
    length: usize,
    started: bool,
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

impl Whole {
    /// Hands on the characters that are whole, in at most two texts.
    ///
    /// # Errors
    /// What `take` says, or that this is not UTF-8; the characters before were handed on.
    pub(crate) fn push(
        &mut self,
        mut piece: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        // One byte at a time until the character that was begun is whole, which are three at most.
        while self.length > 0 {
            let Some((byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            let mut character = [0; 4];
            character[..self.length].copy_from_slice(&self.begun[..self.length]);
            character[self.length] = *byte;
            let character = &character[..=self.length];
            match whole(character) {
                Ok(0) => self.begin(character),
                Ok(_) => {
                    self.length = 0;
                    take(self.without_mark(character))?;
                }
                Err(_) => return Err(Reason::NotUtf8),
            }
        }
        let (length, valid) = match whole(piece) {
            Ok(length) => (length, true),
            Err(length) => (length, false),
        };
        let (text, rest) = piece.split_at(length);
        if !text.is_empty() {
            take(self.without_mark(text))?;
        }
        if !valid {
            return Err(Reason::NotUtf8);
        }
        self.begin(rest);
        Ok(())
    }

    /// Says that the stream ended.
    ///
    /// # Errors
    /// It ended within a character.
    pub(crate) fn finish(&self) -> Result<(), Reason> {
        match self.length {
            0 => Ok(()),
            _ => Err(Reason::NotUtf8),
        }
    }

    /// Whether no character is begun.
    pub(crate) fn is_between(&self) -> bool {
        self.length == 0
    }

    fn begin(&mut self, bytes: &[u8]) {
        self.begun[..bytes.len()].copy_from_slice(bytes);
        self.length = bytes.len();
    }

    fn without_mark<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        if std::mem::replace(&mut self.started, true) {
            return text;
        }
        text.strip_prefix(BYTE_ORDER_MARK.as_bytes())
            .unwrap_or(text)
    }
}

/// How many bytes are whole characters, when fewer than four are left that may become one; otherwise
/// how many come before what never can.
fn whole(bytes: &[u8]) -> Result<usize, usize> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(error) => Err(error.valid_up_to()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Result<(), Reason>) {
        let (mut whole, mut text) = (Whole::default(), Vec::new());
        for piece in pieces {
            let read = whole.push(piece, |part| {
                assert!(str::from_utf8(part).is_ok());
                text.extend_from_slice(part);
                Ok(())
            });
            if read.is_err() {
                return (text, read);
            }
        }
        let end = whole.finish();
        (text, end)
    }

    #[test]
    fn characters_are_handed_on_whole_however_they_are_cut() {
        let text = "a\u{e4}\u{20ac}\u{1f600}z".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(read(&pieces), (text.to_vec(), Ok(())));
            }
        }
    }

    #[test]
    fn what_is_before_a_fault_is_handed_on_however_it_is_cut() {
        for bytes in [&b"ab\xff"[..], b"ab\xe2\x82A", b"ab\xc3", b"ab\xed\xa0\x80"] {
            for cut in 0..=bytes.len() {
                let (text, read) = read(&[&bytes[..cut], &bytes[cut..]]);
                assert_eq!(
                    (text, read),
                    (b"ab".to_vec(), Err(Reason::NotUtf8)),
                    "{bytes:?}"
                );
            }
        }
    }

    #[test]
    fn one_byte_order_mark_at_the_start_is_left_out() {
        let text = "\u{feff}\u{feff}x".as_bytes();
        for cut in 0..=text.len() {
            assert_eq!(read(&[&text[..cut], &text[cut..]]).0, text[3..], "{cut}");
        }
    }
}
