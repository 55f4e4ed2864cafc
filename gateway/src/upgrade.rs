//! The opening handshake of a WebSocket, judged before anything of it is forwarded (RFC 6455 section 4.2.1).
//! Pure.
//!
//! Browsers let any page open a WebSocket to anywhere, with the cookies of whoever looks at it; all that tells
//! such a page from the portal's own is `Origin` (section 10.2). A client that sends none is no browser. What
//! passes the handshake is not read: a tunnel's records say when, how much and from whom.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::WebSocket;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http1::Authority;

use crate::request::{Head, Version};

/// Why a WebSocket is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeRefusal {
    /// The route carries none.
    Off,
    /// Its handshake is none.
    Malformed {
        /// Which field.
        field: &'static str,
    },
    /// It is of another version than 13.
    Version,
    /// It is opened by a page of an origin that the route does not name.
    Origin,
}

/// The protocol, as it is named on the wire.
pub const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The version that is spoken.
pub const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Hashed behind the key (section 1.3): a server that answers with it knows what was asked.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request that has passed the checks asks for a WebSocket: they let no other protocol pass.
pub fn is_asked(head: &Head) -> bool {
    head.version == Version::Http11 && head.headers.contains_key(UPGRADE)
}

/// Whether a message says that its connection is to become a WebSocket.
pub fn is_named(headers: &HeaderMap) -> bool {
    let named = one(headers, &UPGRADE).is_some_and(|protocol| {
        protocol
            .as_bytes()
            .eq_ignore_ascii_case(WEBSOCKET.as_bytes())
    });
    let options = headers.get_all(CONNECTION).iter();
    let mut options = options.flat_map(|options| options.as_bytes().split(|byte| *byte == b','));
    named && options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Judges the handshake of a request that asks for a WebSocket. Of others there is nothing to judge.
///
/// # Errors
/// [`UpgradeRefusal`]: nothing is forwarded.
pub fn judge(head: &Head, rule: Option<&WebSocket>) -> Result<(), UpgradeRefusal> {
    if !is_asked(head) {
        return Ok(());
    }
    let rule = rule.ok_or(UpgradeRefusal::Off)?;
    let headers = &head.headers;
    if one(headers, &SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(UpgradeRefusal::Version);
    }
    answer_to(headers).ok_or(UpgradeRefusal::Malformed {
        field: "sec-websocket-key",
    })?;
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let origin = one(headers, &ORIGIN).ok_or(UpgradeRefusal::Malformed { field: "origin" })?;
    if may_ask(origin, headers, rule) {
        Ok(())
    } else {
        Err(UpgradeRefusal::Origin)
    }
}

/// Whether a page of this origin may open a WebSocket: it is named, or where none is named it is the host's own.
fn may_ask(origin: &HeaderValue, headers: &HeaderMap, rule: &WebSocket) -> bool {
    let origin = origin.as_bytes();
    if !rule.origins.is_empty() {
        let mut named = rule.origins.iter();
        return named.any(|named| named.as_str().as_bytes() == origin);
    }
    let host = one(headers, &HOST).and_then(|host| Authority::parse(host.as_bytes()));
    let Some(Authority { host, port, .. }) = host else {
        return false;
    };
    let own = match port {
        None | Some(443) => format!("https://{host}"),
        Some(port) => format!("https://{host}:{port}"),
    };
    own.to_ascii_lowercase().as_bytes() == origin
}

/// What a server has to answer to the key of a handshake (section 4.2.2). `None` if it has no key, or a bad one.
pub fn answer_to(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = one(headers, &SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    let is_key = STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, [key, GUID].concat().as_bytes());
    is_key.then(|| HeaderValue::from_str(&STANDARD.encode(hash)).ok())?
}

/// Whether the head of an answer (101) opens the WebSocket that was asked for.
pub fn opens(headers: &HeaderMap, expected: &HeaderValue) -> bool {
    is_named(headers) && one(headers, &SEC_WEBSOCKET_ACCEPT) == Some(expected)
}

/// Whether an answer chooses nothing that was not offered: a subprotocol, extensions (section 4.1).
pub fn chooses_of(answer: &HeaderMap, asked: &HeaderMap) -> bool {
    let chosen = answer.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut chosen = chosen.map(HeaderValue::as_bytes);
    let offered = asked.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.flat_map(|offered| offered.as_bytes().split(|byte| *byte == b','));
    let offered: Vec<&[u8]> = offered.map(<[u8]>::trim_ascii).collect();
    let is_extended = answer.contains_key(SEC_WEBSOCKET_EXTENSIONS);
    chosen.all(|chosen| offered.contains(&chosen))
        && (!is_extended || asked.contains_key(SEC_WEBSOCKET_EXTENSIONS))
}

/// The only value of a field; `None` if there are none or several.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Origin;
    use http::Method;
    use http1::Target;
    use std::time::Duration;

    /// The handshake of RFC 6455 section 1.2, with some fields changed: `None` takes one away.
    fn head(changed: &[(&'static str, Option<&'static str>)]) -> Head {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "server.example.com"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", "https://server.example.com"),
            ("sec-websocket-version", "13"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changed {
            match value {
                Some(value) => drop(headers.insert(*name, HeaderValue::from_static(value))),
                None => drop(headers.remove(*name)),
            }
        }
        Head {
            method: Method::GET,
            target: Target::parse(&Method::GET, "/chat".into()).unwrap(),
            headers,
            version: Version::Http11,
        }
    }

    fn rule(origins: &[&str]) -> WebSocket {
        let origins = origins.iter().map(|origin| Origin::parse(origin).unwrap());
        WebSocket {
            origins: origins.collect(),
            idle: Duration::from_mins(1),
            age: Duration::from_hours(1),
        }
    }

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        let answer = answer_to(&head(&[]).headers).unwrap();
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn each_handshake_has_its_answer() {
        let malformed = |field| Err(UpgradeRefusal::Malformed { field });
        let key = "sec-websocket-key";
        for (changed, expected) in [
            (("pragma", None), Ok(())),
            (("origin", None), Ok(())),
            (("host", Some("SERVER.example.com:443")), Ok(())),
            (
                ("sec-websocket-version", None),
                Err(UpgradeRefusal::Version),
            ),
            (
                ("sec-websocket-version", Some("8")),
                Err(UpgradeRefusal::Version),
            ),
            ((key, None), malformed(key)),
            ((key, Some("dGhlIHNhbXBsZQ==")), malformed(key)),
            ((key, Some("dGhlIHNhbXBsZSBub25jZQ")), malformed(key)),
            (
                ("origin", Some("https://evil.example")),
                Err(UpgradeRefusal::Origin),
            ),
            (
                ("origin", Some("https://server.example.com.evil.example")),
                Err(UpgradeRefusal::Origin),
            ),
            (
                ("origin", Some("http://server.example.com")),
                Err(UpgradeRefusal::Origin),
            ),
            (
                ("origin", Some("https://server.example.com:8443")),
                Err(UpgradeRefusal::Origin),
            ),
            (("origin", Some("null")), Err(UpgradeRefusal::Origin)),
        ] {
            let judged = judge(&head(&[changed]), Some(&rule(&[])));
            assert_eq!(judged, expected, "{changed:?}");
        }
        assert_eq!(judge(&head(&[]), None), Err(UpgradeRefusal::Off));
        assert_eq!(judge(&head(&[("upgrade", None)]), None), Ok(()));
    }

    #[test]
    fn where_origins_are_named_no_other_counts() {
        let named = rule(&["https://Portal.example:443", "https://app.example:8443"]);
        for (origin, expected) in [
            ("https://portal.example", Ok(())),
            ("https://app.example:8443", Ok(())),
            ("https://server.example.com", Err(UpgradeRefusal::Origin)),
        ] {
            let judged = judge(&head(&[("origin", Some(origin))]), Some(&named));
            assert_eq!(judged, expected, "{origin}");
        }
    }

    #[test]
    fn an_answer_chooses_of_what_was_offered() {
        let with = |name: &'static str, value| {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_static(value));
            headers
        };
        let (protocol, extensions) = ("sec-websocket-protocol", "sec-websocket-extensions");
        let none = HeaderMap::new();
        let asked = with(protocol, "chat, superchat");
        for (answer, asked, expected) in [
            (&none, &none, true),
            (&none, &asked, true),
            (&with(protocol, "superchat"), &asked, true),
            (&with(protocol, "super"), &asked, false),
            (&with(protocol, "chat"), &none, false),
            (&with(extensions, "x"), &none, false),
            (&with(extensions, "x"), &with(extensions, "x"), true),
        ] {
            assert_eq!(chooses_of(answer, asked), expected, "{answer:?} {asked:?}");
        }
    }

    #[test]
    fn an_answer_that_knows_nothing_of_the_key_opens_nothing() {
        let expected = answer_to(&head(&[]).headers).unwrap();
        let mut headers = head(&[]).headers;
        assert!(!opens(&headers, &expected));
        headers.insert(SEC_WEBSOCKET_ACCEPT, expected.clone());
        assert!(opens(&headers, &expected));
        headers.append(SEC_WEBSOCKET_ACCEPT, expected.clone());
        assert!(!opens(&headers, &expected));
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("AAAA"));
        assert!(!opens(&headers, &expected));
    }
}
