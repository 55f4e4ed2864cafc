//! `fleet DIR DEVICES REVOKED`: an authority with so many devices and so many serials on its revocation list,
//! in files as `pki` writes them, for `benches/growth`. `device` is the first of `devices`. `pki` itself issues one certificate a call, durably,
//! which is not what is measured there. All devices share one key: to the gateway their certificates differ
//! all the same.
//!
//! What this is not: an authority for anything but a bench. Its keys lie in the clear.

#![allow(
    clippy::print_stderr,
    reason = "a program of a bench says what is wrong"
)]

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// Far from the serial numbers of devices.
const FIRST_REVOKED: u64 = 1 << 32;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match arguments.as_slice() {
        [directory, devices, revoked] => devices
            .parse()
            .and_then(|devices: u64| Ok((PathBuf::from(directory), devices, revoked.parse()?)))
            .ok(),
        _ => None,
    };
    let Some((directory, devices, revoked)) = asked else {
        eprintln!("error: this takes a folder and two numbers\nhint: fleet DIR DEVICES REVOKED");
        return 64.into();
    };
    match make(&directory, devices, revoked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn make(directory: &Path, devices: u64, revoked: u64) -> Result<(), Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bench");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);

    fs::create_dir_all(directory.join("pki/crl"))?;
    fs::write(directory.join("pki/trust.pem"), root.pem())?;
    let list = list(revoked).signed_by(&issuer)?;
    fs::write(directory.join("pki/crl/bench.crl"), list.pem()?)?;

    let key = KeyPair::generate()?;
    let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let server = server.signed_by(&key, &issuer)?;
    write(&directory.join("server"), &server.pem(), &key)?;

    let key = KeyPair::generate()?;
    fs::create_dir_all(directory.join("device"))?;
    fs::write(directory.join("device/trust.pem"), root.pem())?;
    for number in 1..=devices {
        let mut params = CertificateParams::default();
        let name = format!("urn:example:pump-{number}").try_into()?;
        params.subject_alt_names = vec![SanType::URI(name)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(number));
        let device = params.signed_by(&key, &issuer)?;
        let folder = directory.join("devices").join(number.to_string());
        write(&folder, &device.pem(), &key)?;
        if number == 1 {
            write(&directory.join("device"), &device.pem(), &key)?;
        }
    }
    Ok(())
}

fn write(folder: &Path, chain: &str, key: &KeyPair) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("chain.pem"), chain)?;
    let mut file = OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600);
    let mut file = file.open(folder.join("key.pem"))?;
    file.write_all(key.serialize_pem().as_bytes())
}

/// Serial numbers as authorities draw them: 16 bytes, nothing in their order.
fn list(revoked: u64) -> CertificateRevocationListParams {
    let serial = |number: u64| {
        let mixed = (FIRST_REVOKED + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = [0x40; 16];
        bytes[1..9].copy_from_slice(&mixed.to_be_bytes());
        RevokedCertParams {
            serial_number: SerialNumber::from_slice(&bytes),
            revocation_time: date_time_ymd(2025, 12, 1),
            reason_code: None,
            invalidity_date: None,
        }
    };
    CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2040, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: (0..revoked).map(serial).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}
