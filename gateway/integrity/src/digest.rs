//! Digests of content: read, made, compared, and asked for.
//!
//! Standard: RFC 9530. Trusted are sha-256 and sha-512 alone. Every trusted digest that a field
//! holds must be right; what is in it besides (md5, sha, unixsum and what nobody knows) is ignored,
//! and a field that holds nothing else is refused, so that a weak digest never passes for one.
//! What it does not do: it reads no content, it is fed; and it cannot know which bytes a
//! `Repr-Digest` is about where that is not the content (ranges, HEAD).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, SHA512};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::error::{DigestError, Fault};
use crate::limits::DIGEST_FIELD as FIELD;
use crate::structured::{self, Bare, Item, Member};

/// `Content-Digest` (RFC 9530 2): of the content as it is sent.
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// `Repr-Digest` (RFC 9530 3): of the selected representation.
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// `Want-Content-Digest` (RFC 9530 4).
pub const WANT_CONTENT_DIGEST: HeaderName = HeaderName::from_static("want-content-digest");

/// `Want-Repr-Digest` (RFC 9530 4).
pub const WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");

/// The algorithms that are trusted (RFC 9530 5, "Active" in the registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// All of them.
    pub const ALL: [DigestAlgorithm; 2] = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512];

    /// Its key in the fields.
    pub const fn name(self) -> &'static str {
        match self {
            DigestAlgorithm::Sha256 => "sha-256",
            DigestAlgorithm::Sha512 => "sha-512",
        }
    }
}

/// What a digest field says: one digest of a trusted algorithm, or one of each.
#[derive(Clone, PartialEq, Eq)]
pub struct Digests {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl Digests {
    /// Reads `Content-Digest` or `Repr-Digest` from header or trailer fields; `None` where there is
    /// no such field.
    pub fn read(headers: &HeaderMap, field: &HeaderName) -> Result<Option<Digests>, DigestError> {
        let text = structured::joined(headers, field, FIELD)
            .map_err(|_| DigestError::TooLarge { limit: FIELD })?;
        text.map(|text| Digests::parse(&text)).transpose()
    }

    /// Reads the value of such a field.
    pub fn parse(text: &[u8]) -> Result<Digests, DigestError> {
        let malformed = |fault| DigestError::Malformed { fault };
        let mut digests = Digests {
            sha256: None,
            sha512: None,
        };
        for (key, bytes) in structured::byte_members(text).map_err(malformed)? {
            let length = |_| malformed(Fault::Length);
            match key {
                "sha-256" => digests.sha256 = Some(bytes.try_into().map_err(length)?),
                "sha-512" => digests.sha512 = Some(bytes.try_into().map_err(length)?),
                _ => {}
            }
        }
        if digests.algorithms().is_empty() {
            return Err(DigestError::NoKnownAlgorithm);
        }
        Ok(digests)
    }

    /// The trusted algorithms that stand there; never none.
    pub fn algorithms(&self) -> Vec<DigestAlgorithm> {
        let known = DigestAlgorithm::ALL.into_iter();
        known.filter(|known| self.get(*known).is_some()).collect()
    }

    /// One of the digests.
    pub fn get(&self, algorithm: DigestAlgorithm) -> Option<&[u8]> {
        match algorithm {
            DigestAlgorithm::Sha256 => self.sha256.as_ref().map(<[u8; 32]>::as_slice),
            DigestAlgorithm::Sha512 => self.sha512.as_ref().map(<[u8; 64]>::as_slice),
        }
    }

    /// What computes all that stands there, to be fed with the content.
    pub fn hasher(&self) -> Hasher {
        Hasher::new(&self.algorithms())
    }

    /// Compares, in constant time, what was computed with what stands here. Fails closed: a digest
    /// that was not computed counts as a mismatch.
    pub fn check(&self, computed: &Digests) -> Result<(), DigestError> {
        for algorithm in self.algorithms() {
            let expected = self.get(algorithm).unwrap_or_default();
            let actual = computed.get(algorithm).unwrap_or_default();
            verify_slices_are_equal(expected, actual).map_err(|_| DigestError::Mismatch {
                algorithm: algorithm.name(),
            })?;
        }
        Ok(())
    }

    /// The value of a field that says this.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("keys and base64 are visible ASCII")
    }
}

/// The value of the field.
impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, algorithm) in self.algorithms().into_iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            let bytes = STANDARD.encode(self.get(algorithm).unwrap_or_default());
            write!(f, "{separator}{}=:{bytes}:", algorithm.name())?;
        }
        Ok(())
    }
}

/// Which algorithms: a digest of a short body is a guess away from the body.
impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.algorithms()).finish()
    }
}

/// Computes digests of content as it passes, in constant memory.
#[derive(Clone)]
pub struct Hasher {
    sha256: Option<Context>,
    sha512: Option<Context>,
}

impl Hasher {
    /// Computes these; `sha-256` where the list is empty.
    pub fn new(algorithms: &[DigestAlgorithm]) -> Hasher {
        let wanted = |algorithm| algorithms.contains(&algorithm);
        let sha512 = wanted(DigestAlgorithm::Sha512);
        Hasher {
            sha256: (wanted(DigestAlgorithm::Sha256) || !sha512).then(|| Context::new(&SHA256)),
            sha512: sha512.then(|| Context::new(&SHA512)),
        }
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        for context in [&mut self.sha256, &mut self.sha512].into_iter().flatten() {
            context.update(bytes);
        }
    }

    /// The digests of all bytes taken.
    pub fn finish(self) -> Digests {
        const WHOLE: &str = "a digest has the length of its algorithm";
        Digests {
            sha256: self
                .sha256
                .map(|context| context.finish().as_ref().try_into().expect(WHOLE)),
            sha512: self
                .sha512
                .map(|context| context.finish().as_ref().try_into().expect(WHOLE)),
        }
    }

    /// The digests of content that is at hand.
    pub fn digest(algorithms: &[DigestAlgorithm], content: &[u8]) -> Digests {
        let mut hasher = Hasher::new(algorithms);
        hasher.update(content);
        hasher.finish()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// What a peer would like to get (RFC 9530 4): a weight from 0 to 10 for each algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    sha256: Option<u8>,
    sha512: Option<u8>,
}

impl Want {
    /// Reads `Want-Content-Digest` or `Want-Repr-Digest`; `None` where there is no such field.
    pub fn read(headers: &HeaderMap, field: &HeaderName) -> Result<Option<Want>, DigestError> {
        let text = structured::joined(headers, field, FIELD)
            .map_err(|_| DigestError::TooLarge { limit: FIELD })?;
        text.map(|text| Want::parse(&text)).transpose()
    }

    /// Reads the value of such a field.
    pub fn parse(text: &[u8]) -> Result<Want, DigestError> {
        let malformed = |fault| DigestError::Malformed { fault };
        let mut want = Want {
            sha256: None,
            sha512: None,
        };
        for (key, member) in structured::dictionary(text).map_err(malformed)? {
            let Member::Item(Item {
                value: Bare::Integer(weight),
                parameters: _,
            }) = member
            else {
                return Err(malformed(Fault::Type));
            };
            let weight = u8::try_from(i64::from(weight)).ok();
            let weight = weight.filter(|weight| *weight <= 10);
            let weight = weight.ok_or_else(|| malformed(Fault::Type))?;
            match key.as_str() {
                "sha-256" => want.sha256 = Some(weight),
                "sha-512" => want.sha512 = Some(weight),
                _ => {}
            }
        }
        Ok(want)
    }

    /// The trusted algorithm that is liked best, sha-256 of two that are liked alike; `None` where
    /// each is unwanted (0) or not named.
    pub fn preferred(&self) -> Option<DigestAlgorithm> {
        let weights = [
            (self.sha256, DigestAlgorithm::Sha256),
            (self.sha512, DigestAlgorithm::Sha512),
        ];
        let wanted = weights
            .into_iter()
            .filter_map(|(weight, algorithm)| Some((weight?, algorithm)))
            .filter(|(weight, _)| *weight > 0);
        // The first of equals.
        wanted
            .rev()
            .max_by_key(|(weight, _)| *weight)
            .map(|(_, algorithm)| algorithm)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sha256(content: &[u8]) -> Digests {
        Hasher::digest(&[DigestAlgorithm::Sha256], content)
    }

    #[test]
    fn a_digest_that_is_not_trusted_is_never_enough() {
        for text in [
            "",
            "md5=:Sd/dVLAcvNLSq16eXua5uQ==:",
            "sha=:07CavjDP4u3/TungoUHJO/Wzr4c=:",
            "unixsum=:GQU=:",
            "unixcksum=:7zsHAA==:, adler=:OZkGFw==:, crc32c=:Q3lHIA==:",
            "sha-1024=:AAE=:",
        ] {
            let error = Digests::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, DigestError::NoKnownAlgorithm, "{text}");
        }
    }

    #[test]
    fn what_is_no_digest_is_refused_by_its_reason() {
        for (text, fault) in [
            ("sha-256", Fault::Type),
            ("sha-256=1", Fault::Type),
            ("sha-256=:AAE=:;a", Fault::Type),
            ("sha-256=(:AAE=:)", Fault::Type),
            ("sha-256=:AAE=:", Fault::Length),
            (
                "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
                Fault::Length,
            ),
            (
                "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPF=:",
                Fault::Base64,
            ),
            (
                "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE:",
                Fault::Base64,
            ),
            (
                "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE==:",
                Fault::Syntax,
            ),
            (
                "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
                Fault::Syntax,
            ),
            ("sha-256=:AAE=:, md5=1", Fault::Type),
            ("md5=:AAE=:, md5=:AAE=:", Fault::Duplicate),
        ] {
            let error = Digests::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, DigestError::Malformed { fault }, "{text}");
        }
    }

    #[test]
    fn every_digest_that_stands_there_must_be_right() {
        let right = Hasher::digest(&DigestAlgorithm::ALL, b"abc");
        assert_eq!(
            right.check(&Hasher::digest(&DigestAlgorithm::ALL, b"abc")),
            Ok(())
        );
        let mut half = right.clone();
        half.sha512 = sha512_of(b"abd");
        let mismatch = |algorithm| Err(DigestError::Mismatch { algorithm });
        assert_eq!(half.check(&right), mismatch("sha-512"));
        half.sha256 = sha256(b"abd").sha256;
        assert_eq!(half.check(&right), mismatch("sha-256"));
        // What was not computed is not right.
        assert_eq!(right.check(&sha256(b"abc")), mismatch("sha-512"));
    }

    fn sha512_of(content: &[u8]) -> Option<[u8; 64]> {
        Hasher::digest(&[DigestAlgorithm::Sha512], content).sha512
    }

    #[test]
    fn lines_of_a_field_are_one_and_have_a_limit() {
        let mut headers = HeaderMap::new();
        assert_eq!(Digests::read(&headers, &CONTENT_DIGEST), Ok(None));
        headers.append(CONTENT_DIGEST, "md5=:AAE=:".parse().unwrap());
        headers.append(CONTENT_DIGEST, sha256(b"abc").header_value());
        assert_eq!(
            Digests::read(&headers, &CONTENT_DIGEST),
            Ok(Some(sha256(b"abc")))
        );
        headers.append(CONTENT_DIGEST, sha256(b"abd").header_value());
        let fault = Fault::Duplicate;
        let error = Digests::read(&headers, &CONTENT_DIGEST).unwrap_err();
        assert_eq!(error, DigestError::Malformed { fault });
        let long = HeaderValue::from_bytes(&[b'a'; FIELD]).unwrap();
        headers.append(CONTENT_DIGEST, long);
        let error = Digests::read(&headers, &CONTENT_DIGEST).unwrap_err();
        assert_eq!(error, DigestError::TooLarge { limit: FIELD });
    }

    #[test]
    fn preferences_choose_among_what_is_trusted() {
        use DigestAlgorithm::{Sha256, Sha512};
        for (text, preferred) in [
            ("sha-256=3, sha=10", Some(Sha256)),
            ("sha=10", None),
            ("sha-256=1, sha-512=2", Some(Sha512)),
            ("sha-512=2, sha-256=2", Some(Sha256)),
            ("sha-256=0, sha-512=1", Some(Sha512)),
            ("sha-256=0", None),
            ("", None),
        ] {
            let want = Want::parse(text.as_bytes()).unwrap();
            assert_eq!(want.preferred(), preferred, "{text}");
        }
        for text in [
            "sha-256",
            "sha-256=11",
            "sha-256=-1",
            "sha-256=1.0",
            "md5=a",
        ] {
            let fault = Fault::Type;
            let error = Want::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, DigestError::Malformed { fault }, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_digest_in_pieces_is_the_digest_of_the_whole(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..9),
        ) {
            let mut hasher = Hasher::new(&DigestAlgorithm::ALL);
            for piece in &pieces {
                hasher.update(piece);
            }
            let whole = Hasher::digest(&DigestAlgorithm::ALL, &pieces.concat());
            prop_assert_eq!(&hasher.finish(), &whole);
            let text = whole.to_string();
            prop_assert_eq!(&Digests::parse(text.as_bytes()).unwrap(), &whole);
        }

        #[test]
        fn one_bit_of_content_or_digest_makes_another(
            content in proptest::collection::vec(any::<u8>(), 1..90),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let digests = Hasher::digest(&DigestAlgorithm::ALL, &content);
            let mut altered = content.clone();
            altered[at.index(content.len())] ^= 1 << bit;
            prop_assert!(digests.check(&Hasher::digest(&DigestAlgorithm::ALL, &altered)).is_err());
            let mut text = digests.to_string().into_bytes();
            let index = at.index(text.len());
            text[index] ^= 1 << bit;
            let passes = Digests::parse(&text).is_ok_and(|read| {
                // A key that nobody knows any more leaves the other digest to be right.
                read.algorithms().len() == 2 && read.check(&digests).is_ok()
            });
            prop_assert!(!passes);
        }

        #[test]
        fn no_bytes_make_reading_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Digests::parse(&text);
            let _ = Want::parse(&text);
        }
    }
}
