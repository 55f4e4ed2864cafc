//! Reads the presentation language of TLS: numbers, and vectors with their length in front.
//!
//! Standard: RFC 8446 3.4. A cursor never reads outside the vector that it was made for. What this
//! file does not do: it gives no value a meaning.

use std::ops::RangeInclusive;

/// A fault in the grammar of the hello, placed by bytes from the beginning of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) what: &'static str,
    pub(super) at: usize,
}

/// What kind of fault, which decides the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The bytes do not parse.
    Malformed,
    /// They parse, and mean something that they must not.
    Illegal,
    /// They claim a renegotiation.
    Renegotiation,
}

/// A place in a vector, and what is left of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a message.
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self {
            rest: message,
            at: 0,
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, which stays.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Fault> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.malformed(what));
        };
        self.rest = rest;
        self.at += length;
        Ok(taken)
    }

    /// A `uint8`.
    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Fault> {
        let Some((&number, rest)) = self.rest.split_first() else {
            return Err(self.malformed(what));
        };
        self.rest = rest;
        self.at += 1;
        Ok(number)
    }

    /// A `uint16`.
    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Fault> {
        let Some((number, rest)) = self.rest.split_first_chunk() else {
            return Err(self.malformed(what));
        };
        self.rest = rest;
        self.at += 2;
        Ok(u16::from_be_bytes(*number))
    }

    /// A vector whose length is a `uint8` within `bounds`.
    pub(super) fn vector8(
        &mut self,
        bounds: RangeInclusive<usize>,
        what: &'static str,
    ) -> Result<Cursor<'a>, Fault> {
        let start = *self;
        let length = usize::from(self.u8(what)?);
        self.vector(length, bounds, what)
            .ok_or_else(|| start.malformed(what))
    }

    /// A vector whose length is a `uint16` within `bounds`.
    pub(super) fn vector16(
        &mut self,
        bounds: RangeInclusive<usize>,
        what: &'static str,
    ) -> Result<Cursor<'a>, Fault> {
        let start = *self;
        let length = usize::from(self.u16(what)?);
        self.vector(length, bounds, what)
            .ok_or_else(|| start.malformed(what))
    }

    /// All that is left, as a list of `uint16`.
    pub(super) fn u16s(self, what: &'static str) -> Result<Vec<u16>, Fault> {
        let (pairs, odd) = self.rest.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(self.malformed(what));
        }
        Ok(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
    }

    /// Nothing may be left.
    pub(super) fn end(self, what: &'static str) -> Result<(), Fault> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.malformed(what))
        }
    }

    /// A fault in the grammar, at this place.
    pub(super) fn malformed(&self, what: &'static str) -> Fault {
        self.fault(FaultKind::Malformed, what)
    }

    /// A fault in the meaning, at this place.
    pub(super) fn illegal(&self, what: &'static str) -> Fault {
        self.fault(FaultKind::Illegal, what)
    }

    /// A fault at this place.
    pub(super) fn fault(&self, kind: FaultKind, what: &'static str) -> Fault {
        Fault {
            kind,
            what,
            at: self.at,
        }
    }

    fn vector(
        &mut self,
        length: usize,
        bounds: RangeInclusive<usize>,
        what: &'static str,
    ) -> Option<Cursor<'a>> {
        if !bounds.contains(&length) {
            return None;
        }
        let at = self.at;
        let rest = self.take(length, what).ok()?;
        Some(Cursor { rest, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_does_not_reach_beyond_what_holds_it() {
        let mut outer = Cursor::new(&[0, 2, 5, 6, 7]);
        let mut inner = outer.vector16(1..=9, "outer").unwrap();
        assert_eq!(inner.vector8(0..=9, "inner").unwrap_err().at, 2);
        assert_eq!(outer.u8("next"), Ok(7));
    }

    #[test]
    fn a_vector_outside_its_bounds_is_refused_where_its_length_stands() {
        let mut cursor = Cursor::new(&[9, 0, 4, 1, 2, 3, 4]);
        assert_eq!(cursor.u8("first"), Ok(9));
        let fault = cursor.vector16(0..=3, "list").unwrap_err();
        assert_eq!((fault.at, fault.what), (1, "list"));
    }

    #[test]
    fn a_list_of_numbers_has_no_odd_byte() {
        assert_eq!(
            Cursor::new(&[1, 2, 3, 4]).u16s("list"),
            Ok(vec![0x0102, 0x0304])
        );
        assert!(Cursor::new(&[1, 2, 3]).u16s("list").is_err());
    }
}
