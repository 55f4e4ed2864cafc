//! What is printed on success: for people, and as one JSON document for programs.
//!
//! JSON names are stable. Times are RFC 3339 in UTC, serials and fingerprints lower-case
//! hexadecimal; what is not known yet is `null`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pki::authority::AuthorityCertificate;
use pki::store::{Page, Status};
use pki::{Ca, IssuedCertificate, PublishedCrl, Record, Revoked};
use serde::Serialize;
use serde_json::{Value, json};
use terminal::counted;

pub(super) fn init(ca: &Ca, crls: &[PublishedCrl], json: bool) -> String {
    let (trust, crl_directory) = (ca.trust_file(), ca.crl_directory());
    if json {
        let authority = |certificate: &AuthorityCertificate| {
            json!({
                "subject": certificate.common_name(),
                "serial": certificate.serial().to_string(),
                "key_id": certificate.key_id().to_string(),
                "not_before": certificate.validity().not_before.to_string(),
                "not_after": certificate.validity().not_after.to_string(),
                "sha256": hexadecimal(&certificate.sha256()),
            })
        };
        return document(&json!({
            "name": ca.name(),
            "root": authority(ca.root()),
            "issuing": ca.issuing().ok().map(authority),
            "files": { "trust": path(&trust), "crl": path(&crl_directory) },
            "crls": crls.iter().map(crl_json).collect::<Vec<_>>(),
        }));
    }
    let mut text = String::new();
    let issuing = ca.issuing().ok().map(|issuing| ("issuing", issuing));
    for (role, certificate) in [("root", ca.root())].into_iter().chain(issuing) {
        let _ = writeln!(
            text,
            "{role:<9} {}, until {}",
            certificate.common_name(),
            certificate.validity().not_after
        );
    }
    if issuing.is_none() {
        // What a person gives where the answer is imported.
        let _ = writeln!(text, "sha256    {}", hexadecimal(&ca.root().sha256()));
    }
    let _ = writeln!(text, "trust     {}", trust.display());
    let _ = writeln!(text, "crl       {}", crl_directory.display());
    text
}

pub(super) fn issued(issued: &IssuedCertificate, now: Timestamp, json: bool) -> String {
    let files = &issued.files;
    if json {
        let mut value = to_value(&CertificateJson::new(&issued.record, now));
        value["files"] = json!({
            "certificate": path(&files.certificate),
            "chain": path(&files.chain),
            "key": files.key.as_deref().map(path),
            "trust": path(&files.trust),
        });
        return document(&value);
    }
    let mut text = details(&issued.record, now);
    let _ = writeln!(text, "wrote        {}", files.certificate.display());
    let _ = writeln!(text, "             {}", files.chain.display());
    if let Some(key) = &files.key {
        let _ = writeln!(text, "             {} (secret)", key.display());
    }
    let _ = writeln!(text, "             {}", files.trust.display());
    text
}

pub(super) fn revoked(revoked: &Revoked, now: Timestamp, json: bool) -> String {
    if json {
        return document(&json!({
            "revoked": certificates(&revoked.records, now),
            "count": revoked.records.len(),
            "crls": revoked.crls.iter().map(crl_json).collect::<Vec<_>>(),
            "others": certificates(&revoked.others, now),
            "elsewhere": revoked.elsewhere.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }));
    }
    let mut text = String::new();
    for record in &revoked.records {
        let _ = writeln!(text, "revoked   {} {}", record.serial, record.label);
    }
    let count = counted(revoked.records.len(), "certificate");
    let _ = writeln!(text, "{count} revoked");
    text += &crl_lines(&revoked.crls);
    for serial in &revoked.elsewhere {
        let _ = writeln!(
            text,
            "elsewhere {serial} is on no list that is signed here: bring the root's (pki ceremony import)"
        );
    }
    for record in &revoked.others {
        let _ = writeln!(text, "still good {} {}", record.serial, record.label);
    }
    if !revoked.others.is_empty() {
        text += "next      whoever had the key could have got these with it: revoke them too, by --id\n";
    }
    text + NEXT
}

/// The CRLs that were signed, and the file of the root's if it is due and its key is elsewhere.
pub(super) fn crls(crls: &[PublishedCrl], wanted: Option<&Path>, json: bool) -> String {
    if json {
        return document(&json!({
            "crls": crls.iter().map(crl_json).collect::<Vec<_>>(),
            "wanted": wanted.map(path),
        }));
    }
    let mut text = crl_lines(crls);
    if let Some(wanted) = wanted {
        let _ = writeln!(
            text,
            "due       {}: `pki crl` where the root's key is, then `pki ceremony import` of its crl/root.crl",
            wanted.display()
        );
    }
    text + NEXT
}

/// A list that nobody reads revokes nothing.
const NEXT: &str = "next      nothing where a gateway reads these files or fetches them; elsewhere, bring them there\n";

pub(super) fn passphrases(files: &[PathBuf], json: bool) -> String {
    if json {
        let files: Vec<String> = files.iter().map(|file| path(file)).collect();
        return document(&json!({ "encrypted": files }));
    }
    let mut text = String::new();
    for file in files {
        let _ = writeln!(text, "encrypted {}", file.display());
    }
    text + "next      backups still open with the old passphrase, or with none: replace them\n"
}

pub(super) fn list(page: &Page, now: Timestamp, json: bool) -> String {
    if json {
        return document(&json!({
            "certificates": certificates(&page.records, now),
            "total": page.total,
            "next": page.next.map(pki::store::CertificateId::number),
        }));
    }
    let mut rows = vec![["STATUS", "PROFILE", "ID", "NOT AFTER", "SERIAL"].map(str::to_owned)];
    rows.extend(page.records.iter().map(|record| {
        [
            shown_status(record, now).to_owned(),
            record.profile.name.to_owned(),
            record.label.clone(),
            record
                .validity
                .map_or_else(|| "-".to_owned(), |validity| validity.not_after.to_string()),
            record.serial.to_string(),
        ]
    }));
    let mut text = String::new();
    if !page.records.is_empty() {
        text += &table(&rows);
    }
    match page.next {
        None if page.records.len() as u64 == page.total => {
            let _ = writeln!(text, "{}", counted(page.total, "certificate"));
        }
        None => {
            let _ = writeln!(text, "the last {} of {}", page.records.len(), page.total);
        }
        Some(next) => {
            let _ = writeln!(
                text,
                "{} of {}; go on with --after {}",
                page.records.len(),
                page.total,
                next.number()
            );
        }
    }
    text
}

/// Each record, and its certificate in PEM if it was stored.
pub(super) fn show(records: &[(Record, Option<String>)], now: Timestamp, json: bool) -> String {
    if json {
        let certificate = |(record, pem): &(Record, Option<String>)| {
            let mut value = to_value(&CertificateJson::new(record, now));
            value["pem"] = json!(pem);
            value
        };
        let certificates: Vec<Value> = records.iter().map(certificate).collect();
        return document(&json!({ "certificates": certificates }));
    }
    let texts: Vec<String> = records
        .iter()
        .map(|(record, _)| details(record, now))
        .collect();
    texts.join("\n")
}

/// A certificate in JSON.
#[derive(Serialize)]
struct CertificateJson<'a> {
    serial: String,
    status: &'static str,
    expired: bool,
    profile: &'static str,
    id: &'a str,
    names: Vec<NameJson>,
    issuer: &'a str,
    key: &'static str,
    not_before: Option<String>,
    not_after: Option<String>,
    reserved_at: String,
    issued_at: Option<String>,
    revoked_at: Option<String>,
    reason: Option<String>,
    sha256: Option<&'a str>,
}

#[derive(Serialize)]
struct NameJson {
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

impl<'a> CertificateJson<'a> {
    fn new(record: &'a Record, now: Timestamp) -> Self {
        let validity = record.validity;
        Self {
            serial: record.serial.to_string(),
            status: record.status.as_str(),
            expired: record.is_expired(now),
            profile: record.profile.name,
            id: &record.label,
            names: record
                .names
                .iter()
                .map(|name| NameJson {
                    kind: name.kind(),
                    value: name.to_string(),
                })
                .collect(),
            issuer: &record.issuer,
            key: record.key_origin.as_str(),
            not_before: validity.map(|validity| validity.not_before.to_string()),
            not_after: validity.map(|validity| validity.not_after.to_string()),
            reserved_at: record.reserved_at.to_string(),
            issued_at: record.issued_at.map(|at| at.to_string()),
            revoked_at: record.revoked.map(|(at, _)| at.to_string()),
            reason: record.revoked.map(|(_, reason)| reason.to_string()),
            sha256: record.fingerprint.as_deref(),
        }
    }
}

fn certificates(records: &[Record], now: Timestamp) -> Vec<Value> {
    records
        .iter()
        .map(|record| to_value(&CertificateJson::new(record, now)))
        .collect()
}

pub(super) fn crl_json(crl: &PublishedCrl) -> Value {
    json!({
        "issuer": crl.issuer.as_str(),
        "shard": crl.state.shard,
        "file": path(&crl.path),
        "number": crl.state.number,
        "this_update": crl.state.this_update.to_string(),
        "next_update": crl.state.next_update.to_string(),
        "entries": crl.state.entries,
    })
}

pub(super) fn crl_lines(crls: &[PublishedCrl]) -> String {
    let mut text = String::new();
    for crl in crls {
        let _ = writeln!(
            text,
            "crl       {} (number {}, {} revoked, next by {})",
            crl.path.display(),
            crl.state.number,
            crl.state.entries,
            crl.state.next_update
        );
    }
    text
}

fn details(record: &Record, now: Timestamp) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("serial", &record.serial.to_string());
    line("status", shown_status(record, now));
    line("profile", record.profile.name);
    if record.names.is_empty() {
        line("subject", &record.label);
    }
    for name in &record.names {
        line(name.kind(), &name.to_string());
    }
    if let Some(validity) = record.validity {
        line("not before", &validity.not_before.to_string());
        line("not after", &validity.not_after.to_string());
    }
    if let Some((at, reason)) = record.revoked {
        line("revoked", &format!("{at} ({reason})"));
    }
    line(
        "key",
        match record.key_origin {
            pki::store::KeyOrigin::New => "made by the authority",
            pki::store::KeyOrigin::Request => "made by its holder",
        },
    );
    if let Some(fingerprint) = &record.fingerprint {
        line("sha256", fingerprint);
    }
    text
}

fn shown_status(record: &Record, now: Timestamp) -> &'static str {
    match record.status {
        Status::Issued if record.is_expired(now) => "expired",
        status => status.as_str(),
    }
}

pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// Lower-case hexadecimal.
pub(super) fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// JSON is UTF-8 and paths need not be: what cannot be written is replaced.
pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("strings, numbers and options always serialize")
}

pub(super) fn document(value: &Value) -> String {
    format!("{value:#}\n")
}
