//! Keys with a choice of words: how each word is spelled, what it stands for, what it does.
//!
//! One row a word. What the words do to each other is not decided here.

use crate::integrity::{Answers, Demand};
use crate::model::{AccessLog, Durability, NameKind, TlsPolicy, WhenStale};
use crate::word::choice;

choice!(
    AccessLog,
    "an access log",
    [
        ("off", Self::Off, "Nowhere."),
        (
            "stdout",
            Self::Stdout,
            "One JSON object a line on standard output."
        ),
    ]
);

choice!(
    Durability,
    "a durability",
    [
        ("durable", Self::Durable, "Records survive a loss of power."),
        (
            "buffered",
            Self::Buffered,
            "Records survive a crash of the gateway, not of the machine."
        ),
    ]
);

choice!(
    Demand,
    "a demand",
    [
        (
            "required",
            Self::Required,
            "A request without it is refused, and so is one with a wrong one."
        ),
        (
            "when-present",
            Self::WhenPresent,
            "A request with a wrong one is refused; one without it passes."
        ),
        ("off", Self::Off, "Nobody looks at it."),
    ]
);

choice!(
    Answers,
    "what is added to answers",
    [
        ("plain", Self::Plain, "Nothing."),
        ("digest", Self::Digest, "The digest of their content."),
        (
            "signed",
            Self::Signed,
            "The digest, and a signature with the gateway's own key."
        ),
    ]
);

choice!(
    NameKind,
    "a kind of name",
    [
        ("san-uri", Self::SanUri, "A URI."),
        (
            "san-dns",
            Self::SanDns,
            "A DNS name, compared in lower case."
        ),
        ("san-email", Self::SanEmail, "A mail address."),
    ]
);

choice!(
    WhenStale,
    "what to do when a list is stale",
    [
        (
            "refuse",
            Self::Refuse,
            "Nobody gets in under its issuer until there is a fresh one."
        ),
        ("accept", Self::Accept, "It counts as a fresh one."),
    ]
);

choice!(
    TlsPolicy,
    "a TLS policy",
    [
        ("modern", Self::Modern, "TLS 1.3."),
        (
            "intermediate",
            Self::Intermediate,
            "TLS 1.3, and 1.2 with ECDHE and AEAD suites."
        ),
    ]
);

/// Whether clients need a certificate, before it is known who vouches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateUse {
    Required,
    Optional,
    None,
}

choice!(
    CertificateUse,
    "what is asked of clients",
    [
        (
            "required",
            Self::Required,
            "Without a good certificate there is no connection."
        ),
        (
            "optional",
            Self::Optional,
            "A certificate is verified when it comes; a bad one ends the handshake."
        ),
        ("none", Self::None, "No certificate is asked for."),
    ]
);

/// The protocol spoken with an upstream, before it is known what its server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtocolWord {
    Auto,
    Http11,
    Http2,
}

choice!(
    ProtocolWord,
    "a protocol",
    [
        (
            "auto",
            Self::Auto,
            "HTTP/2 or HTTP/1.1 by ALPN on https, else HTTP/1.1."
        ),
        ("http/1.1", Self::Http11, "HTTP/1.1."),
        (
            "h2",
            Self::Http2,
            "HTTP/2; by prior knowledge on http and unix."
        ),
    ]
);

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RatePer {
    Client,
}

choice!(
    RatePer,
    "what a rate counts",
    [(
        "client",
        Self::Client,
        "Each client by its name or, without one, by its address."
    ),]
);
