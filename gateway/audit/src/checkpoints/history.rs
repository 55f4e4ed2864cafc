//! The history: every checkpoint that was ever signed, in order, in one file a day.
//!
//! ```text
//! checkpoints/<UTC day> = (note  empty line) ...
//! note                  = origin, size, root, [previous <link>], [clock <stamp>]  empty line  signatures
//! ```
//!
//! Files are only ever appended to. Sizes rise. Each checkpoint but the first names the one before it
//! in an extension line: SHA-256 over its text, without its signatures. So a checkpoint, or a day of
//! them, cannot be taken out unseen. Another line says when it was signed, and how the clock stood
//! (`clock::Stamp`); logs of before do without.
//!
//! Here: how records are split and how days are named. Whether a note is signed is for others to say.

use std::io::{self, BufRead};

use crate::digest;
use crate::event::Time;
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::hash::Hash;
use crate::merkle::note::{Note, Signature};

/// The directory of the history, in the log's.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// No record is longer than this, bytes: a checkpoint with all of its extension lines and some
/// signatures. What is longer is none.
pub(crate) const MAX_RECORD: usize = 16 * 1024;

/// What stands next in a file of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A record that is whole in form: the bytes of a note.
    Whole(Vec<u8>),
    /// Bytes that are no whole record.
    Torn,
    /// Nothing more.
    End,
}

/// Reads the records of one file. Holds one in memory.
#[derive(Debug)]
pub(crate) struct Records<R> {
    from: R,
    at: u64,
}

impl<R: BufRead> Records<R> {
    /// From the start of a file.
    pub(crate) fn new(from: R) -> Records<R> {
        Records { from, at: 0 }
    }

    /// Where the next record begins, bytes.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Whether nothing more stands in the file.
    pub(crate) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.from.fill_buf()?.is_empty())
    }

    /// The next record. Behind one that is torn nothing can be told apart.
    pub(crate) fn next(&mut self) -> io::Result<Record> {
        let mut bytes = Vec::new();
        let mut blank = 0;
        loop {
            let room = MAX_RECORD - bytes.len();
            let read = io::Read::take(&mut self.from, room as u64).read_until(b'\n', &mut bytes)?;
            if bytes.is_empty() {
                return Ok(Record::End);
            }
            if read == 0 || !bytes.ends_with(b"\n") {
                return Ok(Record::Torn);
            }
            blank += usize::from(read == 1);
            if blank == 2 {
                self.at += bytes.len() as u64;
                bytes.pop();
                return Ok(Record::Whole(bytes));
            }
        }
    }
}

/// The record of a note.
pub(crate) fn record(note: &str) -> Vec<u8> {
    format!("{note}\n").into_bytes()
}

/// The extension line that names a checkpoint as the one before.
pub(crate) fn previous(link: &Hash) -> String {
    format!("{PREVIOUS}{link}")
}

/// What a checkpoint is named by in the one behind it.
pub(crate) fn link(text: &str) -> Hash {
    Hash::new(digest::sha256(&[text.as_bytes()]))
}

/// Whether `checkpoint` names, as the one before it, the one of this link; or none, if there is none.
pub(crate) fn follows(checkpoint: &Checkpoint, before: Option<&Hash>) -> bool {
    let mut lines = checkpoint.extensions().iter();
    let named = lines.find_map(|line| line.strip_prefix(PREVIOUS));
    match (named, before) {
        (Some(named), Some(before)) => named.parse() == Ok(*before),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The names and ids of the keys that a note claims, for people to read.
pub(crate) fn signers(note: &Note) -> String {
    let key = |signature: &Signature| format!("{}+{}", signature.name(), signature.id());
    let keys: Vec<_> = note.signatures().iter().map(key).collect();
    keys.join(", ")
}

const PREVIOUS: &str = "previous ";

/// The name of the file for this time: its day in UTC.
pub(crate) fn day(now: Time) -> String {
    let mut day = now.to_string();
    day.truncate(DAY);
    day
}

/// Whether a file of this name can be one of the history.
pub(crate) fn is_day(name: &str) -> bool {
    let form = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    name.len() == DAY && name.bytes().enumerate().all(form)
}

/// As long as `2026-01-31`.
const DAY: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, Record, u64) {
        let mut records = Records::new(bytes);
        let mut found = Vec::new();
        loop {
            match records.next().unwrap() {
                Record::Whole(note) => found.push(note),
                end => return (found, end, records.position()),
            }
        }
    }

    const NOTES: [&str; 2] = [
        "o\n1\nr\n\n\u{2014} o sig\n",
        "o\n2\nr\ne\n\n\u{2014} o sig\n\u{2014} p sig\n",
    ];

    #[test]
    fn records_read_back_and_a_cut_one_is_torn_wherever_it_is_cut() {
        let history: Vec<u8> = NOTES.iter().flat_map(|note| record(note)).collect();
        let notes: Vec<_> = NOTES.iter().map(|note| note.as_bytes().to_vec()).collect();
        assert_eq!(
            all(&history),
            (notes.clone(), Record::End, history.len() as u64)
        );
        let first = record(NOTES[0]).len();
        for cut in 0..history.len() {
            let whole = usize::from(cut >= first);
            let end = if cut == 0 || cut == first {
                Record::End
            } else {
                Record::Torn
            };
            let position = if whole == 1 { first as u64 } else { 0 };
            let expected = (notes[..whole].to_vec(), end, position);
            assert_eq!(all(&history[..cut]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_never_ends_is_torn_and_not_swallowed() {
        let (found, end, position) = all(&vec![0; 3 * MAX_RECORD]);
        assert_eq!((found.len(), end, position), (0, Record::Torn, 0));
        let lines = "line\n".repeat(MAX_RECORD);
        assert_eq!(all(lines.as_bytes()).1, Record::Torn);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = all(&bytes);
        }
    }

    #[test]
    fn days_are_named_so_that_names_sort_as_days_do() {
        assert_eq!(day(Time(1_700_000_000_000_000_000)), "2023-11-14");
        assert_eq!(day(Time(u64::MAX)), "2554-07-21");
        assert!(is_day("2023-11-14"));
        for wrong in ["", "2023-11-1", "2023-11-144", "2023x11-14", "20231114--"] {
            assert!(!is_day(wrong), "{wrong}");
        }
    }
}
