//! The logs that a witness cosigns, as the operator lists them.
//!
//! ```text
//! # a comment
//! clinic.example/audit+033de0ae+Ac4z...                a key of the log that bears its name
//! clinic.example/audit other.example/k+8d66cf3f+Aa...  a key of the log that is named before it
//! ```
//!
//! A log may have several keys, a line each: while its key is changed, either signature counts.

use std::collections::BTreeMap;
use std::fmt;

use crate::merkle::checkpoint::MAX_ORIGIN_BYTES;
use crate::merkle::key::{KeyError, Verifier};

/// The keys of each log, by its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs(BTreeMap<String, Vec<Verifier>>);

impl Logs {
    /// No list is longer than this, bytes.
    pub const MAX_BYTES: usize = 1024 * 1024;

    /// No list names more keys than this.
    pub const MAX_KEYS: usize = 1024;

    /// Reads a list.
    ///
    /// # Errors
    /// [`LogsError`], with the line.
    pub fn parse(text: &[u8]) -> Result<Logs, LogsError> {
        if text.len() > Logs::MAX_BYTES {
            return Err(LogsError::TooMany);
        }
        let text = std::str::from_utf8(text).map_err(|_| LogsError::NotText)?;
        let mut logs = Logs::default();
        let mut count = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            count += 1;
            if count > Logs::MAX_KEYS {
                return Err(LogsError::TooMany);
            }
            let (origin, key) = match line.rsplit_once(char::is_whitespace) {
                Some((origin, key)) => (Some(origin.trim_end()), key),
                None => (None, line),
            };
            let key: Verifier = key
                .parse()
                .map_err(|error| LogsError::Key { number, error })?;
            let origin = origin.unwrap_or(key.name().as_str());
            if origin.len() > MAX_ORIGIN_BYTES || origin.contains(char::is_control) {
                return Err(LogsError::Origin { number });
            }
            let keys = logs.0.entry(origin.to_owned()).or_default();
            let is_known = |known: &Verifier| known.name() == key.name() && known.id() == key.id();
            if keys.iter().any(is_known) {
                return Err(LogsError::Twice { number });
            }
            keys.push(key);
        }
        if logs.0.is_empty() {
            return Err(LogsError::Empty);
        }
        Ok(logs)
    }

    /// The keys of a log, one or more; nothing when it is none of these.
    #[must_use]
    pub fn keys(&self, origin: &str) -> Option<&[Verifier]> {
        self.0.get(origin).map(Vec::as_slice)
    }

    /// The origins.
    pub fn origins(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Why a list of logs is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogsError {
    /// Not text at all.
    NotText,
    /// Too long.
    TooMany,
    /// It names no log.
    Empty,
    /// A line holds no public key.
    Key {
        /// Which, from 1.
        number: usize,
        /// Why.
        error: KeyError,
    },
    /// What stands before the key is no name of a log.
    Origin {
        /// In which line, from 1.
        number: usize,
    },
    /// A key, or one of the same name and id, stands above already.
    Twice {
        /// In which line, from 1.
        number: usize,
    },
}

impl fmt::Display for LogsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogsError::NotText => f.write_str("not text"),
            LogsError::TooMany => write!(f, "it names more than {} keys", Logs::MAX_KEYS),
            LogsError::Empty => f.write_str("it names no log"),
            LogsError::Key { number, error } => write!(f, "line {number}: {error}"),
            LogsError::Origin { number } => {
                write!(f, "line {number}: what stands before the key names no log")
            }
            LogsError::Twice { number } => {
                write!(f, "line {number}: this key stands above already")
            }
        }
    }
}

impl std::error::Error for LogsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::key::Signer;
    use proptest::prelude::*;

    fn key(name: &str, seed: u8) -> Verifier {
        let signer = Signer::new(name.parse().unwrap(), &[seed; 32]).unwrap();
        signer.verifier().clone()
    }

    #[test]
    fn a_log_is_named_by_its_key_or_before_it_and_may_have_several() {
        let (one, two, other) = (key("a/log", 1), key("k", 2), key("b/log", 3));
        let text = format!("# logs\n\n{one}\n  a/log\t {two}  \r\n{other}\ntwo words {other}\n");
        let logs = Logs::parse(text.as_bytes()).unwrap();
        assert_eq!(logs.keys("a/log"), Some(&[one, two][..]));
        assert_eq!(logs.keys("b/log"), Some(std::slice::from_ref(&other)));
        assert_eq!(logs.keys("two words"), Some(&[other][..]));
        assert_eq!(logs.keys("k"), None);
        assert_eq!(logs.origins().len(), 3);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let one = key("a/log", 1).to_string();
        let again = format!("{one}\n# x\na/log {one}");
        let no_key = KeyError::Form;
        for (text, error) in [
            ("", LogsError::Empty),
            ("# only\n\n", LogsError::Empty),
            (
                "\nx",
                LogsError::Key {
                    number: 2,
                    error: no_key,
                },
            ),
            (&again, LogsError::Twice { number: 3 }),
            (
                &format!("{} {one}", "o".repeat(256)),
                LogsError::Origin { number: 1 },
            ),
        ] {
            assert_eq!(Logs::parse(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(Logs::parse(b"\xff"), Err(LogsError::NotText));
        let long = vec![b'#'; Logs::MAX_BYTES + 1];
        assert_eq!(Logs::parse(&long), Err(LogsError::TooMany));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(text: Vec<u8>) {
            prop_assert!(Logs::parse(&text).is_err());
        }
    }
}
