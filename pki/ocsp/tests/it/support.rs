//! An issuer, a device, a responder, and openssl.

use std::path::PathBuf;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use ocsp::{Answer, CertId, HashAlgorithm, Issuer, KeyHash, Status, assemble};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SerialNumber, SigningKey as _,
};
use rustls_pki_types::{SignatureVerificationAlgorithm, alg_id};
use tempfile::TempDir;

/// What the tests trust: less than the library could.
pub(crate) static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA256,
];

/// The device's serial. Its first bit is set, so DER writes an octet more.
pub(crate) const SERIAL: &[u8] = &[0xf0, 1, 2, 3, 4, 5, 6, 7];

/// A certificate and its key.
pub(crate) struct Holder {
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) der: Vec<u8>,
    pem: String,
}

impl Holder {
    pub(crate) fn key_hash(&self) -> KeyHash {
        KeyHash::of(self.key.der_bytes())
    }

    pub(crate) fn issuer(&self) -> Issuer<'_> {
        Issuer::of_certificate(&self.der).unwrap()
    }

    pub(crate) fn issue(&self, params: CertificateParams) -> Holder {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Holder {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            params,
            key,
        }
    }

    /// What it signs of these octets, with ECDSA and SHA-256.
    pub(crate) fn respond(&self, tbs: &[u8], certificates: &[&[u8]]) -> Vec<u8> {
        let signature = self.key.sign(tbs).unwrap();
        assemble(tbs, alg_id::ECDSA_SHA256, &signature, certificates)
    }
}

pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) issuer: Holder,
    pub(crate) responder: Holder,
    pub(crate) device: Holder,
}

/// A certificate of this name, good for years.
pub(crate) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

/// What a responder's certificate says.
pub(crate) fn of_a_responder() -> CertificateParams {
    let mut params = named("Responder");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    params.custom_extensions = vec![no_check()];
    params
}

pub(crate) fn no_check() -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 5], vec![5, 0])
}

pub(crate) fn new_issuer(name: &str) -> Holder {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Holder {
        der: certificate.der().to_vec(),
        pem: certificate.pem(),
        params,
        key,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let issuer = new_issuer("Issuer");
        let responder = issuer.issue(of_a_responder());
        let mut params = named("Device");
        params.serial_number = Some(SerialNumber::from_slice(SERIAL));
        let device = issuer.issue(params);
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer,
            responder,
            device,
        };
        for (name, holder) in [
            ("issuer", &world.issuer),
            ("responder", &world.responder),
            ("device", &world.device),
        ] {
            world.write(&format!("{name}.pem"), &holder.pem);
            world.write(&format!("{name}.key.pem"), holder.key.serialize_pem());
        }
        world
    }

    pub(crate) fn id(&self, hash: HashAlgorithm) -> CertId {
        CertId::of(hash, self.issuer.issuer(), SERIAL).unwrap()
    }

    /// What the responder signs of the device.
    pub(crate) fn tbs(&self, status: Status) -> Vec<u8> {
        tbs(&self.id(HashAlgorithm::Sha1), status, &self.responder)
    }

    /// The whole answer, signed by the responder.
    pub(crate) fn answer(&self, status: Status) -> Vec<u8> {
        self.responder
            .respond(&self.tbs(status), &[&self.responder.der])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs `openssl ocsp` with words separated by spaces, which must succeed. What it says.
    #[track_caller]
    pub(crate) fn openssl(&self, words: &str) -> String {
        let (succeeded, said) = self.try_openssl(words);
        assert!(succeeded, "{words}: {said}");
        said
    }

    /// The same, and whether it succeeded. What it says on both outputs.
    pub(crate) fn try_openssl(&self, words: &str) -> (bool, String) {
        let output = Command::new("openssl")
            .current_dir(self.directory.path())
            .arg("ocsp")
            .args(words.split_whitespace())
            .output()
            .expect("openssl must be installed");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }
}

/// What is signed of a certificate, from an hour ago until in an hour.
pub(crate) fn tbs(certificate: &CertId, status: Status, responder: &Holder) -> Vec<u8> {
    let now = Timestamp::now();
    let answer = Answer {
        certificate,
        status,
        produced_at: now,
        this_update: now - SignedDuration::from_hours(1),
        next_update: now + SignedDuration::from_hours(1),
    };
    answer.tbs(responder.key_hash())
}
