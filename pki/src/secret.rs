//! Passphrases and PINs: where they come from, and how they stay out of sight.
//!
//! A secret is named by its source, never given on the command line or in a settings file. What was
//! read is wiped from memory when it is dropped, and has no way to be printed. Four sources: a file
//! of the owner alone, a variable of the environment, a credential of systemd, and a person at a
//! terminal. What the secret opens is `key`'s business.

mod typed;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::files::{FileError, read_bounded, read_secret};

/// Longest secret, in octets.
pub const MAX_SECRET_OCTETS: usize = 1024;

/// Shortest passphrase that a key is newly protected with, in octets (SP 800-63B-4 section 3.1.1.2:
/// eight where it is not the only factor, which file permissions are here).
pub const MIN_NEW_OCTETS: usize = 8;

/// A passphrase or a PIN. Wiped when dropped, never printed.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The octets of a secret: at least one, at most [`MAX_SECRET_OCTETS`].
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        match octets.len() {
            0 => Err(SecretError::Empty),
            length if length > MAX_SECRET_OCTETS => Err(SecretError::TooLong),
            _ => Ok(Self(octets)),
        }
    }

    /// Its octets, for whoever opens something with them.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Prints that there is one.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret is. Written `file:/PATH`, `env:NAME`, `credential:NAME` or `terminal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretSource {
    /// In a file that nobody but its owner may open. One line end at its end is not part of it.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
    /// In a credential that systemd hands to a service (systemd.exec(5), `LoadCredential=`): a file
    /// of this name in the directory that `$CREDENTIALS_DIRECTORY` names.
    Credential(String),
    /// With a person, who is asked.
    Terminal,
}

impl SecretSource {
    /// Reads the written form. A file is given by an absolute path: a verb that runs from a timer
    /// stands in another directory than whoever wrote it down.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        if text == "terminal" {
            return Ok(Self::Terminal);
        }
        let (kind, rest) = text.split_once(':').ok_or(SourceError::Unknown)?;
        match kind {
            "file" if Path::new(rest).is_absolute() => Ok(Self::File(rest.into())),
            "file" => Err(SourceError::RelativePath),
            "env" if is_variable(rest) => Ok(Self::Environment(rest.to_owned())),
            "credential" if is_credential(rest) => Ok(Self::Credential(rest.to_owned())),
            "env" | "credential" => Err(SourceError::Name),
            _ => Err(SourceError::Unknown),
        }
    }

    /// The secret. `what` says to a person what is asked for, such as "passphrase of the root key".
    pub fn read(&self, what: &str) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => without_line_end(read_secret(path, MAX_SECRET_OCTETS + 2)?),
            Self::Environment(name) => {
                let value = std::env::var_os(name)
                    .ok_or_else(|| SecretError::NoVariable { name: name.clone() })?;
                Secret::new(Zeroizing::new(OsString::into_vec(value)))
            }
            Self::Credential(name) => {
                let directory = std::env::var_os(CREDENTIALS).ok_or(SecretError::NoCredentials)?;
                // The service manager guards the directory; the modes of its files say nothing.
                let path = Path::new(&directory).join(name);
                without_line_end(Zeroizing::new(read_bounded(&path, MAX_SECRET_OCTETS + 2)?))
            }
            Self::Terminal => typed::ask(what),
        }
    }

    /// The secret that something is to be protected with from now on: long enough, and asked for
    /// twice where a person types it without seeing it.
    pub fn read_new(&self, what: &str) -> Result<Secret, SecretError> {
        let secret = self.read(&format!("new {what}"))?;
        if secret.0.len() < MIN_NEW_OCTETS {
            return Err(SecretError::TooShort);
        }
        if *self == Self::Terminal {
            let again = self.read(&format!("new {what}, again"))?;
            verify_slices_are_equal(&secret.0, &again.0).map_err(|_| SecretError::Differs)?;
        }
        Ok(secret)
    }
}

/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A name of a variable (POSIX.1-2024 base definitions, section 8.1).
fn is_variable(name: &str) -> bool {
    let mut octets = name.bytes();
    let first = |octet: u8| octet.is_ascii_alphabetic() || octet == b'_';
    octets.next().is_some_and(first) && octets.all(|octet| first(octet) || octet.is_ascii_digit())
}

/// A name of a file, and no way out of its directory.
fn is_credential(name: &str) -> bool {
    const MAX: usize = 255;
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    (1..=MAX).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".."
}

/// What an editor or `echo` adds is not meant.
fn without_line_end(mut octets: Zeroizing<Vec<u8>>) -> Result<Secret, SecretError> {
    if octets.last() == Some(&b'\n') {
        octets.pop();
        if octets.last() == Some(&b'\r') {
            octets.pop();
        }
    }
    Secret::new(octets)
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Terminal => write!(f, "terminal"),
        }
    }
}

impl TryFrom<String> for SecretSource {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        Self::parse(&text)
    }
}

impl From<SecretSource> for String {
    fn from(source: SecretSource) -> Self {
        source.to_string()
    }
}

/// Why a text names no source of a secret. The text is not repeated: it may be the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceError {
    /// It begins like none of the four.
    Unknown,
    /// A relative path.
    RelativePath,
    /// No name of a variable or of a credential.
    Name,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "a secret is named by file:PATH, env:NAME, credential:NAME or terminal"
            }
            Self::RelativePath => "the path of a secret's file must be absolute",
            Self::Name => "that is no name of a variable or credential",
        })
    }
}

impl std::error::Error for SourceError {}

/// Why there is no secret. Says nothing of its content.
#[derive(Debug)]
pub enum SecretError {
    /// Its file.
    File(FileError),
    /// The environment has no such variable.
    NoVariable {
        /// Its name.
        name: String,
    },
    /// No service manager handed out credentials.
    NoCredentials,
    /// There is nobody to ask.
    NoTerminal(io::Error),
    /// Who was asked gave up.
    Interrupted,
    /// It has no octets.
    Empty,
    /// It has more than [`MAX_SECRET_OCTETS`].
    TooLong,
    /// It has fewer than [`MIN_NEW_OCTETS`], and would be a new one.
    TooShort,
    /// It was typed twice, not alike.
    Differs,
}

impl From<FileError> for SecretError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::NoVariable { name } => write!(f, "the environment has no variable {name}"),
            Self::NoCredentials => write!(f, "the environment has no variable {CREDENTIALS}"),
            Self::NoTerminal(error) => write!(f, "there is no terminal to ask at: {error}"),
            Self::Interrupted => write!(f, "nothing was typed"),
            Self::Empty => write!(f, "the secret is empty"),
            Self::TooLong => write!(f, "the secret has more than {MAX_SECRET_OCTETS} octets"),
            Self::TooShort => write!(
                f,
                "a new passphrase has at least {MIN_NEW_OCTETS} octets, and this one has fewer"
            ),
            Self::Differs => write!(f, "what was typed twice was not alike"),
        }
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::NoTerminal(error) => Some(error),
            Self::NoVariable { .. }
            | Self::NoCredentials
            | Self::Interrupted
            | Self::Empty
            | Self::TooLong
            | Self::TooShort
            | Self::Differs => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Readers, create_new};

    #[test]
    fn a_source_reads_back_as_it_is_written() {
        for text in [
            "file:/etc/pki/passphrase",
            "env:PKI_PASSPHRASE",
            "credential:pki.passphrase",
            "terminal",
        ] {
            assert_eq!(SecretSource::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_source_is_refused_and_not_repeated() {
        for (text, error) in [
            ("", SourceError::Unknown),
            ("hunter2hunter2", SourceError::Unknown),
            ("pass:hunter2", SourceError::Unknown),
            ("TERMINAL", SourceError::Unknown),
            ("terminal:", SourceError::Unknown),
            ("file:secret", SourceError::RelativePath),
            ("file:", SourceError::RelativePath),
            ("env:", SourceError::Name),
            ("env:A=B", SourceError::Name),
            ("env:1A", SourceError::Name),
            ("credential:", SourceError::Name),
            ("credential:../../etc/shadow", SourceError::Name),
            ("credential:..", SourceError::Name),
        ] {
            assert_eq!(SecretSource::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    fn in_file(content: &[u8]) -> Result<Vec<u8>, SecretError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        create_new(&path, Readers::Owner, content).unwrap();
        let secret = SecretSource::File(path).read("passphrase")?;
        Ok(secret.expose().to_vec())
    }

    #[test]
    fn one_line_end_is_not_part_of_the_secret_and_everything_else_is() {
        for (content, secret) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" secret \n\n", " secret \n"),
            ("\r", "\r"),
        ] {
            assert_eq!(in_file(content.as_bytes()).unwrap(), secret.as_bytes());
        }
        assert!(matches!(in_file(b""), Err(SecretError::Empty)));
        assert!(matches!(in_file(b"\n"), Err(SecretError::Empty)));
        let long = vec![b'x'; MAX_SECRET_OCTETS];
        assert_eq!(in_file(&long).unwrap(), long);
        let longer = vec![b'x'; MAX_SECRET_OCTETS + 1];
        assert!(matches!(in_file(&longer), Err(SecretError::TooLong)));
    }

    #[test]
    fn a_file_that_others_may_read_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        create_new(&path, Readers::Everybody, b"secret").unwrap();
        assert!(matches!(
            SecretSource::File(path).read("passphrase"),
            Err(SecretError::File(FileError::Exposed { .. }))
        ));
    }

    #[test]
    fn a_new_passphrase_is_not_too_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        create_new(&path, Readers::Owner, b"1234567\n").unwrap();
        let source = SecretSource::File(path);
        assert!(source.read("passphrase").is_ok());
        assert!(matches!(
            source.read_new("passphrase"),
            Err(SecretError::TooShort)
        ));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new(Zeroizing::new(b"hunter2".to_vec())).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
