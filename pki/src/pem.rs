//! PEM (RFC 7468) around certificates and CRLs: written strictly, read as leniently as other
//! people's tools write. Secret keys are `key`'s business.

use pem_rfc7468::LineEnding;
use x509_parser::pem::Pem;

/// Longest certificate file that is read, in octets.
pub const MAX_CERTIFICATE_FILE_OCTETS: usize = 64 * 1024;

/// A certificate in PEM.
pub fn certificate(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

/// A CRL in PEM.
pub fn crl(der: &[u8]) -> String {
    encode("X509 CRL", der)
}

/// The first certificate of a file in PEM or DER: of a chain, the leaf. `None` if there is none.
pub fn first_certificate(bytes: &[u8]) -> Option<Vec<u8>> {
    first(bytes, "CERTIFICATE")
}

/// The first CRL of a file in PEM or DER. `None` if there is none.
pub fn first_crl(bytes: &[u8]) -> Option<Vec<u8>> {
    first(bytes, "X509 CRL")
}

/// The certificates of a file in PEM, in its order, or the one of a file in DER. At most 100 are
/// read.
pub fn certificates(bytes: &[u8]) -> Vec<Vec<u8>> {
    const MOST: usize = 100;
    const DER_SEQUENCE: u8 = 0x30;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return vec![bytes.to_vec()];
    }
    Pem::iter_from_buffer(bytes)
        .map_while(Result::ok)
        .filter(|block| block.label == "CERTIFICATE")
        .take(MOST)
        .map(|block| block.contents)
        .collect()
}

fn first(bytes: &[u8], label: &str) -> Option<Vec<u8>> {
    const DER_SEQUENCE: u8 = 0x30;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Some(bytes.to_vec());
    }
    Pem::iter_from_buffer(bytes)
        .map_while(Result::ok)
        .find(|block| block.label == label)
        .map(|block| block.contents)
}

fn encode(label: &'static str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(label, LineEnding::LF, der)
        .expect("a constant label and octets that fit in memory always encode")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_of_a_chain_is_the_leaf() {
        let chain = format!("{}{}", certificate(b"0leaf"), certificate(b"0issuer"));
        assert_eq!(first_certificate(chain.as_bytes()).unwrap(), b"0leaf");
        assert_eq!(
            certificates(chain.as_bytes()),
            [b"0leaf".to_vec(), b"0issuer".to_vec()]
        );
        assert_eq!(first_certificate(b"0leaf").unwrap(), b"0leaf");
        assert_eq!(first_certificate(b"garbage"), None);
        assert_eq!(first_certificate(crl(b"0").as_bytes()), None);
    }
}
