//! What is asked (OCSPRequest, RFC 6960 section 4.1), as the body of a POST or in the path of a GET
//! (appendix A.1).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::cert_id::CertId;
use crate::der::{self, Reader};
use crate::error::Malformed;

/// Longest request that is read, in octets. One certificate by SHA-256 with a nonce takes 180.
pub const MAX_REQUEST_OCTETS: usize = 4096;
/// Longest path that is read, in octets: a request of the longest, in base64, each octet of it
/// written as three.
pub const MAX_PATH_OCTETS: usize = 3 * 4 * MAX_REQUEST_OCTETS.div_ceil(3);
/// Most certificates that are asked for at once. RFC 5019 section 2.1.1 has one.
pub const MAX_CERTIFICATES: usize = 10;
/// Longest nonce, in octets (RFC 9654 section 2.1).
const MAX_NONCE_OCTETS: usize = 128;

/// What is asked: the status of these certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which, at least one and at most [`MAX_CERTIFICATES`].
    certificates: Vec<CertId>,
    /// What the client wants to see again (RFC 9654). Responses that are signed ahead cannot say it.
    nonce: Option<Vec<u8>>,
}

impl Request {
    /// Asks for one certificate, without a nonce, as RFC 5019 section 2.1.1 has it.
    pub fn new(certificate: CertId) -> Self {
        Self {
            certificates: vec![certificate],
            nonce: None,
        }
    }

    /// Adds the nonce of 1 to 128 octets (RFC 9654).
    pub fn with_nonce(mut self, nonce: Vec<u8>) -> Result<Self, Malformed> {
        if nonce.is_empty() || nonce.len() > MAX_NONCE_OCTETS {
            return Err(Malformed { what: "nonce" });
        }
        self.nonce = Some(nonce);
        Ok(self)
    }

    /// Reads the DER of a request.
    ///
    /// A signature and the name of the requestor are passed over (RFC 5019 section 2.1.2), as are
    /// extensions that are not critical. A critical one that is not the nonce is refused.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MAX_REQUEST_OCTETS {
            return Err(Malformed { what: "length" });
        }
        let mut outer = der::whole(der, der::SEQUENCE, "OCSPRequest")?;
        let mut tbs = outer.inside(der::SEQUENCE, "TBSRequest")?;
        if let Some(mut signature) = outer.optional(der::context(0), "signature")? {
            signature.value(der::SEQUENCE)?;
            signature.end()?;
        }
        outer.end()?;
        // The version is absent when it is the only one there is: DER leaves defaults out.
        if let Some(mut requestor) = tbs.optional(der::context(1), "requestorName")? {
            requestor.any()?;
            requestor.end()?;
        }
        let mut list = tbs.inside(der::SEQUENCE, "requestList")?;
        let mut certificates = Vec::new();
        while !list.is_empty() {
            if certificates.len() == MAX_CERTIFICATES {
                return Err(Malformed {
                    what: "number of certificates",
                });
            }
            let mut single = list.inside(der::SEQUENCE, "Request")?;
            certificates.push(CertId::read(&mut single)?);
            if let Some(extensions) = single.optional(der::context(0), "extensions of one")? {
                for extension in Extensions::new(extensions)? {
                    extension?.refuse_if_critical()?;
                }
            }
            single.end()?;
        }
        let nonce = match tbs.optional(der::context(2), "requestExtensions")? {
            Some(extensions) => read_nonce(extensions)?,
            None => None,
        };
        tbs.end()?;
        if certificates.is_empty() {
            return Err(list.malformed());
        }
        Ok(Self {
            certificates,
            nonce,
        })
    }

    /// Writes it as DER.
    pub fn encode(&self) -> Vec<u8> {
        let certificates: Vec<u8> = self
            .certificates
            .iter()
            .flat_map(|certificate| der::value(der::SEQUENCE, &[&certificate.encode()]))
            .collect();
        let list = der::value(der::SEQUENCE, &[&certificates]);
        let extensions = self.nonce.as_ref().map_or_else(Vec::new, |nonce| {
            let nonce = der::value(der::OCTET_STRING, &[nonce]);
            let extension = der::value(
                der::SEQUENCE,
                &[
                    &der::value(der::OID, &[NONCE]),
                    &der::value(der::OCTET_STRING, &[&nonce]),
                ],
            );
            der::value(
                der::context(2),
                &[&der::value(der::SEQUENCE, &[&extension])],
            )
        });
        let tbs = der::value(der::SEQUENCE, &[&list, &extensions]);
        der::value(der::SEQUENCE, &[&tbs])
    }

    /// Reads what follows the responder's URL and a slash in a GET: base64, its `+`, `/` and `=`
    /// written with `%` or as they are, which many clients do.
    pub fn from_path(path: &str) -> Result<Self, Malformed> {
        let malformed = Malformed { what: "path" };
        if path.len() > MAX_PATH_OCTETS {
            return Err(malformed);
        }
        let base64 = unescape(path).ok_or(malformed)?;
        let der = BASE64.decode(base64).map_err(|_| malformed)?;
        Self::parse(&der)
    }

    /// What follows the responder's URL and a slash in a GET.
    pub fn to_path(&self) -> String {
        BASE64
            .encode(self.encode())
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D")
    }

    /// Which certificates, at least one.
    pub fn certificates(&self) -> &[CertId] {
        &self.certificates
    }

    /// What the client wants to see again.
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }
}

/// Standard base64, with its padding or without it: some clients drop it from a path.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// RFC 3986 section 2.1.
fn unescape(path: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet == b'%' {
            let (digits, after) = rest.split_first_chunk::<2>()?;
            let digit = |octet: u8| char::from(octet).to_digit(16);
            let octet = 16 * digit(digits[0])? + digit(digits[1])?;
            octets.push(u8::try_from(octet).ok()?);
            rest = after;
        } else {
            octets.push(octet);
        }
    }
    Some(octets)
}

/// id-pkix-ocsp-nonce (RFC 9654).
const NONCE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];

fn read_nonce(extensions: Reader<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    let malformed = Malformed { what: "nonce" };
    let mut nonce = None;
    for extension in Extensions::new(extensions)? {
        let extension = extension?;
        if extension.oid != NONCE {
            extension.refuse_if_critical()?;
            continue;
        }
        let mut value = Reader::new(extension.value, "nonce");
        let octets = value.content(der::OCTET_STRING)?;
        value.end()?;
        if nonce.is_some() || octets.is_empty() || octets.len() > MAX_NONCE_OCTETS {
            return Err(malformed);
        }
        nonce = Some(octets.to_vec());
    }
    Ok(nonce)
}

/// One extension (RFC 5280 section 4.1).
pub(crate) struct Extension<'a> {
    pub(crate) oid: &'a [u8],
    pub(crate) is_critical: bool,
    pub(crate) value: &'a [u8],
}

impl Extension<'_> {
    pub(crate) fn refuse_if_critical(&self) -> Result<(), Malformed> {
        if self.is_critical {
            Err(Malformed {
                what: "critical extension",
            })
        } else {
            Ok(())
        }
    }
}

/// The extensions inside an explicit tag, at least one.
pub(crate) struct Extensions<'a> {
    list: Reader<'a>,
}

impl<'a> Extensions<'a> {
    pub(crate) fn new(mut tagged: Reader<'a>) -> Result<Self, Malformed> {
        let list = tagged.inside(der::SEQUENCE, "extensions")?;
        tagged.end()?;
        if list.is_empty() {
            return Err(list.malformed());
        }
        Ok(Self { list })
    }

    fn read(&mut self) -> Result<Extension<'a>, Malformed> {
        let mut extension = self.list.inside(der::SEQUENCE, "extension")?;
        let oid = extension.content(der::OID)?;
        let is_critical = match extension.optional(der::BOOLEAN, "critical")? {
            None => false,
            // DER leaves FALSE, the default, out.
            Some(flag) if flag.is(&[0xff]) => true,
            Some(flag) => return Err(flag.malformed()),
        };
        let value = extension.content(der::OCTET_STRING)?;
        extension.end()?;
        Ok(Extension {
            oid,
            is_critical,
            value,
        })
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_empty() {
            return None;
        }
        let extension = self.read();
        if extension.is_err() {
            // What follows a broken one is not looked at.
            self.list = Reader::new(&[], "extensions");
        }
        Some(extension)
    }
}
