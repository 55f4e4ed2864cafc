//! Every way in which a digest, a signature, a key or the reading of them fails: one row a variant,
//! with its code, its section, its sentence and what helps.
//!
//! Standard: the section stands in each row. The evidence names places, limits, times and
//! components; it holds no value of a field, no query, no nonce and no byte of a body. Of a
//! component that a peer chose only the name is told, never the member or query parameter behind
//! it. What this file does not do: it decides nothing.

use std::fmt;

/// What is wrong with the text of a structured field (RFC 9651).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not follow the grammar.
    Syntax,
    /// A key or parameter stands there twice. The RFC lets the last one win; not every parser
    /// follows, so nothing that is signed may depend on it.
    Duplicate,
    /// There are more members, items or parameters than the limit.
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A value is not of the type that the field asks for, or has parameters that it does not know.
    Type,
    /// Base64 in another spelling than the canonical one (RFC 4648 3.5).
    Base64,
    /// A digest or signature has not the length of its algorithm.
    Length,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Syntax => f.write_str("it does not follow the grammar"),
            Fault::Duplicate => f.write_str("a key stands there twice"),
            Fault::TooMany { limit } => write!(f, "it has more than {limit} members"),
            Fault::Type => f.write_str("a value is not of the type that belongs there"),
            Fault::Base64 => f.write_str("base64 is not in its canonical form"),
            Fault::Length => f.write_str("a value has not the length of its algorithm"),
        }
    }
}

/// Writes a closed enum and its exhaustive matches from one table, so that a variant cannot be
/// added without its code, section, sentence and hint.
macro_rules! errors {
    ($(#[$about:meta])* $kind:ident; $(
        $name:ident $({ $($evidence:ident : $type:ty),* })? =
            $code:literal, $section:literal, $text:literal, $hint:literal;
    )*) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $kind {
            $(
                #[doc = concat!($section, ": ", $text, ".")]
                $name $({
                    $(#[doc = concat!("Evidence: `", stringify!($evidence), "`.")] $evidence: $type),*
                })?,
            )*
        }

        impl $kind {
            /// Every code of this enum, in the order of the table.
            pub const CODES: &'static [&'static str] = &[$($code),*];

            /// The stable name of the failure, for records, metrics and problem documents.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code),* }
            }

            /// The standard and section that is broken.
            #[must_use]
            pub const fn section(&self) -> &'static str {
                match self { $(Self::$name { .. } => $section),* }
            }

            /// What whoever made the message or the key can do.
            #[must_use]
            pub const fn hint(&self) -> &'static str {
                match self { $(Self::$name { .. } => $hint),* }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $({ $($evidence),* })? => {
                        f.write_str(concat!($text, " (", $section))?;
                        $($(write!(f, concat!(", ", stringify!($evidence), " {}"), $evidence)?;)*)?
                        f.write_str(")")
                    })*
                }
            }
        }

        impl std::error::Error for $kind {}
    };
}

errors! {
    /// Why a message signature is refused, or cannot be made. Every variant fails closed: there is
    /// no signature then.
    Error;

    // the fields
    SignatureMissing = "signature_missing", "RFC 9421 4",
        "the message is not signed",
        "sign it: Signature-Input and Signature belong together";
    FieldTooLarge { field: &'static str, limit: usize } = "signature_too_large", "RFC 9421 4",
        "a signature field is longer than the limit in bytes",
        "send one signature, and cover what the route asks for";
    FieldMalformed { field: &'static str, fault: Fault } = "signature_malformed", "RFC 9421 4",
        "a signature field is malformed",
        "Signature-Input is a dictionary of inner lists, Signature one of byte sequences";
    TooManySignatures { limit: usize } = "signature_too_many", "RFC 9421 7.2.6",
        "there are more signatures than are looked at",
        "send fewer signatures";
    Unpaired { field: &'static str } = "signature_unpaired", "RFC 9421 4",
        "a label stands in one of Signature-Input and Signature only; the field without it is named",
        "give each signature one label in both fields";
    NotFound = "signature_not_found", "RFC 9421 3.2",
        "none of the signatures is the one that is asked for",
        "use the label or tag that the receiver expects";
    SeveralFound { found: usize } = "signature_ambiguous", "RFC 9421 7.2.6",
        "more than one signature could be the one that is asked for",
        "send one, or give them tags";

    // what is covered
    NothingCovered = "signature_covers_nothing", "RFC 9421 7.2.1",
        "the signature covers no component",
        "cover what the receiver asks for";
    TooManyComponents { limit: usize } = "component_limit", "RFC 9421 2",
        "more components are covered than the limit",
        "cover fewer components";
    ComponentUnknown { index: usize } = "component_unknown", "RFC 9421 2.2",
        "a derived component is not one that is known",
        "use the names of RFC 9421 section 2.2; @signature-params is covered by itself";
    ComponentName { index: usize } = "component_name", "RFC 9421 2.1",
        "a component is not a String that names a field in lower case",
        "write the field name in lower case, in double quotes";
    ComponentParameter { index: usize } = "component_parameter", "RFC 9421 2.1",
        "a component has a parameter that is unknown, of the wrong type or not for it",
        "fields take sf, bs, key, tr, req; derived components take req; @query-param takes name";
    ComponentConflict { index: usize } = "component_conflict", "RFC 9421 2.1",
        "bs stands together with sf or key",
        "use one of them";
    ComponentTwice { index: usize } = "component_twice", "RFC 9421 2",
        "a component is covered twice",
        "name each component once; the order of its parameters makes no difference";
    ComponentMisplaced { component: Box<str> } = "component_misplaced", "RFC 9421 2.4",
        "a component does not belong into a signature of this kind of message",
        "@status and req are for responses; of the request a response covers components with req";

    // the parameters
    ParameterType { parameter: &'static str } = "signature_parameter_type", "RFC 9421 2.3",
        "a parameter is not of its type, or out of range",
        "created and expires are Integers of seconds, the others Strings";
    ParameterTooLong { parameter: &'static str, limit: usize } = "signature_parameter_too_long", "RFC 9421 2.3",
        "a label or parameter is longer than the limit in bytes",
        "shorten it";
    ParameterMissing { parameter: &'static str } = "signature_parameter_missing", "RFC 9421 3.2.1",
        "a parameter that is asked for is missing or empty",
        "add it to Signature-Input";
    ExpiresFirst { created: u64, expires: u64 } = "signature_expires_first", "RFC 9421 2.3",
        "the signature expires before it is created",
        "let expires come after created";

    // the values
    ComponentAbsent { component: Box<str> } = "component_absent", "RFC 9421 2.5",
        "a covered component is not in the message",
        "send what is covered; trailers have tr, and a dictionary has the member of key";
    NoRequest { component: Box<str> } = "component_request_unknown", "RFC 9421 2.4",
        "the request that the response answers is not at hand",
        "give the request to whoever checks the response";
    ValueByte { component: Box<str> } = "component_value", "RFC 9421 2.5",
        "the value of a covered component holds a byte that is not printable ASCII",
        "cover such a field with bs";
    ValueMalformed { component: Box<str>, fault: Fault } = "component_malformed", "RFC 9421 2.1.1",
        "the value of a covered component is malformed",
        "send the field in the type that its RFC gives it";
    ValueAmbiguous { component: Box<str> } = "component_ambiguous", "RFC 9421 7.5.6",
        "the value of a covered component can be taken in two ways",
        "cover the whole query, or cover the field with bs";
    NotStructured { component: Box<str> } = "component_not_structured", "RFC 9421 2.1.1",
        "sf or key is asked for a field that is not known to have such a type",
        "cover the field without sf and key";
    BaseTooLarge { limit: usize } = "signature_base_too_large", "RFC 9421 2.5",
        "the signature base is longer than the limit in bytes",
        "cover less, or send less";

    // what is asked for
    NotCovered { component: Box<str> } = "signature_not_covering", "RFC 9421 7.2.1",
        "a component that must be covered is not",
        "cover everything that the route asks for";
    NotYetValid { created: u64, now: u64 } = "signature_not_yet_valid", "RFC 9421 3.2.1",
        "the signature was created in the future",
        "set the clock of the signer";
    TooOld { created: u64, now: u64, limit: u64 } = "signature_too_old", "RFC 9421 7.2.2",
        "the signature was created too long ago, in seconds",
        "sign anew, and set the clock of the signer";
    Expired { expires: u64, now: u64 } = "signature_expired", "RFC 9421 3.2.1",
        "the signature has expired",
        "sign anew";
    TagNotAccepted = "signature_tag", "RFC 9421 7.2.7",
        "the tag is not one that is accepted here",
        "use the tag that the receiver expects";
    AlgorithmNotAccepted { algorithm: &'static str } = "signature_algorithm", "RFC 9421 3.2",
        "the algorithm is not one that is accepted here",
        "use a key of another kind";
    AlgorithmUnknown = "signature_algorithm_unknown", "RFC 9421 6.2",
        "the parameter alg names no algorithm that is known",
        "leave alg out: the key says which it is";
    AlgorithmMismatch { key: &'static str } = "signature_algorithm_mismatch", "RFC 9421 7.3.6",
        "the parameter alg is not the algorithm of the key",
        "leave alg out: the key says which it is";
    KeyUnknown = "signature_key_unknown", "RFC 9421 3.2",
        "no key belongs to this signature",
        "use the keyid under which the key is known here";
    Invalid { algorithm: &'static str } = "signature_invalid", "RFC 9421 3.2",
        "the signature does not verify",
        "the message was altered, or another key signed it; compare the signature bases line by line";

    // making one
    LabelMalformed = "signature_label", "RFC 9421 4.1",
        "the label is not a key of a dictionary",
        "use lower case letters, digits, _ - . *, and begin with a letter";
    LabelTaken = "signature_label_taken", "RFC 9421 4.3",
        "the message has a signature under this label",
        "use another label";
    SigningFailed = "signing_failed", "RFC 9421 3.1",
        "the key did not sign",
        "check the key and the cryptography library";
}

errors! {
    /// Why a digest is refused.
    DigestError;

    Missing = "digest_missing", "RFC 9530 2",
        "there is no digest of the content",
        "send Content-Digest with sha-256 or sha-512";
    TooLarge { limit: usize } = "digest_too_large", "RFC 9530 6.7",
        "the field is longer than the limit in bytes",
        "send one digest";
    Malformed { fault: Fault } = "digest_malformed", "RFC 9530 2",
        "the field is malformed",
        "it is a dictionary of byte sequences, as in sha-256=:...:";
    NoKnownAlgorithm = "digest_algorithm", "RFC 9530 5",
        "no digest is of an algorithm that is trusted",
        "send sha-256 or sha-512";
    Mismatch { algorithm: &'static str } = "digest_mismatch", "RFC 9530 2",
        "the content is not what the digest says",
        "the message was altered, or the digest was made of other bytes than the content as it is sent";
}

errors! {
    /// Why a key cannot be used.
    KeyError;

    Encoding = "key_encoding", "RFC 5280 4.1.2.7",
        "the key is not well-formed",
        "public keys are SubjectPublicKeyInfo in DER, private ones PKCS#8 in DER";
    Kind = "key_kind", "RFC 9421 3.3",
        "the key is of a kind that no algorithm here takes",
        "use P-256, P-384, Ed25519, RSA of 2048 bits or more";
    TooShort { bits: usize, least: usize } = "key_too_short", "RFC 9421 7.3.1",
        "the key is too short",
        "use a longer key";
    TooLong { bits: usize, most: usize } = "key_too_long", "RFC 9421 7.3.1",
        "the key is too long",
        "use a shorter key";
    Rejected = "key_rejected", "RFC 9421 3.3",
        "the cryptography library does not accept the key",
        "make a new key; its parts do not fit together";
    Json = "jwk_json", "RFC 7517 4",
        "the JWK or JWK set is no such JSON",
        "a set is an object with an array `keys`";
    Member { member: &'static str } = "jwk_member", "RFC 7518 6",
        "a member of a JWK is missing or malformed",
        "members that hold bytes are base64url without padding";
    Algorithm { key: &'static str } = "jwk_algorithm", "RFC 7517 4.4",
        "the member alg is not the algorithm of the key",
        "leave alg out, or correct it";
    Secret = "jwk_secret", "RFC 7517 9.2",
        "a set of public keys holds a private or symmetric one",
        "publish the public members only, and replace the key that was published";
    SameKeyId = "jwk_same_kid", "RFC 7517 4.5",
        "two keys of a set have the same kid",
        "give each its own";
    SetTooLarge { limit: usize } = "jwk_set_too_large", "RFC 7517 5",
        "the set is larger than the limit",
        "publish fewer keys";
}

errors! {
    /// Why a window against replays does not take a message. Every variant fails closed: the
    /// message is not accepted.
    ReplayError;

    Replayed = "replayed", "RFC 9421 7.2.2",
        "the message was here before",
        "send each message once, each with its own nonce; to send it again, sign it anew";
    Full { entries: usize } = "replay_window_full", "RFC 9421 7.2.2",
        "the window holds as many messages or identities as it may, and forgets none before its time",
        "let the window hold more, or accept messages for a shorter time";
    ShareFull { share: usize } = "replay_share_full", "RFC 9421 7.2.2",
        "the identity has as many messages in the window as it may",
        "send fewer messages, or give each identity a greater share";
    OutOfWindow { until: u64, clock: u64, horizon: u64 } = "replay_out_of_window", "RFC 9421 7.2.2",
        "the message could be accepted at a time that the window does not reach, in seconds",
        "let the window reach as far as signatures are accepted; if the clock was set back, wait for it";
}

errors! {
    /// Why a window against replays cannot be restored. The caller decides whether to begin with an
    /// empty one; until the horizon has passed it does not know what was here before.
    SnapshotError;

    Length = "replay_snapshot_length", "phigate replay 1",
        "the snapshot or journal entry has not the length that it says",
        "it was cut off: use an older one";
    Version = "replay_snapshot_version", "phigate replay 1",
        "the snapshot is none, or one of another version",
        "begin with an empty window, and wait for one horizon before messages are accepted";
    Checksum = "replay_snapshot_checksum", "phigate replay 1",
        "the snapshot or journal entry is damaged",
        "begin with an empty window, and wait for one horizon before messages are accepted";
    Content = "replay_snapshot_content", "phigate replay 1",
        "the snapshot holds what no window held, or more than this one may hold",
        "give the window the limits that it had";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_there_once_and_in_the_spelling_of_the_house() {
        let codes = [
            Error::CODES,
            DigestError::CODES,
            KeyError::CODES,
            ReplayError::CODES,
            SnapshotError::CODES,
        ];
        let codes = codes.concat();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), codes.len());
        for code in codes {
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(code.chars().all(plain), "{code}");
        }
    }

    #[test]
    fn an_error_says_what_where_and_by_which_section() {
        let error = Error::Expired {
            expires: 10,
            now: 20,
        };
        assert_eq!(
            error.to_string(),
            "the signature has expired (RFC 9421 3.2.1, expires 10, now 20)"
        );
        assert_eq!(error.code(), "signature_expired");
        assert_eq!(error.section(), "RFC 9421 3.2.1");
        assert_eq!(error.hint(), "sign anew");
    }
}
