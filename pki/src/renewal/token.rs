//! Where a one-time token is: never on the command line, where every user of the machine reads it.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::files::{FileError, read_bounded, read_secret};

/// Longest token, in octets.
const MAX_OCTETS: usize = 1024;
/// Where systemd puts credentials (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a token is. Written `file:PATH`, `env:NAME`, `credential:NAME` or `stdin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// In a file that nobody but its owner may open.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
    /// In a credential that systemd hands to a service: a file of this name in the directory that
    /// `$CREDENTIALS_DIRECTORY` names.
    Credential(String),
    /// It comes on standard input.
    Stdin,
}

impl TokenSource {
    /// Reads the written form. `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "stdin" {
            return Some(Self::Stdin);
        }
        let (kind, rest) = text.split_once(':')?;
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
        // No way out of the directory of credentials.
        let is_name = !rest.is_empty() && rest.bytes().all(plain) && rest != "." && rest != "..";
        match kind {
            "file" if !rest.is_empty() => Some(Self::File(rest.into())),
            "env" if is_name => Some(Self::Environment(rest.to_owned())),
            "credential" if is_name => Some(Self::Credential(rest.to_owned())),
            _ => None,
        }
    }

    /// The token, without white space around it. It is printable and of one line.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, TokenError> {
        let octets = match self {
            Self::File(path) => read_secret(path, MAX_OCTETS)?,
            Self::Environment(name) => {
                let value = std::env::var_os(name)
                    .ok_or_else(|| TokenError::NoVariable { name: name.clone() })?;
                Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value))
            }
            Self::Credential(name) => {
                let directory = std::env::var_os(CREDENTIALS).ok_or(TokenError::NoCredentials)?;
                // The service manager guards the directory; the modes of its files say nothing.
                let path = Path::new(&directory).join(name);
                Zeroizing::new(read_bounded(&path, MAX_OCTETS)?)
            }
            Self::Stdin => {
                let mut octets = Zeroizing::new(Vec::with_capacity(MAX_OCTETS + 1));
                std::io::stdin()
                    .lock()
                    .take(MAX_OCTETS as u64 + 1)
                    .read_to_end(&mut octets)
                    .map_err(|_| TokenError::Form)?;
                octets
            }
        };
        let text = std::str::from_utf8(&octets).map_err(|_| TokenError::Form)?;
        let token = text.trim_ascii();
        let printable = token.bytes().all(|octet| octet.is_ascii_graphic());
        if token.is_empty() || !printable || octets.len() > MAX_OCTETS {
            return Err(TokenError::Form);
        }
        Ok(Zeroizing::new(token.to_owned()))
    }
}

/// Why there is no token. Says nothing of its content.
#[derive(Debug)]
pub enum TokenError {
    /// Its file.
    File(FileError),
    /// The environment has no such variable.
    NoVariable {
        /// Its name.
        name: String,
    },
    /// No service manager handed credentials to this process.
    NoCredentials,
    /// It is empty, too long, or holds white space or anything else that a token does not.
    Form,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::NoVariable { name } => {
                write!(f, "there is no variable {name} in the environment")
            }
            Self::NoCredentials => write!(f, "there are no credentials: {CREDENTIALS} is not set"),
            Self::Form => write!(f, "what was read is no token: one line of printable ASCII"),
        }
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::NoVariable { .. } | Self::NoCredentials | Self::Form => None,
        }
    }
}

impl From<FileError> for TokenError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_named_by_its_source_and_never_given() {
        for (text, source) in [
            ("stdin", TokenSource::Stdin),
            ("file:t/x y", TokenSource::File("t/x y".into())),
            ("env:TOKEN", TokenSource::Environment("TOKEN".to_owned())),
            ("credential:est", TokenSource::Credential("est".to_owned())),
        ] {
            assert_eq!(TokenSource::parse(text), Some(source), "{text}");
        }
        for wrong in [
            "",
            "4711",
            "file:",
            "env:",
            "env:A=B",
            "credential:../x",
            "credential:..",
        ] {
            assert_eq!(TokenSource::parse(wrong), None, "{wrong}");
        }
    }
}
