//! Every way of saying no, and what the outside sees of it.
//!
//! The sum of what the stages refuse with. Exhaustive matches decide the status and the code; a new
//! variant stops the build until both are answered. Alerts stand with what they answer, in `hello`
//! and `tls`. Two audiences: the peer gets a status, a constant problem document (RFC 9457) and a
//! request id; the log gets the code and the evidence.

use std::borrow::Cow;
use std::time::Duration;

use audit::error::AppendError;
use audit::event::Code;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use integrity::DigestError;
use integrity::digest::WANT_CONTENT_DIGEST;

use crate::authorize::AuthorizeRefusal;
use crate::checks::{CheckRefusal, PathFault};
use crate::handshake::HandshakeRefusal;
use crate::hello::HelloRefusal;
use crate::identity::IdentityRefusal;
use crate::limit::{ConnectionRefusal, RateRefusal};
use crate::message::MessageRefusal;
use crate::replays::ReplayRefusal;
use crate::request::ContentFault;
use crate::route::RouteRefusal;
use crate::tls::ChainRefusal;
use crate::upgrade::{self, UpgradeRefusal};
use crate::upstream::UpstreamRefusal;

/// Why a request is not answered by its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Its bytes are not HTTP/1.1.
    Wire(http1::Error),
    /// Its head did not come in time.
    HeadTimeout,
    /// What no route could want.
    Check(CheckRefusal),
    /// No route was taken.
    Route(RouteRefusal),
    /// No rule permits it.
    Authorize(AuthorizeRefusal),
    /// Its client came too often.
    Rate(RateRefusal),
    /// It asks for a WebSocket that the route does not open.
    Upgrade(UpgradeRefusal),
    /// Its message is refused.
    Message(MessageRefusal),
    /// It could not be recorded.
    Audit(AppendError),
    /// The upstream brought no answer.
    Upstream(UpstreamRefusal),
    /// A defect in the gateway.
    Internal,
}

/// Who has to do something about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent the request.
    Peer,
    /// Whoever runs the upstream.
    Upstream,
    /// Whoever runs the gateway.
    Us,
}

impl Fault {
    /// As it stands in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Peer => "peer",
            Fault::Upstream => "upstream",
            Fault::Us => "gateway",
        }
    }
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Wire(error) => status_of(error),
            Refusal::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Refusal::Check(CheckRefusal::MethodUnsupported) => StatusCode::NOT_IMPLEMENTED,
            Refusal::Check(
                CheckRefusal::HostMissing
                | CheckRefusal::HostAmbiguous
                | CheckRefusal::HostMalformed
                | CheckRefusal::TargetForm
                | CheckRefusal::Path(_)
                | CheckRefusal::FieldRefused { .. }
                | CheckRefusal::Upgrade,
            ) => StatusCode::BAD_REQUEST,
            Refusal::Route(RouteRefusal::Misdirected | RouteRefusal::ListenerGone) => {
                StatusCode::MISDIRECTED_REQUEST
            }
            Refusal::Route(RouteRefusal::NoRoute) => StatusCode::NOT_FOUND,
            Refusal::Route(RouteRefusal::Path(_)) => StatusCode::BAD_REQUEST,
            Refusal::Route(RouteRefusal::MethodNotAllowed { .. }) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Rate(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Authorize(
                AuthorizeRefusal::NotPermitted
                | AuthorizeRefusal::ClientUnknown
                | AuthorizeRefusal::CertificateMissing
                | AuthorizeRefusal::Standing(_)
                | AuthorizeRefusal::TrustGone,
            ) => StatusCode::FORBIDDEN,
            Refusal::Upgrade(UpgradeRefusal::Off | UpgradeRefusal::Origin) => StatusCode::FORBIDDEN,
            Refusal::Upgrade(UpgradeRefusal::Malformed { .. }) => StatusCode::BAD_REQUEST,
            Refusal::Upgrade(UpgradeRefusal::Version) => StatusCode::UPGRADE_REQUIRED,
            Refusal::Message(refusal) => message_status(refusal),
            Refusal::Audit(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Upstream(refusal) => match refusal {
                UpstreamRefusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
                UpstreamRefusal::Unreachable { .. }
                | UpstreamRefusal::Untrusted { .. }
                | UpstreamRefusal::Altered
                | UpstreamRefusal::Signature { .. }
                | UpstreamRefusal::Broken { .. } => StatusCode::BAD_GATEWAY,
                UpstreamRefusal::ConnectTimeout | UpstreamRefusal::Timeout => {
                    StatusCode::GATEWAY_TIMEOUT
                }
                UpstreamRefusal::Unwritable { .. } => StatusCode::BAD_REQUEST,
                UpstreamRefusal::Content(fault) => content_status(fault),
            },
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Refusal::Wire(error) => wire_code(error),
            Refusal::HeadTimeout => Code::HeadTimeout,
            Refusal::Check(refusal) => match refusal {
                CheckRefusal::HostMissing => Code::HostMissing,
                CheckRefusal::HostAmbiguous => Code::HostAmbiguous,
                CheckRefusal::HostMalformed => Code::HostMalformed,
                CheckRefusal::MethodUnsupported => Code::MethodUnsupported,
                CheckRefusal::TargetForm => Code::TargetForm,
                CheckRefusal::Path(_) => Code::PathRefused,
                CheckRefusal::FieldRefused { .. } => Code::FieldRefused,
                CheckRefusal::Upgrade => Code::UpgradeRefused,
            },
            Refusal::Route(refusal) => match refusal {
                RouteRefusal::ListenerGone => Code::ListenerGone,
                RouteRefusal::Misdirected => Code::Misdirected,
                RouteRefusal::NoRoute => Code::NoRoute,
                RouteRefusal::Path(_) => Code::PathRefused,
                RouteRefusal::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            },
            Refusal::Authorize(refusal) => match refusal {
                AuthorizeRefusal::NotPermitted => Code::NotPermitted,
                AuthorizeRefusal::ClientUnknown => Code::ClientUnknown,
                AuthorizeRefusal::Standing(refusal) => chain_code(*refusal),
                AuthorizeRefusal::TrustGone => Code::TrustGone,
                AuthorizeRefusal::CertificateMissing => Code::CertificateMissing,
            },
            Refusal::Rate(_) => Code::RateLimited,
            Refusal::Upgrade(refusal) => match refusal {
                UpgradeRefusal::Off => Code::UpgradeRefused,
                UpgradeRefusal::Malformed { .. } => Code::UpgradeMalformed,
                UpgradeRefusal::Version => Code::UpgradeVersion,
                UpgradeRefusal::Origin => Code::OriginRefused,
            },
            Refusal::Message(refusal) => message_code(refusal),
            Refusal::Audit(_) => Code::AuditUnavailable,
            Refusal::Upstream(refusal) => match refusal {
                UpstreamRefusal::Busy => Code::UpstreamBusy,
                UpstreamRefusal::Unreachable { .. } => Code::UpstreamUnreachable,
                UpstreamRefusal::ConnectTimeout => Code::UpstreamConnectTimeout,
                UpstreamRefusal::Untrusted { .. } => Code::UpstreamUntrusted,
                UpstreamRefusal::Timeout => Code::UpstreamTimeout,
                UpstreamRefusal::Broken { .. } => Code::UpstreamBroken,
                UpstreamRefusal::Altered => Code::AnswerDigestMismatch,
                UpstreamRefusal::Signature { .. } => Code::AnswerSignatureInvalid,
                UpstreamRefusal::Content(fault) => content_code(fault),
                UpstreamRefusal::Unwritable { .. } => Code::FieldRefused,
            },
            Refusal::Internal => Code::Internal,
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Refusal::Wire(_)
            | Refusal::HeadTimeout
            | Refusal::Check(_)
            | Refusal::Route(_)
            | Refusal::Authorize(_)
            | Refusal::Rate(_)
            | Refusal::Upgrade(_)
            | Refusal::Message(_)
            | Refusal::Upstream(UpstreamRefusal::Content(_) | UpstreamRefusal::Unwritable { .. }) => {
                Fault::Peer
            }
            Refusal::Upstream(
                UpstreamRefusal::Busy
                | UpstreamRefusal::Unreachable { .. }
                | UpstreamRefusal::ConnectTimeout
                | UpstreamRefusal::Untrusted { .. }
                | UpstreamRefusal::Timeout
                | UpstreamRefusal::Altered
                | UpstreamRefusal::Signature { .. }
                | UpstreamRefusal::Broken { .. },
            ) => Fault::Upstream,
            Refusal::Audit(_) | Refusal::Internal => Fault::Us,
        }
    }

    /// Evidence for the record: our words and numbers, nothing of the message.
    pub fn detail(&self) -> Option<Cow<'static, str>> {
        match self {
            Refusal::Wire(error) => Some(error.code().into()),
            Refusal::Check(CheckRefusal::Path(fault))
            | Refusal::Route(RouteRefusal::Path(fault)) => Some(path_detail(*fault).into()),
            Refusal::Check(CheckRefusal::FieldRefused { field }) => Some((*field).into()),
            Refusal::Upgrade(UpgradeRefusal::Malformed { field }) => Some((*field).into()),
            Refusal::Message(refusal) => message_detail(refusal),
            Refusal::Audit(error) => Some(error.to_string().into()),
            Refusal::Upstream(refusal) => match refusal {
                UpstreamRefusal::Unreachable { error } => Some(error.to_string().into()),
                UpstreamRefusal::Untrusted { reason } => Some(reason.clone().into_string().into()),
                UpstreamRefusal::Broken { how } => Some((*how).into()),
                UpstreamRefusal::Unwritable { what } => Some((*what).into()),
                UpstreamRefusal::Signature { error } => Some(error.to_string().into()),
                UpstreamRefusal::Content(ContentFault::Framing(error)) => Some(error.code().into()),
                UpstreamRefusal::Content(ContentFault::TooLarge { limit }) => {
                    Some(format!("more than {limit} bytes").into())
                }
                UpstreamRefusal::Busy
                | UpstreamRefusal::ConnectTimeout
                | UpstreamRefusal::Timeout
                | UpstreamRefusal::Altered
                | UpstreamRefusal::Content(_) => None,
            },
            Refusal::HeadTimeout
            | Refusal::Check(_)
            | Refusal::Route(_)
            | Refusal::Authorize(_)
            | Refusal::Rate(_)
            | Refusal::Upgrade(_)
            | Refusal::Internal => None,
        }
    }

    /// After how long it is worth to try again (RFC 9110 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::Rate(RateRefusal { wait }) => Some(*wait),
            Refusal::Message(
                MessageRefusal::NoRoom
                | MessageRefusal::Replay(
                    ReplayRefusal::Full | ReplayRefusal::Share | ReplayRefusal::Unavailable { .. },
                ),
            ) => Some(Duration::from_secs(1)),
            Refusal::Audit(_) | Refusal::Upstream(UpstreamRefusal::Busy) => {
                Some(Duration::from_secs(1))
            }
            Refusal::Wire(_)
            | Refusal::HeadTimeout
            | Refusal::Check(_)
            | Refusal::Route(_)
            | Refusal::Authorize(_)
            | Refusal::Upgrade(_)
            | Refusal::Message(_)
            | Refusal::Upstream(_)
            | Refusal::Internal => None,
        }
    }

    /// Fields that tell the client what it would have to send.
    pub fn asks(&self) -> Vec<(HeaderName, HeaderValue)> {
        if let Refusal::Upgrade(UpgradeRefusal::Version) = self {
            return vec![(header::SEC_WEBSOCKET_VERSION, upgrade::VERSION)];
        }
        let Refusal::Message(refusal) = self else {
            return Vec::new();
        };
        let mut fields = Vec::new();
        if let MessageRefusal::Digest(DigestError::Missing | DigestError::NoKnownAlgorithm) =
            refusal
        {
            // RFC 9530 4: sha-256 is wanted.
            let wanted = HeaderValue::from_static("sha-256=10");
            fields.push((WANT_CONTENT_DIGEST, wanted));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 11.6.1 asks for a challenge; what is asked for in detail has a field of its own
            // (RFC 9421 5.1).
            let scheme = HeaderValue::from_static("Signature");
            fields.push((header::WWW_AUTHENTICATE, scheme));
        }
        if let MessageRefusal::Signature { asks, .. } = refusal
            && let Ok(asks) = HeaderValue::from_str(asks)
        {
            fields.push((HeaderName::from_static("accept-signature"), asks));
        }
        fields
    }

    /// The methods that would have been served (RFC 9110 10.2.1).
    pub fn allow(&self) -> Option<&str> {
        if let Refusal::Route(RouteRefusal::MethodNotAllowed { allow }) = self {
            Some(allow)
        } else {
            None
        }
    }

    /// Whether the connection cannot go on: where one message ends and the next begins is unknown,
    /// or what the connection proved is no longer true.
    pub fn ends_connection(&self) -> bool {
        match self {
            Refusal::Wire(_) | Refusal::HeadTimeout | Refusal::Internal => true,
            Refusal::Check(refusal) => {
                // A second reading of the request may have a second request in it.
                matches!(
                    refusal,
                    CheckRefusal::HostMissing
                        | CheckRefusal::HostAmbiguous
                        | CheckRefusal::HostMalformed
                        | CheckRefusal::Upgrade
                )
            }
            Refusal::Authorize(
                AuthorizeRefusal::Standing(_)
                | AuthorizeRefusal::TrustGone
                | AuthorizeRefusal::CertificateMissing,
            ) => true,
            Refusal::Upstream(UpstreamRefusal::Content(_)) => true,
            // What follows may be of the protocol that was not switched to.
            Refusal::Upgrade(_) => true,
            Refusal::Message(MessageRefusal::Content(_)) => true,
            Refusal::Route(RouteRefusal::ListenerGone) => true,
            Refusal::Route(_)
            | Refusal::Authorize(_)
            | Refusal::Rate(_)
            | Refusal::Message(_)
            | Refusal::Audit(_)
            | Refusal::Upstream(_) => false,
        }
    }
}

/// How content that did not come to its end is answered, if an answer can still be given.
fn content_status(fault: &ContentFault) -> StatusCode {
    match fault {
        ContentFault::Framing(error) => status_of(error),
        ContentFault::Stream | ContentFault::Gone => StatusCode::BAD_REQUEST,
        ContentFault::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ContentFault::Stalled | ContentFault::TooSlow => StatusCode::REQUEST_TIMEOUT,
        ContentFault::Altered => StatusCode::BAD_REQUEST,
    }
}

/// The code of content that did not come to its end.
pub fn content_code(fault: &ContentFault) -> Code {
    match fault {
        ContentFault::Framing(_) => Code::BodyMalformed,
        ContentFault::Stream | ContentFault::Gone => Code::ClientGone,
        ContentFault::TooLarge { .. } => Code::BodyTooLarge,
        ContentFault::Stalled | ContentFault::TooSlow => Code::BodyTimeout,
        ContentFault::Altered => Code::DigestMismatch,
    }
}

fn message_status(refusal: &MessageRefusal) -> StatusCode {
    match refusal {
        MessageRefusal::TooLarge { .. } | MessageRefusal::Unbuffered { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        MessageRefusal::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        MessageRefusal::Content(fault) => content_status(fault),
        MessageRefusal::Digest(_) => StatusCode::BAD_REQUEST,
        MessageRefusal::Signature { error, .. } => match signature_code(error) {
            Code::SignatureMalformed => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        },
        MessageRefusal::Replay(refusal) => match refusal {
            ReplayRefusal::Replayed | ReplayRefusal::Unknown | ReplayRefusal::OutOfWindow => {
                StatusCode::UNAUTHORIZED
            }
            ReplayRefusal::Share => StatusCode::TOO_MANY_REQUESTS,
            ReplayRefusal::Full | ReplayRefusal::Unavailable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        },
    }
}

fn message_code(refusal: &MessageRefusal) -> Code {
    match refusal {
        MessageRefusal::TooLarge { .. } | MessageRefusal::Unbuffered { .. } => Code::BodyTooLarge,
        MessageRefusal::NoRoom => Code::BodyNoRoom,
        MessageRefusal::Content(fault) => content_code(fault),
        MessageRefusal::Digest(error) => match error {
            DigestError::Missing => Code::DigestMissing,
            DigestError::TooLarge { .. }
            | DigestError::Malformed { .. }
            | DigestError::NoKnownAlgorithm => Code::DigestMalformed,
            DigestError::Mismatch { .. } => Code::DigestMismatch,
        },
        MessageRefusal::Signature { error, .. } => signature_code(error),
        MessageRefusal::Replay(refusal) => match refusal {
            ReplayRefusal::Replayed => Code::SignatureReplayed,
            ReplayRefusal::Unknown => Code::ReplayUnknown,
            ReplayRefusal::OutOfWindow => Code::SignatureTime,
            ReplayRefusal::Full | ReplayRefusal::Share => Code::ReplayWindowFull,
            ReplayRefusal::Unavailable { .. } => Code::ReplayUnavailable,
        },
    }
}

fn message_detail(refusal: &MessageRefusal) -> Option<Cow<'static, str>> {
    match refusal {
        MessageRefusal::TooLarge { declared, limit } => {
            Some(format!("{declared} bytes declared, {limit} allowed").into())
        }
        MessageRefusal::Unbuffered { limit } => Some(
            format!("more than the {limit} bytes that are checked before they are forwarded")
                .into(),
        ),
        MessageRefusal::Digest(error) => Some(error.to_string().into()),
        MessageRefusal::Signature { error, .. } => Some(signature_detail(error)),
        MessageRefusal::Replay(ReplayRefusal::Unavailable { error }) => {
            Some(error.to_string().into())
        }
        MessageRefusal::Replay(ReplayRefusal::Share) => {
            Some("the client has its share of the window".into())
        }
        MessageRefusal::Content(_) | MessageRefusal::NoRoom | MessageRefusal::Replay(_) => None,
    }
}

/// What the route asks for, and times. A component that a peer named stays out: it is the peer's word.
fn signature_detail(error: &integrity::Error) -> Cow<'static, str> {
    use integrity::Error;
    match error {
        Error::NotCovered { .. }
        | Error::ParameterMissing { .. }
        | Error::AlgorithmNotAccepted { .. }
        | Error::AlgorithmMismatch { .. }
        | Error::NotYetValid { .. }
        | Error::TooOld { .. }
        | Error::Expired { .. }
        | Error::Invalid { .. } => error.to_string().into(),
        other => other.code().into(),
    }
}

/// One code for each thing that whoever signs can do about it.
fn signature_code(error: &integrity::Error) -> Code {
    use integrity::Error;
    match error {
        Error::SignatureMissing => Code::SignatureMissing,
        Error::FieldTooLarge { .. }
        | Error::FieldMalformed { .. }
        | Error::TooManySignatures { .. }
        | Error::Unpaired { .. }
        | Error::NotFound
        | Error::SeveralFound { .. }
        | Error::TooManyComponents { .. }
        | Error::ComponentUnknown { .. }
        | Error::ComponentName { .. }
        | Error::ComponentParameter { .. }
        | Error::ComponentConflict { .. }
        | Error::ComponentTwice { .. }
        | Error::ComponentMisplaced { .. }
        | Error::ParameterType { .. }
        | Error::ParameterTooLong { .. }
        | Error::ExpiresFirst { .. }
        | Error::ComponentAbsent { .. }
        | Error::NoRequest { .. }
        | Error::ValueByte { .. }
        | Error::ValueMalformed { .. }
        | Error::ValueAmbiguous { .. }
        | Error::NotStructured { .. }
        | Error::BaseTooLarge { .. }
        | Error::LabelMalformed
        | Error::LabelTaken => Code::SignatureMalformed,
        Error::NothingCovered
        | Error::NotCovered { .. }
        | Error::ParameterMissing { .. }
        | Error::TagNotAccepted
        | Error::AlgorithmNotAccepted { .. }
        | Error::AlgorithmUnknown
        | Error::AlgorithmMismatch { .. } => Code::SignatureInsufficient,
        Error::NotYetValid { .. } | Error::TooOld { .. } | Error::Expired { .. } => {
            Code::SignatureTime
        }
        Error::KeyUnknown => Code::SignatureKeyUnknown,
        Error::Invalid { .. } | Error::SigningFailed => Code::SignatureInvalid,
    }
}

fn status_of(error: &http1::Error) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

fn wire_code(error: &http1::Error) -> Code {
    use http1::Error;
    match error {
        Error::BareLf { .. }
        | Error::BareCr { .. }
        | Error::EmptyLine
        | Error::HeadIncomplete { .. }
        | Error::RequestLine { .. }
        | Error::Method { .. }
        | Error::TargetByte { .. }
        | Error::Version { .. }
        | Error::StatusLine { .. }
        | Error::StatusCode { .. }
        | Error::ReasonPhrase { .. }
        | Error::ObsoleteFold { .. }
        | Error::FieldWithoutColon { .. }
        | Error::FieldNameEmpty { .. }
        | Error::SpaceBeforeColon { .. }
        | Error::FieldName { .. }
        | Error::FieldValue { .. } => Code::HeadMalformed,
        Error::HeadTooLarge { .. } | Error::TooManyFields { .. } => Code::HeadTooLarge,
        Error::MethodTooLong { .. } => Code::MethodUnsupported,
        Error::TargetTooLong { .. } => Code::TargetTooLong,
        Error::TargetForm { .. } | Error::TargetAuthority { .. } => Code::TargetForm,
        Error::VersionNotSupported { .. } => Code::VersionUnsupported,
        Error::ContentLengthWithTransferEncoding
        | Error::ContentLengthRepeated { .. }
        | Error::ContentLengthList
        | Error::ContentLength
        | Error::ContentLengthOverflow
        | Error::TransferEncodingInHttp10
        | Error::TransferEncodingRepeated { .. }
        | Error::TransferEncoding
        | Error::ChunkedNotLast
        | Error::FramingOnBodilessStatus { .. } => Code::FramingAmbiguous,
        Error::TransferCodingUnsupported => Code::CodingUnsupported,
        Error::Expectation => Code::ExpectationFailed,
        Error::BodyIncomplete { .. }
        | Error::ChunkSize { .. }
        | Error::ChunkSizeTooLong { .. }
        | Error::ChunkExtension { .. }
        | Error::ChunkEnd { .. }
        | Error::TrailersTooLarge { .. }
        | Error::TrailerForbidden { .. } => Code::BodyMalformed,
    }
}

fn path_detail(fault: PathFault) -> &'static str {
    match fault {
        PathFault::DotSegment => "dot segment",
        PathFault::EmptySegment => "empty segment",
        PathFault::EncodedSlash => "encoded slash",
        PathFault::Backslash => "backslash",
        PathFault::Control => "control character",
        PathFault::Percent => "percent sign encoded, or encoding nothing",
        PathFault::NotUtf8 => "not UTF-8",
        PathFault::Character => "a character that paths do not hold here",
    }
}

impl ConnectionRefusal {
    /// The stable code.
    pub fn code(self) -> Code {
        match self {
            ConnectionRefusal::Listener | ConnectionRefusal::Process => Code::ConnectionLimit,
            ConnectionRefusal::Address => Code::AddressLimit,
        }
    }
}

impl HandshakeRefusal {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            HandshakeRefusal::Hello(refusal) => hello_code(refusal),
            HandshakeRefusal::HelloTimeout => Code::HelloTimeout,
            HandshakeRefusal::Timeout => Code::HandshakeTimeout,
            HandshakeRefusal::BrokenOff => Code::HandshakeBrokenOff,
            HandshakeRefusal::CertificateMissing => Code::CertificateMissing,
            HandshakeRefusal::Chain(refusal) => chain_code(*refusal),
            HandshakeRefusal::Unstapled => Code::StapleMissing,
            HandshakeRefusal::PeerAlert { .. } => Code::PeerAlert,
            HandshakeRefusal::Tls { .. } => Code::HandshakeFailed,
        }
    }
}

impl HandshakeRefusal {
    /// Evidence for the record: our words and numbers.
    pub fn detail(&self) -> Option<Cow<'static, str>> {
        match self {
            HandshakeRefusal::Hello(refusal) => Some(refusal.to_string().into()),
            HandshakeRefusal::PeerAlert { alert } => Some(format!("alert {alert}").into()),
            HandshakeRefusal::Tls { reason } => Some(reason.clone().into_string().into()),
            HandshakeRefusal::HelloTimeout
            | HandshakeRefusal::Timeout
            | HandshakeRefusal::BrokenOff
            | HandshakeRefusal::CertificateMissing
            | HandshakeRefusal::Unstapled
            | HandshakeRefusal::Chain(_) => None,
        }
    }
}

/// The code of a chain that is no client.
pub fn chain_code(refusal: ChainRefusal) -> Code {
    match refusal {
        ChainRefusal::Malformed => Code::CertificateMalformed,
        ChainRefusal::Expired => Code::CertificateExpired,
        ChainRefusal::NotYetValid => Code::CertificateNotYetValid,
        ChainRefusal::UnknownIssuer => Code::CertificateUnknownIssuer,
        ChainRefusal::Signature => Code::CertificateSignature,
        ChainRefusal::Purpose => Code::CertificatePurpose,
        ChainRefusal::Invalid => Code::CertificateInvalid,
        ChainRefusal::Revoked => Code::CertificateRevoked,
        ChainRefusal::RevocationUnknown => Code::RevocationUnknown,
        ChainRefusal::RevocationStale => Code::RevocationStale,
        ChainRefusal::StatusUnavailable => Code::StatusUnavailable,
        ChainRefusal::StatusUnknown => Code::StatusUnknown,
        ChainRefusal::StatusInvalid => Code::StatusInvalid,
        ChainRefusal::Identity(IdentityRefusal::Missing) => Code::IdentityMissing,
        ChainRefusal::Identity(IdentityRefusal::Ambiguous { .. }) => Code::IdentityAmbiguous,
        ChainRefusal::Identity(IdentityRefusal::Malformed) => Code::IdentityMalformed,
        ChainRefusal::RootGone => Code::TrustGone,
    }
}

/// The code of a hello that gets no further.
fn hello_code(refusal: &HelloRefusal) -> Code {
    match refusal {
        HelloRefusal::Garbage { .. } => Code::NotTls,
        HelloRefusal::PlainHttp => Code::PlainHttp,
        HelloRefusal::Ssl2 { .. } => Code::Ssl2,
        HelloRefusal::RecordVersion { .. } | HelloRefusal::ProtocolVersion { .. } => {
            Code::ProtocolVersion
        }
        HelloRefusal::UnexpectedRecord { .. }
        | HelloRefusal::RecordOverflow { .. }
        | HelloRefusal::EmptyRecord { .. }
        | HelloRefusal::UnexpectedMessage { .. }
        | HelloRefusal::NotAligned { .. }
        | HelloRefusal::Malformed { .. }
        | HelloRefusal::Illegal { .. }
        | HelloRefusal::Renegotiation { .. }
        | HelloRefusal::MissingExtension { .. }
        | HelloRefusal::Compression
        | HelloRefusal::KeyShare { .. }
        | HelloRefusal::PointFormats => Code::HelloMalformed,
        HelloRefusal::TooManyRecords { .. } | HelloRefusal::TooLarge { .. } => Code::HelloTooLarge,
        HelloRefusal::Fallback { .. } => Code::InappropriateFallback,
        HelloRefusal::NoSharedSuite => Code::NoSharedSuite,
        HelloRefusal::NoSharedGroup => Code::NoSharedGroup,
        HelloRefusal::NoSharedSignature => Code::NoSharedSignature,
        HelloRefusal::NoExtendedMasterSecret => Code::NoExtendedMasterSecret,
        HelloRefusal::NoSharedProtocol => Code::NoSharedProtocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_room_now_the_client_is_told_when_to_come_again() {
        let refusals = [
            (MessageRefusal::NoRoom, Code::BodyNoRoom, 503),
            (
                MessageRefusal::Replay(ReplayRefusal::Full),
                Code::ReplayWindowFull,
                503,
            ),
            (
                MessageRefusal::Replay(ReplayRefusal::Share),
                Code::ReplayWindowFull,
                429,
            ),
        ];
        for (refusal, code, status) in refusals {
            let refusal = Refusal::Message(refusal);
            assert_eq!((refusal.code(), refusal.status().as_u16()), (code, status));
            assert_eq!(refusal.retry_after(), Some(Duration::from_secs(1)));
            assert!(!refusal.ends_connection());
        }
    }
}
