//! How the gateway speaks TLS to an upstream.

use std::sync::Arc;

use config::TlsPolicy;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::own::OwnCertificate;
use super::profile::{ALPN, provider, versions};
use crate::ca::CaCertificate;
use crate::peer::Protocol;

/// The client side towards an upstream: pinned roots, no resumption, and our certificate if the
/// upstream asks for one.
///
/// # Errors
/// rustls's, when the certificate and its key cannot be used.
pub fn client_side(
    roots: &[CaCertificate],
    identity: Option<&OwnCertificate>,
    protocols: &[Protocol],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut store = RootCertStore::empty();
    store
        .roots
        .extend(roots.iter().map(|root| root.anchor().clone()));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(versions(TlsPolicy::Intermediate))?
        .with_root_certificates(store);
    let mut config = match identity {
        Some(entry) => builder.with_client_cert_resolver(Arc::new(
            rustls::sign::SingleCertAndKey::from(Arc::clone(entry.certified())),
        )),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = ALPN
        .iter()
        .filter(|(_, protocol)| protocols.contains(protocol))
        .map(|(name, _)| name.to_vec())
        .collect();
    config.resumption = rustls::client::Resumption::disabled();
    config.require_ems = true;
    Ok(Arc::new(config))
}

/// The name under which an upstream's certificate is verified.
pub fn upstream_name(host: &config::HostName) -> Option<ServerName<'static>> {
    match host.address() {
        Some(address) => Some(ServerName::IpAddress(address.into())),
        None => ServerName::try_from(host.as_str().to_owned()).ok(),
    }
}
