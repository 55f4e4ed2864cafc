//! Refusals that prove nothing further: what no route could ever want.
//!
//! One row a check, with the section that it comes from. What the codec refuses (framing, grammar)
//! does not get this far. Pure.

use http::{Method, header};
use http1::{Authority, TargetForm};
use integrity::Request;

use crate::path;
use crate::request::{Head, Received, Version};
use crate::upgrade;

/// Why a request is refused before a route is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckRefusal {
    /// It names no host.
    HostMissing,
    /// It names several.
    HostAmbiguous,
    /// Its host is none.
    HostMalformed,
    /// The gateway never forwards this method.
    MethodUnsupported,
    /// Its target is of a form that names no path here.
    TargetForm,
    /// Its path could be read in two ways.
    Path(PathFault),
    /// It names a field in `Connection` that must not end at this hop.
    FieldRefused {
        /// Which.
        field: &'static str,
    },
    /// It asks for another protocol than a WebSocket's.
    Upgrade,
}

/// What could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// `.` or `..` as a segment, encoded or not.
    DotSegment,
    /// An empty segment before the last.
    EmptySegment,
    /// An encoded slash, on a route that does not allow one.
    EncodedSlash,
    /// A backslash, encoded or not.
    Backslash,
    /// An encoded NUL or other control character.
    Control,
    /// A percent sign that is encoded, or that encodes nothing.
    Percent,
    /// Not UTF-8 once decoded.
    NotUtf8,
    /// `;`, which some servers cut off together with what follows, or another byte that is not of a
    /// path (RFC 3986 3.3).
    Character,
}

/// One check.
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// Where it comes from.
    pub citation: &'static str,
    judge: fn(&Head) -> Result<(), CheckRefusal>,
}

impl Check {
    /// Makes the check.
    pub fn judge(&self, head: &Head) -> Result<(), CheckRefusal> {
        (self.judge)(head)
    }
}

/// All checks, in the order in which they are made.
#[rustfmt::skip]
pub const CHECKS: &[Check] = &[
    Check { name: "one host",             citation: "RFC 9112 3.2: 400 for no Host, more than one, or a bad one",      judge: one_host },
    Check { name: "agreeing authority",   citation: "RFC 9112 3.2.2: the target's authority replaces Host; two that differ are an attack on whoever reads the other one", judge: agreeing_authority },
    Check { name: "forwardable method",   citation: "RFC 9110 9.3.6, 9.3.8: CONNECT is for proxies, TRACE reflects credentials", judge: forwardable_method },
    Check { name: "origin form",          citation: "RFC 9112 3.2.4: OPTIONS * is about the server as a whole",        judge: origin_form },
    Check { name: "no other protocol",    citation: "RFC 9110 7.8: a server may ignore Upgrade; on a gateway, ignoring h2c is how it is smuggled", judge: no_other_protocol },
    Check { name: "end-to-end fields",    citation: "RFC 9110 7.6.1: Connection must not name what is meant for the end", judge: end_to_end_fields },
    Check { name: "unambiguous path",     citation: "RFC 3986 6.2.2: normalizing makes two paths of one; so refuse",    judge: unambiguous_path },
];

/// Makes all checks.
pub fn check(received: &Received) -> Result<(), CheckRefusal> {
    CHECKS
        .iter()
        .try_for_each(|check| check.judge(&received.head))
}

/// The host that a request is for, in the case received and without its port.
///
/// `None` for a request that does not pass [`check`].
pub fn host(head: &Head) -> Option<Authority<'_>> {
    match head.target.form() {
        TargetForm::Absolute { authority, .. } => Some(authority),
        _ => Authority::parse(head.headers.get(header::HOST)?.as_bytes()),
    }
}

/// The path of a request as received, without its query.
///
/// `None` for a request that does not pass [`check`].
pub fn path_of(head: &Head) -> Option<&str> {
    match head.target.form() {
        TargetForm::Origin { path, .. } => Some(path),
        TargetForm::Absolute { path: "", .. } => Some("/"),
        TargetForm::Absolute { path, .. } => Some(path),
        TargetForm::Authority(_) | TargetForm::Asterisk => None,
    }
}

/// The query of a request as received, without its question mark.
pub fn query_of(head: &Head) -> Option<&str> {
    match head.target.form() {
        TargetForm::Origin { query, .. } | TargetForm::Absolute { query, .. } => query,
        TargetForm::Authority(_) | TargetForm::Asterisk => None,
    }
}

/// A request as a signature of it sees it (RFC 9421 2).
///
/// `None` for a request that does not pass [`check`].
pub fn signed_view(head: &Head) -> Option<Request<'_>> {
    Some(Request {
        method: &head.method,
        scheme: "https",
        authority: head.headers.get(header::HOST)?.to_str().ok()?,
        path: path_of(head)?,
        query: query_of(head),
        // HTTP/2 has no request line.
        target: (head.version != Version::Http2).then(|| head.target.as_str()),
        headers: &head.headers,
        trailers: None,
    })
}

fn one_host(head: &Head) -> Result<(), CheckRefusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => return Err(CheckRefusal::HostMissing),
        (Some(host), None) => host,
        (Some(_), Some(_)) => return Err(CheckRefusal::HostAmbiguous),
    };
    match Authority::parse(host.as_bytes()) {
        Some(_) => Ok(()),
        None => Err(CheckRefusal::HostMalformed),
    }
}

fn agreeing_authority(head: &Head) -> Result<(), CheckRefusal> {
    let TargetForm::Absolute {
        scheme, authority, ..
    } = head.target.form()
    else {
        return Ok(());
    };
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(CheckRefusal::TargetForm);
    }
    let named = head
        .headers
        .get(header::HOST)
        .and_then(|host| Authority::parse(host.as_bytes()));
    match named {
        Some(named)
            if named.host.eq_ignore_ascii_case(authority.host) && named.port == authority.port =>
        {
            Ok(())
        }
        _ => Err(CheckRefusal::HostAmbiguous),
    }
}

fn forwardable_method(head: &Head) -> Result<(), CheckRefusal> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(CheckRefusal::MethodUnsupported);
    }
    Ok(())
}

fn origin_form(head: &Head) -> Result<(), CheckRefusal> {
    if path_of(head).is_some() {
        Ok(())
    } else {
        Err(CheckRefusal::TargetForm)
    }
}

/// What is left is a WebSocket's handshake, for its route to judge. In HTTP/2 the field has no place and is
/// dropped with the others of its kind.
fn no_other_protocol(head: &Head) -> Result<(), CheckRefusal> {
    let is_http2 = head.version == Version::Http2;
    if is_http2 || !head.headers.contains_key(header::UPGRADE) {
        return Ok(());
    }
    let may_be = head.version == Version::Http11
        && head.method == Method::GET
        && !head.headers.contains_key(header::CONTENT_LENGTH)
        && !head.headers.contains_key(header::TRANSFER_ENCODING)
        && upgrade::is_named(&head.headers);
    if may_be {
        Ok(())
    } else {
        Err(CheckRefusal::Upgrade)
    }
}

/// Removing these at the sender's wish would change what the message means to the upstream.
const END_TO_END: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "content-digest",
    "repr-digest",
    "signature",
    "signature-input",
    "authorization",
    "cookie",
    "expect",
];

fn end_to_end_fields(head: &Head) -> Result<(), CheckRefusal> {
    if !head.headers.contains_key(header::CONNECTION) {
        return Ok(());
    }
    for named in http1::connection::nominated(&head.headers) {
        if let Some(field) = END_TO_END
            .iter()
            .find(|field| named.eq_ignore_ascii_case(field))
        {
            return Err(CheckRefusal::FieldRefused { field });
        }
    }
    Ok(())
}

fn unambiguous_path(head: &Head) -> Result<(), CheckRefusal> {
    let path = path_of(head).ok_or(CheckRefusal::TargetForm)?;
    judge_path(path).map_err(CheckRefusal::Path)
}

/// Judges a path as received. An encoded slash passes here: whether it may stand is the route's to
/// say.
fn judge_path(path: &str) -> Result<(), PathFault> {
    let bytes = path.as_bytes();
    if !path.starts_with('/') {
        return Err(PathFault::Character);
    }
    // Most paths hold nothing that needs a second look.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_~".contains(byte);
    if bytes.iter().all(plain) && !path.contains("//") {
        return Ok(());
    }
    if path.contains("//") {
        return Err(PathFault::EmptySegment);
    }
    if path.contains('\\') {
        return Err(PathFault::Backslash);
    }
    if !bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@%|".contains(byte))
    {
        return Err(PathFault::Character);
    }
    path.split('/').try_for_each(judge_segment)
}

fn judge_segment(segment: &str) -> Result<(), PathFault> {
    let mut decoded = Vec::with_capacity(segment.len());
    for byte in path::bytes(segment) {
        let path::Byte { value, escaped } = byte.map_err(|_| PathFault::Percent)?;
        match value {
            b'%' if escaped => return Err(PathFault::Percent),
            b'\\' if escaped => return Err(PathFault::Backslash),
            value if escaped && value.is_ascii_control() => return Err(PathFault::Control),
            value => decoded.push(value),
        }
    }
    let decoded = std::str::from_utf8(&decoded).map_err(|_| PathFault::NotUtf8)?;
    // An encoded slash makes two segments to whoever decodes before splitting.
    if decoded.split('/').any(|part| matches!(part, "." | "..")) {
        Err(PathFault::DotSegment)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use http1::Target;
    use proptest::prelude::*;

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Head {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let target = Target::parse(&method, Bytes::copy_from_slice(target.as_bytes())).unwrap();
        Head {
            target,
            method,
            headers: map,
            version: Version::Http11,
        }
    }

    fn judge(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<(), CheckRefusal> {
        let head = head(method, target, headers);
        CHECKS.iter().try_for_each(|check| (check.judge)(&head))
    }

    const HOST: (&str, &str) = ("host", "api.example");

    #[test]
    fn a_request_names_exactly_one_host() {
        assert_eq!(judge("GET", "/", &[HOST]), Ok(()));
        assert_eq!(judge("GET", "/", &[("host", "api.example:8443")]), Ok(()));
        assert_eq!(judge("GET", "/", &[]), Err(CheckRefusal::HostMissing));
        assert_eq!(
            judge("GET", "/", &[HOST, HOST]),
            Err(CheckRefusal::HostAmbiguous)
        );
        for bad in [
            "",
            "a b",
            "user@api.example",
            "api.example/x",
            "[::1",
            "api.example:99999",
        ] {
            assert_eq!(
                judge("GET", "/", &[("host", bad)]),
                Err(CheckRefusal::HostMalformed),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_absolute_target_agrees_with_host() {
        assert_eq!(judge("GET", "https://API.example/x", &[HOST]), Ok(()));
        assert_eq!(
            judge("GET", "https://other.example/x", &[HOST]),
            Err(CheckRefusal::HostAmbiguous)
        );
        assert_eq!(
            judge("GET", "https://api.example:1/x", &[HOST]),
            Err(CheckRefusal::HostAmbiguous)
        );
        assert_eq!(
            judge("GET", "http://api.example/x", &[HOST]),
            Err(CheckRefusal::TargetForm)
        );
    }

    #[test]
    fn methods_and_targets_that_are_for_proxies_are_refused() {
        assert_eq!(
            judge("CONNECT", "api.example:443", &[HOST]),
            Err(CheckRefusal::MethodUnsupported)
        );
        assert_eq!(
            judge("TRACE", "/", &[HOST]),
            Err(CheckRefusal::MethodUnsupported)
        );
        assert_eq!(
            judge("OPTIONS", "*", &[HOST]),
            Err(CheckRefusal::TargetForm)
        );
        assert_eq!(judge("OPTIONS", "/", &[HOST]), Ok(()));
    }

    #[test]
    fn an_upgrade_to_anything_but_a_whole_websocket_is_refused() {
        let named = ("connection", "keep-alive, Upgrade");
        for protocol in ["h2c", "websocket, h2c", "websocket/13", "TLS/1.0", ""] {
            assert_eq!(
                judge("GET", "/", &[HOST, named, ("upgrade", protocol)]),
                Err(CheckRefusal::Upgrade)
            );
        }
        let asked = ("upgrade", "WebSocket");
        assert_eq!(judge("GET", "/", &[HOST, named, asked]), Ok(()));
        for (method, fields) in [
            ("GET", vec![HOST, asked]),
            ("GET", vec![HOST, named, asked, asked]),
            ("GET", vec![HOST, named, asked, ("content-length", "0")]),
            ("POST", vec![HOST, named, asked]),
        ] {
            let judged = judge(method, "/", &fields);
            assert_eq!(judged, Err(CheckRefusal::Upgrade), "{method} {fields:?}");
        }
    }

    #[test]
    fn connection_cannot_remove_what_is_meant_for_the_end() {
        assert_eq!(
            judge("GET", "/", &[HOST, ("connection", "close, x-private")]),
            Ok(())
        );
        assert_eq!(
            judge("GET", "/", &[HOST, ("connection", "Host")]),
            Err(CheckRefusal::FieldRefused { field: "host" })
        );
        let list = ("connection", "close, Content-Length");
        assert_eq!(
            judge("GET", "/", &[HOST, list]),
            Err(CheckRefusal::FieldRefused {
                field: "content-length"
            })
        );
    }

    #[test]
    fn paths_that_read_in_two_ways_are_refused() {
        #[rustfmt::skip]
        let table = [
            ("/..",                 PathFault::DotSegment),
            ("/fhir/../admin",      PathFault::DotSegment),
            ("/fhir/./x",           PathFault::DotSegment),
            ("/fhir/%2e%2e/admin",  PathFault::DotSegment),
            ("/fhir/.%2E/admin",    PathFault::DotSegment),
            ("/fhir/..%2fadmin",    PathFault::DotSegment),
            ("//fhir",              PathFault::EmptySegment),
            ("/fhir//Patient",      PathFault::EmptySegment),
            ("/fhir/%5c..%5cadmin", PathFault::Backslash),
            ("/fhir\\admin",        PathFault::Backslash),
            ("/fhir/%00",           PathFault::Control),
            ("/fhir/%0d%0a",        PathFault::Control),
            ("/fhir/%7f",           PathFault::Control),
            ("/fhir/%252e",         PathFault::Percent),
            ("/fhir/%",             PathFault::Percent),
            ("/fhir/%zz",           PathFault::Percent),
            ("/fhir/%2",            PathFault::Percent),
            ("/fhir/%ff",           PathFault::NotUtf8),
            ("/fhir/%c0%ae",        PathFault::NotUtf8),
            ("/fhir;x=1/Patient",   PathFault::Character),
            ("/fhir/\"",            PathFault::Character),
        ];
        for (path, fault) in table {
            assert_eq!(
                judge("GET", path, &[HOST]),
                Err(CheckRefusal::Path(fault)),
                "{path}"
            );
        }
    }

    #[test]
    fn ordinary_paths_pass_untouched() {
        for path in [
            "/",
            "/fhir",
            "/fhir/",
            "/fhir/Patient/1",
            "/fhir/Patient/1/_history/2",
            "/fhir/Patient/$everything",
            "/a.b/c..d/...",
            "/fhir/Patient?name=a/../b",
            "/M%C3%BCller",
            "/a%20b",
            "/x@y:z!,'()*+=&~",
            "/a%2Fb",
            "/fhir/ValueSet/loinc|2.72",
        ] {
            assert_eq!(judge("GET", path, &[HOST]), Ok(()), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_passes_has_no_dot_segment_however_often_it_is_decoded(path in "/[a-z./%25eEfF\\\\]{0,24}") {
            if judge_path(&path).is_ok() {
                let mut decoded = path.clone();
                for _ in 0..3 {
                    let dots = decoded.split('/').any(|segment| matches!(segment, "." | ".."));
                    prop_assert!(!dots, "{path} decodes to {decoded}");
                    decoded = decode(&decoded);
                }
            }
        }
    }

    fn decode(text: &str) -> String {
        let mut out = Vec::new();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let escape = bytes
                .get(at + 1..at + 3)
                .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            match (bytes[at], escape) {
                (b'%', Some(byte)) => {
                    out.push(byte);
                    at += 3;
                }
                (byte, _) => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}
