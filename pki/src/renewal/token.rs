//! Where a one-time token is: never on the command line, where every user of the machine reads it.

use std::fmt;
use std::io::{self, Read as _};

use zeroize::Zeroizing;

use crate::secret::{MAX_SECRET_OCTETS, SecretError, SecretSource};

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// Where any other secret could be.
    Secret(SecretSource),
    /// It comes on standard input.
    Stdin,
}

impl TokenSource {
    /// The token, without white space around it. It is printable and of one line.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, TokenError> {
        let octets = match self {
            Self::Secret(source) => {
                let secret = source.read("one-time token").map_err(TokenError::Secret)?;
                Zeroizing::new(secret.expose().to_vec())
            }
            Self::Stdin => {
                let mut octets = Zeroizing::new(Vec::with_capacity(MAX_SECRET_OCTETS + 1));
                io::stdin()
                    .lock()
                    .take(MAX_SECRET_OCTETS as u64 + 1)
                    .read_to_end(&mut octets)
                    .map_err(TokenError::Stdin)?;
                octets
            }
        };
        let token = octets.trim_ascii();
        let printable = token.iter().all(u8::is_ascii_graphic);
        if token.is_empty() || !printable || octets.len() > MAX_SECRET_OCTETS {
            return Err(TokenError::Form);
        }
        // It is ASCII, so nothing is replaced.
        Ok(Zeroizing::new(String::from_utf8_lossy(token).into_owned()))
    }
}

/// Why there is no token. Says nothing of its content.
#[derive(Debug)]
pub enum TokenError {
    /// Its source.
    Secret(SecretError),
    /// Standard input cannot be read.
    Stdin(io::Error),
    /// It is empty, too long, or holds white space or anything else that a token does not.
    Form,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(error) => write!(f, "{error}"),
            Self::Stdin(error) => write!(f, "cannot read standard input: {error}"),
            Self::Form => write!(f, "what was read is no token: one line of printable ASCII"),
        }
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Secret(error) => Some(error),
            Self::Stdin(error) => Some(error),
            Self::Form => None,
        }
    }
}
