//! What is answered (OCSPResponse, RFC 6960 section 4.2): read as it stands, and written in two steps,
//! with the signature between them. Whether it is to be believed is `verify`'s to say.

use jiff::Timestamp;
use rustls_pki_types::AlgorithmIdentifier;

use crate::cert_id::{CertId, KeyHash};
use crate::der::{self, Reader};
use crate::error::Malformed;
use crate::request::Extensions;

/// Longest response that is read, in octets. One with a certificate of its responder takes 1000; some
/// responders send a whole chain.
pub const MAX_RESPONSE_OCTETS: usize = 32 * 1024;
/// Most certificates in a response: each is looked at.
const MAX_RESPONDER_CERTIFICATES: usize = 8;

/// The status of a certificate (CertStatus, RFC 6960 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why, if that is said.
        reason: Option<ReasonCode>,
    },
    /// The responder does not know it.
    Unknown,
}

/// Why a certificate was revoked (CRLReason, RFC 5280 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonCode(u8);

impl ReasonCode {
    /// The reason with this number: 0 to 10, of which 7 is not used.
    pub fn new(code: u8) -> Option<Self> {
        (code <= 10 && code != 7).then_some(Self(code))
    }

    /// Its number.
    pub fn code(self) -> u8 {
        self.0
    }
}

/// What is said of one certificate.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Which certificate, named as the client named it.
    pub certificate: &'a CertId,
    /// Its status.
    pub status: Status,
    /// When this is signed.
    pub produced_at: Timestamp,
    /// Since when the status is known to be right.
    pub this_update: Timestamp,
    /// Until when it is not signed anew at the latest.
    pub next_update: Timestamp,
}

impl Answer<'_> {
    /// What is to be signed (ResponseData), by the responder with this key. Times lose their fraction
    /// of a second.
    pub fn tbs(&self, responder: KeyHash) -> Vec<u8> {
        let status = match self.status {
            Status::Good => der::value(der::context_primitive(0), &[]),
            Status::Revoked { at, reason } => {
                let reason = reason.map_or_else(Vec::new, |reason| {
                    let code = der::value(der::ENUMERATED, &[&[reason.0]]);
                    der::value(der::context(0), &[&code])
                });
                der::value(der::context(1), &[&der::time(at), &reason])
            }
            Status::Unknown => der::value(der::context_primitive(2), &[]),
        };
        let next_update = der::value(der::context(0), &[&der::time(self.next_update)]);
        let single = der::value(
            der::SEQUENCE,
            &[
                &self.certificate.encode(),
                &status,
                &der::time(self.this_update),
                &next_update,
            ],
        );
        let by_key = der::value(
            der::context(2),
            &[&der::value(der::OCTET_STRING, &[&responder.0])],
        );
        der::value(
            der::SEQUENCE,
            &[
                &by_key,
                &der::time(self.produced_at),
                &der::value(der::SEQUENCE, &[&single]),
            ],
        )
    }
}

/// The response of what was signed (`tbs`), its signature, and the certificates that a client needs
/// to verify it: none if the issuer itself signed, else the responder's.
pub fn assemble(
    tbs: &[u8],
    algorithm: AlgorithmIdentifier,
    signature: &[u8],
    certificates: &[&[u8]],
) -> Vec<u8> {
    let certificates = match certificates {
        [] => Vec::new(),
        some => der::value(der::context(0), &[&der::value(der::SEQUENCE, some)]),
    };
    let basic = der::value(
        der::SEQUENCE,
        &[
            tbs,
            &der::value(der::SEQUENCE, &[algorithm.as_ref()]),
            &der::value(der::BIT_STRING, &[&[0], signature]),
            &certificates,
        ],
    );
    let bytes = der::value(
        der::SEQUENCE,
        &[
            &der::value(der::OID, &[BASIC]),
            &der::value(der::OCTET_STRING, &[&basic]),
        ],
    );
    der::value(
        der::SEQUENCE,
        &[
            &der::value(der::ENUMERATED, &[&[SUCCESSFUL]]),
            &der::value(der::context(0), &[&bytes]),
        ],
    )
}

/// id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

const SUCCESSFUL: u8 = 0;

/// What a responder says instead of an answer, unsigned (OCSPResponseStatus, RFC 6960 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStatus {
    /// The request is not one.
    MalformedRequest,
    /// Something is wrong with the responder.
    InternalError,
    /// Not now.
    TryLater,
    /// The request must be signed.
    SigRequired,
    /// The responder has no answer to this: it does not know the certificate (RFC 5019 section 2.2.3).
    /// Unsigned, so that nobody makes it sign by asking.
    Unauthorized,
}

impl ErrorStatus {
    const ALL: [Self; 5] = [
        Self::MalformedRequest,
        Self::InternalError,
        Self::TryLater,
        Self::SigRequired,
        Self::Unauthorized,
    ];

    fn code(self) -> u8 {
        match self {
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::SigRequired => 5,
            Self::Unauthorized => 6,
        }
    }

    /// As the standard writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformedRequest",
            Self::InternalError => "internalError",
            Self::TryLater => "tryLater",
            Self::SigRequired => "sigRequired",
            Self::Unauthorized => "unauthorized",
        }
    }

    /// The whole response, DER.
    pub fn encode(self) -> [u8; 5] {
        [der::SEQUENCE, 3, der::ENUMERATED, 1, self.code()]
    }
}

/// A response as it reads. Nothing of it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<'a> {
    /// A signed one.
    Basic(Basic<'a>),
    /// An excuse.
    Error(ErrorStatus),
}

/// A signed response as it reads (BasicOCSPResponse, RFC 6960 section 4.2.1). Nothing of it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic<'a> {
    /// What is signed.
    pub tbs: &'a [u8],
    /// Who says to have signed it.
    pub responder: Responder<'a>,
    /// When.
    pub produced_at: Timestamp,
    /// What is said, certificate by certificate.
    pub singles: Vec<Single>,
    /// The inside of the AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// The certificates that came along, DER.
    pub certificates: Vec<&'a [u8]>,
    /// Whether there is an extension anywhere, none of them critical.
    pub has_extensions: bool,
}

/// Who says to have signed a response (ResponderID).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responder<'a> {
    /// Whoever has this subject, DER.
    Name(&'a [u8]),
    /// Whoever has this key.
    Key(KeyHash),
}

/// What is said of one certificate (SingleResponse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Single {
    /// Which.
    pub certificate: CertId,
    /// Its status.
    pub status: Status,
    /// Since when that is known to be right.
    pub this_update: Timestamp,
    /// Until when it holds.
    pub next_update: Option<Timestamp>,
}

impl<'a> Response<'a> {
    /// Reads the DER of a response. Extensions are passed over; a critical one is refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_RESPONSE_OCTETS {
            return Err(Malformed { what: "length" });
        }
        let mut outer = der::whole(bytes, der::SEQUENCE, "OCSPResponse")?;
        let status = outer.content(der::ENUMERATED)?;
        if status != [SUCCESSFUL] {
            outer.end()?;
            let known = ErrorStatus::ALL
                .into_iter()
                .find(|known| status == [known.code()]);
            return known.map(Self::Error).ok_or(outer.malformed());
        }
        let mut bytes = outer.inside(der::context(0), "responseBytes")?;
        outer.end()?;
        let mut inside = bytes.inside(der::SEQUENCE, "ResponseBytes")?;
        bytes.end()?;
        if inside.content(der::OID)? != BASIC {
            return Err(Malformed {
                what: "response type",
            });
        }
        let basic = inside.content(der::OCTET_STRING)?;
        inside.end()?;
        Basic::read(basic).map(Self::Basic)
    }
}

impl<'a> Basic<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut basic = der::whole(bytes, der::SEQUENCE, "BasicOCSPResponse")?;
        let tbs = basic.value(der::SEQUENCE)?;
        let algorithm = basic.content(der::SEQUENCE)?;
        let Some((0, signature)) = basic.content(der::BIT_STRING)?.split_first() else {
            return Err(Malformed { what: "signature" });
        };
        let mut certificates = Vec::new();
        if let Some(mut tagged) = basic.optional(der::context(0), "certs")? {
            let mut list = tagged.inside(der::SEQUENCE, "certs")?;
            tagged.end()?;
            while !list.is_empty() {
                if certificates.len() == MAX_RESPONDER_CERTIFICATES {
                    return Err(list.malformed());
                }
                certificates.push(list.value(der::SEQUENCE)?.whole);
            }
        }
        basic.end()?;

        let mut data = Reader::new(tbs.content, "ResponseData");
        let responder = read_responder(&mut data)?;
        let produced_at = data.time()?;
        let mut list = data.inside(der::SEQUENCE, "responses")?;
        let mut singles = Vec::new();
        let mut has_extensions = false;
        while !list.is_empty() {
            let single = list.inside(der::SEQUENCE, "SingleResponse")?;
            let (single, is_extended) = Single::read(single)?;
            singles.push(single);
            has_extensions |= is_extended;
        }
        has_extensions |= pass_over(data.optional(der::context(1), "responseExtensions")?)?;
        data.end()?;
        Ok(Self {
            tbs: tbs.whole,
            responder,
            produced_at,
            singles,
            algorithm,
            signature,
            certificates,
            has_extensions,
        })
    }
}

impl Single {
    /// And whether it has extensions.
    fn read(mut single: Reader<'_>) -> Result<(Self, bool), Malformed> {
        let certificate = CertId::read(&mut single)?;
        let status = read_status(&mut single)?;
        let this_update = single.time()?;
        let next_update = match single.optional(der::context(0), "nextUpdate")? {
            None => None,
            Some(mut tagged) => {
                let time = tagged.time()?;
                tagged.end()?;
                Some(time)
            }
        };
        let is_extended = pass_over(single.optional(der::context(1), "singleExtensions")?)?;
        single.end()?;
        let single = Self {
            certificate,
            status,
            this_update,
            next_update,
        };
        Ok((single, is_extended))
    }
}

fn read_responder<'a>(data: &mut Reader<'a>) -> Result<Responder<'a>, Malformed> {
    if let Some(mut tagged) = data.optional(der::context(1), "responder's name")? {
        let name = tagged.value(der::SEQUENCE)?.whole;
        tagged.end()?;
        return Ok(Responder::Name(name));
    }
    let mut tagged = data.inside(der::context(2), "responder's key")?;
    let hash = tagged.content(der::OCTET_STRING)?;
    tagged.end()?;
    let hash = hash.try_into().map_err(|_| tagged.malformed())?;
    Ok(Responder::Key(KeyHash(hash)))
}

fn read_status(single: &mut Reader<'_>) -> Result<Status, Malformed> {
    const GOOD: u8 = der::context_primitive(0);
    const REVOKED: u8 = der::context(1);
    const UNKNOWN: u8 = der::context_primitive(2);
    let status = single.any()?;
    match (status.tag, status.content) {
        (GOOD, []) => Ok(Status::Good),
        (UNKNOWN, []) => Ok(Status::Unknown),
        (REVOKED, info) => {
            let mut info = Reader::new(info, "RevokedInfo");
            let at = info.time()?;
            let reason = match info.optional(der::context(0), "reason")? {
                None => None,
                Some(mut tagged) => {
                    let code = tagged.content(der::ENUMERATED)?;
                    tagged.end()?;
                    let reason = match code {
                        &[code] => ReasonCode::new(code),
                        _ => None,
                    };
                    Some(reason.ok_or(tagged.malformed())?)
                }
            };
            info.end()?;
            Ok(Status::Revoked { at, reason })
        }
        _ => Err(Malformed { what: "CertStatus" }),
    }
}

/// Whether there are extensions. A critical one is refused.
fn pass_over(tagged: Option<Reader<'_>>) -> Result<bool, Malformed> {
    let Some(tagged) = tagged else {
        return Ok(false);
    };
    for extension in Extensions::new(tagged)? {
        extension?.refuse_if_critical()?;
    }
    Ok(true)
}
