//! Reads the content of FHIR routes as it passes: in which form it comes, and whom it names.
//!
//! The form is told by the head: JSON and NDJSON are read by the crate `fhir`, a form of search
//! criteria is kept until it is whole. Everything else passes unread, and it is on record that it did
//! and why (RFC 9110 8.3, 8.4; HL7 FHIR R4, RESTful API, "Content Types and encodings"). Nothing is
//! changed, and no name leaves here but as a [`Found`].

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use audit::event::{Subjects, Unknown};
use bytes::Bytes;
use fhir::{Found, Limits, Scanner};
use http::StatusCode;
use http::header::{self, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use zeroize::Zeroizing;

use crate::request::{Content, ContentFault};

/// Types whose content is read as FHIR, in lower case.
#[rustfmt::skip]
const JSON: &[(&str, &str)] = &[
    ("application/fhir+json",   "R4, the MIME type for JSON"),
    ("application/json",        "R4: servers support it too"),
    ("application/json+fhir",   "DSTU2, and clients that stayed with it"),
    ("text/json",               "clients that mean JSON"),
    ("application/fhir+ndjson", "Bulk Data Access"),
    ("application/ndjson",      "Bulk Data Access: servers accept it too"),
    ("application/x-ndjson",    "in use for NDJSON"),
];

const FORM: &str = "application/x-www-form-urlencoded";

/// Whether this media type, without parameters, is one that is read.
pub fn is_json(essence: &str) -> bool {
    JSON.iter()
        .any(|(known, _)| essence.eq_ignore_ascii_case(known))
}

/// In which form content comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Criteria,
    Unread(Unknown),
}

/// Fails closed: what the head does not say to be readable is unread.
fn form(headers: &HeaderMap) -> Form {
    let is_identity =
        |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(is_identity)
    {
        return Form::Unread(Unknown::Encoded);
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return Form::Unread(Unknown::MediaType);
    };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let has_suffix = |suffix: &str| {
        let start = essence.len().checked_sub(suffix.len());
        let end = start.and_then(|start| essence.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    if is_json(essence) {
        Form::Json
    } else if essence.eq_ignore_ascii_case(FORM) {
        Form::Criteria
    } else if has_suffix("+xml") || has_suffix("/xml") || has_suffix("/xml+fhir") {
        Form::Unread(Unknown::Xml)
    } else {
        Form::Unread(Unknown::MediaType)
    }
}

/// As many names are kept as a record holds.
fn limits() -> Limits {
    Limits {
        subjects: Subjects::MOST,
    }
}

/// How the content of an answer is read.
pub enum Reading {
    /// Nobody asks: not a FHIR route.
    Unasked,
    /// As FHIR JSON or NDJSON.
    Scanned(Box<Scanner>),
    /// It is not read, for this reason.
    Unread(Unknown),
}

/// What is known of whom a part of an answer concerns.
#[derive(Debug)]
pub struct Part {
    /// Whom it names; `None` where it was not read, or is empty.
    pub found: Option<Found>,
    /// Why it was not read.
    pub unread: Option<Unknown>,
    /// Whether all that it names is named: no resource goes on behind it.
    pub ended: bool,
}

impl Reading {
    /// How an answer with this head is read.
    pub fn of_answer(status: StatusCode, headers: &HeaderMap) -> Reading {
        if status == StatusCode::PARTIAL_CONTENT {
            return Reading::Unread(Unknown::Partial);
        }
        match form(headers) {
            Form::Json => Reading::Scanned(Box::new(Scanner::new(limits()))),
            Form::Criteria => Reading::Unread(Unknown::MediaType),
            Form::Unread(reason) => Reading::Unread(reason),
        }
    }

    /// What was found since it was asked the last time. `is_empty` says that there is no content at
    /// all, `is_last` that no more will come.
    pub fn part(&mut self, is_empty: bool, is_last: bool) -> Part {
        let known = |found, ended| Part {
            found,
            unread: None,
            ended,
        };
        match self {
            Reading::Unread(reason) if !(is_empty && is_last) => Part {
                found: None,
                unread: Some(*reason),
                ended: is_last,
            },
            Reading::Unasked | Reading::Unread(_) => known(None, is_last),
            Reading::Scanned(_) if is_empty && is_last => known(None, true),
            Reading::Scanned(scanner) if !is_last => {
                let ended = !is_empty && scanner.is_between_resources();
                known(Some(scanner.take()), ended)
            }
            Reading::Scanned(_) => match std::mem::replace(self, Reading::Unasked) {
                Reading::Scanned(scanner) => known(Some(scanner.finish()), true),
                Reading::Unasked | Reading::Unread(_) => known(None, true),
            },
        }
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reading::Unasked => f.write_str("Unasked"),
            Reading::Scanned(_) => f.write_str("Scanned"),
            Reading::Unread(reason) => write!(f, "Unread({reason:?})"),
        }
    }
}

/// What is known of the content of a request while it passes.
pub struct Upload {
    read: Read,
    /// Whether it came to its end.
    pub ended: bool,
}

/// How it is read.
enum Read {
    Scanned(Box<Scanner>),
    Finished(Found),
    /// Search criteria, of which nothing is known before the end.
    Criteria(Zeroizing<Vec<u8>>),
    Unread(Unknown),
}

/// What an [`Upload`] shows so far.
pub enum Shown<'a> {
    /// Whom FHIR content names.
    Found(&'a Found),
    /// Search criteria; whole once it has ended.
    Criteria(&'a [u8]),
    /// It is not read, for this reason.
    Unread(Unknown),
}

impl Upload {
    /// Search criteria beyond this, bytes, are not read. The head of a request may not be longer.
    const CRITERIA: usize = 32 * 1024;

    /// Begins to read the content of a request with this head.
    fn new(headers: &HeaderMap, takes_form: bool) -> Upload {
        let read = match form(headers) {
            Form::Json => Read::Scanned(Box::new(Scanner::new(limits()))),
            Form::Criteria if takes_form => {
                Read::Criteria(Zeroizing::new(Vec::with_capacity(Self::CRITERIA)))
            }
            Form::Criteria => Read::Unread(Unknown::MediaType),
            Form::Unread(reason) => Read::Unread(reason),
        };
        Upload { read, ended: false }
    }

    /// What it shows so far.
    pub fn shown(&self) -> Shown<'_> {
        match &self.read {
            Read::Scanned(scanner) => Shown::Found(scanner.found()),
            Read::Finished(found) => Shown::Found(found),
            Read::Criteria(criteria) => Shown::Criteria(criteria),
            Read::Unread(reason) => Shown::Unread(*reason),
        }
    }

    fn push(&mut self, data: &[u8]) {
        match &mut self.read {
            Read::Scanned(scanner) => scanner.push(data),
            Read::Criteria(criteria) if criteria.len() + data.len() <= Self::CRITERIA => {
                criteria.extend_from_slice(data);
            }
            Read::Criteria(_) => self.read = Read::Unread(Unknown::TooLong),
            Read::Finished(_) | Read::Unread(_) => {}
        }
    }

    fn end(&mut self) {
        self.ended = true;
        let read = std::mem::replace(&mut self.read, Read::Unread(Unknown::Unread));
        self.read = match read {
            Read::Scanned(scanner) => Read::Finished(scanner.finish()),
            read @ (Read::Finished(_) | Read::Criteria(_) | Read::Unread(_)) => read,
        };
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload(ended: {})", self.ended)
    }
}

/// Content that is read while it passes, and where it shows; nothing of a request without content.
pub fn read_along(
    content: Content,
    headers: &HeaderMap,
    takes_form: bool,
) -> (Content, Option<Rc<RefCell<Upload>>>) {
    let Content::Stream { length, body } = content else {
        return (content, None);
    };
    if length == Some(0) {
        return (Content::Stream { length, body }, None);
    }
    let upload = Rc::new(RefCell::new(Upload::new(headers, takes_form)));
    let body = Box::pin(ReadAlong {
        body,
        upload: Rc::clone(&upload),
    });
    (Content::Stream { length, body }, Some(upload))
}

struct ReadAlong {
    body: Pin<Box<dyn Body<Data = Bytes, Error = ContentFault>>>,
    upload: Rc<RefCell<Upload>>,
}

impl Body for ReadAlong {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        let frame = ready!(self.body.as_mut().poll_frame(context));
        let upload = &mut *self.upload.borrow_mut();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    upload.push(data);
                }
                // Who knows the end need not ask for it.
                if !upload.ended && (frame.is_trailers() || self.body.is_end_stream()) {
                    upload.end();
                }
            }
            Some(Err(_)) => {}
            None if upload.ended => {}
            None => upload.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

    #[test]
    fn what_the_head_does_not_say_to_be_readable_is_unread() {
        let unread = |reason| Form::Unread(reason);
        for (content_type, expected) in [
            ("application/fhir+json", Form::Json),
            (
                "Application/FHIR+JSON; charset=UTF-8; fhirVersion=4.0",
                Form::Json,
            ),
            ("application/fhir+ndjson", Form::Json),
            ("application/x-www-form-urlencoded", Form::Criteria),
            ("application/fhir+xml", unread(Unknown::Xml)),
            ("text/xml", unread(Unknown::Xml)),
            ("application/xml+fhir", unread(Unknown::Xml)),
            ("text/event-stream", unread(Unknown::MediaType)),
            ("application/json-patch+json", unread(Unknown::MediaType)),
            ("\u{e4}", unread(Unknown::MediaType)),
            ("", unread(Unknown::MediaType)),
        ] {
            let value = HeaderValue::from_bytes(content_type.as_bytes()).unwrap();
            let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
            assert_eq!(form(&headers), expected, "{content_type}");
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("Identity"));
            assert_eq!(form(&headers), expected, "{content_type}");
            headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            assert_eq!(form(&headers), unread(Unknown::Encoded), "{content_type}");
        }
        assert_eq!(form(&HeaderMap::new()), unread(Unknown::MediaType));
        let json = HeaderValue::from_static("application/json");
        let mut twice = HeaderMap::from_iter([(CONTENT_TYPE, json.clone())]);
        twice.append(CONTENT_TYPE, json);
        assert_eq!(form(&twice), unread(Unknown::MediaType));
    }

    #[test]
    fn a_window_that_ends_within_a_resource_says_so_and_the_last_one_settles_it() {
        let json = HeaderValue::from_static("application/fhir+json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        let mut reading = Reading::of_answer(StatusCode::OK, &headers);
        assert!(!reading.part(true, false).ended, "nothing was read yet");
        let Reading::Scanned(scanner) = &mut reading else {
            panic!("{reading:?}");
        };
        scanner.push(br#"{"resourceType":"Patient","id":"#);
        assert!(!reading.part(false, false).ended);
        let Reading::Scanned(scanner) = &mut reading else {
            panic!("{reading:?}");
        };
        scanner.push(br#""1"}"#);
        let last = reading.part(false, true);
        assert!(last.ended && last.unread.is_none());
        assert_eq!(last.found.unwrap().subjects().len(), 1);
    }
}
