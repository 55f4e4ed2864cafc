//! `gateway sign`: a request goes in, signed it comes out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use integrity::{DigestAlgorithm, Params};

use super::files::{self, Failure, Missing, STANDARD_INPUT};
use crate::capture::curl::Curl;
use crate::capture::fields::{self, Wish};
use crate::capture::text;
use crate::timer::unix_now;

/// Sign a request with a device's key (RFC 9421), with a digest of its content (RFC 9530).
///
/// The request is text: a head as on the wire, an empty line, and the content to the last byte. It is
/// printed again with the fields that sign it. A command line of curl behind -- is printed again with
/// -H for each of them, for a shell to run: line=$(gateway sign ... -- curl ...) && eval "$line".
///
/// Of curl are known -X -H -d --data-raw --data-binary --json -I -G --url --cert --key, and what changes
/// nothing of the request, such as -s -S -v -i -k -o --cacert --http2. Another option is refused.
///
/// A signature is of one request, sent once: its nonce is accepted only once.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gateway sign --key key.pem --cert cert.pem request.http\n  gateway sign -- curl --cert chain.pem --key key.pem --json @observation.json https://api.clinic.example/fhir/Observation"
)]
pub(super) struct Sign {
    /// The private key, PKCS#8 in PEM. The --key of curl when left out.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The certificate of the key, in PEM; the keyid is base64url of its SHA-256 (RFC 8705). The
    /// --cert of curl when left out.
    #[arg(long, value_name = "FILE", conflicts_with = "keyid")]
    cert: Option<PathBuf>,
    /// The keyid, of a key that is registered under this name.
    #[arg(long, value_name = "NAME")]
    keyid: Option<String>,
    /// The components to cover, with commas between them. When left out: @method, @authority, @path, @query if
    /// there is one, and content-digest and content-type if there is content.
    #[arg(long, value_name = "LIST")]
    covers: Option<String>,
    /// The label of the signature.
    #[arg(long, value_name = "NAME", default_value = "sig1")]
    label: String,
    /// What the signature is for.
    #[arg(long, value_name = "TEXT")]
    tag: Option<String>,
    /// When it is made, in seconds since 1970; now when left out.
    #[arg(long, value_name = "SECONDS")]
    created: Option<u64>,
    /// How long it is good, in seconds.
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// A value that is used once; 16 random bytes when left out.
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    /// How the content is digested.
    #[arg(long, value_name = "NAME", default_value = "sha-256")]
    digest: Digest,
    /// The request; standard input when left out, or -.
    #[arg(value_name = "FILE", conflicts_with = "curl")]
    request: Option<PathBuf>,
    /// A command line of curl.
    #[arg(last = true, value_name = "CURL")]
    curl: Vec<String>,
}

/// The algorithms of RFC 9530 that are trusted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Digest {
    #[value(name = "sha-256")]
    Sha256,
    #[value(name = "sha-512")]
    Sha512,
}

impl Sign {
    /// Prints the signed request.
    pub(super) fn run(&self) -> ExitCode {
        match self.signed() {
            Ok(text) => terminal::print_bytes(&text),
            Err(failure) => failure.report(),
        }
    }

    fn signed(&self) -> Result<Vec<u8>, Failure> {
        if self.curl.is_empty() {
            self.signed_text()
        } else {
            self.signed_line()
        }
    }

    fn signed_text(&self) -> Result<Vec<u8>, Failure> {
        let path = self.request.as_deref();
        let path = path.unwrap_or(Path::new(STANDARD_INPUT));
        let key = self.key.as_deref();
        let key = key.ok_or(Failure::Missing(Missing::Key))?;
        let signer = self.signer(key, self.cert.as_deref())?;
        let wish = self.wish(signer.keyid)?;
        let bytes = files::message(path)?;
        let (request, odd) = text::read_request(&bytes).map_err(|error| Failure::Text {
            path: path.to_owned(),
            error,
        })?;
        if let Some(odd) = odd {
            let path = path.to_owned();
            return Err(Failure::Odd { path, odd });
        }
        let added = fields::sign(&request, &wish, &signer.key).map_err(Failure::Sign)?;
        Ok(text::with_fields(&bytes, &added))
    }

    fn signed_line(&self) -> Result<Vec<u8>, Failure> {
        let mut open = |path: &str| {
            let read = files::message(Path::new(path));
            read.map_err(|failure| failure.to_string())
        };
        let curl = Curl::read(self.curl.clone(), &mut open).map_err(Failure::Curl)?;
        let key = self.key.clone().or(curl.key.as_ref().map(PathBuf::from));
        let key = key.ok_or(Failure::Missing(Missing::Key))?;
        let named = self.cert.is_some() || self.keyid.is_some();
        let own = curl.certificate.as_ref().map(PathBuf::from);
        let cert = self.cert.clone().or(own.filter(|_| !named));
        let signer = self.signer(&key, cert.as_deref())?;
        let wish = self.wish(signer.keyid)?;
        let added = fields::sign(&curl.request, &wish, &signer.key).map_err(Failure::Sign)?;
        Ok(format!("{}\n", curl.with_fields(&added)).into_bytes())
    }

    /// The key, and how it is named.
    fn signer(&self, key: &Path, cert: Option<&Path>) -> Result<Signer, Failure> {
        let keyid = match (&self.keyid, cert) {
            (Some(keyid), _) => keyid.clone(),
            (None, Some(path)) => {
                let (public, keyid) = files::certificate(path)?;
                let own = files::private_key(key)?;
                let print = |key: &integrity::VerifyingKey| key.thumbprint().ok();
                let print_of_own = own.verifying_key().ok().and_then(|key| print(&key));
                if print_of_own.is_none() || print(&public) != print_of_own {
                    let certificate = path.to_owned();
                    return Err(Failure::OtherKey { certificate });
                }
                return Ok(Signer { key: own, keyid });
            }
            (None, None) => return Err(Failure::Missing(Missing::KeyId)),
        };
        let key = files::private_key(key)?;
        Ok(Signer { key, keyid })
    }

    fn wish(&self, keyid: String) -> Result<Wish, Failure> {
        let covers = self.covers.as_deref().map(fields::components);
        let covers = covers.transpose();
        let covers = covers.map_err(|(name, error)| Failure::Component { name, error })?;
        let created = self.created.unwrap_or_else(unix_now);
        let expires = self.expires_in.map(|seconds| created.checked_add(seconds));
        let expires = expires.map(|expires| expires.ok_or(Failure::Expires));
        let nonce = match &self.nonce {
            Some(nonce) => nonce.as_str().into(),
            None => nonce()?,
        };
        Ok(Wish {
            label: self.label.clone(),
            covers,
            params: Params {
                created: Some(created),
                expires: expires.transpose()?,
                nonce: Some(nonce),
                alg: None,
                keyid: Some(keyid.into()),
                tag: self.tag.as_deref().map(Into::into),
            },
            digest: match self.digest {
                Digest::Sha256 => DigestAlgorithm::Sha256,
                Digest::Sha512 => DigestAlgorithm::Sha512,
            },
        })
    }
}

/// What signs.
struct Signer {
    key: integrity::SigningKey,
    keyid: String,
}

/// 16 random bytes.
fn nonce() -> Result<Box<str>, Failure> {
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Failure::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(nonce).into())
}
