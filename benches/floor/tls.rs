//! The TLS side: TLS 1.3, client certificates required, no tickets, as the gateway has it.
//!
//! What this file does not do: it asks no revocation list; rustls-webpki can, and the gateway does.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the certificates are.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// The server's certificate and its issuers, PEM.
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The root that vouches for clients, PEM.
    #[arg(long, value_name = "FILE")]
    clients: PathBuf,
}

/// What connections are accepted with, or what is wrong with a file, in words.
pub(crate) fn config(files: &Files) -> Result<Arc<ServerConfig>, String> {
    let wrong = |file: &Path| {
        let file = file.display().to_string();
        move |error: &dyn std::fmt::Display| format!("{file}: {error}")
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(&files.clients)? {
        roots
            .add(root)
            .map_err(|error| wrong(&files.clients)(&error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| wrong(&files.clients)(&error))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key)(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates(&files.chain)?, key)
        .map_err(|error| wrong(&files.chain)(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}", file.display()))
}
