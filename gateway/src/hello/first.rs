//! What the first bytes of a connection speak, when it is not TLS.
//!
//! Standards: RFC 8446 5.1 (TLSPlaintext), RFC 9110 9.1 and the IANA registry of HTTP methods,
//! RFC 9113 3.4 (the preface of HTTP/2), RFC 5246 E.2 and the SSL 2.0 specification 1.1 (record
//! headers of two and of three bytes). At most 18 bytes decide. What this file does not do: it
//! reads no more of these protocols than tells them apart.

use super::refusal::HelloRefusal;

/// Content types of records (RFC 8446 5.1): `handshake`, and the range that is assigned.
pub(super) const HANDSHAKE: u8 = 22;
const FIRST_CONTENT_TYPE: u8 = 20;
const LAST_CONTENT_TYPE: u8 = 24;

/// Whether the first record of the connection has begun as one of TLS handshake messages has to.
/// `false` while that cannot be said.
pub(super) fn is_tls(received: &[u8]) -> Result<bool, HelloRefusal> {
    match *received {
        [] | [HANDSHAKE] | [HANDSHAKE, _] => Ok(false),
        [HANDSHAKE, 3, ..] => Ok(true),
        [HANDSHAKE, major, minor, ..] => Err(HelloRefusal::RecordVersion {
            version: u16::from_be_bytes([major, minor]),
            at: 0,
        }),
        [FIRST_CONTENT_TYPE..=LAST_CONTENT_TYPE] => Ok(false),
        [content_type @ FIRST_CONTENT_TYPE..=LAST_CONTENT_TYPE, 3, ..] => {
            Err(HelloRefusal::UnexpectedRecord {
                content_type,
                at: 0,
            })
        }
        [b'A'..=b'Z', ..] => plain_http(received),
        [0x80..=0xff, ..] => ssl2(received, 2),
        [0x00..=0x3f, ..] => ssl2(received, 3),
        [first, ..] => Err(HelloRefusal::Garbage { first }),
    }
}

/// The methods of the IANA registry, and PRI, which begins the preface of HTTP/2.
#[rustfmt::skip]
const METHODS: &[&str] = &[
    "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET",
    "HEAD", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF",
    "MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PRI", "PROPFIND", "PROPPATCH",
    "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK",
    "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
];

/// A method and the space behind it are HTTP; anything that cannot become that is garbage.
fn plain_http(received: &[u8]) -> Result<bool, HelloRefusal> {
    let mut possible = false;
    for method in METHODS {
        match received.split_at_checked(method.len()) {
            Some((start, [b' ', ..])) if start == method.as_bytes() => {
                return Err(HelloRefusal::PlainHttp);
            }
            Some((start, [])) if start == method.as_bytes() => possible = true,
            Some(_) => {}
            None => possible |= method.as_bytes().starts_with(received),
        }
    }
    undecided(possible, received)
}

/// A CLIENT-HELLO in a record of SSL 2.0: after a header of `header` bytes the type 1, and a version
/// of SSL 2.0, SSL 3.0 or TLS.
fn ssl2(received: &[u8], header: usize) -> Result<bool, HelloRefusal> {
    const CLIENT_HELLO: u8 = 1;
    const SSL_2_0: u16 = 0x0002;
    // Type, version and three lengths.
    const SHORTEST: u16 = 9;
    if let [high, low, ..] = *received
        && u16::from_be_bytes([high & 0x7f, low]) < SHORTEST
    {
        return undecided(false, received);
    }
    match received.get(header..).unwrap_or_default() {
        [] | [CLIENT_HELLO] | [CLIENT_HELLO, 0 | 3] => undecided(true, received),
        [CLIENT_HELLO, major, minor, ..] => match u16::from_be_bytes([*major, *minor]) {
            version @ (SSL_2_0 | 0x0300..=0x03ff) => Err(HelloRefusal::Ssl2 { version }),
            _ => undecided(false, received),
        },
        _ => undecided(false, received),
    }
}

fn undecided(possible: bool, received: &[u8]) -> Result<bool, HelloRefusal> {
    match received {
        [first, ..] if !possible => Err(HelloRefusal::Garbage { first: *first }),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said in the end, after every prefix on the way was undecided.
    fn decided(received: &[u8]) -> Result<bool, HelloRefusal> {
        for length in 0..received.len() {
            assert_eq!(is_tls(&received[..length]), Ok(false), "{length} bytes");
        }
        is_tls(received)
    }

    fn garbage(received: &[u8]) {
        let first = received[0];
        assert_eq!(decided(received), Err(HelloRefusal::Garbage { first }));
    }

    #[test]
    fn a_handshake_record_of_any_minor_version_is_tls() {
        for minor in 0..=255 {
            assert_eq!(decided(&[22, 3, minor]), Ok(true));
        }
    }

    #[test]
    fn a_handshake_record_of_another_major_version_is_refused_as_such() {
        let refusal = HelloRefusal::RecordVersion {
            version: 0xfefd,
            at: 0,
        };
        assert_eq!(decided(&[22, 0xfe, 0xfd]), Err(refusal));
    }

    #[test]
    fn a_record_of_another_type_is_refused_as_such() {
        for content_type in [20, 21, 23, 24] {
            let refusal = HelloRefusal::UnexpectedRecord {
                content_type,
                at: 0,
            };
            assert_eq!(decided(&[content_type, 3]), Err(refusal));
        }
    }

    #[test]
    fn each_method_of_http_is_known_by_the_space_behind_it() {
        for method in METHODS {
            let received = [method.as_bytes(), b" "].concat();
            assert_eq!(decided(&received), Err(HelloRefusal::PlainHttp), "{method}");
        }
    }

    #[test]
    fn words_that_are_no_method_are_garbage() {
        for word in ["GETS", "get", "EHLO", "SSH", "POSTE", "PROPFINDS", "HTTP"] {
            let first = word.as_bytes()[0];
            let refusal = HelloRefusal::Garbage { first };
            assert_eq!(
                is_tls(format!("{word} /").as_bytes()),
                Err(refusal),
                "{word}"
            );
        }
        garbage(b"GETX");
        garbage(b"@");
    }

    #[test]
    fn a_hello_of_ssl_2_is_known_by_headers_of_two_and_three_bytes() {
        for version in [0x0002_u16, 0x0300, 0x0301, 0x0303] {
            let [major, minor] = version.to_be_bytes();
            let refusal = Err(HelloRefusal::Ssl2 { version });
            assert_eq!(decided(&[0x80, 0x2e, 1, major, minor]), refusal);
            assert_eq!(decided(&[0x00, 0x2e, 0, 1, major, minor]), refusal);
        }
    }

    #[test]
    fn the_shortest_hello_of_ssl_2_is_known() {
        let refusal = Err(HelloRefusal::Ssl2 { version: 0x0002 });
        assert_eq!(decided(&[0x80, 9, 1, 0, 2]), refusal);
        assert_eq!(decided(&[0x00, 9, 0, 1, 0, 2]), refusal);
    }

    #[test]
    fn what_only_looks_like_ssl_2_is_garbage() {
        garbage(&[0x80, 0x2e, 2]);
        garbage(&[0x80, 0x08]);
        garbage(&[0x00, 0x08]);
        garbage(&[0x80, 0x2e, 1, 2]);
        garbage(&[0x80, 0x2e, 1, 0, 3]);
        garbage(&[0x00, 0x2e, 0, 4]);
        garbage(&[0x40]);
    }
}
