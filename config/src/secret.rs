//! How the file names other files, and where a secret comes from.
//!
//! A secret stands in a file, in the environment, or in a credential of systemd
//! (systemd.exec(5), `LoadCredential=`), never in the configuration itself: it may be pasted here
//! by mistake, so nothing in this file repeats what was written. Nothing is opened or read here.

use std::fmt;
use std::path::PathBuf;

use crate::error::Advice;
use crate::place::{Place, Placed};
use crate::server::{ListUrl, OcspUrl, UrlError};
use crate::word::Word;

/// A file or folder, already joined to the folder of the configuration. Nobody has opened it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// The path to open.
    pub path: PathBuf,
    /// Who asked for it.
    pub place: Place,
}

/// Where a secret is. The secret itself is never part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The content of a file.
    File(FilePath),
    /// The value of an environment variable of this name.
    Env(Placed<String>),
    /// The file of this name in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
    Credential(Placed<String>),
}

impl Secret {
    /// Who asked for it.
    pub fn place(&self) -> &Place {
        match self {
            Self::File(path) => &path.place,
            Self::Env(name) | Self::Credential(name) => &name.place,
        }
    }
}

/// A path as written, not yet joined to the folder of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathText(pub(crate) String);

impl Word for PathText {
    const NOUN: &'static str = "a path";
    const EXAMPLE: &'static str = "api.chain.pem";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        match check_path(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(error) => Err(Advice::new(error, Some(error.hint()))),
        }
    }
}

fn check_path(text: &str) -> Result<(), SecretError> {
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    if text.len() > LONGEST_PATH || text.chars().any(char::is_control) {
        return Err(SecretError::NotAPath);
    }
    if text == "~" || text.starts_with("~/") {
        return Err(SecretError::Home);
    }
    let schemes = ["file:", "env:", "credential:", "pkcs11:", "unix:"];
    if schemes.iter().any(|scheme| text.starts_with(scheme)) {
        return Err(SecretError::SchemeBeforePath);
    }
    Ok(())
}

/// `PATH_MAX` of Linux, in bytes.
const LONGEST_PATH: usize = 4096;

/// Where revocation lists are, as the file spells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ListText {
    /// A file or a folder, as written.
    Path(PathText),
    /// A list that is fetched.
    Http(ListUrl),
}

impl Word for ListText {
    const NOUN: &'static str = "a path or an http URL";
    const EXAMPLE: &'static str = "/var/lib/phigate/crl/";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        if text.contains("://") {
            let url = ListUrl::parse(text).map(Self::Http);
            return url.map_err(|error| match error {
                UrlError::Scheme => Advice::new(
                    &error,
                    Some("write a path, or the URL of a list that begins with http://"),
                ),
                error => Advice::new(&error, error.hint()),
            });
        }
        PathText::parse_word(text).map(Self::Path)
    }
}

/// Where an OCSP answer comes from, as the file spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StapleText {
    /// From where the certificate says.
    Certificate,
    /// From a file, as written.
    Path(PathText),
    /// From a responder.
    Http(OcspUrl),
}

impl Word for StapleText {
    const NOUN: &'static str = "an http URL, a path or \"certificate\"";
    const EXAMPLE: &'static str = "http://pki.clinic.example/ocsp";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        if text == "certificate" {
            return Ok(Self::Certificate);
        }
        if text.contains("://") {
            let url = OcspUrl::parse(text).map(Self::Http);
            return url.map_err(|error| match error {
                UrlError::Scheme => Advice::new(
                    &error,
                    Some("write a path, or the URL of a responder that begins with http://"),
                ),
                error => Advice::new(&error, error.hint()),
            });
        }
        PathText::parse_word(text).map(Self::Path)
    }
}

/// Where a secret comes from, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretText {
    File(PathText),
    Env(String),
    Credential(String),
}

impl SecretText {
    fn parse(text: &str) -> Result<Self, SecretError> {
        if let Some(path) = text.strip_prefix("file:") {
            check_path(path)?;
            return Ok(Self::File(PathText(path.to_owned())));
        }
        if let Some(name) = text.strip_prefix("env:") {
            let sound = !name.starts_with(|c: char| c.is_ascii_digit())
                && (1..=255).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return if sound {
                Ok(Self::Env(name.to_owned()))
            } else {
                Err(SecretError::Variable)
            };
        }
        if let Some(name) = text.strip_prefix("credential:") {
            let sound = (1..=255).contains(&name.len())
                && name != "."
                && name != ".."
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
            return if sound {
                Ok(Self::Credential(name.to_owned()))
            } else {
                Err(SecretError::Credential)
            };
        }
        Err(SecretError::NoScheme)
    }
}

impl Word for SecretText {
    const NOUN: &'static str = "where the secret comes from";
    const EXAMPLE: &'static str = "file:api.key.pem";
    const PATTERN: Option<&'static str> = Some("^(file|env|credential):");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(error, Some(error.hint())))
    }
}

/// Why a text is not a path or does not say where a secret is. None of these holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretError {
    Empty,
    NotAPath,
    Home,
    SchemeBeforePath,
    Variable,
    Credential,
    NoScheme,
}

impl SecretError {
    fn hint(self) -> &'static str {
        match self {
            Self::Empty => "paths are relative to the folder of this file",
            Self::NotAPath => "name a file; its content does not belong here",
            Self::Home => "nothing expands \"~\" here: write the path in full",
            Self::SchemeBeforePath => "write the path alone",
            Self::Variable => "write letters, digits and _, such as env:API_KEY",
            Self::Credential => "write the name given to LoadCredential=, without a path",
            Self::NoScheme => {
                "write file:PATH, env:NAME or credential:NAME; if this was the secret itself, \
                 replace it, for it stood in a file that is not kept secret"
            }
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty path",
            Self::NotAPath => "not a path",
            Self::Home => "a path that begins with \"~\"",
            Self::SchemeBeforePath => "a path is expected, without anything before it",
            Self::Variable => "not the name of an environment variable",
            Self::Credential => "not the name of a credential",
            Self::NoScheme => "it does not say where the secret comes from",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_a_file_the_environment_or_a_credential() {
        let file = SecretText::File(PathText("api.key.pem".to_owned()));
        assert_eq!(SecretText::parse("file:api.key.pem"), Ok(file));
        assert_eq!(
            SecretText::parse("env:API_KEY"),
            Ok(SecretText::Env("API_KEY".to_owned()))
        );
        let credential = SecretText::Credential("phigate-api".to_owned());
        assert_eq!(SecretText::parse("credential:phigate-api"), Ok(credential));
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for (text, error) in [
            ("hunter2-hunter2", SecretError::NoScheme),
            (
                "-----BEGIN PRIVATE KEY-----\nhunter2",
                SecretError::NoScheme,
            ),
            ("file:", SecretError::Empty),
            ("file:hunter2\nhunter2", SecretError::NotAPath),
            ("file:~/hunter2", SecretError::Home),
            ("env:", SecretError::Variable),
            ("env:2hunter2", SecretError::Variable),
            ("env:hunter2 hunter2", SecretError::Variable),
            ("credential:../hunter2", SecretError::Credential),
            ("credential:..", SecretError::Credential),
        ] {
            assert_eq!(SecretText::parse(text), Err(error), "{text}");
            let Advice { message, hint } = SecretText::parse_word(text).unwrap_err();
            assert!(!format!("{message}{hint:?}").contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_list_is_a_path_or_is_fetched_over_http() {
        let path = ListText::Path(PathText("crl/".to_owned()));
        assert_eq!(ListText::parse_word("crl/").unwrap(), path);
        let url = "http://pki.example/a.crl";
        let fetched = ListText::Http(ListUrl::parse(url).unwrap());
        assert_eq!(ListText::parse_word(url).unwrap(), fetched);
        for text in ["", "ldap://pki.example/a", "https://pki.example/a.crl"] {
            assert!(ListText::parse_word(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_staple_is_a_file_is_asked_for_over_http_or_comes_from_where_the_certificate_says() {
        let read = |text| StapleText::parse_word(text).ok();
        let path = |text: &str| Some(StapleText::Path(PathText(text.to_owned())));
        assert_eq!(read("certificate"), Some(StapleText::Certificate));
        assert_eq!(read("./certificate"), path("./certificate"));
        assert_eq!(read("api.ocsp.der"), path("api.ocsp.der"));
        for url in ["http://ocsp.example/", "http://127.0.0.1:8080/a/b?c"] {
            let parsed = OcspUrl::parse(url).unwrap();
            assert_eq!(parsed.to_string(), url);
            assert_eq!(read(url), Some(StapleText::Http(parsed)));
        }
        for (text, target) in [("http://a.example", "/"), ("HTTP://a.example?b", "/?b")] {
            assert_eq!(OcspUrl::parse(text).unwrap().http().target(), target);
        }
        for text in ["", "https://ocsp.example/", "ldap://a/b", "http://a/ b"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_stands_alone() {
        assert!(PathText::parse_word("pki/trust.pem").is_ok());
        for text in ["", "~/trust.pem", "file:trust.pem", "a\0b"] {
            assert!(PathText::parse_word(text).is_err(), "{text}");
        }
    }
}
