//! Messages and keys for tests, from the text of the vectors.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use integrity::{
    Algorithm, Algorithms, Component, Message, Policy, Request, Response, SigningKey, VerifyingKey,
};

pub(crate) const KEYS: &str = include_str!("../../vectors/rfc9421/keys.txt");
pub(crate) const MESSAGES: &str = include_str!("../../vectors/rfc9421/messages.txt");
pub(crate) const DIGESTS: &str = include_str!("../../vectors/rfc9530.txt");

/// A message that owns what a view of it borrows.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) method: Method,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) target: String,
    /// None in a request.
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: HeaderMap,
    pub(crate) content: String,
    /// What a response answers.
    pub(crate) request: Option<Box<Captured>>,
}

impl Captured {
    /// Reads a message of HTTP/1.1 in origin form, as the standards print it.
    pub(crate) fn parse(text: &str) -> Captured {
        let (head, content) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
        }
        let mut words = first.split(' ');
        let (one, two) = (words.next().unwrap(), words.next().unwrap());
        let is_response = one.starts_with("HTTP/");
        let target = if is_response { "/" } else { two }.to_owned();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target.clone(), None),
        };
        let host = headers.get("host").map(|host| host.to_str().unwrap());
        Captured {
            method: if is_response { "NONE" } else { one }.parse().unwrap(),
            authority: host.unwrap_or_default().to_owned(),
            path,
            query,
            target,
            status: is_response.then(|| two.parse().unwrap()),
            headers,
            // One message of the standard has an empty line too many in front of its content.
            content: content.trim_start_matches('\n').to_owned(),
            request: None,
        }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        match self.status {
            None => Message::Request(self.request()),
            Some(status) => Message::Response(Response {
                status,
                headers: &self.headers,
                trailers: None,
                request: self.request.as_ref().map(|request| request.request()),
            }),
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            scheme: "https",
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            target: Some(&self.target),
            headers: &self.headers,
            trailers: None,
        }
    }
}

/// Cases of a file of vectors: name, words, and parts.
pub(crate) struct Case<'a> {
    pub(crate) name: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Case<'a> {
    pub(crate) fn all(text: &'a str) -> Vec<Case<'a>> {
        let mut cases: Vec<Case<'_>> = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("== "), cases.last_mut()) {
                (Some(name), _) => cases.push(Case {
                    name,
                    lines: Vec::new(),
                }),
                (None, Some(case)) => case.lines.push(line),
                (None, None) => {}
            }
        }
        cases
    }

    pub(crate) fn word(&self, word: &str) -> &'a str {
        let value = self.lines.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name == word).then(|| value.trim_start())
        });
        value.unwrap_or_else(|| panic!("{} has {word}", self.name))
    }

    pub(crate) fn part(&self, part: &str) -> Option<String> {
        let start = format!("-- {part}");
        let first = self.lines.iter().position(|line| *line == start)? + 1;
        let rest = &self.lines[first..];
        let end = rest.iter().position(|line| line.starts_with("-- "));
        let lines = &rest[..end.unwrap_or(rest.len())];
        Some(lines.join("\n").trim_end().to_owned())
    }
}

/// The keys of RFC 9421 B.1: name, algorithm, form, value.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, Algorithm, &'static str, &'static str)>
{
    let lines = KEYS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap();
        let (name, algorithm, form) = (word(), word(), word());
        (name, Algorithm::by_name(algorithm).unwrap(), form, word())
    })
}

pub(crate) fn decoded(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

/// The public half of a row; `None` of a private key.
pub(crate) fn verifying(algorithm: Algorithm, form: &str, value: &str) -> Option<VerifyingKey> {
    Some(match form {
        "spki" => VerifyingKey::from_spki_for(&decoded(value), algorithm).unwrap(),
        "jwk" if algorithm == Algorithm::RsaV15Sha256 => {
            let value = value.replace('}', r#","alg":"RS256"}"#);
            VerifyingKey::from_jwk(value.as_bytes()).unwrap()
        }
        "jwk" => VerifyingKey::from_jwk(value.as_bytes()).unwrap(),
        "secret" => VerifyingKey::hmac(&decoded(value)).unwrap(),
        _ => return None,
    })
}

pub(crate) fn verifying_key(name: &str) -> VerifyingKey {
    let key = rows()
        .filter(|row| row.0 == name)
        .find_map(|(_, algorithm, form, value)| verifying(algorithm, form, value));
    key.unwrap()
}

/// The private half; `None` where the standard has it in a form that is not read.
pub(crate) fn signing_key(name: &str) -> Option<SigningKey> {
    let key = rows()
        .filter(|row| row.0 == name)
        .find_map(|row| match row {
            (_, _, "pkcs8", value) => Some(SigningKey::from_pkcs8(&decoded(value))),
            (_, _, "secret", value) => Some(SigningKey::hmac(&decoded(value))),
            _ => None,
        });
    key.map(Result::unwrap)
}

pub(crate) fn components(texts: &[&str]) -> Vec<Component> {
    let components = texts.iter().map(|text| {
        if text.starts_with('"') {
            Component::parse(text).unwrap()
        } else {
            Component::named(text).unwrap()
        }
    });
    components.collect()
}

/// Takes whatever verifies, however old.
pub(crate) fn lenient() -> Policy {
    Policy {
        max_age: None,
        require_nonce: false,
        require_keyid: false,
        algorithms: Algorithm::all().fold(Algorithms::NONE, Algorithms::and),
        ..Policy::strict(Vec::new())
    }
}
