//! Upstreams: where they are, and how the way to them is protected.

use std::collections::HashMap;
use std::sync::Arc;

use config::{
    AnswerKey, CertificateName, Config, HostName, Placed, Server, UpstreamIdentity, UpstreamName,
};

use super::entries::what_to_do;
use super::loader::Loader;
use crate::ca::CaCertificate;
use crate::endpoint::{Address, Endpoint, Security};
use crate::peer::Protocol;
use crate::signing::OwnSigner;
use crate::site::Site;
use crate::tls::{self, OwnCertificate};

impl Loader {
    /// The upstreams. One that is like that of `previous` stays that one, with its connections.
    pub(super) fn upstreams(
        &mut self,
        config: &Config,
        entries: &HashMap<CertificateName, Arc<OwnCertificate>>,
        signer: Option<&Arc<OwnSigner>>,
        previous: Option<&Site>,
    ) -> HashMap<UpstreamName, Arc<Endpoint>> {
        let mut endpoints = HashMap::new();
        for (name, upstream) in &config.upstreams {
            let Some(way) = self.way(upstream, entries) else {
                continue;
            };
            let answer_key = match &upstream.answer_key {
                AnswerKey::Unstated => None,
                AnswerKey::Stated(file) => self.public_key(file).map(Arc::new),
            };
            let endpoint = Endpoint {
                name: name.clone(),
                address: way.address,
                security: way.security,
                made_of: way.made_of,
                protocol: upstream.protocol,
                connect: upstream.connect,
                head: upstream.head,
                idle: upstream.idle,
                connections: upstream.connections.get() as usize,
                signer: signer.filter(|_| upstream.signed.value).cloned(),
                answer_key,
            };
            let kept = previous
                .and_then(|previous| previous.upstreams.get(name))
                .filter(|known| known.is_like(&endpoint));
            let endpoint = kept.cloned().unwrap_or_else(|| Arc::new(endpoint));
            endpoints.insert(name.clone(), endpoint);
        }
        endpoints
    }

    fn way(
        &mut self,
        upstream: &config::Upstream,
        entries: &HashMap<CertificateName, Arc<OwnCertificate>>,
    ) -> Option<Way> {
        let open = |address| Way {
            address,
            security: Security::None,
            made_of: Vec::new(),
        };
        match &upstream.server.value {
            Server::Http { authority } => Some(open(Address::Tcp(authority.clone()))),
            Server::Unix { socket } => Some(open(Address::Unix(socket.path.clone()))),
            Server::Https {
                authority,
                roots,
                server_name,
                identity,
            } => {
                let pinned = self.authorities(std::slice::from_ref(roots), true);
                let entry = match identity {
                    UpstreamIdentity::Nothing => None,
                    UpstreamIdentity::Certificate(name) => Some(self.proof(name, entries)?),
                };
                let security = self.tls(upstream, &pinned, server_name, entry)?;
                let mut made_of = server_name.to_string().into_bytes();
                for root in &pinned {
                    made_of.extend_from_slice(root.der());
                }
                if let UpstreamIdentity::Certificate(name) = identity {
                    made_of.extend(self.chains.get(&name.value).into_iter().flatten());
                }
                Some(Way {
                    address: Address::Tcp(authority.clone()),
                    security,
                    made_of,
                })
            }
        }
    }

    /// The certificate with which the gateway proves itself. One that is missing has been reported
    /// where it is configured.
    fn proof<'a>(
        &mut self,
        name: &Placed<CertificateName>,
        entries: &'a HashMap<CertificateName, Arc<OwnCertificate>>,
    ) -> Option<&'a OwnCertificate> {
        let entry = entries.get(&name.value)?;
        if let Err(fault) = entry.check_proves() {
            let message = format!("certificates.{}: {fault}", name.value);
            self.error(&name.place, message, Some(what_to_do(fault)));
        }
        Some(entry)
    }

    fn tls(
        &mut self,
        upstream: &config::Upstream,
        pinned: &[CaCertificate],
        server_name: &HostName,
        entry: Option<&OwnCertificate>,
    ) -> Option<Security> {
        let protocols: &[Protocol] = match upstream.protocol {
            config::Protocol::Alpn => &[Protocol::Http2, Protocol::Http1],
            config::Protocol::Http11 => &[Protocol::Http1],
            config::Protocol::Http2 => &[Protocol::Http2],
        };
        let place = &upstream.server.place;
        let Some(name) = tls::upstream_name(server_name) else {
            let message = "the server name is not one that a certificate can hold";
            self.error(
                place,
                message,
                Some("give the name in its certificate as server_name"),
            );
            return None;
        };
        match tls::client_side(pinned, entry, protocols) {
            Ok(config) => Some(Security::Tls { config, name }),
            Err(error) => {
                let message = format!("TLS cannot be spoken: {error}");
                let hint = "look at its roots and at client_certificate";
                self.error(place, message, Some(hint));
                None
            }
        }
    }
}

/// The way to an upstream.
struct Way {
    address: Address,
    security: Security,
    /// What could change about it without a change of its address: names, roots, our chain.
    made_of: Vec<u8>,
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
