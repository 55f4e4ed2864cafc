//! Upstreams: where they are, and how the way to them is protected.

use std::collections::HashMap;
use std::sync::Arc;

use config::{CertificateName, Config, Server, UpstreamIdentity, UpstreamName};

use super::loader::Loader;
use crate::endpoint::{Address, Endpoint, Security};
use crate::peer::Protocol;
use crate::site::Site;
use crate::tls::{self, Entry};

impl Loader {
    /// The upstreams. One that is like that of `previous` stays that one, with its connections.
    pub(super) fn upstreams(
        &mut self,
        config: &Config,
        entries: &HashMap<CertificateName, Arc<Entry>>,
        previous: Option<&Site>,
    ) -> HashMap<UpstreamName, Arc<Endpoint>> {
        let mut sites = HashMap::new();
        for (name, upstream) in &config.upstreams {
            let Some((address, security, identity)) = self.server(upstream, entries) else {
                continue;
            };
            let site = Endpoint {
                name: name.clone(),
                address,
                security,
                identity,
                protocol: upstream.protocol,
                connect: upstream.connect,
                head: upstream.head,
                idle: upstream.idle,
                connections: upstream.connections.get() as usize,
            };
            let kept = previous
                .and_then(|previous| previous.upstreams.get(name))
                .filter(|known| known.is_like(&site));
            sites.insert(
                name.clone(),
                kept.cloned().unwrap_or_else(|| Arc::new(site)),
            );
        }
        sites
    }

    /// Where an upstream is, how the way is protected, and by what that could change.
    fn server(
        &mut self,
        upstream: &config::Upstream,
        entries: &HashMap<CertificateName, Arc<Entry>>,
    ) -> Option<(Address, Security, Vec<u8>)> {
        let (authority, roots, server_name, identity) = match &upstream.server.value {
            Server::Http { authority } => {
                return Some((Address::Tcp(authority.clone()), Security::None, Vec::new()));
            }
            Server::Unix { socket } => {
                return Some((
                    Address::Unix(socket.path.clone()),
                    Security::None,
                    Vec::new(),
                ));
            }
            Server::Https {
                authority,
                roots,
                server_name,
                identity,
            } => (authority, roots, server_name, identity),
        };
        let pinned = self.authorities(std::slice::from_ref(roots), true);
        let entry = match identity {
            UpstreamIdentity::Nothing => None,
            UpstreamIdentity::Certificate(name) => {
                let entry = entries.get(&name.value)?;
                if let Err(fault) = entry.check_proves() {
                    let message = format!("certificates.{}: {fault}", name.value);
                    self.error(&name.place, message, None);
                }
                Some(entry)
            }
        };
        let protocols: &[Protocol] = match upstream.protocol {
            config::Protocol::Alpn => &[Protocol::Http2, Protocol::Http1],
            config::Protocol::Http11 => &[Protocol::Http1],
            config::Protocol::Http2 => &[Protocol::Http2],
        };
        let Some(name) = tls::upstream_name(server_name) else {
            self.error(
                &upstream.server.place,
                "the server name is not one that a certificate can hold",
                None,
            );
            return None;
        };
        match tls::client_side(&pinned, entry.map(Arc::as_ref), protocols) {
            Ok(config) => {
                let mut like = format!("{server_name}").into_bytes();
                for root in &pinned {
                    like.extend_from_slice(root.der());
                }
                if let UpstreamIdentity::Certificate(name) = identity {
                    like.extend(self.chains.get(&name.value).into_iter().flatten());
                }
                Some((
                    Address::Tcp(authority.clone()),
                    Security::Tls { config, name },
                    like,
                ))
            }
            Err(error) => {
                self.error(
                    &upstream.server.place,
                    format!("TLS cannot be spoken: {error}"),
                    None,
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Place;
    use super::*;

    #[test]
    fn an_upstream_stays_while_nothing_that_it_is_made_of_changes() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        place.edit(
            "servers   = [\"http://127.0.0.1:3\"]",
            "servers = [\"https://127.0.0.1:3\"]\ntrust = \"pki/trust.pem\"\nclient_certificate = \"server\"",
        );
        let sample = |site: &Site| {
            let mut endpoints = site.upstreams.values().cloned();
            endpoints.next().unwrap()
        };
        let first = place.load(None).unwrap();
        let same = place.load(Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&sample(&first), &sample(&same)));
        // The leaf is the same; the chain that is sent is not.
        let chain = place.directory.path().join("server/chain.pem");
        let leaf = std::fs::read_to_string(&chain).unwrap();
        std::fs::write(&chain, leaf + &place.ca.certificate.pem()).unwrap();
        let mended = place.load(Some(&same)).unwrap();
        assert!(!Arc::ptr_eq(&sample(&same), &sample(&mended)));
    }
}
