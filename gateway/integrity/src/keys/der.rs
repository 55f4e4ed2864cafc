//! Which kind of key an encoding holds, and the numbers of a public one.
//!
//! Standard: X.690 (DER), RFC 5280 4.1 (SubjectPublicKeyInfo), RFC 5958 (PKCS#8), RFC 5480 (EC),
//! RFC 8410 (Ed25519), RFC 8017 A.1 (RSA). Only what these need is read, strictly: definite lengths
//! in their shortest form, nothing behind the end. What it does not do: whether a point is on its
//! curve, and whether a private key fits together, is for the cryptography library.

use crate::error::KeyError;

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// What stands in a SubjectPublicKeyInfo.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Public<'a> {
    /// An uncompressed point (RFC 5480 2.2), or the 32 bytes of Ed25519.
    Raw(Kind, &'a [u8]),
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: &'a [u8], e: &'a [u8] },
}

/// Algorithm and parameters of `AlgorithmIdentifier`, and the kind that they name.
const KINDS: &[(&[u8], &[u8], Kind)] = &[
    // id-ecPublicKey, secp256r1
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
        &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        Kind::P256,
    ),
    // id-ecPublicKey, secp384r1
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
        &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
        Kind::P384,
    ),
    // id-Ed25519, no parameters
    (&[0x2b, 0x65, 0x70], &[], Kind::Ed25519),
    // rsaEncryption, NULL
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
        &[0x05, 0x00],
        Kind::Rsa,
    ),
    // id-RSASSA-PSS without parameters, which leaves the hash open (RFC 4055 3.1)
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a],
        &[],
        Kind::Rsa,
    ),
];

/// Reads a SubjectPublicKeyInfo.
pub(super) fn public(spki: &[u8]) -> Result<Public<'_>, KeyError> {
    let mut body = Der::whole(spki)?;
    let kind = kind(&mut body)?;
    let [0, key @ ..] = body.take(BIT_STRING)? else {
        return Err(KeyError::Encoding);
    };
    body.end()?;
    match kind {
        Kind::Rsa => rsa(key),
        Kind::P256 | Kind::P384 | Kind::Ed25519 => Ok(Public::Raw(kind, key)),
    }
}

/// Reads an `RSAPublicKey` (RFC 8017 A.1.1).
pub(super) fn rsa(key: &[u8]) -> Result<Public<'_>, KeyError> {
    let mut body = Der::whole(key)?;
    let (n, e) = (body.positive()?, body.positive()?);
    body.end()?;
    Ok(Public::Rsa { n, e })
}

/// Which kind of private key a PKCS#8 document holds, and the key inside.
pub(super) fn private(pkcs8: &[u8]) -> Result<(Kind, &[u8]), KeyError> {
    let mut body = Der::whole(pkcs8)?;
    body.take(INTEGER)?;
    Ok((kind(&mut body)?, body.take(OCTET_STRING)?))
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

fn kind(body: &mut Der<'_>) -> Result<Kind, KeyError> {
    let mut identifier = Der(body.take(SEQUENCE)?);
    let algorithm = identifier.take(OBJECT_IDENTIFIER)?;
    let row = KINDS
        .iter()
        .find(|(known, parameters, _)| (*known, *parameters) == (algorithm, identifier.0));
    row.map(|(_, _, kind)| *kind).ok_or(KeyError::Kind)
}

/// The rest of an encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The inside of the one SEQUENCE that the bytes are.
    fn whole(bytes: &'a [u8]) -> Result<Der<'a>, KeyError> {
        let mut outer = Der(bytes);
        let inner = outer.take(SEQUENCE)?;
        outer.end()?;
        Ok(Der(inner))
    }

    fn take(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let (length, rest) = match self.0 {
            [found, length @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*length), rest),
            [found, 0x81, length @ 0x80..=0xff, rest @ ..] if *found == tag => {
                (usize::from(*length), rest)
            }
            [found, 0x82, high @ 1..=0xff, low, rest @ ..] if *found == tag => {
                (usize::from(*high) << 8 | usize::from(*low), rest)
            }
            _ => return Err(KeyError::Encoding),
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(KeyError::Encoding)?;
        self.0 = rest;
        Ok(value)
    }

    fn positive(&mut self) -> Result<&'a [u8], KeyError> {
        match self.take(INTEGER)? {
            [0, value @ ..] if value.first().is_some_and(|first| *first >= 0x80) => Ok(value),
            value @ [1..=0x7f, ..] => Ok(value),
            _ => Err(KeyError::Encoding),
        }
    }

    fn end(&self) -> Result<(), KeyError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(KeyError::Encoding)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ED25519: &[u8] = &[
        0x30, 0x0a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x01, 0x00,
    ];

    #[test]
    fn an_encoding_is_read_to_its_end_and_no_further() {
        assert_eq!(public(ED25519), Ok(Public::Raw(Kind::Ed25519, &[])));
        let longer = [ED25519, &[0]].concat();
        assert_eq!(public(&longer), Err(KeyError::Encoding));
        for length in 0..ED25519.len() {
            assert_eq!(public(&ED25519[..length]), Err(KeyError::Encoding));
        }
        let mut other = ED25519.to_vec();
        other[8] = 0x6f;
        assert_eq!(public(&other), Err(KeyError::Kind));
    }

    #[test]
    fn a_length_in_a_longer_form_than_it_needs_is_refused() {
        assert_eq!(
            rsa(&[0x30, 6, 2, 1, 5, 2, 1, 3]),
            Ok(Public::Rsa { n: &[5], e: &[3] })
        );
        assert_eq!(
            rsa(&[0x30, 0x81, 6, 2, 1, 5, 2, 1, 3]),
            Err(KeyError::Encoding)
        );
        assert_eq!(
            rsa(&[0x30, 7, 2, 2, 0, 5, 2, 1, 3]),
            Err(KeyError::Encoding)
        );
        assert_eq!(
            rsa(&[0x30, 6, 2, 1, 0x85, 2, 1, 3]),
            Err(KeyError::Encoding)
        );
        assert_eq!(rsa(&[0x30, 5, 2, 0, 2, 1, 3]), Err(KeyError::Encoding));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = public(&bytes);
            let _ = private(&bytes);
            let _ = rsa(&bytes);
        }
    }
}
