//! What curl sends for a command line, so that it can be signed before curl runs.
//!
//! Standard: curl(1) 7.88, RFC 3986. It fails closed: an option that is not known, a URL that curl would
//! rewrite, and whatever versions of curl send differently is refused with its name, so that what is signed
//! is what is sent. What this file does not do: it runs no curl, and does not read `.curlrc`, which can add to
//! what is sent (`curl --disable` does not read it either); `User-Agent` is curl's own, and cannot be
//! covered unless the line sets it.

mod error;

mod options;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http1::{Authority, Target};

pub use self::error::{CurlError, Unsure};
use self::options::Effect;
use super::text::spelled;
use super::{Request, shell};

/// A command line of curl, and the request that it stands for.
#[derive(Clone)]
pub struct Curl {
    words: Vec<String>,
    /// What curl will send.
    pub request: Request,
    /// The file of the client's certificate, if it is named.
    pub certificate: Option<String>,
    /// The file of the client's key, if it is named.
    pub key: Option<String>,
}

impl Curl {
    /// Reads a command line, its program first. `open` gives the content of a file that it names.
    ///
    /// # Errors
    /// [`CurlError`].
    pub fn read(
        words: Vec<String>,
        open: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Curl, CurlError> {
        let (program, arguments) = words.split_first().ok_or(CurlError::NoCurl)?;
        if program != "curl" && !program.ends_with("/curl") {
            return Err(CurlError::NoCurl);
        }
        let mut asked = Asked::default();
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            asked.take(word, &mut rest, open)?;
        }
        let (certificate, key) = (asked.certificate.take(), asked.key.take());
        let request = asked.request()?;
        Ok(Curl {
            words,
            request,
            certificate,
            key,
        })
    }

    /// The same command line with more fields, as one line for a shell.
    pub fn with_fields(&self, fields: &[(HeaderName, HeaderValue)]) -> String {
        let mut words = self.words.clone();
        for (name, value) in fields {
            // What is added is printable ASCII: digests, and structured fields.
            let value = String::from_utf8_lossy(value.as_bytes());
            words.extend(["-H".to_owned(), format!("{}: {value}", spelled(name))]);
        }
        shell::line(words.iter().map(String::as_str))
    }
}

/// What was asked for so far.
#[derive(Default)]
struct Asked {
    urls: Vec<String>,
    method: Option<Method>,
    fields: Vec<String>,
    data: Option<BytesMut>,
    is_json: bool,
    is_head: bool,
    is_get: bool,
    literal_url: bool,
    literal_path: bool,
    http1: bool,
    certificate: Option<String>,
    key: Option<String>,
}

impl Asked {
    /// Takes a word, and the value behind it if there is one.
    fn take<'a>(
        &mut self,
        word: &'a str,
        rest: &mut impl Iterator<Item = &'a String>,
        open: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(), CurlError> {
        let unknown = |option: String| CurlError::Unknown { option };
        if let Some(name) = word.strip_prefix("--") {
            let option = options::long(name).ok_or_else(|| unknown(word.to_owned()))?;
            let value = if option.effect.takes_value() {
                let value = rest.next().map(String::as_str);
                value.ok_or_else(|| CurlError::NoValue {
                    option: word.to_owned(),
                })?
            } else {
                ""
            };
            return self.apply(option.effect, word, value, open);
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            self.urls.push(word.to_owned());
            return Ok(());
        };
        // Letters stand together until one takes what follows as its value.
        for (at, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            let option = options::short(letter).ok_or_else(|| unknown(name.clone()))?;
            if !option.effect.takes_value() {
                self.apply(option.effect, &name, "", open)?;
                continue;
            }
            let behind = &letters[at + letter.len_utf8()..];
            let value = if behind.is_empty() {
                let value = rest.next().map(String::as_str);
                value.ok_or_else(|| CurlError::NoValue {
                    option: name.clone(),
                })?
            } else {
                behind
            };
            return self.apply(option.effect, &name, value, open);
        }
        Ok(())
    }

    fn apply(
        &mut self,
        effect: Effect,
        option: &str,
        value: &str,
        open: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(), CurlError> {
        match effect {
            Effect::Nothing | Effect::NothingWithValue => {}
            Effect::Method => {
                let method = Method::from_bytes(value.as_bytes());
                self.method = Some(method.map_err(|_| CurlError::Method)?);
            }
            Effect::Field => self.fields.push(value.to_owned()),
            Effect::Data | Effect::RawData | Effect::BinaryData | Effect::Json => {
                let data = content(effect, option, value, open)?;
                self.add_data(effect, option, &data)?;
            }
            Effect::Head => self.is_head = true,
            Effect::Get => self.is_get = true,
            Effect::Url => self.urls.push(value.to_owned()),
            Effect::LiteralUrl => self.literal_url = true,
            Effect::LiteralPath => self.literal_path = true,
            Effect::Http1 => self.http1 = true,
            // Behind a colon stands a passphrase.
            Effect::Certificate => {
                let file = value.split(':').next().unwrap_or_default();
                self.certificate = Some(file.to_owned());
            }
            Effect::Key => self.key = Some(value.to_owned()),
        }
        Ok(())
    }

    /// Pieces are joined with `&`, those of JSON with nothing.
    fn add_data(&mut self, effect: Effect, option: &str, data: &[u8]) -> Result<(), CurlError> {
        let is_json = effect == Effect::Json;
        self.is_json |= is_json;
        let Some(before) = &mut self.data else {
            self.data = Some(BytesMut::from(data));
            return Ok(());
        };
        if before.is_empty() && !is_json {
            return Err(CurlError::Unsure {
                option: option.to_owned(),
                why: Unsure::EmptyData,
            });
        }
        if !is_json {
            before.extend_from_slice(b"&");
        }
        before.extend_from_slice(data);
        Ok(())
    }

    /// The request that curl makes of it.
    fn request(self) -> Result<Request, CurlError> {
        let url = match self.urls.as_slice() {
            [url] => Url::read(url, self.literal_url)?,
            [] => return Err(CurlError::Urls { found: 0 }),
            urls => return Err(CurlError::Urls { found: urls.len() }),
        };
        let unsure = |option: &str, why| {
            Err(CurlError::Unsure {
                option: option.to_owned(),
                why,
            })
        };
        let has_data = self.data.is_some();
        if self.is_head && has_data && !self.is_get {
            return unsure("--head", Unsure::HeadWithData);
        }
        if self.is_get && self.data.as_ref().is_some_and(BytesMut::is_empty) {
            return unsure("--get", Unsure::EmptyData);
        }
        if self.is_get && self.is_json {
            return unsure("--get", Unsure::GetWithJson);
        }
        let is_post = has_data && !self.is_get;
        let usual = match (self.is_head, is_post) {
            (true, _) => Method::HEAD,
            (false, true) => Method::POST,
            (false, false) => Method::GET,
        };
        let method = self.method.unwrap_or(usual);
        let data = self.data.unwrap_or_default().freeze();
        let (content, appended) = if self.is_get {
            (Bytes::new(), (!data.is_empty()).then_some(data))
        } else {
            (data, None)
        };
        let target = url.target(&method, self.literal_path, appended.as_deref())?;
        let fields = fields(&self.fields)?;
        let (headers, authority) = complete(fields, &url, is_post, self.is_json, &content)?;
        Ok(Request {
            method,
            scheme: url.scheme.into(),
            authority,
            target,
            // Without the option curl and the server may agree on HTTP/2.
            has_line: self.http1,
            headers,
            trailers: None,
            content,
        })
    }
}

/// The bytes that an option for content means.
fn content(
    effect: Effect,
    option: &str,
    value: &str,
    open: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, CurlError> {
    let Some(path) = value
        .strip_prefix('@')
        .filter(|_| effect != Effect::RawData)
    else {
        return Ok(value.as_bytes().to_vec());
    };
    if path == "-" {
        return Err(CurlError::Unsure {
            option: option.to_owned(),
            why: Unsure::StandardInput,
        });
    }
    let mut bytes = open(path).map_err(|error| CurlError::File {
        option: option.to_owned(),
        error,
    })?;
    if effect == Effect::Data {
        bytes.retain(|byte| !b"\r\n\0".contains(byte));
    }
    Ok(bytes)
}

/// What `-H` says of a field.
enum Field {
    Sent(HeaderName, HeaderValue),
    /// Not sent, though curl would by itself.
    Withheld(HeaderName),
}

fn fields(lines: &[String]) -> Result<Vec<Field>, CurlError> {
    let read = |(index, line): (usize, &String)| {
        let malformed = || CurlError::Field { index: index + 1 };
        if line.starts_with('@') {
            return Err(CurlError::FieldFile);
        }
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed());
        if let Some((before, value)) = line.split_once(':') {
            let value = value.trim_matches([' ', '\t']);
            if value.is_empty() {
                return Ok(Field::Withheld(name(before)?));
            }
            let value = HeaderValue::from_str(value).map_err(|_| malformed())?;
            return Ok(Field::Sent(name(before)?, value));
        }
        // `Name;` sends the field without a value.
        let before = line.strip_suffix(';').ok_or_else(malformed)?;
        Ok(Field::Sent(name(before)?, HeaderValue::from_static("")))
    };
    lines.iter().enumerate().map(read).collect()
}

/// All fields that curl sends, and the authority.
fn complete(
    fields: Vec<Field>,
    url: &Url<'_>,
    is_post: bool,
    is_json: bool,
    content: &Bytes,
) -> Result<(HeaderMap, Box<str>), CurlError> {
    let mut headers = HeaderMap::new();
    let mut withheld = Vec::new();
    for field in fields {
        match field {
            Field::Sent(name, value) => {
                headers.append(name, value);
            }
            Field::Withheld(name) => withheld.push(name),
        }
    }
    let json = HeaderValue::from_static("application/json");
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let usual = [
        (HOST, Some(HeaderValue::from_str(url.authority))),
        (CONTENT_TYPE, (is_post && is_json).then(|| Ok(json.clone()))),
        (CONTENT_TYPE, is_post.then_some(Ok(form))),
        (ACCEPT, is_json.then_some(Ok(json))),
        (ACCEPT, Some(Ok(HeaderValue::from_static("*/*")))),
        (
            CONTENT_LENGTH,
            is_post.then(|| Ok(HeaderValue::from(content.len()))),
        ),
    ];
    for (name, value) in usual {
        if headers.contains_key(&name) || withheld.contains(&name) {
            continue;
        }
        if let Some(value) = value {
            headers.insert(name, value.map_err(|_| CurlError::Url)?);
        }
    }
    let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
    let authority = match hosts.as_slice() {
        [host] => Authority::parse(host.as_bytes()).and(host.to_str().ok()),
        _ => None,
    };
    let authority = authority.ok_or(CurlError::Host)?.into();
    Ok((headers, authority))
}

/// The parts of a URL (RFC 3986 3).
struct Url<'a> {
    scheme: &'static str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn read(url: &'a str, is_literal: bool) -> Result<Url<'a>, CurlError> {
        let scheme = |name: &str| {
            let (found, rest) = url.split_at_checked(name.len())?;
            let rest = rest.strip_prefix("://")?;
            found.eq_ignore_ascii_case(name).then_some(rest)
        };
        let (scheme, rest) = match (scheme("https"), scheme("http")) {
            (Some(rest), _) => ("https", rest),
            (None, Some(rest)) => ("http", rest),
            (None, None) => return Err(CurlError::Scheme),
        };
        // curl keeps the fragment to itself.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        if Authority::parse(authority.as_bytes()).is_none() {
            return Err(CurlError::Url);
        }
        if !is_literal && behind.contains(['[', ']', '{', '}']) {
            return Err(CurlError::Glob);
        }
        let (path, query) = match behind.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (behind, None),
        };
        Ok(Url {
            scheme,
            authority: without_usual_port(scheme, authority),
            path: if path.is_empty() { "/" } else { path },
            query,
        })
    }

    /// The request target, with data that goes into the query.
    fn target(
        &self,
        method: &Method,
        is_literal: bool,
        data: Option<&[u8]>,
    ) -> Result<Target, CurlError> {
        // curl takes `%2e` for a dot, too.
        let is_dots = |segment: &str| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        };
        if !is_literal && self.path.split('/').any(is_dots) {
            return Err(CurlError::Dots);
        }
        let mut target = self.path.as_bytes().to_vec();
        match self.query {
            Some("") => return Err(CurlError::EmptyQuery),
            Some(query) => {
                target.push(b'?');
                target.extend_from_slice(query.as_bytes());
            }
            None => {}
        }
        if let Some(data) = data {
            target.push(if self.query.is_some() { b'&' } else { b'?' });
            target.extend_from_slice(data);
        }
        Target::parse(method, target.into()).map_err(CurlError::Target)
    }
}

/// curl leaves the port out that the scheme has anyway.
fn without_usual_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(usual).unwrap_or(authority);
    authority.strip_suffix(':').unwrap_or(authority)
}

#[cfg(test)]
mod tests;
