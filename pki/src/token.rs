//! One-time tokens: 256 random bits that let their holder enrol once (`pki token`, EST).
//!
//! The inventory keeps the hash. A plain SHA-256 is enough: nobody guesses 256 random bits, so there
//! is nothing for salt or rounds to slow down (NIST SP 800-63B-4 section 3.1.2.2 for look-up secrets
//! of 112 bits and more).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::files::FileError;
use crate::public_key::sha256;

/// A token, as its holder has it. Wiped when dropped, never printed but by [`Token::expose`].
pub struct Token(Zeroizing<[u8; Token::OCTETS]>);

impl Token {
    /// How many random octets a token is made of.
    const OCTETS: usize = 32;

    /// Draws a new one.
    pub fn draw() -> Result<Self, FileError> {
        let mut octets = Zeroizing::new([0; Self::OCTETS]);
        aws_lc_rs::rand::fill(octets.as_mut()).map_err(|_| FileError::NoRandomness)?;
        Ok(Self(octets))
    }

    /// Reads what [`Token::expose`] wrote: 43 characters of base64url (RFC 4648 section 5). `None` if
    /// it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut octets = Zeroizing::new([0; Self::OCTETS]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, octets.as_mut_slice())
            .ok()?;
        (length == Self::OCTETS).then_some(Self(octets))
    }

    /// As it is handed to its holder, once.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// What the inventory knows it by.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.0.as_slice())
    }
}

/// Says that there is one.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_spelling_and_reads_back() {
        let token = Token::draw().unwrap();
        let text = token.expose();
        assert_eq!(text.len(), 43);
        assert_eq!(Token::parse(&text).unwrap().sha256(), token.sha256());
        for other in [
            String::new(),
            text[1..].to_owned(),
            format!("{}=", *text),
            format!(" {}", *text),
            format!("{}AAAA", *text),
            // The last character holds four bits; the two others must be zero.
            format!("{}B", &"A".repeat(42)),
        ] {
            assert!(Token::parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn two_tokens_are_never_alike_and_none_is_printed() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert_ne!(one.sha256(), other.sha256());
        assert_eq!(format!("{one:?}"), "Token");
    }
}
