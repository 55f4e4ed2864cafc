//! A scanner of FHIR JSON and NDJSON that takes pieces of any size and keeps no more than a bounded
//! state.
//!
//! ```text
//! bytes ──► utf8 ──► lexer ──► reader ──► Found
//!        whole       tokens    what they mean,
//!        characters            by the key above them
//! ```
//!
//! Standard: RFC 8259 (read strictly: what one reader takes and another refuses is unknown here);
//! HL7 FHIR R4, JSON representation.

mod key;

mod store;

mod reader;

mod lexer;

mod utf8;

use self::lexer::Lexer;
use self::reader::Reader;
use self::utf8::Whole;
use crate::found::{Completeness, Found, Limits, Reason};

/// Finds whom contents concern, while they pass.
///
/// The contents are one resource, or several of which each begins on a line of its own. With the
/// first fault it stops to read: what was found before is kept, and the rest is `Unknown`.
///
/// Where contents pass in windows, [`Scanner::take`] gives what is new in each; a patient may then
/// be named in several. What stands in a window before the name of its patient is named by a later
/// one: [`Scanner::is_between_resources`] says where nothing is owed.
pub struct Scanner {
    whole: Whole,
    lexer: Lexer,
    reader: Reader,
    failed: bool,
}

impl Scanner {
    /// What a scanner holds in bytes, beside what it found, however long the contents are.
    pub const STATE_BYTES: usize = size_of::<Scanner>() + Lexer::KEPT + Reader::KEPT;

    /// A scanner that has read nothing.
    pub fn new(limits: Limits) -> Scanner {
        Scanner {
            whole: Whole::default(),
            lexer: Lexer::new(),
            reader: Reader::new(limits),
            failed: false,
        }
    }

    /// Reads a piece of the contents. Pieces may end anywhere, within a character or an escape too.
    pub fn push(&mut self, piece: &[u8]) {
        if self.failed {
            return;
        }
        let (lexer, reader) = (&mut self.lexer, &mut self.reader);
        let read = self.whole.push(piece, |text| lexer.push(text, reader));
        if let Err(reason) = read {
            self.fail(reason);
        }
    }

    /// What was found since the beginning, or since it was taken the last time.
    pub fn found(&self) -> &Found {
        self.reader.found()
    }

    /// Takes out what was found. What is unknown stays so for all that follows.
    pub fn take(&mut self) -> Found {
        self.reader.take()
    }

    /// Whether all that was read so far has been named: no resource is open.
    pub fn is_between_resources(&self) -> bool {
        !self.failed && self.lexer.is_between() && self.whole.is_between()
    }

    /// Says that the contents ended, and takes out what was found.
    pub fn finish(mut self) -> Found {
        if !self.failed {
            match self.whole.finish().and_then(|()| self.lexer.finish()) {
                Ok(()) => self.reader.finish(),
                Err(reason) => self.fail(reason),
            }
        }
        self.reader.take()
    }

    /// Whether the names found so far are all that stand in what was read.
    pub fn completeness(&self) -> Completeness {
        self.found().completeness()
    }

    fn fail(&mut self, reason: Reason) {
        self.failed = true;
        self.reader.unknown(reason);
    }
}
