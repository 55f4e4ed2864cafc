//! What is typed where a certificate is used: `pki renew` and `pki enrol`.

use std::path::PathBuf;

use clap::Args;
use pki::Name;
use pki::renewal::{EstServer, GRACE_DAYS, Part, TokenSource};

use super::args::{Passphrases, Unrepeated, secret_source};

/// Renew the certificate in a directory, and put the new one with its key in place in one step.
///
/// OUT holds cert.pem, chain.pem, key.pem and trust.pem and nothing else, as `pki issue --out` and
/// `pki enrol` write it; modes and owners stay. A new key is made. Whatever fails leaves the old
/// pair as it is; a crash does, too. The directory above OUT must be writable.
///
/// With --if-needed nothing is done before two thirds of the certificate's life are over: run it
/// from a timer, once a day or more often. Certificates that were issued in the same hour are not
/// due in the same hour. A request that got no answer may have been granted; the next run asks for
/// another certificate.
///
/// Exit codes: 0 renewed, 3 not due yet, 1 refused or failed, 64 wrong usage. Who uses the
/// certificate reads it anew after 0; a gateway does at SIGHUP.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("authority").required(true).args(["dir", "est"])))]
#[command(after_help = "Examples:
  pki renew --in /etc/pump/tls --est https://pki.clinic.example:8443 --if-needed
  pki renew --in gateway-tls --dir pki --if-needed && systemctl reload gateway

A timer (systemd.timer(5)) every six hours, and what it starts:
  [Timer]
  OnCalendar=*-*-* 00/6:00:00
  RandomizedDelaySec=1h
  Persistent=true

  [Service]
  Type=oneshot
  ExecStart=/bin/sh -c 'pki renew --in /etc/gateway/tls --est https://pki.clinic.example:8443 \\
    --if-needed && systemctl reload gateway'
  SuccessExitStatus=3")]
pub(super) struct Renew {
    /// Directory with the certificate and its key.
    #[arg(long = "in", value_name = "OUT")]
    pub(super) directory: PathBuf,
    /// Directory of the authority, if it is on this machine.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// EST server of the authority: https://HOST[:PORT]. It asks for the old certificate.
    #[arg(long, value_name = "URL", value_parser = est_server)]
    pub(super) est: Option<EstServer>,
    /// Roots that the EST server must lead to [default: trust.pem in OUT].
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub(super) trust: Option<PathBuf>,
    /// Only if it is due. Otherwise it is renewed now.
    #[arg(long)]
    pub(super) if_needed: bool,
    /// Which part of its life is over when it is due.
    #[arg(long, value_name = "PART", default_value = "2/3", value_parser = part, requires = "if_needed")]
    pub(super) at: Part,
    /// Whether its serial lets it be due up to a tenth of that time earlier.
    #[arg(long, value_name = "WORD", default_value = "spread", value_parser = ["spread", "none"], requires = "if_needed")]
    pub(super) jitter: String,
    /// Keep the key. A key that was read by somebody else then stays in use.
    #[arg(long)]
    pub(super) same_key: bool,
    /// Revoke the old certificate as superseded, once the new one is in place. Without it, it stays
    /// valid until its end.
    #[arg(long, conflicts_with = "est")]
    pub(super) revoke_old: bool,
    /// For how many days after its end a certificate is still renewed.
    #[arg(long, value_name = "DAYS", default_value_t = GRACE_DAYS, conflicts_with = "est",
          value_parser = clap::value_parser!(u32).range(..=3650))]
    pub(super) grace_days: u32,
    #[command(flatten)]
    pub(super) passphrases: Passphrases,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Get a first certificate from an EST server with a one-time token.
///
/// Makes a key here, and writes cert.pem, chain.pem, key.pem and trust.pem in OUT, which must not
/// exist or be empty. The server is believed because of a root in a file, or because it brings the
/// root that has the fingerprint; it gets the token only then. The token is one line, and is never
/// typed on a command line. If something fails after the token was spent, ask for another one.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("anchor").required(true).args(["trust", "fingerprint"])))]
#[command(after_help = "Example:
  pki enrol --est https://pki.clinic.example:8443 --id urn:example:pump-1 \\
            --token-from file:/run/token --fingerprint 4f0c… --out /etc/pump/tls

The fingerprint, where the authority is:
  openssl x509 -in pki/trust.pem -noout -fingerprint -sha256")]
pub(super) struct Enrol {
    /// EST server of the authority: https://HOST[:PORT].
    #[arg(long, value_name = "URL", value_parser = est_server)]
    pub(super) est: EstServer,
    /// The name that the token is for: the URI of a device, the host name or address of a server.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) id: Name,
    /// Where the token is: file:PATH, env:NAME, credential:NAME (of systemd), terminal or stdin.
    #[arg(long, value_name = "SOURCE", value_parser = Unrepeated(token_source))]
    pub(super) token_from: TokenSource,
    /// Roots that the server must lead to.
    #[arg(long, value_name = "FILE")]
    pub(super) trust: Option<PathBuf>,
    /// SHA-256 of the root's certificate in hexadecimal, with or without colons.
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub(super) fingerprint: Option<Fingerprint>,
    /// Directory for the files.
    #[arg(long, value_name = "OUT")]
    pub(super) out: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// SHA-256 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

fn est_server(text: &str) -> Result<EstServer, &'static str> {
    EstServer::parse(text)
        .ok_or("a server is https://HOST or https://HOST:PORT, and nothing behind it")
}

fn part(text: &str) -> Result<Part, &'static str> {
    Part::parse(text).ok_or("a part is more than nothing and less than all, such as 2/3 or 9/10")
}

fn token_source(text: &str) -> Result<TokenSource, String> {
    match text {
        "stdin" => Ok(TokenSource::Stdin),
        _ => secret_source(text).map(TokenSource::Secret),
    }
}

fn name(text: &str) -> Result<Name, String> {
    let host = || Name::ip(text).or_else(|_| Name::dns(text));
    // What has a scheme is a URI, whatever else is wrong with it.
    if text.contains(':') && Name::ip(text).is_err() {
        return Name::uri(text).map_err(|error| error.to_string());
    }
    host().map_err(|error| error.to_string())
}

pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, &'static str> {
    const WANTED: &str = "a fingerprint has 64 hexadecimal digits";
    let digits: Vec<u32> = text
        .chars()
        .filter(|character| *character != ':')
        .map(|character| character.to_digit(16))
        .collect::<Option<_>>()
        .ok_or(WANTED)?;
    let mut octets = [0; 32];
    if digits.len() != 2 * octets.len() {
        return Err(WANTED);
    }
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = u8::try_from(16 * pair[0] + pair[1]).map_err(|_| WANTED)?;
    }
    Ok(Fingerprint(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let plain = "0f".repeat(32);
        let colons = vec!["0F"; 32].join(":");
        assert_eq!(fingerprint(&plain), Ok(Fingerprint([15; 32])));
        assert_eq!(fingerprint(&colons), Ok(Fingerprint([15; 32])));
        for wrong in ["", "0f", &"0g".repeat(32), &"0f".repeat(33)] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_a_uri_a_host_or_an_address() {
        for (text, kind) in [
            ("urn:example:pump-1", "uri"),
            ("gateway.clinic.example", "dns"),
            ("10.0.0.5", "ip"),
            ("fd00::5", "ip"),
        ] {
            assert_eq!(name(text).map(|name| name.kind()), Ok(kind));
        }
        assert!(name("URN:example:pump-1").is_err());
    }
}
