//! `Signature-Input` and `Signature`: reading them, and finding the one signature that is asked for.
//!
//! Standard: RFC 9421 4. Both fields are read whole before anything is chosen, and strictly: every
//! label stands in both, once, and signatures are canonical base64, so that no bit of either field
//! can be turned unnoticed. What it does not do: it verifies nothing.

use http::HeaderMap;
use http::header::HeaderName;

use crate::error::{Error, Fault};
use crate::limits::{FIELD, SIGNATURES, TEXT};
use crate::message::Message;
use crate::params::Input;
use crate::structured::{self, InnerList, Member};

/// `Signature-Input` (RFC 9421 4.1).
pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// `Signature` (RFC 9421 4.2).
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// Which signature of a message is meant, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    choice: Choice<'a>,
    trailers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice<'a> {
    Only,
    Label(&'a str),
    Tag(&'a str),
}

impl<'a> Selection<'a> {
    /// The one that there is; several are refused.
    pub const fn only() -> Selection<'a> {
        Selection {
            choice: Choice::Only,
            trailers: false,
        }
    }

    /// The one under this label. A label says nothing of a signature (RFC 9421 7.2.5): only where
    /// both ends agreed on it.
    pub const fn label(label: &'a str) -> Selection<'a> {
        Selection {
            choice: Choice::Label(label),
            trailers: false,
        }
    }

    /// The one with this tag; several are refused.
    pub const fn tag(tag: &'a str) -> Selection<'a> {
        Selection {
            choice: Choice::Tag(tag),
            trailers: false,
        }
    }

    /// The same, of the signatures in the trailer fields instead of those in the header fields.
    #[must_use]
    pub const fn in_trailers(self) -> Selection<'a> {
        Selection {
            trailers: true,
            ..self
        }
    }
}

/// One signature as it stands in a message.
pub(crate) struct Found {
    pub(crate) label: Box<str>,
    pub(crate) input: Input,
    pub(crate) signature: Vec<u8>,
}

/// Finds the signature that is meant.
pub(crate) fn find(message: &Message<'_>, selection: Selection<'_>) -> Result<Found, Error> {
    let fields = if selection.trailers {
        message.trailers().ok_or(Error::SignatureMissing)?
    } else {
        message.headers()
    };
    let (inputs, signatures) = (
        joined(fields, &SIGNATURE_INPUT)?,
        joined(fields, &SIGNATURE)?,
    );
    let (inputs, signatures) = match (inputs, signatures) {
        (Some(inputs), Some(signatures)) => (inputs, signatures),
        (None, None) => return Err(Error::SignatureMissing),
        (None, Some(_)) => return Err(unpaired(&SIGNATURE_INPUT)),
        (Some(_), None) => return Err(unpaired(&SIGNATURE)),
    };
    let inputs = read_inputs(&inputs)?;
    let mut signatures = read_signatures(&signatures)?;
    let paired = |label: &str| signatures.iter().any(|(known, _)| *known == label);
    if !inputs.iter().all(|(label, _)| paired(label)) {
        return Err(unpaired(&SIGNATURE));
    }
    if signatures.len() > inputs.len() {
        return Err(unpaired(&SIGNATURE_INPUT));
    }
    let (label, inner) = choose(&inputs, selection.choice)?;
    let place = signatures.iter().position(|(known, _)| *known == label);
    let (_, signature) = signatures.swap_remove(place.ok_or_else(|| unpaired(&SIGNATURE))?);
    Ok(Found {
        label: label.into(),
        input: Input::read(inner)?,
        signature,
    })
}

/// The labels of `Signature-Input`, each with its inner list.
pub(crate) fn read_inputs(text: &[u8]) -> Result<Vec<(&str, InnerList<'_>)>, Error> {
    let members = structured::dictionary(text);
    let members = members.map_err(|fault| malformed(&SIGNATURE_INPUT, fault))?;
    check_labels(members.iter().map(|(label, _)| label.as_str()))?;
    let inputs = members.into_iter().map(|(label, member)| match member {
        Member::InnerList(inner) => Ok((label.as_str(), inner)),
        Member::Item(_) => Err(malformed(&SIGNATURE_INPUT, Fault::Type)),
    });
    inputs.collect()
}

/// The labels of `Signature`, each with its bytes.
pub(crate) fn read_signatures(text: &[u8]) -> Result<Vec<(&str, Vec<u8>)>, Error> {
    let members = structured::byte_members(text);
    let members = members.map_err(|fault| malformed(&SIGNATURE, fault))?;
    check_labels(members.iter().map(|(label, _)| *label))?;
    Ok(members)
}

/// The lines of one of the two fields.
pub(crate) fn joined<'h>(
    fields: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<std::borrow::Cow<'h, [u8]>>, Error> {
    structured::joined(fields, name, FIELD).map_err(|_| Error::FieldTooLarge {
        field: name_of(name),
        limit: FIELD,
    })
}

fn check_labels<'a>(labels: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Error> {
    if labels.len() > SIGNATURES {
        return Err(Error::TooManySignatures { limit: SIGNATURES });
    }
    for label in labels {
        if label.len() > TEXT {
            return Err(Error::ParameterTooLong {
                parameter: "label",
                limit: TEXT,
            });
        }
    }
    Ok(())
}

fn choose<'i, 'a>(
    inputs: &'i [(&'a str, InnerList<'a>)],
    choice: Choice<'_>,
) -> Result<(&'a str, &'i InnerList<'a>), Error> {
    let mut meant = inputs.iter().filter(|(label, inner)| match choice {
        Choice::Only => true,
        Choice::Label(meant) => *label == meant,
        Choice::Tag(meant) => inner.parameters.iter().any(|(key, value)| {
            let tag = value.as_string().map(sfv::StringRef::as_str);
            key.as_str() == "tag" && tag == Some(meant)
        }),
    });
    let (label, inner) = meant.next().ok_or(Error::NotFound)?;
    match meant.count() {
        0 => Ok((label, inner)),
        more => Err(Error::SeveralFound { found: more + 1 }),
    }
}

fn malformed(field: &HeaderName, fault: Fault) -> Error {
    Error::FieldMalformed {
        field: name_of(field),
        fault,
    }
}

/// The field without a label that the other has.
pub(crate) fn unpaired(field: &HeaderName) -> Error {
    Error::Unpaired {
        field: name_of(field),
    }
}

fn name_of(field: &HeaderName) -> &'static str {
    if field == SIGNATURE {
        "signature"
    } else {
        "signature-input"
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use crate::message::Request;

    use super::*;

    fn found(
        input: &str,
        signature: &str,
        selection: Selection<'_>,
    ) -> Result<(String, Vec<u8>), Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(SIGNATURE_INPUT, input), (SIGNATURE, signature)] {
            for line in value.split('\n').filter(|line| !line.is_empty()) {
                headers.append(&name, line.parse().unwrap());
            }
        }
        let request = Request {
            method: &Method::GET,
            scheme: "https",
            authority: "a",
            path: "/",
            query: None,
            target: None,
            headers: &headers,
            trailers: Some(&headers),
        };
        let found = find(&Message::Request(request), selection)?;
        let again = find(&Message::Request(request), selection.in_trailers())?;
        assert_eq!(again.label, found.label);
        Ok((found.label.into(), found.signature))
    }

    #[test]
    fn the_one_that_is_meant_is_found() {
        let inputs = "a=();tag=\"x\", b=();tag=\"y\"\nc=();tag=\"y\"";
        let signatures = "c=:AAI=:, b=:AAE=:\na=:AAA=:";
        let find = |selection| found(inputs, signatures, selection);
        assert_eq!(find(Selection::tag("x")).unwrap(), ("a".into(), vec![0, 0]));
        assert_eq!(
            find(Selection::label("c")).unwrap(),
            ("c".into(), vec![0, 2])
        );
        let two = Error::SeveralFound { found: 2 };
        assert_eq!(find(Selection::tag("y")).unwrap_err(), two);
        assert_eq!(find(Selection::tag("z")).unwrap_err(), Error::NotFound);
        assert_eq!(find(Selection::label("z")).unwrap_err(), Error::NotFound);
        let three = Error::SeveralFound { found: 3 };
        assert_eq!(find(Selection::only()).unwrap_err(), three);
        assert!(found("a=()", "a=:AAA=:", Selection::only()).is_ok());
    }

    #[test]
    fn what_does_not_belong_together_is_refused_by_its_reason() {
        let missing = |field| Error::Unpaired { field };
        let malformed = |field, fault| Error::FieldMalformed { field, fault };
        let (input, signature) = ("signature-input", "signature");
        for (inputs, signatures, error) in [
            ("", "", Error::SignatureMissing),
            ("a=()", "", missing(signature)),
            ("", "a=:AAA=:", missing(input)),
            ("a=()", "b=:AAA=:", missing(signature)),
            ("a=(), b=()", "a=:AAA=:", missing(signature)),
            ("a=()", "a=:AAA=:, b=:AAA=:", missing(input)),
            ("a", "a=:AAA=:", malformed(input, Fault::Type)),
            ("a=1", "a=:AAA=:", malformed(input, Fault::Type)),
            ("a=()\na=()", "a=:AAA=:", malformed(input, Fault::Duplicate)),
            ("a=();x;x", "a=:AAA=:", malformed(input, Fault::Duplicate)),
            ("a=(", "a=:AAA=:", malformed(input, Fault::Syntax)),
            (
                "a=()",
                "a=:AAA=:\na=:AAA=:",
                malformed(signature, Fault::Duplicate),
            ),
            ("a=()", "a=:AAB=:", malformed(signature, Fault::Base64)),
            ("a=()", "a=:AAA=:;x", malformed(signature, Fault::Type)),
            ("a=()", "a=\"AAA=\"", malformed(signature, Fault::Type)),
            (
                "a=(), b=(), c=(), d=(), e=()",
                "a=:AAA=:",
                Error::TooManySignatures { limit: 4 },
            ),
            (
                "a=()",
                "a=:AA==:, b=:AA==:, c=:AA==:, d=:AA==:, e=:AA==:",
                Error::TooManySignatures { limit: 4 },
            ),
        ] {
            let refused = found(inputs, signatures, Selection::label("a")).unwrap_err();
            assert_eq!(refused, error, "{inputs} | {signatures}");
        }
    }

    #[test]
    fn fields_and_labels_have_limits() {
        let label = "a".repeat(TEXT + 1);
        let error = found(&format!("{label}=()"), "a=:AAA=:", Selection::only()).unwrap_err();
        assert!(matches!(
            error,
            Error::ParameterTooLong {
                parameter: "label",
                ..
            }
        ));
        let long = "a".repeat(FIELD + 1);
        let limit = FIELD;
        let error = found(&long, "a=:AAA=:", Selection::only()).unwrap_err();
        assert_eq!(
            error,
            Error::FieldTooLarge {
                field: "signature-input",
                limit
            }
        );
        let error = found("a=()", &long, Selection::only()).unwrap_err();
        assert_eq!(
            error,
            Error::FieldTooLarge {
                field: "signature",
                limit
            }
        );
    }
}
