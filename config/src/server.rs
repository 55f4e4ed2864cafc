//! Servers behind the gateway, base URLs, and addresses to listen on.
//!
//! URLs are read as RFC 3986 has them, and only as far as they are needed: a server has a scheme,
//! a host and a port, and everything else in it is a mistake. Nothing here opens a socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value as Json;

use crate::error::Advice;
use crate::host::{HostError, HostName};
use crate::path::{PathError, PathPrefix};
use crate::word::{Shown, Word};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority {
    /// The host.
    pub host: HostName,
    /// The port, never 0.
    pub port: u16,
}

impl Authority {
    /// Parses `host` or `host:port` (RFC 3986 section 3.2).
    fn parse(text: &str, default_port: u16) -> Result<Self, UrlError> {
        if text.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            None => default_port,
            Some(text) => parse_port(text).ok_or(UrlError::Port)?,
        };
        // "fe80::1" is an address whose end looks like a port: in a URL it needs its brackets.
        if host.contains(':') && !host.starts_with('[') {
            return Err(UrlError::Host(HostError::Address));
        }
        Ok(Self {
            host: HostName::parse(host).map_err(UrlError::Host)?,
            port,
        })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// A server as the file names it, before it is known what else its upstream says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ServerUrl {
    Http(Authority),
    Https(Authority),
    /// The path as written.
    Unix(String),
}

impl ServerUrl {
    fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.starts_with("//") || path.contains('\0') {
                return Err(UrlError::Socket);
            }
            return Ok(Self::Unix(path.to_owned()));
        }
        let (scheme, rest) = split_scheme(text)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(UrlError::Path);
        }
        Ok(match scheme {
            Scheme::Http => Self::Http(Authority::parse(authority, 80)?),
            Scheme::Https => Self::Https(Authority::parse(authority, 443)?),
        })
    }
}

impl Word for ServerUrl {
    const NOUN: &'static str = "a server";
    const EXAMPLE: &'static str = "https://10.0.0.5:8443";
    const PATTERN: Option<&'static str> = Some("^([Hh][Tt][Tt][Pp][Ss]?://|unix:)");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint()))
    }
}

/// The base of a FHIR server: an absolute `http` or `https` URL without a slash at its end.
///
/// Patients are known under it, so it is kept in one spelling: scheme and host in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Parses the URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = split_scheme(text)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (word, port) = match scheme {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        let Authority { host, port: found } = Authority::parse(authority, port)?;
        let port = if found == port {
            String::new()
        } else {
            format!(":{found}")
        };
        match path {
            "" => Ok(Self(format!("{word}://{host}{port}"))),
            "/" => Err(UrlError::Prefix(PathError::TrailingSlash)),
            path => {
                let path = PathPrefix::parse(path).map_err(UrlError::Prefix)?;
                Ok(Self(format!("{word}://{host}{port}{path}")))
            }
        }
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is https, where it is, and what path stands behind that: nothing, or one that begins
    /// with a slash and does not end with one.
    pub fn parts(&self) -> (bool, Authority, &str) {
        const PARSED: &str = "a base URL was parsed into this spelling";
        let (scheme, rest) = split_scheme(&self.0).expect(PARSED);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (is_https, port) = match scheme {
            Scheme::Http => (false, 80),
            Scheme::Https => (true, 443),
        };
        (
            is_https,
            Authority::parse(authority, port).expect(PARSED),
            path,
        )
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for BaseUrl {
    const NOUN: &'static str = "a URL";
    const EXAMPLE: &'static str = "https://fhir.example/fhir";
    const PATTERN: Option<&'static str> = Some("^[Hh][Tt][Tt][Pp][Ss]?://");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint()))
    }
}

/// Where a web page comes from (RFC 6454): `https`, host and port.
///
/// Kept as browsers write it: in lower case, without the port that is usual.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// Parses the origin.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, authority) = split_scheme(text)?;
        if matches!(scheme, Scheme::Http) {
            return Err(UrlError::OriginInClear);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(UrlError::OriginPath);
        }
        let Authority { host, port } = Authority::parse(authority, 443)?;
        Ok(Self(match port {
            443 => format!("https://{host}"),
            port => format!("https://{host}:{port}"),
        }))
    }

    /// The origin, as browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Word for Origin {
    const NOUN: &'static str = "an origin";
    const EXAMPLE: &'static str = "https://portal.clinic.example";
    const PATTERN: Option<&'static str> = Some("^[Hh][Tt][Tt][Pp][Ss]://");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint()))
    }
}

/// Where a revocation list is fetched: an absolute `http` URL of one file.
///
/// Plain HTTP, because a list is signed, and because a connection whose certificate would itself have to be
/// looked up could wait for ever (RFC 5280 section 8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListUrl(HttpUrl);

impl ListUrl {
    /// Parses the URL. Scheme and host are folded to lower case; path and query stay as they are written.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = HttpUrl::parse(text, UrlError::ListOverTls)?;
        let path = url.path();
        if path.is_empty() || (path.ends_with('/') && path == url.target) {
            return Err(UrlError::ListFolder);
        }
        Ok(Self(url.sound()?))
    }

    /// What a request needs of it.
    pub fn http(&self) -> &HttpUrl {
        &self.0
    }
}

impl fmt::Display for ListUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the status of certificates is asked for by OCSP: an absolute `http` URL (RFC 6960 appendix A.1).
///
/// Plain HTTP, because an answer is signed (RFC 5019 section 5), and for the reason that lists have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OcspUrl(HttpUrl);

impl OcspUrl {
    /// Parses the URL. Scheme and host are folded to lower case; path and query stay as they are written.
    /// Without a path, `/` is asked for.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let mut url = HttpUrl::parse(text, UrlError::StatusOverTls)?.sound()?;
        if url.path().is_empty() {
            url.target.insert(0, '/');
        }
        Ok(Self(url))
    }

    /// What a request needs of it.
    pub fn http(&self) -> &HttpUrl {
        &self.0
    }
}

impl fmt::Display for OcspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Word for OcspUrl {
    const NOUN: &'static str = "an http URL";
    const EXAMPLE: &'static str = "http://pki.clinic.example/ocsp";
    const PATTERN: Option<&'static str> = Some("^[Hh][Tt][Tt][Pp]://");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| match error {
            UrlError::Scheme => Advice::new(&error, Some("begin it with http://")),
            error => Advice::new(&error, error.hint()),
        })
    }
}

/// An absolute URL of plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl {
    authority: Authority,
    target: String,
}

impl HttpUrl {
    /// Scheme and host; the rest is not judged yet. `over_tls` is said of https.
    fn parse(text: &str, over_tls: UrlError) -> Result<Self, UrlError> {
        let (scheme, rest) = split_scheme(text)?;
        if matches!(scheme, Scheme::Https) {
            return Err(over_tls);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Ok(Self {
            authority: Authority::parse(authority, 80)?,
            target: target.to_owned(),
        })
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// It can be asked for as it is.
    fn sound(self) -> Result<Self, UrlError> {
        let sound = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
        if self.target.len() > LONGEST_TARGET || !self.target.bytes().all(sound) {
            return Err(UrlError::ListTarget);
        }
        Ok(self)
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Path and query, as a request names them (RFC 9112 section 3.2.1).
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Host and port as the `Host` field has them: without the port that is usual.
    pub fn host(&self) -> String {
        match self.authority.port {
            80 => self.authority.host.to_string(),
            _ => self.authority.to_string(),
        }
    }
}

/// Longer paths and queries are not asked for, bytes.
const LONGEST_TARGET: usize = 2048;

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host(), self.target)
    }
}

enum Scheme {
    Http,
    Https,
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), UrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok((Scheme::Http, rest)),
        "https" => Ok((Scheme::Https, rest)),
        _ => Err(UrlError::Scheme),
    }
}

/// Why a text is not a URL of the kind that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It has none of the schemes that are known here.
    Scheme,
    /// A user or a password before the host.
    UserInfo,
    /// The host.
    Host(HostError),
    /// The port is no number from 1 to 65535.
    Port,
    /// Something after host and port.
    Path,
    /// An origin whose pages anybody on the way can change.
    OriginInClear,
    /// An origin, and something after host and port.
    OriginPath,
    /// The path.
    Prefix(PathError),
    /// No path to a socket after `unix:`.
    Socket,
    /// A revocation list that would be fetched over TLS.
    ListOverTls,
    /// The URL of a folder where that of one revocation list is asked for.
    ListFolder,
    /// A responder that would be asked over TLS.
    StatusOverTls,
    /// A path or query that no request can name as it is.
    ListTarget,
}

impl UrlError {
    /// What to write instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Scheme => Some("begin it with https://, http:// or, for a server, unix:"),
            Self::UserInfo => Some("the gateway proves itself by client_certificate"),
            Self::Host(error) => error.hint(),
            Self::Port => Some("write a port from 1 to 65535"),
            Self::OriginPath => "write scheme, host and port alone".into(),
            Self::OriginInClear => {
                "write https://: a page that came in clear may be anybody's".into()
            }
            Self::Path => {
                Some("paths are forwarded as received: write scheme, host and port alone")
            }
            Self::Prefix(PathError::TrailingSlash) => Some("leave the last \"/\" out"),
            Self::Prefix(_) => Some("write the path of the server's base, such as /fhir"),
            Self::Socket => Some("write it like unix:/run/portal.sock"),
            Self::ListOverTls => Some(
                "a list is signed: write http://, or have somebody put it into a folder and name that",
            ),
            Self::StatusOverTls => Some("an answer is signed: write http://"),
            Self::ListFolder => {
                Some("nobody lists a folder over HTTP: write the URL of each list in it")
            }
            Self::ListTarget => {
                Some("leave out what stands behind #, and write what is no letter as %20")
            }
        }
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => write!(f, "an unknown scheme"),
            Self::UserInfo => write!(f, "a URL with a user in it"),
            Self::Host(error) => error.fmt(f),
            Self::Port => write!(f, "no such port"),
            Self::OriginPath => write!(f, "an origin with a path"),
            Self::OriginInClear => write!(f, "an origin in clear"),
            Self::Path => write!(f, "a server with a path"),
            Self::Prefix(error) => error.fmt(f),
            Self::Socket => write!(f, "no path to a socket"),
            Self::ListOverTls => write!(f, "a revocation list over TLS"),
            Self::StatusOverTls => write!(f, "the status of certificates over TLS"),
            Self::ListFolder => write!(f, "the URL of a folder"),
            Self::ListTarget => write!(f, "a URL that cannot be asked for"),
        }
    }
}

impl std::error::Error for UrlError {}

impl Word for SocketAddr {
    const NOUN: &'static str = "an address with its port";
    const EXAMPLE: &'static str = "0.0.0.0:8443";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        let hint = "write address and port, such as \"0.0.0.0:8443\" or \"[::]:8443\"";
        let port_zero = "port 0 is another port at each start";
        match text.parse::<Self>() {
            Ok(address) if address.port() == 0 => Err(Advice::new(port_zero, Some("name a port"))),
            Ok(address) => Ok(address),
            Err(_) if text.parse::<IpAddr>().is_ok() => {
                Err(Advice::new("an address without a port", Some(hint)))
            }
            Err(_) => Err(Advice::new("not an address with its port", Some(hint))),
        }
    }
}

/// Where the admin listener is, as the file spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminWord {
    Off,
    At(SocketAddr),
}

impl Word for AdminWord {
    const NOUN: &'static str = "a loopback address with its port, or \"off\"";
    const EXAMPLE: &'static str = "127.0.0.1:9090";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        if text == "off" {
            Ok(Self::Off)
        } else {
            SocketAddr::parse_word(text).map(Self::At)
        }
    }
}

impl Shown for AdminWord {
    fn shown(&self) -> Json {
        match self {
            Self::Off => "off".into(),
            Self::At(address) => address.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(host: &str, port: u16) -> Authority {
        Authority {
            host: HostName::parse(host).unwrap(),
            port,
        }
    }

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        for (text, url) in [
            (
                "http://127.0.0.1:8080",
                ServerUrl::Http(server("127.0.0.1", 8080)),
            ),
            (
                "https://fhir.internal",
                ServerUrl::Https(server("fhir.internal", 443)),
            ),
            (
                "HTTP://fhir.internal/",
                ServerUrl::Http(server("fhir.internal", 80)),
            ),
            ("https://[::1]:8443", ServerUrl::Https(server("::1", 8443))),
            ("https://[::1]", ServerUrl::Https(server("::1", 443))),
            (
                "unix:/run/portal.sock",
                ServerUrl::Unix("/run/portal.sock".to_owned()),
            ),
            (
                "unix:portal.sock",
                ServerUrl::Unix("portal.sock".to_owned()),
            ),
        ] {
            assert_eq!(ServerUrl::parse(text), Ok(url), "{text}");
        }
    }

    #[test]
    fn a_list_is_fetched_from_a_url_that_names_one_file() {
        for (text, url) in [
            (
                "HTTP://PKI.clinic.example/crl/issuing-03.crl",
                "http://pki.clinic.example/crl/issuing-03.crl",
            ),
            ("http://127.0.0.1:80/a.crl", "http://127.0.0.1/a.crl"),
            ("http://[::1]:8080/a.crl", "http://[::1]:8080/a.crl"),
            (
                "http://ca.example/crl/?cmd=crl&issuer=CN%3DOne",
                "http://ca.example/crl/?cmd=crl&issuer=CN%3DOne",
            ),
        ] {
            assert_eq!(ListUrl::parse(text).unwrap().to_string(), url);
        }
        for (text, error) in [
            ("https://pki.example/a.crl", UrlError::ListOverTls),
            ("http://pki.example/crl/", UrlError::ListFolder),
            ("http://pki.example/", UrlError::ListFolder),
            ("http://pki.example", UrlError::ListFolder),
            ("http://pki.example?a", UrlError::ListFolder),
            ("http://pki.example/a.crl#b", UrlError::ListTarget),
            ("http://pki.example/a b.crl", UrlError::ListTarget),
            ("http://pki.example/a\r\nb", UrlError::ListTarget),
            ("http://pki.example/\u{e9}", UrlError::ListTarget),
            ("http://me@pki.example/a.crl", UrlError::UserInfo),
            ("http://pki.example:0/a.crl", UrlError::Port),
            ("ldap://pki.example/cn=a", UrlError::Scheme),
        ] {
            assert_eq!(ListUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_server_with_more_than_that_is_refused() {
        for (text, error) in [
            ("10.0.0.5:8080", UrlError::Scheme),
            ("ftp://a", UrlError::Scheme),
            ("https://user:secret@a", UrlError::UserInfo),
            ("https://a/fhir", UrlError::Path),
            ("https://a?x", UrlError::Path),
            ("https://a:0", UrlError::Port),
            ("https://a:", UrlError::Port),
            ("https://a:+80", UrlError::Port),
            ("https://a:65536", UrlError::Port),
            ("https://", UrlError::Host(HostError::Empty)),
            ("https://::1", UrlError::Host(HostError::Address)),
            ("unix:", UrlError::Socket),
            ("unix:///run/a", UrlError::Socket),
        ] {
            assert_eq!(ServerUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_base_url_has_one_spelling() {
        let base = |text| BaseUrl::parse(text).map(|base| base.to_string());
        assert_eq!(
            base("HTTPS://FHIR.example:443/fhir").as_deref(),
            Ok("https://fhir.example/fhir")
        );
        assert_eq!(
            base("http://fhir.example:8080").as_deref(),
            Ok("http://fhir.example:8080")
        );
        assert_eq!(
            base("https://a/fhir/"),
            Err(UrlError::Prefix(PathError::TrailingSlash))
        );
        assert_eq!(
            base("https://a/"),
            Err(UrlError::Prefix(PathError::TrailingSlash))
        );
        assert_eq!(
            base("https://a/fhir?x"),
            Err(UrlError::Prefix(PathError::Query))
        );
        assert_eq!(
            base("https://a?x"),
            Err(UrlError::Prefix(PathError::NotAbsolute))
        );
    }

    #[test]
    fn an_address_to_listen_on_has_a_port() {
        let address = |text| SocketAddr::parse_word(text).map_err(|advice| advice.message);
        assert!(address("0.0.0.0:8443").is_ok() && address("[::]:8443").is_ok());
        assert_eq!(address("0.0.0.0").unwrap_err(), "an address without a port");
        assert_eq!(address("::").unwrap_err(), "an address without a port");
        assert_eq!(
            address("127.0.0.1:0").unwrap_err(),
            "port 0 is another port at each start"
        );
        for text in [":8443", "8443", "localhost:8443", "*:8443", "[::]"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_base_url_reads_back_what_it_prints(text in "https?://[a-z.:0-9]{1,9}(/[a-z%0-9]{1,4}){0,3}") {
            if let Ok(base) = BaseUrl::parse(&text) {
                prop_assert_eq!(BaseUrl::parse(base.as_str()), Ok(base));
            }
        }

        #[test]
        fn no_server_is_too_strange_to_be_answered(text in "(https?://|unix:)?.{0,30}") {
            let _ = (ServerUrl::parse(&text), BaseUrl::parse(&text), SocketAddr::parse_word(&text));
        }
    }
}
