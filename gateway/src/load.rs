//! Reads what a configuration names (certificates, keys, revocation lists) and makes a [`Site`] of
//! it. Serves check, run and reload alike.
//!
//! Every mistake is reported at once, with the line that asked for the file. Fails closed: one
//! mistake, and there is no site; on a reload the old one stays.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use audit::medium::Medium;
use config::{
    CertificateName, Config, FilePath, Finding, Findings, Place, Rate, Secret, Server, Severity,
    TrustName, UpstreamIdentity,
};
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::digest::sha256;
use crate::endpoint::{Address, Endpoint, Security};
use crate::limit::Rates;
use crate::peer::Protocol;
use crate::revocation::{Index, List, ListFault, MAX_LIST_BYTES};
use crate::route::{RouteEntry, RouteTable};
use crate::site::{ListenerSite, Site};
use crate::tls::{self, ClientTrust, Clients, Entry, Revocation, ServerSide};
use crate::trust::{Authority, AuthorityFault};

/// No certificate or key file is larger than this, bytes.
const MAX_PEM_BYTES: u64 = 4 * 1024 * 1024;

/// No directory of revocation lists holds more files than this.
const MAX_LISTS: usize = 10_000;

/// Where a configuration comes from, at start and at each reload.
pub struct Source {
    path: PathBuf,
    adjust: Box<dyn Fn(&mut Config)>,
}

impl Source {
    /// A file as it is.
    #[must_use]
    pub fn file(path: &Path) -> Source {
        Source {
            path: path.to_owned(),
            adjust: Box::new(|_| ()),
        }
    }

    /// A file, changed by whoever embeds the gateway each time that it was read.
    #[must_use]
    pub fn adjusted(path: &Path, adjust: impl Fn(&mut Config) + 'static) -> Source {
        Source {
            path: path.to_owned(),
            adjust: Box::new(adjust),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(&self) -> Result<Config, Findings> {
        let mut config = config::load(&self.path)?;
        (self.adjust)(&mut config);
        Ok(config)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A site, and what probably does not do what was meant.
#[derive(Debug)]
pub struct Loaded {
    /// The site.
    pub site: Site,
    /// Warnings, those of the configuration included.
    pub warnings: Vec<Finding>,
}

/// Makes a site of a configuration. What `previous` holds and did not change is kept: rates, and
/// connections to upstreams.
pub fn load(config: Config, previous: Option<&Site>) -> Result<Loaded, Findings> {
    let mut loader = Loader {
        now: unix_now(),
        findings: Vec::new(),
    };
    let site = loader.site(config, previous);
    let (errors, warnings): (Vec<_>, Vec<_>) = loader
        .findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(errors.into_iter().collect());
    }
    let told = site.config.warnings.list().iter().cloned();
    let warnings = told.chain(warnings).collect();
    Ok(Loaded { site, warnings })
}

struct Loader {
    /// Seconds since 1970.
    now: i64,
    findings: Vec<Finding>,
}

impl Loader {
    fn site(&mut self, config: Config, previous: Option<&Site>) -> Site {
        let mut decisions = config.decisions.clone();
        decisions.extend(self.medium(&config));
        let entries = self.entries(&config);
        let trust = self.trust_sets(&config);
        let upstreams = self.upstreams(&config, &entries, previous);
        let mut listeners = HashMap::new();
        for (name, listener) in &config.listeners {
            let mut chosen = Some(Vec::new());
            for name in &listener.certificates {
                let entry = entries.get(&name.value).cloned();
                if let Some(Err(fault)) = entry.as_deref().map(Entry::check_serves) {
                    self.error(&name.place, fault.to_string(), None);
                }
                chosen = chosen.zip(entry).map(|(mut chosen, entry)| {
                    chosen.push(entry);
                    chosen
                });
            }
            let clients = match &listener.clients.value {
                config::Clients::Required { trust: name } => {
                    trust.get(&name.value).cloned().map(Clients::Required)
                }
                config::Clients::Optional { trust: name } => {
                    trust.get(&name.value).cloned().map(Clients::Optional)
                }
                config::Clients::None => Some(Clients::None),
            };
            // What is missing has been reported where it is named.
            let (Some(chosen), Some(clients)) = (chosen, clients) else {
                continue;
            };
            let side = ServerSide::new(listener.tls, chosen, clients);
            if let Err(error) = side.connection() {
                self.error(
                    &listener.place,
                    format!("TLS cannot be served: {error}"),
                    None,
                );
            }
            listeners.insert(
                name.clone(),
                ListenerSite {
                    side: Arc::new(side),
                    limits: listener.limits.clone(),
                },
            );
        }
        self.uncovered_hosts(&config, &listeners);
        let routes = config.routes.iter().filter_map(|route| {
            let kept = previous.and_then(|site| {
                site.routes
                    .rates()
                    .find(|(known, _)| known.name.value == route.name.value)
            });
            // An upstream that is missing has been reported where it is configured.
            let endpoint = upstreams.get(&route.upstream.value)?;
            Some(Arc::new(RouteEntry {
                rates: rates(&route.rate, kept.map(|(_, rates)| rates)),
                endpoint: Arc::clone(endpoint),
                route: route.clone(),
            }))
        });
        let routes = RouteTable::build(routes.collect::<Vec<_>>());
        Site {
            generation: previous.map_or(1, |site| site.generation + 1),
            digest: sha256(config.text.as_bytes()),
            listeners,
            trust: trust.into_values().collect(),
            entries: entries.into_values().collect(),
            routes,
            roles: config.roles.clone(),
            upstreams,
            decisions,
            config,
        }
    }

    /// What lies under the audit log.
    fn medium(&mut self, config: &Config) -> Option<config::Decision> {
        let directory = &config.audit.directory;
        let medium = match Medium::under(&directory.path) {
            Ok(medium) => medium,
            Err(error) => {
                self.error(
                    &directory.place,
                    format!("cannot be looked at: {error}"),
                    None,
                );
                return None;
            }
        };
        let doubt = medium.doubt?;
        match config.weak_file_system(&format!("{}: {doubt}", medium.file_system)) {
            Ok(decision) => Some(decision),
            Err(finding) => {
                self.findings.push(finding);
                None
            }
        }
    }

    fn entries(&mut self, config: &Config) -> HashMap<CertificateName, Arc<Entry>> {
        let mut entries = HashMap::new();
        for (name, certificate) in &config.certificates {
            let chain = self.certificates(&certificate.chain);
            let key = self.key(&certificate.key);
            let (Some(chain), Some(key)) = (chain, key) else {
                continue;
            };
            let Ok(signing) = tls::provider().key_provider.load_private_key(key) else {
                self.error(
                    place_of(&certificate.key),
                    "the key is not of a kind that TLS signs with",
                    Some("use P-256, P-384, Ed25519, or RSA of 2048 bits or more"),
                );
                continue;
            };
            match Entry::judge(name.clone(), CertifiedKey::new(chain, signing), self.now) {
                Ok(entry) => {
                    entries.insert(name.clone(), Arc::new(entry));
                }
                Err(fault) => self.error(&certificate.chain.place, fault.to_string(), None),
            }
        }
        entries
    }

    fn trust_sets(&mut self, config: &Config) -> HashMap<TrustName, Arc<ClientTrust>> {
        let mut sets = HashMap::new();
        for (name, trust) in &config.trust {
            let roots = self.authorities(&trust.roots, true);
            let mut intermediates = self.authorities(&trust.intermediates, false);
            let revocation = match &trust.revocation.value {
                config::Revocation::Off => Some(Revocation::Off),
                config::Revocation::Crls {
                    sources,
                    when_stale,
                } => {
                    let index = self.lists(sources, &roots, &mut intermediates);
                    self.judge_index(&trust.revocation.place, &index, &roots, &intermediates);
                    Some(Revocation::Lists {
                        index,
                        when_stale: *when_stale,
                    })
                }
            };
            if let Some(revocation) = revocation {
                let set = ClientTrust::new(
                    name.clone(),
                    trust.identity,
                    roots,
                    intermediates,
                    revocation,
                );
                sets.insert(name.clone(), Arc::new(set));
            }
        }
        sets
    }

    /// The authorities in these files. Of roots the dates count too; of those between, webpki asks.
    fn authorities(&mut self, files: &[FilePath], roots: bool) -> Vec<Authority> {
        let mut found = Vec::new();
        for file in files {
            for (at, der) in self
                .certificates(file)
                .unwrap_or_default()
                .iter()
                .enumerate()
            {
                match Authority::judge(der, self.now) {
                    Ok(authority) => found.push(authority),
                    Err(AuthorityFault::Expired { .. } | AuthorityFault::NotYetValid { .. })
                        if !roots =>
                    {
                        self.warning(
                            &file.place,
                            format!("certificate {} is out of date and left out", at + 1),
                            None,
                        );
                    }
                    Err(fault) => self.error(
                        &file.place,
                        format!("certificate {}: {fault}", at + 1),
                        Some("a trust set holds the certificates of authorities and nothing else"),
                    ),
                }
            }
        }
        found
    }

    /// The revocation lists in these files and directories. Certificates of authorities that lie
    /// beside them join `intermediates`: they are needed for the signatures of the lists.
    fn lists(
        &mut self,
        sources: &[FilePath],
        roots: &[Authority],
        intermediates: &mut Vec<Authority>,
    ) -> Index {
        let mut lists = Vec::new();
        for source in sources {
            let before = lists.len();
            for path in self.files_of(source) {
                let Some(bytes) = self.read(&path, &source.place, MAX_LIST_BYTES) else {
                    continue;
                };
                let (certificates, ders) = self.pem_or_der(&bytes, &path, &source.place);
                for der in certificates {
                    match Authority::judge(&der, self.now) {
                        Ok(authority) => intermediates.push(authority),
                        Err(fault) => self.warning(
                            &source.place,
                            format!(
                                "{}: a certificate in it is left out: {fault}",
                                path.display()
                            ),
                            None,
                        ),
                    }
                }
                lists.extend(
                    ders.into_iter()
                        .map(|der| (der, path.clone(), &source.place)),
                );
            }
            if lists.len() == before {
                self.error(
                    &source.place,
                    "holds no revocation list",
                    Some(
                        "`pki crl` writes them; so does the authority that issued the certificates",
                    ),
                );
            }
        }
        let authorities: Vec<&Authority> = roots.iter().chain(intermediates.iter()).collect();
        let mut read = Vec::new();
        for (der, path, place) in lists {
            match List::read(&der, &authorities, tls::signature_algorithms(), self.now) {
                Ok(list) => {
                    if list.next_update() < self.now {
                        let date = audit::event::Time::from_unix_seconds(list.next_update());
                        self.warning(
                            place,
                            format!("{} is out of date since {date}", path.display()),
                            Some("until there is a fresh one, clients that it covers are refused"),
                        );
                    }
                    read.push(list);
                }
                Err(fault) => {
                    let hint = matches!(fault, ListFault::UnknownIssuer { .. })
                        .then_some("put the issuer's certificate beside the list, or name it in `intermediates`");
                    self.error(place, format!("{}: {fault}", path.display()), hint);
                }
            }
        }
        Index::build(read)
    }

    fn judge_index(
        &mut self,
        place: &Place,
        index: &Index,
        roots: &[Authority],
        intermediates: &[Authority],
    ) {
        for authority in roots.iter().chain(intermediates) {
            if !index.knows(authority.key()) {
                let message = format!(
                    "there is no revocation list of \"{}\": whatever it issued is refused",
                    authority.subject()
                );
                self.warning(place, message, Some("add its list"));
            }
        }
    }

    fn upstreams(
        &mut self,
        config: &Config,
        entries: &HashMap<CertificateName, Arc<Entry>>,
        previous: Option<&Site>,
    ) -> HashMap<config::UpstreamName, Arc<Endpoint>> {
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
                    self.error(&name.place, fault.to_string(), None);
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
                like.extend(entry.iter().flat_map(|entry| entry.fingerprint()));
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

    /// A host that no certificate of its listener covers can never be reached: Host would not belong
    /// to the certificate that was shown.
    fn uncovered_hosts(
        &mut self,
        config: &Config,
        listeners: &HashMap<config::ListenerName, ListenerSite>,
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

    fn certificates(&mut self, file: &FilePath) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.read(&file.path, &file.place, MAX_PEM_BYTES)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            Ok(_) => {
                self.error(
                    &file.place,
                    format!("{} holds no certificate in PEM form", file.path.display()),
                    Some("openssl x509 -in FILE -out FILE.pem converts DER"),
                );
                None
            }
            Err(_) => {
                self.error(
                    &file.place,
                    format!("{} is not well-formed PEM", file.path.display()),
                    None,
                );
                None
            }
        }
    }

    fn key(&mut self, secret: &Secret) -> Option<PrivateKeyDer<'static>> {
        let place = place_of(secret);
        let (bytes, origin) = match secret {
            Secret::File(file) => {
                self.judge_secret_file(&file.path, place);
                (
                    self.read_secret(&file.path, place)?,
                    file.path.display().to_string(),
                )
            }
            Secret::Env(name) => {
                if let Ok(value) = std::env::var(&name.value) {
                    (
                        Zeroizing::new(value.into_bytes()),
                        format!("environment variable {}", name.value),
                    )
                } else {
                    self.error(
                        place,
                        format!(
                            "environment variable {} is not set, or is not text",
                            name.value
                        ),
                        None,
                    );
                    return None;
                }
            }
            Secret::Credential(name) => {
                let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
                    self.error(
                        place,
                        "there are no credentials: CREDENTIALS_DIRECTORY is not set",
                        Some("start the gateway by systemd with LoadCredential="),
                    );
                    return None;
                };
                let path = PathBuf::from(directory).join(&name.value);
                (
                    self.read_secret(&path, place)?,
                    format!("credential {}", name.value),
                )
            }
        };
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Some(key),
            Err(pem::Error::NoItemsFound) => {
                let encrypted = bytes
                    .windows(b"ENCRYPTED PRIVATE KEY".len())
                    .any(|part| part == b"ENCRYPTED PRIVATE KEY");
                let hint = if encrypted {
                    "it is encrypted: give the gateway a decrypted key, as a credential for instance"
                } else {
                    "it must hold a PRIVATE KEY in PEM form (PKCS#8)"
                };
                self.error(place, format!("{origin} holds no private key"), Some(hint));
                None
            }
            Err(_) => {
                self.error(place, format!("{origin} is not well-formed PEM"), None);
                None
            }
        }
    }

    fn judge_secret_file(&mut self, path: &Path, place: &Place) {
        use std::os::unix::fs::MetadataExt;
        if let Ok(metadata) = std::fs::metadata(path)
            && metadata.mode() & 0o044 != 0
        {
            self.warning(
                place,
                format!("{} can be read by others on this machine", path.display()),
                Some("chmod 600"),
            );
        }
    }

    fn read(&mut self, path: &Path, place: &Place, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match read_into(path, limit, &mut bytes) {
            Ok(()) => Some(bytes),
            Err(message) => {
                self.error(place, message, None);
                None
            }
        }
    }

    fn read_secret(&mut self, path: &Path, place: &Place) -> Option<Zeroizing<Vec<u8>>> {
        // Sized ahead, so that no half of it is left behind by a buffer that grew.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        match read_into(path, 64 * 1024 - 1, &mut bytes) {
            Ok(()) => Some(bytes),
            Err(message) => {
                self.error(place, message, None);
                None
            }
        }
    }

    /// The file itself, or the files of a directory that can hold lists or certificates.
    fn files_of(&mut self, source: &FilePath) -> Vec<PathBuf> {
        if !source.path.is_dir() {
            return vec![source.path.clone()];
        }
        let listed: std::io::Result<Vec<_>> =
            std::fs::read_dir(&source.path).and_then(|items| items.take(MAX_LISTS + 1).collect());
        match listed {
            Ok(items) if items.len() > MAX_LISTS => {
                self.error(
                    &source.place,
                    format!(
                        "{} holds more than {MAX_LISTS} files",
                        source.path.display()
                    ),
                    None,
                );
                Vec::new()
            }
            Ok(items) => {
                let known = |path: &PathBuf| {
                    path.extension()
                        .and_then(|extension| extension.to_str())
                        .is_some_and(|extension| {
                            matches!(extension, "crl" | "pem" | "crt" | "cer" | "der")
                        })
                };
                let mut paths: Vec<_> = items
                    .iter()
                    .map(std::fs::DirEntry::path)
                    .filter(known)
                    .collect();
                paths.sort();
                paths
            }
            Err(error) => {
                self.error(
                    &source.place,
                    format!("cannot list {}: {error}", source.path.display()),
                    None,
                );
                Vec::new()
            }
        }
    }

    /// The certificates and revocation lists in a file, be it PEM or one list in DER.
    fn pem_or_der(
        &mut self,
        bytes: &[u8],
        path: &Path,
        place: &Place,
    ) -> (Vec<CertificateDer<'static>>, Vec<Vec<u8>>) {
        let (mut certificates, mut lists) = (Vec::new(), Vec::new());
        if bytes.first() == Some(&0x30) {
            return (certificates, vec![bytes.to_vec()]);
        }
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            match section {
                Ok((SectionKind::Certificate, der)) => certificates.push(CertificateDer::from(der)),
                Ok((SectionKind::Crl, der)) => {
                    lists.push(CertificateRevocationListDer::from(der).as_ref().to_vec());
                }
                Ok(_) => {}
                Err(_) => {
                    self.error(
                        place,
                        format!("{} is neither PEM nor DER", path.display()),
                        None,
                    );
                    break;
                }
            }
        }
        (certificates, lists)
    }

    fn error(&mut self, place: &Place, message: impl Into<String>, hint: Option<&str>) {
        self.findings.push(Finding::error(place, message, hint));
    }

    fn warning(&mut self, place: &Place, message: impl Into<String>, hint: Option<&str>) {
        self.findings.push(Finding {
            severity: Severity::Warning,
            ..Finding::error(place, message, hint)
        });
    }
}

fn rates(rate: &Rate, kept: Option<&Arc<Rates>>) -> Option<Arc<Rates>> {
    let Rate::PerClient { requests, every } = rate else {
        return None;
    };
    match kept {
        Some(kept) if kept.quota() == (*requests, *every) => Some(Arc::clone(kept)),
        _ => Rates::new(*requests, *every).map(Arc::new),
    }
}

fn place_of(secret: &Secret) -> &Place {
    match secret {
        Secret::File(file) => &file.place,
        Secret::Env(name) | Secret::Credential(name) => &name.place,
    }
}

fn read_into(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    let file =
        File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !regular {
        return Err(format!("{} is not a file", path.display()));
    }
    file.take(limit + 1)
        .read_to_end(bytes)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > limit {
        return Err(format!("{} is larger than {limit} bytes", path.display()));
    }
    Ok(())
}

fn unix_now() -> i64 {
    let now = audit::event::Time::from_system(SystemTime::now());
    i64::try_from(now.0 / 1_000_000_000).unwrap_or(i64::MAX)
}
