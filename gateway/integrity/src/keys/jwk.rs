//! Public keys as JSON: what the gateway publishes so that others can verify what it signs, and
//! what others publish.
//!
//! Standard: RFC 7517, RFC 7518 6 (EC, RSA), RFC 8037 (OKP), RFC 7638 (thumbprints). A set is
//! refused whole when it holds a private or symmetric key, because then a secret was published; a
//! key of a kind that is not known is passed over (RFC 7517 5). What it does not do: it fetches
//! nothing, and `x5c` and its like are not read.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::der::{Kind, Public};
use super::verifying::Material;
use super::{Algorithm, VerifyingKey};
use crate::error::KeyError;
use crate::limits::JWK_SET as SET;

/// A set of public keys, each with its `kid`.
#[derive(Debug, Default)]
pub struct JwkSet {
    keys: Vec<(Box<str>, VerifyingKey)>,
}

impl JwkSet {
    /// Reads a set (RFC 7517 5). A key without `kid` is known by its thumbprint.
    pub fn parse(json: &[u8]) -> Result<JwkSet, KeyError> {
        if json.len() > SET {
            return Err(KeyError::SetTooLarge { limit: SET });
        }
        let set: Set = serde_json::from_slice(json).map_err(|_| KeyError::Json)?;
        let mut read = JwkSet::default();
        for jwk in &set.keys {
            let Some(key) = jwk.read()? else {
                continue;
            };
            let kid = match &jwk.kid {
                Some(kid) => kid.clone(),
                None => key.thumbprint()?,
            };
            if read.get(&kid).is_some() {
                return Err(KeyError::SameKeyId);
            }
            read.keys.push((kid.into(), key));
        }
        Ok(read)
    }

    /// The key of this `kid`.
    pub fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        let found = self.keys.iter().find(|(known, _)| &**known == kid);
        found.map(|(_, key)| key)
    }

    /// Every key with its `kid`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &VerifyingKey)> {
        self.keys.iter().map(|(kid, key)| (&**kid, key))
    }

    /// A set of these keys as JSON, each with its thumbprint as `kid` (RFC 7638).
    pub fn write<'k>(keys: impl IntoIterator<Item = &'k VerifyingKey>) -> Result<String, KeyError> {
        let keys: Result<Vec<_>, _> = keys.into_iter().map(VerifyingKey::to_jwk).collect();
        Ok(format!("{{\"keys\":[{}]}}", keys?.join(",")))
    }
}

impl VerifyingKey {
    /// Reads one JWK (RFC 7517 4).
    pub fn from_jwk(json: &[u8]) -> Result<VerifyingKey, KeyError> {
        if json.len() > SET {
            return Err(KeyError::SetTooLarge { limit: SET });
        }
        let jwk: Jwk = serde_json::from_slice(json).map_err(|_| KeyError::Json)?;
        jwk.read()?.ok_or(KeyError::Kind)
    }

    /// The JWK of a public key, with its thumbprint as `kid`; a shared secret has none.
    pub fn to_jwk(&self) -> Result<String, KeyError> {
        let required = self.required_members()?;
        let (kid, alg) = (thumbprint(&required), jose(self.algorithm()));
        let members = required.strip_prefix('{').unwrap_or_default();
        Ok(format!(
            "{{\"alg\":\"{alg}\",\"kid\":\"{kid}\",\"use\":\"sig\",{members}"
        ))
    }

    /// The thumbprint of a public key (RFC 7638), base64url of SHA-256; a shared secret has none.
    pub fn thumbprint(&self) -> Result<String, KeyError> {
        Ok(thumbprint(&self.required_members()?))
    }

    /// The members that make the key, in the order and spelling of RFC 7638 3.2. Nothing in them
    /// needs to be escaped.
    fn required_members(&self) -> Result<String, KeyError> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match (self.material().ok_or(KeyError::Secret)?, self.algorithm()) {
            (Material::Rsa { n, e }, _) => {
                let (n, e) = (text(n), text(e));
                Ok(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
            }
            (Material::Raw(bytes), Algorithm::Ed25519) => {
                let x = text(bytes);
                Ok(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
            }
            (Material::Raw(bytes), algorithm) => {
                let curve = match algorithm {
                    Algorithm::EcdsaP384Sha384 => "P-384",
                    _ => "P-256",
                };
                let point = bytes.get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let (x, y) = (text(x), text(y));
                Ok(format!(
                    r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#
                ))
            }
        }
    }
}

fn thumbprint(required: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, required.as_bytes()))
}

/// The algorithm in the words of RFC 7518 3.1 and RFC 9864.
const fn jose(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => "ES256",
        Algorithm::EcdsaP384Sha384 => "ES384",
        Algorithm::Ed25519 => "EdDSA",
        Algorithm::RsaPssSha512 => "PS512",
        Algorithm::RsaV15Sha256 => "RS256",
        Algorithm::HmacSha256 => "HS256",
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

/// The members that are read; others are passed over (RFC 7517 4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    // Private and symmetric members: that they are there is enough.
    d: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

impl Jwk {
    /// The key; `None` where its kind, curve, use or algorithm is not one of ours.
    fn read(&self) -> Result<Option<VerifyingKey>, KeyError> {
        if self.d.is_some() || self.k.is_some() {
            return Err(KeyError::Secret);
        }
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let key = match (&*self.kty, self.crv.as_deref()) {
            ("EC", Some("P-256")) => self.point(Kind::P256, 32)?,
            ("EC", Some("P-384")) => self.point(Kind::P384, 48)?,
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x", self.x.as_deref())?;
                VerifyingKey::from_public(&Public::Raw(Kind::Ed25519, &x), Algorithm::Ed25519)?
            }
            ("RSA", _) => {
                let rsa = match self.alg.as_deref() {
                    None | Some("PS512") => Algorithm::RsaPssSha512,
                    Some("RS256") => Algorithm::RsaV15Sha256,
                    Some(_) => return Ok(None),
                };
                let n = number("n", self.n.as_deref())?;
                let e = number("e", self.e.as_deref())?;
                VerifyingKey::from_public(&Public::Rsa { n: &n, e: &e }, rsa)?
            }
            _ => return Ok(None),
        };
        // RFC 9864 names Ed25519 what RFC 8037 names EdDSA.
        let known = [jose(key.algorithm()), key.algorithm().name()];
        let agrees = |alg: &str| {
            known.contains(&alg) || (alg == "Ed25519" && key.algorithm() == Algorithm::Ed25519)
        };
        if self.alg.as_deref().is_some_and(|alg| !agrees(alg)) {
            return Err(KeyError::Algorithm {
                key: key.algorithm().name(),
            });
        }
        Ok(Some(key))
    }

    /// Coordinates have the full length of the field (RFC 7518 6.2.1.2).
    fn point(&self, kind: Kind, length: usize) -> Result<VerifyingKey, KeyError> {
        let x = bytes("x", self.x.as_deref())?;
        let y = bytes("y", self.y.as_deref())?;
        for (member, coordinate) in [("x", &x), ("y", &y)] {
            if coordinate.len() != length {
                return Err(KeyError::Member { member });
            }
        }
        let point = [&[4], &x[..], &y[..]].concat();
        VerifyingKey::from_public(&Public::Raw(kind, &point), Algorithm::RsaPssSha512)
    }
}

fn bytes(member: &'static str, text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let text = text.ok_or(KeyError::Member { member })?;
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| KeyError::Member { member })
}

/// A positive number in the fewest bytes (RFC 7518 2, Base64urlUInt).
fn number(member: &'static str, text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    match bytes(member, text)? {
        number if number.first().is_some_and(|first| *first > 0) => Ok(number),
        _ => Err(KeyError::Member { member }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7638 3.1, with the thumbprint that stands there; RFC 8037 A.2 and A.3; RFC 7515 A.3.
    const RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    const OKP: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    #[test]
    fn thumbprints_are_as_in_the_standards() {
        let rsa = VerifyingKey::from_jwk(RSA.as_bytes()).unwrap();
        assert_eq!(
            rsa.thumbprint().unwrap(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        let okp = VerifyingKey::from_jwk(OKP.as_bytes()).unwrap();
        assert_eq!(
            okp.thumbprint().unwrap(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_set_that_was_written_is_read_with_the_same_keys() {
        let keys: Vec<_> = [RSA, OKP, EC]
            .iter()
            .map(|jwk| VerifyingKey::from_jwk(jwk.as_bytes()).unwrap())
            .collect();
        let text = JwkSet::write(&keys).unwrap();
        let set = JwkSet::parse(text.as_bytes()).unwrap();
        assert_eq!(set.iter().count(), 3);
        for key in &keys {
            let found = set.get(&key.thumbprint().unwrap()).unwrap();
            assert_eq!(found.algorithm(), key.algorithm());
        }
        let again = JwkSet::write(set.iter().map(|(_, key)| key)).unwrap();
        assert_eq!(again, text);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["keys"][2]["alg"], "ES256");
        assert_eq!(value["keys"][2]["use"], "sig");
    }

    #[test]
    fn a_secret_is_neither_written_nor_read() {
        let shared = VerifyingKey::hmac(&[1; 32]).unwrap();
        assert_eq!(shared.to_jwk().unwrap_err(), KeyError::Secret);
        assert_eq!(JwkSet::write([&shared]).unwrap_err(), KeyError::Secret);
        for secret in [
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
            &OKP.replace(
                '}',
                r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#,
            ),
        ] {
            let set = format!(r#"{{"keys":[{EC},{secret}]}}"#);
            assert_eq!(JwkSet::parse(set.as_bytes()).unwrap_err(), KeyError::Secret);
        }
    }

    #[test]
    fn keys_of_other_kinds_and_uses_are_passed_over() {
        let others = [
            r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_owned(),
            r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#.to_owned(),
            EC.replace('}', r#","use":"enc"}"#),
            RSA.replace("RS256", "RSA-OAEP"),
        ];
        let set = format!(r#"{{"keys":[{}]}}"#, others.join(","));
        let set = JwkSet::parse(set.as_bytes()).unwrap();
        assert_eq!(set.iter().count(), 0);
        let one = VerifyingKey::from_jwk(others[0].as_bytes());
        assert_eq!(one.unwrap_err(), KeyError::Kind);
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_reason() {
        let member = |member| KeyError::Member { member };
        let short = "n\":\"AQAB";
        for (jwk, error) in [
            ("", KeyError::Json),
            ("[]", KeyError::Json),
            (r#"{"kty":1}"#, KeyError::Json),
            (r#"{"kty":"EC","kty":"EC"}"#, KeyError::Json),
            (&OKP.replace("11qY", ""), KeyError::Encoding),
            (&OKP.replace("11qY", "11q="), member("x")),
            (&OKP.replace("HURo", "HURp"), member("x")),
            (&EC.replace("\"x\"", "\"z\""), member("x")),
            (&EC.replace("x_FEz", "x_"), member("y")),
            (&EC.replace("x_FE", "y_FE"), KeyError::Rejected),
            (
                &EC.replace('}', r#","alg":"ES384"}"#),
                KeyError::Algorithm {
                    key: "ecdsa-p256-sha256",
                },
            ),
            (&RSA.replace("n\":\"0vx7", "n\":\"AAAA"), member("n")),
            (
                &format!(r#"{{"kty":"RSA","e":"AQAB","{short}"}}"#),
                KeyError::TooShort {
                    bits: 17,
                    least: 2048,
                },
            ),
        ] {
            assert_eq!(
                VerifyingKey::from_jwk(jwk.as_bytes()).unwrap_err(),
                error,
                "{jwk}"
            );
        }
        let set = format!(r#"{{"keys":[{RSA},{RSA}]}}"#);
        assert_eq!(
            JwkSet::parse(set.as_bytes()).unwrap_err(),
            KeyError::SameKeyId
        );
        let large = vec![b' '; SET + 1];
        let limit = SET;
        assert_eq!(
            JwkSet::parse(&large).unwrap_err(),
            KeyError::SetTooLarge { limit }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = JwkSet::parse(&bytes);
            let _ = VerifyingKey::from_jwk(&bytes);
        }
    }
}
