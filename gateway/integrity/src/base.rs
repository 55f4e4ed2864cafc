//! The signature base: the text that is signed, one line a component, from a message that is only
//! looked at.
//!
//! Standard: RFC 9421 2.5, values by 2.1 to 2.4. It fails closed: a component that is not there, or
//! whose value cannot be one line of printable ASCII, is an error and no base comes out; nothing is
//! repaired. Two things are stricter than the text: lines of `Set-Cookie` are not joined (7.5.6),
//! and white space folded into a value is refused with the control characters. Authorities are
//! normalized (RFC 9110 4.2.3) in `@authority` and `@target-uri` alike. What it does not do: it
//! checks neither the digest that it quotes nor a signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, SET_COOKIE};

use crate::component::{Component, Form, Name};
use crate::error::{Error, Fault};
use crate::fields::{self, Kind};
use crate::limits::{BASE, FIELD, PARSED};
use crate::message::{Message, Request};
use crate::params::Input;
use crate::query::{self, QueryError};
use crate::structured;

/// The signature base of a message. It holds what the message says: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// Builds the base of this message for what is covered.
    pub fn build(message: &Message<'_>, input: &Input) -> Result<Base, Error> {
        let mut out = String::with_capacity(512);
        let mut parsed = 0;
        for component in input.components() {
            parsed += cost(message, component);
            if parsed > PARSED {
                return Err(Error::BaseTooLarge { limit: PARSED });
            }
            out.push_str(component.as_str());
            out.push_str(": ");
            write_value(&mut out, message, component)?;
            out.push('\n');
            if out.len() > BASE {
                return Err(Error::BaseTooLarge { limit: BASE });
            }
        }
        out.push_str("\"@signature-params\": ");
        out.push_str(input.as_str());
        Ok(Base(out))
    }

    /// What is signed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// What is signed; it is ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long it is.
impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base({} bytes)", self.0.len())
    }
}

/// How many bytes must be parsed for a component: a short list of components can ask for a long
/// field many times.
fn cost(message: &Message<'_>, component: &Component) -> usize {
    let request = match message {
        Message::Request(request) => Some(request),
        Message::Response(response) => response.request.as_ref(),
    };
    match component.name() {
        Name::QueryParam(_) => request
            .and_then(|request| request.query)
            .map_or(0, str::len),
        Name::Field {
            name,
            form: Form::Strict | Form::Member { .. },
            trailer,
        } => section(message, component, *trailer).map_or(0, |fields| {
            let lines = fields.get_all(name).iter();
            lines.map(http::HeaderValue::len).sum()
        }),
        _ => 0,
    }
}

/// Writes the value of one component (2.5, step 2.4 and 2.5).
pub(crate) fn write_value(
    out: &mut String,
    message: &Message<'_>,
    component: &Component,
) -> Result<(), Error> {
    let misplaced = || Error::ComponentMisplaced {
        component: component.public_name(),
    };
    if let Name::Field {
        name,
        form,
        trailer,
    } = component.name()
    {
        let headers = section(message, component, *trailer)?;
        return Field {
            component,
            headers,
            name,
        }
        .write(out, form);
    }
    match (message, component.is_of_request()) {
        (Message::Response(response), false) => {
            let Name::Status = component.name() else {
                return Err(misplaced());
            };
            out.push_str(response.status.as_str());
            Ok(())
        }
        (Message::Request(request), false) => write_derived(out, request, component),
        (Message::Response(response), true) => {
            let request = response.request.as_ref();
            write_derived(
                out,
                request.ok_or_else(|| no_request(component))?,
                component,
            )
        }
        (Message::Request(_), true) => Err(misplaced()),
    }
}

/// The fields in which a component stands.
fn section<'a>(
    message: &Message<'a>,
    component: &Component,
    trailer: bool,
) -> Result<&'a HeaderMap, Error> {
    let (headers, trailers) = match (message, component.is_of_request()) {
        (Message::Request(request), false) => (request.headers, request.trailers),
        (Message::Response(response), false) => (response.headers, response.trailers),
        (Message::Response(response), true) => {
            let request = response.request.ok_or_else(|| no_request(component))?;
            (request.headers, request.trailers)
        }
        (Message::Request(_), true) => {
            return Err(Error::ComponentMisplaced {
                component: component.public_name(),
            });
        }
    };
    if trailer {
        trailers.ok_or_else(|| absent(component))
    } else {
        Ok(headers)
    }
}

fn write_derived(
    out: &mut String,
    request: &Request<'_>,
    component: &Component,
) -> Result<(), Error> {
    let start = out.len();
    match component.name() {
        Name::Method => out.push_str(request.method.as_str()),
        Name::TargetUri => {
            write_lower(out, request.scheme);
            out.push_str("://");
            write_authority(out, request, component)?;
            out.push_str(path_of_uri(request));
            if let Some(query) = request.query {
                out.push('?');
                out.push_str(query);
            }
        }
        Name::Authority => write_authority(out, request, component)?,
        Name::Scheme => write_lower(out, request.scheme),
        Name::RequestTarget => out.push_str(request.target.ok_or_else(|| absent(component))?),
        Name::Path if request.path.is_empty() => out.push('/'),
        Name::Path => out.push_str(request.path),
        Name::Query => {
            out.push('?');
            out.push_str(request.query.unwrap_or(""));
        }
        Name::QueryParam(name) => {
            let value = query::value(request.query.unwrap_or(""), name);
            out.push_str(&value.map_err(|error| match error {
                QueryError::Absent => absent(component),
                QueryError::Twice => Error::ValueAmbiguous {
                    component: component.public_name(),
                },
                QueryError::NotUtf8 => Error::ValueByte {
                    component: component.public_name(),
                },
            })?);
            // An empty value is a value.
            return Ok(());
        }
        Name::Status | Name::Field { .. } => {
            return Err(Error::ComponentMisplaced {
                component: component.public_name(),
            });
        }
    }
    let value = &out.as_bytes()[start..];
    if value.is_empty() {
        return Err(absent(component));
    }
    if !value.iter().all(u8::is_ascii_graphic) {
        return Err(Error::ValueByte {
            component: component.public_name(),
        });
    }
    Ok(())
}

/// Lower case, and without the port that the scheme has anyway (RFC 9110 4.2.3).
fn write_authority(
    out: &mut String,
    request: &Request<'_>,
    component: &Component,
) -> Result<(), Error> {
    let port = match request.scheme {
        scheme if scheme.eq_ignore_ascii_case("https") => ":443",
        scheme if scheme.eq_ignore_ascii_case("http") => ":80",
        _ => ":",
    };
    let authority = request.authority;
    let authority = authority.strip_suffix(port).unwrap_or(authority);
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    if authority.is_empty() {
        return Err(absent(component));
    }
    write_lower(out, authority);
    Ok(())
}

fn write_lower(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| c.to_ascii_lowercase()));
}

/// `OPTIONS *` has a target URI without a path (RFC 9110 7.1).
fn path_of_uri<'a>(request: &Request<'a>) -> &'a str {
    match (request.path, request.target) {
        ("", Some("*")) => "",
        ("", _) => "/",
        (path, _) => path,
    }
}

/// A field that is covered.
struct Field<'a> {
    component: &'a Component,
    headers: &'a HeaderMap,
    name: &'a HeaderName,
}

impl<'a> Field<'a> {
    fn write(&self, out: &mut String, form: &Form) -> Result<(), Error> {
        if !self.headers.contains_key(self.name) {
            return Err(absent(self.component));
        }
        match form {
            Form::Plain => self.write_plain(out),
            Form::Bytes => {
                self.write_bytes(out);
                Ok(())
            }
            Form::Strict => self.write_strict(out),
            Form::Member { key, .. } => self.write_member(out, key),
        }
    }

    /// The lines, each without white space around it.
    fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.headers.get_all(self.name).into_iter();
        lines.map(|line| line.as_bytes().trim_ascii())
    }

    /// 2.1.
    fn write_plain(&self, out: &mut String) -> Result<(), Error> {
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                if self.name == SET_COOKIE {
                    return Err(Error::ValueAmbiguous {
                        component: self.component.public_name(),
                    });
                }
                out.push_str(", ");
            }
            let plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
            match std::str::from_utf8(line) {
                Ok(text) if line.iter().all(plain) => out.push_str(text),
                _ => {
                    return Err(Error::ValueByte {
                        component: self.component.public_name(),
                    });
                }
            }
        }
        Ok(())
    }

    /// 2.1.3.
    fn write_bytes(&self, out: &mut String) {
        for (index, line) in self.lines().enumerate() {
            out.push_str(if index > 0 { ", :" } else { ":" });
            STANDARD.encode_string(line, out);
            out.push(':');
        }
    }

    /// 2.1.1.
    fn write_strict(&self, out: &mut String) -> Result<(), Error> {
        let kind = fields::kind(self.name).ok_or_else(|| self.not_structured())?;
        let text = self.text()?;
        let malformed = |fault| self.malformed(fault);
        match kind {
            Kind::Item => {
                structured::write_item(out, &structured::item(&text).map_err(malformed)?);
            }
            Kind::List => {
                structured::write_list(out, &structured::list(&text).map_err(malformed)?);
            }
            Kind::Dictionary => {
                let members = structured::dictionary(&text).map_err(malformed)?;
                structured::write_dictionary(out, &members);
            }
        }
        Ok(())
    }

    /// 2.1.2.
    fn write_member(&self, out: &mut String, key: &str) -> Result<(), Error> {
        if fields::kind(self.name) != Some(Kind::Dictionary) {
            return Err(self.not_structured());
        }
        let text = self.text()?;
        let members = structured::dictionary(&text).map_err(|fault| self.malformed(fault))?;
        let member = members.iter().find(|(known, _)| known.as_str() == key);
        let (_, member) = member.ok_or_else(|| absent(self.component))?;
        structured::write_member(out, member);
        Ok(())
    }

    fn text(&self) -> Result<std::borrow::Cow<'a, [u8]>, Error> {
        let text = structured::joined(self.headers, self.name, FIELD);
        let text = text.map_err(|_| Error::BaseTooLarge { limit: FIELD })?;
        text.ok_or_else(|| absent(self.component))
    }

    fn malformed(&self, fault: Fault) -> Error {
        Error::ValueMalformed {
            component: self.component.public_name(),
            fault,
        }
    }

    fn not_structured(&self) -> Error {
        Error::NotStructured {
            component: self.component.public_name(),
        }
    }
}

fn absent(component: &Component) -> Error {
    Error::ComponentAbsent {
        component: component.public_name(),
    }
}

fn no_request(component: &Component) -> Error {
    Error::NoRequest {
        component: component.public_name(),
    }
}

#[cfg(test)]
mod tests;
