//! The request target: the exact bytes received, and which of the four forms they have.
//!
//! Standard: RFC 9112 3.2, RFC 9110 4.2 and 7.2, RFC 3986 3.2. Read strictly where readers differ:
//! visible ASCII only, no fragment, no userinfo, `*` for OPTIONS alone, the authority form for
//! CONNECT and only there. What this file does not do: it changes no byte and judges no path, host
//! or scheme; what of a target is allowed is the policy of the gateway.

use crate::Error;
use bytes::Bytes;
use http::Method;
use std::fmt;
use std::net::Ipv6Addr;

/// The target of a request, as it was received and as it is forwarded.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    bytes: Bytes,
    form: Form,
}

/// The parts of a target (RFC 9112 3.2.1 to 3.2.4). No part is decoded, folded or normalized.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TargetForm<'a> {
    /// `/path?query`: a request to an origin server. The path begins with a slash.
    Origin {
        /// What stands before the first `?`.
        path: &'a str,
        /// What stands behind it; `Some("")` when it stands at the end.
        query: Option<&'a str>,
    },
    /// `scheme://authority/path?query`: a request to a proxy, which every server must understand.
    Absolute {
        /// The scheme, in the case received.
        scheme: &'a str,
        /// Host and optional port, without userinfo.
        authority: Authority<'a>,
        /// Empty or beginning with a slash.
        path: &'a str,
        /// What stands behind the first `?`.
        query: Option<&'a str>,
    },
    /// `host:port`: CONNECT.
    Authority(Authority<'a>),
    /// `*`: OPTIONS for the server as a whole.
    Asterisk,
}

/// Host and port of an absolute target, of CONNECT or of a Host field (RFC 9110 7.2: `uri-host [
/// ":" port ]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A registered name, an IPv4 address or an IPv6 address in brackets, in the case received;
    /// never empty.
    pub host: &'a str,
    /// The port; `None` when it is absent or empty, which RFC 3986 6.2.3 holds to be the same.
    pub port: Option<u16>,
}

impl Target {
    /// Reads a target that came from elsewhere than an HTTP/1.1 request line.
    pub fn parse(method: &Method, bytes: Bytes) -> Result<Self, Error> {
        let form = Form::of(method, &bytes, 0)?;
        Ok(Self { bytes, form })
    }

    /// A target whose form was found in these very bytes.
    pub(crate) fn from_parts(bytes: Bytes, form: Form) -> Self {
        Self { bytes, form }
    }

    /// The bytes as received: visible ASCII, never empty.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same bytes as text.
    pub fn as_str(&self) -> &str {
        text(&self.bytes)
    }

    /// Path and query as received, which an origin server is sent (RFC 9112 3.2.1). Of an absolute
    /// target they may be empty or begin with `?`: the path that is meant is then `/`. `None` for
    /// the forms that have none.
    pub fn path_and_query(&self) -> Option<&str> {
        match self.form {
            Form::Origin { .. } => Some(self.as_str()),
            Form::Absolute { authority_end, .. } => Some(&self.as_str()[authority_end..]),
            Form::Authority | Form::Asterisk => None,
        }
    }

    /// The same as a handle on the bytes that were received.
    pub fn path_and_query_bytes(&self) -> Option<Bytes> {
        match self.form {
            Form::Origin { .. } => Some(self.bytes.clone()),
            Form::Absolute { authority_end, .. } => Some(self.bytes.slice(authority_end..)),
            Form::Authority | Form::Asterisk => None,
        }
    }

    /// The parts.
    pub fn form(&self) -> TargetForm<'_> {
        let all = self.as_str();
        match self.form {
            Form::Origin { path_end } => TargetForm::Origin {
                path: &all[..path_end],
                query: all.get(path_end + 1..),
            },
            Form::Absolute {
                scheme_end,
                authority_end,
                path_end,
            } => TargetForm::Absolute {
                scheme: &all[..scheme_end],
                authority: checked_authority(&all[scheme_end + 3..authority_end]),
                path: &all[authority_end..path_end],
                query: all.get(path_end + 1..),
            },
            Form::Authority => TargetForm::Authority(checked_authority(all)),
            Form::Asterisk => TargetForm::Asterisk,
        }
    }
}

/// Where the parts of a target end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Origin {
        path_end: usize,
    },
    Absolute {
        scheme_end: usize,
        authority_end: usize,
        path_end: usize,
    },
    Authority,
    Asterisk,
}

impl Form {
    /// The one form that `target` has for this method. `at` is where the target begins, for faults.
    pub(crate) fn of(method: &Method, target: &[u8], at: u64) -> Result<Self, Error> {
        if let Some(bad) = first_forbidden(target) {
            return Err(Error::TargetByte {
                at: at + bad as u64,
            });
        }
        if *method == Method::CONNECT {
            return match Authority::parse(target) {
                Some(Authority { port: Some(_), .. }) => Ok(Self::Authority),
                Some(_) | None => Err(Error::TargetForm { at }),
            };
        }
        match target {
            [b'/', ..] => Ok(Self::Origin {
                path_end: path_end(target, 0),
            }),
            b"*" if *method == Method::OPTIONS => Ok(Self::Asterisk),
            _ => Self::absolute(target, at),
        }
    }

    fn absolute(target: &[u8], at: u64) -> Result<Self, Error> {
        let scheme_end = memchr::memchr(b':', target)
            .filter(|&end| is_scheme(&target[..end]) && target[end..].starts_with(b"://"))
            .ok_or(Error::TargetForm { at })?;
        let start = scheme_end + 3;
        let authority_end =
            memchr::memchr2(b'/', b'?', &target[start..]).map_or(target.len(), |end| start + end);
        if Authority::parse(&target[start..authority_end]).is_none() {
            return Err(Error::TargetAuthority {
                at: at + start as u64,
            });
        }
        Ok(Self::Absolute {
            scheme_end,
            authority_end,
            path_end: path_end(target, authority_end),
        })
    }
}

impl<'a> Authority<'a> {
    /// Reads `uri-host [ ":" port ]`. `None`, and so a refusal, for anything else: no host,
    /// userinfo, white space, a zone, a port that is no number up to 65535.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let all = str::from_utf8(bytes).ok()?;
        let host_end = match bytes.first()? {
            b'[' => memchr::memchr(b']', bytes)? + 1,
            _ => memchr::memchr(b':', bytes).unwrap_or(bytes.len()),
        };
        let (host, port) = all.split_at(host_end);
        let known = match host.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
            None => is_registered_name(host.as_bytes()),
        };
        let port = match port.strip_prefix(':') {
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
            None if port.is_empty() => None,
            None => return None,
        };
        known.then_some(Self { host, port })
    }
}

/// The place of the first byte that no target may hold: what is not visible ASCII, and `#`, because
/// a reader that drops fragments would see another path than the one that was judged.
fn first_forbidden(target: &[u8]) -> Option<usize> {
    let bad = |byte: u8| !byte.is_ascii_graphic() || byte == b'#';
    // without an early end the loop becomes vector code, and targets are good as a rule
    if target.iter().fold(false, |found, &byte| found | bad(byte)) {
        target.iter().position(|&byte| bad(byte))
    } else {
        None
    }
}

fn path_end(target: &[u8], from: usize) -> usize {
    memchr::memchr(b'?', &target[from..]).map_or(target.len(), |end| from + end)
}

/// RFC 3986 3.1.
fn is_scheme(bytes: &[u8]) -> bool {
    let [first, rest @ ..] = bytes else {
        return false;
    };
    first.is_ascii_alphabetic()
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

/// RFC 3986 3.2.2, but never empty (RFC 9110 4.2.1). IPv4 addresses are of this alphabet too.
fn is_registered_name(mut bytes: &[u8]) -> bool {
    if bytes.is_empty() {
        return false;
    }
    loop {
        bytes = match bytes {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [byte, rest @ ..]
                if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) =>
            {
                rest
            }
            _ => return false,
        };
    }
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("a target is visible ASCII, Form::of saw each byte")
}

fn checked_authority(text: &str) -> Authority<'_> {
    Authority::parse(text.as_bytes()).expect("Form::of read this authority before")
}

/// Shows form and length only: paths and queries may name patients.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("form", &self.form)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, target: &'static str) -> Result<Target, Error> {
        Target::parse(method, Bytes::from_static(target.as_bytes()))
    }

    #[test]
    fn the_parts_of_a_target_are_the_bytes_received() {
        let target = parse(&Method::GET, "/Fhir/%41?name=a%20b?c").unwrap();
        assert!(
            target.form()
                == TargetForm::Origin {
                    path: "/Fhir/%41",
                    query: Some("name=a%20b?c")
                }
        );
        let target = parse(&Method::GET, "HTTPS://Api.example:8443?").unwrap();
        assert!(
            target.form()
                == TargetForm::Absolute {
                    scheme: "HTTPS",
                    authority: Authority {
                        host: "Api.example",
                        port: Some(8443)
                    },
                    path: "",
                    query: Some("")
                }
        );
        let target = parse(&Method::OPTIONS, "*").unwrap();
        assert!(target.form() == TargetForm::Asterisk);
        let target = parse(&Method::CONNECT, "[::1]:443").unwrap();
        assert!(
            target.form()
                == TargetForm::Authority(Authority {
                    host: "[::1]",
                    port: Some(443)
                })
        );
    }

    #[test]
    fn path_and_query_are_what_follows_the_authority() {
        let rows = [
            (Method::GET, "/a?b", Some("/a?b")),
            (Method::GET, "http://a/b?c", Some("/b?c")),
            (Method::GET, "http://a?c", Some("?c")),
            (Method::GET, "http://a", Some("")),
            (Method::OPTIONS, "*", None),
            (Method::CONNECT, "a:443", None),
        ];
        for (method, target, expected) in rows {
            let target = parse(&method, target).unwrap();
            assert_eq!(target.path_and_query(), expected);
        }
    }

    #[test]
    fn a_target_is_never_printed() {
        let target = parse(&Method::GET, "/Patient/Doe?name=Jane").unwrap();
        let printed = format!("{target:?}");
        assert!(
            !printed.contains("Doe") && !printed.contains("Jane"),
            "{printed}"
        );
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        let good = [
            ("a", "a", None),
            ("a.example:", "a.example", None),
            ("a_b~c!:0", "a_b~c!", Some(0)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[::ffff:127.0.0.1]:00080", "[::ffff:127.0.0.1]", Some(80)),
            ("%61", "%61", None),
        ];
        for (text, host, port) in good {
            assert_eq!(
                Authority::parse(text.as_bytes()),
                Some(Authority { host, port }),
                "{text}"
            );
        }
        let bad: &[&[u8]] = &[
            b"",
            b":80",
            b"a:b",
            b"a:80:80",
            b"a:+80",
            b"a:-1",
            b"a:65536",
            b"a:80 ",
            b" a",
            b"a b",
            b"user@a",
            b"user:secret@a",
            b"a/",
            b"a?",
            b"a#",
            b"::1",
            b"[]",
            b"[::1",
            b"[::1]a",
            b"[fe80::1%25eth0]",
            b"[v1.a]",
            b"[a]",
            b"a]",
            b"%",
            b"%6",
            b"%zz",
            b"a\\b",
            b"\xc3\xa9",
            b"a\0",
        ];
        for text in bad {
            assert_eq!(Authority::parse(text), None, "{}", text.escape_ascii());
        }
    }
}
