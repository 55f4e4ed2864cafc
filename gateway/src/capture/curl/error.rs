//! Why a command line of curl cannot be signed.
//!
//! Standard: none; a row each, with what helps. What this file does not do: it repeats no value of a
//! field and no content, for they may be credentials.

use std::fmt;

/// Why a command line of curl cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurlError {
    /// The first word is not curl.
    NoCurl,
    /// An option could change what is sent, and nobody knows here how.
    Unknown {
        /// The option.
        option: String,
    },
    /// An option is the last word, and needs a value.
    NoValue {
        /// The option.
        option: String,
    },
    /// What an option means here is not known for sure.
    Unsure {
        /// The option.
        option: String,
        /// Why.
        why: Unsure,
    },
    /// There is not exactly one URL.
    Urls {
        /// How many there are.
        found: usize,
    },
    /// The URL does not begin with a scheme that is known.
    Scheme,
    /// The URL has no host, or one that is none, or names a user.
    Url,
    /// The URL holds what curl takes for a pattern.
    Glob,
    /// The path holds dots that curl takes out.
    Dots,
    /// The URL ends in a question mark.
    EmptyQuery,
    /// The path or query is no request target.
    Target(http1::Error),
    /// The method is no token.
    Method,
    /// A field is none.
    Field {
        /// Which `-H`, counted from 1.
        index: usize,
    },
    /// A field is read from a file.
    FieldFile,
    /// `Host` is taken away, or no host.
    Host,
    /// A file cannot be read.
    File {
        /// The option that names it.
        option: String,
        /// Why, with its path.
        error: String,
    },
}

/// Why it is not known for sure what an option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsure {
    /// What is read to sign it is gone when curl reads it.
    StandardInput,
    /// curl does not take both.
    HeadWithData,
    /// Versions of curl differ.
    GetWithJson,
    /// Versions of curl differ.
    EmptyData,
}

impl CurlError {
    /// What helps.
    pub const fn hint(&self) -> &'static str {
        match self {
            CurlError::NoCurl => "gateway sign --key KEY --cert CERT -- curl https://host/path",
            CurlError::Unknown { .. } => {
                "leave it out, or write the request as text and sign that; gateway sign --help names what is known"
            }
            CurlError::NoValue { .. } => "give it its value",
            CurlError::Unsure { why, .. } => match why {
                Unsure::StandardInput => "put the content into a file, and name that",
                Unsure::HeadWithData => "leave one of them out",
                Unsure::GetWithJson => "write the query into the URL",
                Unsure::EmptyData => "leave the empty data out",
            },
            CurlError::Urls { .. } => "a signature is of one request: give one URL",
            CurlError::Scheme => "begin it with https://",
            CurlError::Url => "such as https://api.clinic.example:8443/fhir/Patient/1",
            CurlError::Glob => "percent-encode them, or add --globoff",
            CurlError::Dots => "write the path that is meant, or add --path-as-is",
            CurlError::EmptyQuery => "leave the question mark out: versions of curl differ",
            CurlError::Target(_) => "percent-encode what is not of a URL",
            CurlError::Method => "such as POST",
            CurlError::Field { .. } => "write it as 'Name: value'",
            CurlError::FieldFile => "write the fields on the command line",
            CurlError::Host => "leave Host to curl, or write 'Host: name:port'",
            CurlError::File { .. } => "check the path",
        }
    }
}

impl fmt::Display for CurlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CurlError::NoCurl => f.write_str("what stands behind -- is no command line of curl"),
            CurlError::Unknown { option } => {
                write!(
                    f,
                    "{option} of curl is not known here, and could change what is sent"
                )
            }
            CurlError::NoValue { option } => write!(f, "{option} of curl lacks its value"),
            CurlError::Unsure { option, why } => match why {
                Unsure::StandardInput => write!(f, "{option} of curl reads its standard input"),
                Unsure::HeadWithData => write!(f, "{option} of curl stands together with data"),
                Unsure::GetWithJson => write!(f, "{option} of curl stands together with --json"),
                Unsure::EmptyData => write!(f, "{option} of curl stands together with empty data"),
            },
            CurlError::Urls { found } => write!(f, "there are {found} URLs on the line of curl"),
            CurlError::Scheme => {
                f.write_str("the URL begins neither with https:// nor with http://")
            }
            CurlError::Url => f.write_str(
                "the URL has no host, or one that is malformed, or it names a user (RFC 3986 3.2)",
            ),
            CurlError::Glob => {
                f.write_str("the URL holds brackets or braces, which curl takes for a pattern")
            }
            CurlError::Dots => {
                f.write_str("the path holds . or .. as a segment, which curl takes out")
            }
            CurlError::EmptyQuery => f.write_str("the URL ends in a query that is empty"),
            CurlError::Target(error) => write!(f, "the URL: {error}"),
            CurlError::Method => f.write_str("the method is not a token (RFC 9110 9.1)"),
            CurlError::Field { index } => {
                write!(
                    f,
                    "the header field of -H number {index} is none (RFC 9112 5)"
                )
            }
            CurlError::FieldFile => f.write_str("-H of curl reads header fields from a file"),
            CurlError::Host => f.write_str("Host is taken away, or not one host (RFC 9112 3.2)"),
            CurlError::File { option, error } => write!(f, "{option} of curl: {error}"),
        }
    }
}
