//! Where in a token a key is: a PKCS #11 URI (RFC 7512), read strictly.
//!
//! Of the attributes that the RFC lists, those are read that say which key is meant and how to get
//! at it. All others are refused, because to ignore a condition is to mean another key. The PIN is
//! never part of it, only where the PIN is.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::secret::{SecretSource, SourceError};

/// A key in a token, such as
/// `pkcs11:token=pki;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pki/pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenUri {
    /// The label of the token (CKA token label).
    token: Option<String>,
    /// The serial number of the token.
    serial: Option<String>,
    /// The label of the key (`CKA_LABEL`).
    object: String,
    /// The identifier of the key (`CKA_ID`).
    id: Option<Vec<u8>>,
    /// The library that knows the token.
    module: PathBuf,
    /// Where the PIN is.
    pin: SecretSource,
}

/// Longest URI, in octets.
const MAX_OCTETS: usize = 4096;
/// Longest label of a key and identifier, in octets.
const MAX_LABEL_OCTETS: usize = 255;

impl TokenUri {
    /// Reads a URI.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_OCTETS {
            return Err(UriError::TooLong);
        }
        let rest = text.strip_prefix("pkcs11:").ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut read = Attributes::default();
        for (attributes, separator, query) in [(path, ';', false), (query, '&', true)] {
            for attribute in attributes.split(separator).filter(|text| !text.is_empty()) {
                read.take(attribute, query)?;
            }
        }
        read.finish()
    }

    /// Which key is meant, without how to get at it: for errors.
    pub fn name(&self) -> String {
        let text = self.to_string();
        text.split_once('?')
            .map_or(text.clone(), |(name, _)| name.to_owned())
    }

    /// The label of the token that is meant, if it matters.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The serial number of the token that is meant, if it matters.
    pub(super) fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// The label of the key.
    pub(super) fn object(&self) -> &str {
        &self.object
    }

    /// The identifier of the key, if it matters.
    pub(super) fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// The library that knows the token.
    pub(super) fn module(&self) -> &Path {
        &self.module
    }

    /// Where the PIN is.
    pub(super) fn pin(&self) -> &SecretSource {
        &self.pin
    }
}

/// What was read so far.
#[derive(Default)]
struct Attributes {
    token: Option<String>,
    serial: Option<String>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    is_private: Option<()>,
    module: Option<PathBuf>,
    pin: Option<SecretSource>,
}

impl Attributes {
    fn take(&mut self, attribute: &str, query: bool) -> Result<(), UriError> {
        let (name, value) = attribute.split_once('=').ok_or(UriError::Malformed)?;
        let octets = decode(value, query)?;
        if octets.is_empty() {
            return Err(UriError::Malformed);
        }
        // No label or path has a zero octet, and C would end there.
        let text = || match String::from_utf8(octets.clone()) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(UriError::Malformed),
        };
        match (query, name) {
            (false, "token") => put(&mut self.token, text()?),
            (false, "serial") => put(&mut self.serial, text()?),
            (false, "object") if octets.len() <= MAX_LABEL_OCTETS => put(&mut self.object, text()?),
            (false, "id") if octets.len() <= MAX_LABEL_OCTETS => put(&mut self.id, octets),
            (false, "object" | "id") => Err(UriError::TooLong),
            (false, "type") if octets == b"private" => put(&mut self.is_private, ()),
            (true, "module-path") => {
                let path = PathBuf::from(text()?);
                if !path.is_absolute() {
                    return Err(UriError::RelativeModule);
                }
                put(&mut self.module, path)
            }
            (true, "pin-source") => {
                let source = SecretSource::parse(&text()?).map_err(UriError::Pin)?;
                put(&mut self.pin, source)
            }
            (true, "pin-value") => Err(UriError::PinInIt),
            _ => Err(UriError::Attribute),
        }
    }

    fn finish(self) -> Result<TokenUri, UriError> {
        if self.token.is_none() && self.serial.is_none() {
            return Err(UriError::Missing { what: "token" });
        }
        Ok(TokenUri {
            token: self.token,
            serial: self.serial,
            object: self.object.ok_or(UriError::Missing { what: "object" })?,
            id: self.id,
            module: self.module.ok_or(UriError::Missing {
                what: "module-path",
            })?,
            pin: self.pin.ok_or(UriError::Missing { what: "pin-source" })?,
        })
    }
}

/// An attribute may stand there once (RFC 7512 section 2.3).
fn put<T>(place: &mut Option<T>, value: T) -> Result<(), UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Twice),
    }
}

/// Octets that need no percent-encoding (RFC 7512 section 2.3).
fn is_plain(octet: u8, query: bool) -> bool {
    octet.is_ascii_alphanumeric()
        || b"-._~:[]@!$'()*+,=".contains(&octet)
        || if query {
            b"/?|".contains(&octet)
        } else {
            octet == b'&'
        }
}

fn decode(value: &str, query: bool) -> Result<Vec<u8>, UriError> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => {
                let mut digit = || {
                    let digit = rest.next().map(char::from)?;
                    u8::try_from(digit.to_digit(16)?).ok()
                };
                let (high, low) = (digit(), digit());
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(UriError::Malformed);
                };
                octets.push(high << 4 | low);
            }
            octet if is_plain(octet, query) => octets.push(octet),
            _ => return Err(UriError::Malformed),
        }
    }
    Ok(octets)
}

/// A value, percent-encoded where it has to be.
struct Encoded<'a> {
    octets: &'a [u8],
    query: bool,
}

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &octet in self.octets {
            if is_plain(octet, self.query) {
                write!(f, "{}", char::from(octet))?;
            } else {
                write!(f, "%{octet:02X}")?;
            }
        }
        Ok(())
    }
}

/// In the written form, attributes in one order. No secret is in it.
impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |octets| Encoded {
            octets,
            query: false,
        };
        let query = |octets| Encoded {
            octets,
            query: true,
        };
        f.write_str("pkcs11:")?;
        if let Some(token) = &self.token {
            write!(f, "token={};", path(token.as_bytes()))?;
        }
        if let Some(serial) = &self.serial {
            write!(f, "serial={};", path(serial.as_bytes()))?;
        }
        write!(f, "object={}", path(self.object.as_bytes()))?;
        if let Some(id) = &self.id {
            write!(f, ";id={}", path(id))?;
        }
        write!(
            f,
            "?module-path={}&pin-source={}",
            query(self.module.as_os_str().as_encoded_bytes()),
            query(self.pin.to_string().as_bytes())
        )
    }
}

impl TryFrom<String> for TokenUri {
    type Error = UriError;

    fn try_from(text: String) -> Result<Self, UriError> {
        Self::parse(&text)
    }
}

impl From<TokenUri> for String {
    fn from(uri: TokenUri) -> Self {
        uri.to_string()
    }
}

/// Why a text is not where a key in a token is. The text is not repeated: there may be a PIN in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriError {
    /// It does not begin with `pkcs11:`.
    Scheme,
    /// More octets than are read.
    TooLong,
    /// Not as RFC 7512 writes it.
    Malformed,
    /// An attribute that is not used here.
    Attribute,
    /// An attribute that stands there twice.
    Twice,
    /// An attribute that has to be there is not.
    Missing {
        /// Which.
        what: &'static str,
    },
    /// The path of the library is relative.
    RelativeModule,
    /// The PIN itself is in it.
    PinInIt,
    /// Where the PIN is.
    Pin(SourceError),
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => write!(
                f,
                "a key in a token is named by a URI that begins with pkcs11:"
            ),
            Self::TooLong => write!(f, "the PKCS #11 URI is too long"),
            Self::Malformed => write!(f, "the PKCS #11 URI is malformed (RFC 7512 section 2.3)"),
            Self::Attribute => write!(
                f,
                "the PKCS #11 URI has an attribute that is not used here; token, serial, object, id, \
                 type=private, module-path and pin-source are"
            ),
            Self::Twice => write!(f, "the PKCS #11 URI names an attribute twice"),
            Self::Missing { what } => write!(f, "the PKCS #11 URI has no {what}"),
            Self::RelativeModule => write!(f, "module-path must be absolute"),
            Self::PinInIt => write!(
                f,
                "a PIN does not belong in a PKCS #11 URI (pin-value): put it in a file of your own, and \
                 name that with pin-source=file:/PATH"
            ),
            Self::Pin(error) => write!(f, "pin-source: {error}"),
        }
    }
}

impl std::error::Error for UriError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: &str = "?module-path=/usr/lib/p.so&pin-source=file:/etc/pki/pin";

    #[test]
    fn what_says_which_key_is_read() {
        let uri = TokenUri::parse(&format!(
            "pkcs11:token=The%20Software%20PKCS%2311;serial=0a;object=root;id=%01%ff;type=private{REST}"
        ))
        .unwrap();
        assert_eq!(uri.token(), Some("The Software PKCS#11"));
        assert_eq!(uri.serial(), Some("0a"));
        assert_eq!(uri.object(), "root");
        assert_eq!(uri.id(), Some(&[1, 255][..]));
        assert_eq!(uri.module(), Path::new("/usr/lib/p.so"));
        assert_eq!(uri.pin().to_string(), "file:/etc/pki/pin");
    }

    #[test]
    fn what_could_mean_another_key_is_refused() {
        let missing = |what| UriError::Missing { what };
        for (text, error) in [
            ("token=a;object=b", UriError::Scheme),
            ("pkcs11:", missing("token")),
            ("pkcs11:object=b", missing("token")),
            ("pkcs11:token=a", missing("object")),
            (
                "pkcs11:token=a;object=b?pin-source=env:A",
                missing("module-path"),
            ),
            (
                "pkcs11:token=a;object=b?module-path=/x",
                missing("pin-source"),
            ),
            (
                "pkcs11:token=a;object=b?module-path=x.so",
                UriError::RelativeModule,
            ),
            (
                "pkcs11:token=a;object=b?pin-source=env:A&pin-value=1234",
                UriError::PinInIt,
            ),
            (
                "pkcs11:token=a;object=b?pin-source=|cat",
                UriError::Pin(SourceError::Unknown),
            ),
            ("pkcs11:token=a;token=b;object=c", UriError::Twice),
            ("pkcs11:token=a;object=b;slot-id=1", UriError::Attribute),
            ("pkcs11:token=a;object=b;type=public", UriError::Attribute),
            ("pkcs11:token=a;object=b;x-mine=1", UriError::Attribute),
            ("pkcs11:token=a;module-path=x", UriError::Attribute),
            ("pkcs11:token=a b;object=c", UriError::Malformed),
            ("pkcs11:token=a/b;object=c", UriError::Malformed),
            ("pkcs11:token=%4;object=c", UriError::Malformed),
            ("pkcs11:token=%+4;object=c", UriError::Malformed),
            ("pkcs11:token=%00;object=c", UriError::Malformed),
            ("pkcs11:token=%ff;object=c", UriError::Malformed),
            ("pkcs11:token=;object=c", UriError::Malformed),
            ("pkcs11:token;object=c", UriError::Malformed),
        ] {
            assert_eq!(TokenUri::parse(text).unwrap_err(), error, "{text}");
            assert!(!error.to_string().contains("1234"));
        }
        let long = format!("pkcs11:token={};object=b", "a".repeat(MAX_OCTETS));
        assert_eq!(TokenUri::parse(&long).unwrap_err(), UriError::TooLong);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            token in "[^\0]{1,32}",
            object in "[^\0]{1,32}",
            id in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
            module in "/[^\0]{0,32}",
        ) {
            let uri = TokenUri {
                token: Some(token),
                serial: None,
                object,
                id,
                module: module.into(),
                pin: SecretSource::File("/etc/pki/a pin".into()),
            };
            prop_assert_eq!(TokenUri::parse(&uri.to_string()), Ok(uri));
        }

        #[test]
        fn no_text_makes_it_panic(text in "pkcs11:.{0,64}") {
            let _ = TokenUri::parse(&text);
        }
    }
}
