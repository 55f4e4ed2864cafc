//! Making signatures, for requests and responses.
//!
//! Standard: RFC 9421 3.1 and 4. What is signed goes through the same reader and the same base as
//! what is verified, so nothing is made here that would be refused there. A key that is not at hand
//! (a PKCS#11 token) signs [`Prepared::base`]. What it does not do: it chooses no nonce and no time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use sfv::KeyRef;

use crate::base::Base;
use crate::component::Component;
use crate::error::Error;
use crate::keys::SigningKey;
use crate::limits::{FIELD, SIGNATURES, TEXT};
use crate::message::Message;
use crate::params::{Input, Params};
use crate::signatures::{self, SIGNATURE, SIGNATURE_INPUT};

/// What is to be signed, under which label. It can be used for many messages as long as its
/// parameters may be the same.
#[derive(Clone, Debug)]
pub struct Draft {
    label: Box<str>,
    input: Input,
}

impl Draft {
    /// Covers these components, in this order, with these parameters.
    pub fn new(label: &str, components: &[Component], params: &Params) -> Result<Draft, Error> {
        KeyRef::from_str(label).map_err(|_| Error::LabelMalformed)?;
        if label.len() > TEXT {
            return Err(Error::ParameterTooLong {
                parameter: "label",
                limit: TEXT,
            });
        }
        if components.is_empty() {
            return Err(Error::NothingCovered);
        }
        Ok(Draft {
            label: label.into(),
            input: Input::new(components, params)?,
        })
    }

    /// Builds the base of this message, for a key that signs elsewhere.
    pub fn prepare(&self, message: &Message<'_>) -> Result<Prepared, Error> {
        Ok(Prepared {
            base: Base::build(message, &self.input)?,
            label: self.label.clone(),
            input: self.input.clone(),
        })
    }

    /// Signs this message. An `alg` that is not the algorithm of the key is refused.
    pub fn sign(&self, message: &Message<'_>, key: &SigningKey) -> Result<Signed, Error> {
        let algorithm = key.algorithm().name();
        let named = self.input.params().alg.as_deref();
        if named.is_some_and(|named| named != algorithm) {
            return Err(Error::AlgorithmMismatch { key: algorithm });
        }
        let prepared = self.prepare(message)?;
        let signature = key.sign(prepared.base.as_bytes())?;
        Ok(prepared.finish(&signature))
    }
}

/// A base that waits for its signature.
#[derive(Clone, Debug)]
pub struct Prepared {
    label: Box<str>,
    input: Input,
    base: Base,
}

impl Prepared {
    /// What is to be signed.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Puts the signature to it. ECDSA signatures are `r || s` (RFC 9421 3.3.4), not DER.
    pub fn finish(self, signature: &[u8]) -> Signed {
        Signed {
            input: format!("{}={}", self.label, self.input.as_str()),
            signature: format!("{}=:{}:", self.label, STANDARD.encode(signature)),
            label: self.label,
        }
    }
}

/// A signature, ready to go into a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    label: Box<str>,
    input: String,
    signature: String,
}

impl Signed {
    /// The member of `Signature-Input`.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The member of `Signature`.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// Adds it to header or trailer fields, behind signatures that are there under other labels,
    /// each field in one line. On an error nothing has changed.
    pub fn attach(&self, fields: &mut HeaderMap) -> Result<(), Error> {
        let input = self.behind(fields, &SIGNATURE_INPUT, &self.input, |text| {
            let inputs = signatures::read_inputs(text)?;
            Ok(inputs.iter().map(|(label, _)| (*label).into()).collect())
        })?;
        let signature = self.behind(fields, &SIGNATURE, &self.signature, |text| {
            let signatures = signatures::read_signatures(text)?;
            Ok(signatures
                .iter()
                .map(|(label, _)| (*label).into())
                .collect())
        })?;
        fields.insert(SIGNATURE_INPUT, input);
        fields.insert(SIGNATURE, signature);
        Ok(())
    }

    /// The value of a field with this member behind those that are there.
    fn behind(
        &self,
        fields: &HeaderMap,
        name: &HeaderName,
        member: &str,
        labels: impl Fn(&[u8]) -> Result<Vec<Box<str>>, Error>,
    ) -> Result<HeaderValue, Error> {
        let present = signatures::joined(fields, name)?.unwrap_or_default();
        let labels = labels(&present)?;
        if labels.contains(&self.label) {
            return Err(Error::LabelTaken);
        }
        if labels.len() >= SIGNATURES {
            return Err(Error::TooManySignatures { limit: SIGNATURES });
        }
        let separator: &[u8] = if labels.is_empty() { b"" } else { b", " };
        let value = [&present, separator, member.as_bytes()].concat();
        let too_large = || Error::FieldTooLarge {
            field: if *name == SIGNATURE {
                "signature"
            } else {
                "signature-input"
            },
            limit: FIELD,
        };
        if value.len() > FIELD {
            return Err(too_large());
        }
        HeaderValue::from_maybe_shared(value).map_err(|_| too_large())
    }
}
