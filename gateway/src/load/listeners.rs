//! Listeners: the certificates that they show, and whose clients they take.

use std::collections::HashMap;
use std::sync::Arc;

use config::{CertificateName, Config, Listener, ListenerName, TrustName};

use super::entries::what_to_do;
use super::loader::Loader;
use crate::site::ListenerSite;
use crate::tls::{ClientTrust, Clients, OwnCertificate, ServerSide};

impl Loader {
    /// Every listener for which everything that it names could be loaded.
    pub(super) fn listeners(
        &mut self,
        config: &Config,
        entries: &HashMap<CertificateName, Arc<OwnCertificate>>,
        trust: &HashMap<TrustName, Arc<ClientTrust>>,
    ) -> HashMap<ListenerName, ListenerSite> {
        let mut listeners = HashMap::new();
        for (name, listener) in &config.listeners {
            // What is missing has been reported where it is named.
            let (Some(chosen), Some(clients)) = (
                self.chosen(listener, entries),
                clients(&listener.clients.value, trust),
            ) else {
                continue;
            };
            let side = ServerSide::new(listener.tls, chosen, clients);
            if let Err(error) = side.connection(self.now) {
                self.error(
                    &listener.place,
                    format!("TLS cannot be served: {error}"),
                    Some("use certificates with keys on P-256, P-384 or Ed25519, or RSA of 2048 bits or more"),
                );
            }
            let site = ListenerSite {
                side: Arc::new(side),
                limits: listener.limits.clone(),
            };
            listeners.insert(name.clone(), site);
        }
        self.uncovered_hosts(config, &listeners);
        listeners
    }

    /// The certificate entries of a listener, if all of them are there.
    fn chosen(
        &mut self,
        listener: &Listener,
        entries: &HashMap<CertificateName, Arc<OwnCertificate>>,
    ) -> Option<Vec<Arc<OwnCertificate>>> {
        let mut chosen = Some(Vec::new());
        for name in &listener.certificates {
            let entry = entries.get(&name.value).cloned();
            if let Some(Err(fault)) = entry.as_deref().map(OwnCertificate::check_serves) {
                let message = format!("certificates.{}: {fault}", name.value);
                self.error(&name.place, message, Some(what_to_do(fault)));
            }
            chosen = chosen.zip(entry).map(|(mut chosen, entry)| {
                chosen.push(entry);
                chosen
            });
        }
        chosen
    }

    /// A host that no certificate of its listener covers can never be reached: Host would not belong
    /// to the certificate that was shown.
    fn uncovered_hosts(
        &mut self,
        config: &Config,
        listeners: &HashMap<ListenerName, ListenerSite>,
    ) {
        for route in &config.routes {
            for host in &route.hosts {
                for listener in &route.listeners {
                    let Some(site) = listeners.get(&listener.value) else {
                        continue;
                    };
                    if !site
                        .side
                        .entries()
                        .iter()
                        .any(|entry| entry.hosts().cover(host.value.as_str()))
                    {
                        let message = format!(
                            "no certificate of listener {} is good for {}: requests for it are misdirected",
                            listener.value, host.value
                        );
                        self.warning(
                            &host.place,
                            message,
                            Some("issue a certificate that holds this host"),
                        );
                    }
                }
            }
        }
    }
}

fn clients(
    asked: &config::Clients,
    trust: &HashMap<TrustName, Arc<ClientTrust>>,
) -> Option<Clients> {
    match asked {
        config::Clients::Required { trust: name } => {
            trust.get(&name.value).cloned().map(Clients::Required)
        }
        config::Clients::Optional { trust: name } => {
            trust.get(&name.value).cloned().map(Clients::Optional)
        }
        config::Clients::None => Some(Clients::None),
    }
}
