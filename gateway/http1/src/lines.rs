//! Where the lines of a head or of a trailer section end, found once however the bytes arrive.
//!
//! Standard: RFC 9112 2.2, read strictly: a line ends in CRLF; LF without CR and CR without LF are
//! faults wherever they stand. What this file does not do: it knows neither limits nor what a line
//! says.

use crate::Error;
use std::ops::Range;

/// A walk over the lines of one section. It remembers how far it looked, so that a section that
/// arrives byte by byte is still looked at once.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Where the line that is being read begins.
    start: usize,
    /// The first byte that was not looked at, or a CR whose LF has not arrived.
    next: usize,
    /// What the caller counts from, for faults: the section begins there.
    base: u64,
}

impl Lines {
    /// A walk whose section begins `base` bytes into what faults are counted from.
    pub(crate) fn from(base: u64) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The next whole line, without its CRLF; `None` when more bytes are needed. `bytes` is the
    /// section from its first byte, longer with each call and otherwise unchanged.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, Error> {
        let Some(found) = memchr::memchr2(b'\r', b'\n', &bytes[self.next..]) else {
            self.next = bytes.len();
            return Ok(None);
        };
        let end = self.next + found;
        let at = self.base + end as u64;
        if bytes[end] == b'\n' {
            return Err(Error::BareLf { at });
        }
        match bytes.get(end + 1) {
            Some(b'\n') => {
                let line = self.start..end;
                self.start = end + 2;
                self.next = self.start;
                Ok(Some(line))
            }
            Some(_) => Err(Error::BareCr { at }),
            None => {
                self.next = end;
                Ok(None)
            }
        }
    }

    /// Where the next line begins: just behind the CRLF of the last one.
    pub(crate) fn position(&self) -> usize {
        self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_without_their_ends() {
        let mut lines = Lines::default();
        let bytes = b"one\r\n\r\ntwo\r";
        assert_eq!(lines.next(bytes), Ok(Some(0..3)));
        assert_eq!(lines.next(bytes), Ok(Some(5..5)));
        assert_eq!(lines.position(), 7);
        assert_eq!(lines.next(bytes), Ok(None));
        assert_eq!(lines.next(b"one\r\n\r\ntwo\r\n"), Ok(Some(7..10)));
    }

    #[test]
    fn a_bare_line_end_is_named_with_its_place() {
        assert_eq!(
            Lines::from(100).next(b"one\ntwo\r\n"),
            Err(Error::BareLf { at: 103 })
        );
        assert_eq!(
            Lines::from(100).next(b"one\rtwo\r\n"),
            Err(Error::BareCr { at: 103 })
        );
        assert_eq!(
            Lines::default().next(b"one\r\r\n"),
            Err(Error::BareCr { at: 3 })
        );
    }

    #[test]
    fn a_section_that_trickles_in_is_looked_at_once() {
        let section = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: bbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n";
        let mut lines = Lines::default();
        let mut looked_at = 0;
        for have in 0..=section.len() {
            while lines.next(&section[..have]).unwrap().is_some() {}
            looked_at += have - lines.next;
        }
        // what is left to look at again after each byte is at most a CR that waits for its LF
        assert_eq!(looked_at, 4);
    }
}
