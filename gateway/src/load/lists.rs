//! The revocation lists of a trust set, and whether they may follow those in force.
//!
//! Fails closed: a file that is not understood, or a list that is older than the one in force, is a
//! mistake. At start and at a reload nothing comes into force then; when lists are renewed by themselves
//! (`renew`), what is good does, and the last good ones stand for the others. Whoever can write the directory can
//! put lists there that the authority signed long ago, and would take revocations back with them. What is in
//! force is known as long as the process lives: a restart has nothing to hold a list against, unless it was
//! fetched.

use audit::event::Time;
use config::{FilePath, ListSource, Place, Severity, Trust, TrustName};

use super::files::{COPY_AGAIN, read_into};
use super::kept::fetched;
use super::loader::Loader;
use super::look::look;
use crate::ca::CaCertificate;
use crate::revocation::{Index, List, ListFault, MAX_LIST_BYTES, Seen};
use crate::tls;

/// No trust set has more of lists than this, bytes: they are held at once while they are judged.
const MAX_BYTES: u64 = 4 * MAX_LIST_BYTES;

/// No trust set takes more certificates than this from beside its lists: every handshake, and every
/// list, has to look through them.
const MAX_CERTIFICATES: usize = 100;

/// A list that was not judged yet.
struct Found<'a> {
    der: Vec<u8>,
    /// Where it comes from, for messages.
    origin: String,
    place: &'a Place,
    is_fetched: bool,
}

/// What was found before it is judged.
#[derive(Default)]
struct All<'a> {
    found: Vec<Found<'a>>,
    bytes: u64,
    /// Whether a list that was to be fetched is not at hand.
    is_awaited: bool,
}

/// The lists of a trust set.
pub(super) struct Lists {
    /// What they say.
    pub(super) index: Index,
    /// How the places looked that they were read from.
    pub(super) seen: Seen,
    /// Whether a list that was to be fetched is not at hand.
    pub(super) is_awaited: bool,
    /// Whether something could not be read, or does not count. What is in force still stands for it.
    pub(super) is_broken: bool,
}

impl Loader {
    /// The lists that this trust set names; `previous` is what is in force of them.
    /// Certificates of authorities that lie beside them join `intermediates`: they are needed for the
    /// signatures of the lists.
    pub(super) fn lists(
        &mut self,
        name: &TrustName,
        trust: &Trust,
        roots: &[CaCertificate],
        intermediates: &mut Vec<CaCertificate>,
        previous: Option<&Index>,
    ) -> Lists {
        // Before anything is read: what changes meanwhile looks different later.
        let seen = look(name, trust);
        let sound = self.findings.len();
        let all = self.find(name, trust, intermediates);
        let mut is_awaited = all.is_awaited;
        let authorities: Vec<&CaCertificate> = roots.iter().chain(intermediates.iter()).collect();
        let mut lists = Vec::new();
        let mut origins = Vec::new();
        for Found {
            der,
            origin,
            place,
            is_fetched,
        } in all.found
        {
            match List::read(&der, &authorities, tls::signature_algorithms(), self.now) {
                Ok(list) => {
                    self.remark(&list, &origin, place);
                    lists.push(list);
                    origins.push((origin, place));
                }
                Err(fault) if is_fetched => {
                    is_awaited = true;
                    let message = format!("what was kept of {origin} does not count: {fault}");
                    self.warning(place, message, Some(FETCHED_AGAIN));
                }
                Err(fault) => {
                    self.error(
                        place,
                        format!("{origin}: {fault}"),
                        Some(what_to_do(&fault)),
                    );
                }
            }
        }
        let mut index = Index::build(lists);
        let mut is_broken = is_awaited || self.has_errors(sound);
        if let Some(previous) = previous {
            is_broken |= self.follow(&mut index, previous, &origins, trust, is_broken);
            if is_broken {
                index.hold(previous);
            }
        }
        Lists {
            index,
            seen,
            is_awaited,
            is_broken,
        }
    }

    /// Whether there is a mistake among the findings, the first of them left out.
    pub(super) fn has_errors(&self, since: usize) -> bool {
        let findings = self.findings.iter().skip(since);
        findings
            .map(|finding| finding.severity)
            .any(|severity| severity == Severity::Error)
    }

    /// Reads the files, and takes lists and certificates out of them.
    fn find<'a>(
        &mut self,
        name: &'a TrustName,
        trust: &'a Trust,
        intermediates: &mut Vec<CaCertificate>,
    ) -> All<'a> {
        let mut all = All::default();
        let most = intermediates.len() + MAX_CERTIFICATES;
        let config::Revocation::Crls { sources, .. } = &trust.revocation.value else {
            return all;
        };
        for source in sources {
            let ListSource::Path(source) = source else {
                continue;
            };
            let before = all.found.len();
            for path in self.files_of(&source.path, &source.place) {
                if self
                    .take(&path, source, &mut all, intermediates, most)
                    .is_none()
                {
                    return all;
                }
            }
            if all.found.len() == before {
                self.error(
                    &source.place,
                    "holds no revocation list",
                    Some(
                        "`pki crl` writes them; so does the authority that issued the certificates",
                    ),
                );
            }
        }
        for (url, path) in fetched(name, trust) {
            let mut der = Vec::new();
            if path.exists() && read_into(&path, MAX_LIST_BYTES, &mut der).is_err() {
                let message = format!("what was kept of {} cannot be read", url.value);
                self.warning(&url.place, message, Some(FETCHED_AGAIN));
            }
            if der.is_empty() {
                all.is_awaited = true;
            } else if self.weigh(&mut all, der.len(), &url.place).is_some() {
                all.found.push(Found {
                    der,
                    origin: url.value.to_string(),
                    place: &url.place,
                    is_fetched: true,
                });
            } else {
                return all;
            }
        }
        all
    }

    /// Takes lists and certificates out of a file. Nothing: there is too much of something, which is noted.
    fn take<'a>(
        &mut self,
        path: &std::path::Path,
        source: &'a FilePath,
        all: &mut All<'a>,
        intermediates: &mut Vec<CaCertificate>,
        most: usize,
    ) -> Option<()> {
        let place = &source.place;
        let Some(bytes) = self.read(path, place, MAX_LIST_BYTES) else {
            return Some(());
        };
        self.weigh(all, bytes.len(), place)?;
        let contents = self.contents(&bytes, path, place);
        for der in contents.certificates {
            if intermediates.iter().any(|known| *known.der() == der) {
                continue;
            }
            match CaCertificate::judge(&der, self.now) {
                Ok(_) if intermediates.len() >= most => {
                    let message =
                        format!("more than {MAX_CERTIFICATES} certificates lie beside the lists");
                    let hint = "take away those of authorities that issued none of the lists";
                    self.error(place, message, Some(hint));
                    return None;
                }
                Ok(authority) => intermediates.push(authority),
                Err(fault) => self.warning(
                    place,
                    format!(
                        "{}: a certificate in it is left out: {fault}",
                        path.display()
                    ),
                    Some("take it away, or put the certificate of an authority there"),
                ),
            }
        }
        all.found
            .extend(contents.lists.into_iter().map(|der| Found {
                der,
                origin: path.display().to_string(),
                place,
                is_fetched: false,
            }));
        Some(())
    }

    /// Counts what was read. Nothing: it is too much, which is noted.
    fn weigh(&mut self, all: &mut All<'_>, bytes: usize, place: &Place) -> Option<()> {
        all.bytes = all.bytes.saturating_add(bytes as u64);
        if all.bytes > MAX_BYTES {
            let message = format!("all lists together are larger than {MAX_BYTES} bytes");
            let hint = "take away lists that nobody needs, or let the authority issue shorter ones";
            self.error(place, message, Some(hint));
            return None;
        }
        Some(())
    }

    /// What a person should know about a list that counts.
    fn remark(&mut self, list: &List, origin: &str, place: &Place) {
        if list.next_update() < self.now {
            let date = Time::from_unix_seconds(list.next_update());
            self.warning(
                place,
                format!("{origin} is out of date since {date}"),
                Some("until there is a fresh one, clients that it covers are refused"),
            );
        }
        // RFC 5280 5.2.3 demands a number of whoever issues lists, and of nobody who reads them to
        // refuse one without. Refused, such lists would make operators turn revocation off; taken,
        // they lose only the order of two that were issued within one second.
        if !list.edition().is_numbered() {
            self.warning(
                place,
                format!(
                    "{origin} carries no number (RFC 5280 5.2.3): its date alone tells which list is newer"
                ),
                Some("let the authority number its lists"),
            );
        }
    }

    /// Holds the new index against the one in force. Says whether a list is older than that. What is no longer
    /// there is not told when something is broken: it may be what was lost.
    fn follow(
        &mut self,
        index: &mut Index,
        previous: &Index,
        origins: &[(String, &Place)],
        trust: &Trust,
        is_broken: bool,
    ) -> bool {
        let succession = index.follow(previous, self.now);
        let is_older = !succession.setbacks.is_empty();
        for setback in succession.setbacks {
            let Some((origin, place)) = origins.get(setback.list) else {
                continue;
            };
            let message = format!(
                "{origin} is older than the list in force ({}; in force is {}), and would take revocations back",
                setback.edition, setback.in_force
            );
            let hint = "put the newest list there; if the authority began to count anew, restart the gateway";
            self.error(place, message, Some(hint));
        }
        for gone in succession.gone {
            if is_broken || is_older {
                break;
            }
            let message = format!(
                "the list of \"{}\" for {} is no longer there: what it alone covered is refused",
                gone.issuer, gone.scope
            );
            let hint = "put it back, unless nobody holds such a certificate any more";
            self.warning(first_source(trust), message, Some(hint));
        }
        is_older
    }

    /// Tells the authorities of which there is no list.
    pub(super) fn uncovered_authorities(
        &mut self,
        place: &Place,
        index: &Index,
        roots: &[CaCertificate],
        intermediates: &[CaCertificate],
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
}

/// What becomes of a file that was fetched and does not count.
const FETCHED_AGAIN: &str = "it is fetched again by itself; look at the disk when this comes often";

/// Where the first source of the lists is named.
fn first_source(trust: &Trust) -> &Place {
    match &trust.revocation.value {
        config::Revocation::Crls { sources, .. } => sources.first().map(ListSource::place),
        config::Revocation::Ocsp | config::Revocation::Off => None,
    }
    .unwrap_or(&trust.revocation.place)
}

/// What to do about a list that does not count.
fn what_to_do(fault: &ListFault) -> &'static str {
    match fault {
        ListFault::Malformed => COPY_AGAIN,
        ListFault::UnknownIssuer { .. } => {
            "put the issuer's certificate beside the list, or name it in `intermediates`"
        }
        ListFault::Signature { .. } => {
            "fetch the list from its authority again; this one was changed, or somebody else signed it"
        }
        ListFault::MayNotSign { .. } => {
            "have the lists signed with a certificate whose key usage holds cRLSign"
        }
        ListFault::FromTheFuture { .. } => "check the clock of this machine",
        ListFault::NoNextUpdate => "let the authority write nextUpdate: `pki crl` does",
        ListFault::Unsupported { .. } => {
            "let the authority issue whole lists, or shards by distribution point"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use config::Severity;
    use rcgen::CertificateRevocationListParams;

    use super::*;
    use crate::revocation::testing::{Ca, NOW, certified, changed, edition, params, usual};

    /// A directory with the certificate of an authority, and lists of it.
    struct Lists {
        directory: tempfile::TempDir,
        ca: Ca,
    }

    impl Lists {
        fn new() -> Lists {
            let lists = Lists {
                directory: tempfile::tempdir().unwrap(),
                ca: usual("one"),
            };
            lists.write("issuing.pem", lists.ca.certificate.pem());
            lists
        }

        fn with(name: &str, list: CertificateRevocationListParams) -> Lists {
            let lists = Lists::new();
            lists.put(name, list);
            lists
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) {
            fs::write(self.directory.path().join(name), content).unwrap();
        }

        fn put(&self, name: &str, list: CertificateRevocationListParams) {
            self.write(name, pem(&self.ca, list));
        }

        /// What is loaded, and what is told of it.
        fn load(&self, previous: Option<&Index>) -> (Index, Vec<(Severity, String)>) {
            let mut loader = Loader::new(NOW);
            let (name, trust) = (TrustName::parse("devices").unwrap(), self.trust());
            let lists = loader.lists(&name, &trust, &[], &mut Vec::new(), previous);
            let findings = loader.findings.into_iter();
            let told = findings.map(|finding| (finding.severity, finding.message));
            (lists.index, told.collect())
        }

        fn trust(&self) -> Trust {
            let place = Place::whole(Path::new("gateway.toml"));
            let source = ListSource::Path(FilePath {
                path: self.directory.path().to_owned(),
                place: place.clone(),
            });
            let crls = config::Revocation::Crls {
                sources: vec![source],
                when_stale: config::WhenStale::Refuse,
                kept: config::ListKeeping::Unstated,
                refresh: std::time::Duration::from_secs(3),
            };
            Trust {
                place: place.clone(),
                roots: Vec::new(),
                intermediates: Vec::new(),
                revocation: config::Placed { value: crls, place },
                ocsp: config::Ocsp::Off,
                identity: config::NameKind::SanUri,
                rationale: config::Rationale::Absent,
            }
        }

        fn in_force(&self) -> Index {
            let (index, told) = self.load(None);
            assert_eq!(told, []);
            index
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for the one call")]
    fn pem(ca: &Ca, list: CertificateRevocationListParams) -> String {
        list.signed_by(&ca.signer).unwrap().pem().unwrap()
    }

    #[track_caller]
    fn one_error(told: &[(Severity, String)], parts: &[&str]) {
        let [(Severity::Error, told)] = told else {
            panic!("{told:?}");
        };
        for part in parts {
            assert!(told.contains(part), "{part:?} in {told}");
        }
    }

    #[test]
    fn a_file_with_neither_a_list_nor_a_certificate_is_named() {
        let lists = Lists::with("good.crl", params(&[5]));
        let whole = pem(&lists.ca, params(&[6]));
        let key = lists.ca.signer.key().serialize_pem();
        for name in [
            "odd.crl", "odd.pem", "odd.crt", "odd.cer", "odd.der", "ODD.CRL",
        ] {
            for content in ["", "not a list", "0", &whole[..whole.len() / 2], &key] {
                lists.write(name, content);
                one_error(&lists.load(None).1, &[name]);
            }
            fs::remove_file(lists.directory.path().join(name)).unwrap();
        }
        for name in ["README", "odd.crl.new", ".odd.crl.swp"] {
            lists.write(name, "not a list");
        }
        lists.in_force();
    }

    #[test]
    fn no_part_of_a_list_is_a_list() {
        let lists = Lists::with("good.crl", params(&[5]));
        let whole = pem(&lists.ca, params(&[6]));
        for end in 0..whole.trim_end().len() {
            lists.write("part.crl", &whole[..end]);
            one_error(&lists.load(None).1, &["part.crl"]);
        }
        let two = format!("{whole}{}", pem(&lists.ca, params(&[7])));
        lists.write("two.crl", &two);
        fs::remove_file(lists.directory.path().join("part.crl")).unwrap();
        assert_eq!(lists.in_force().serials(), 3);
        lists.write("two.crl", &two[..two.len() - 100]);
        one_error(&lists.load(None).1, &["two.crl is not well-formed PEM"]);
    }

    #[test]
    fn a_list_and_a_certificate_may_be_der() {
        let lists = Lists::new();
        fs::remove_file(lists.directory.path().join("issuing.pem")).unwrap();
        lists.write("issuing.cer", lists.ca.certificate.der());
        let der = params(&[5]).signed_by(&lists.ca.signer).unwrap();
        lists.write("issuing.crl", der.der());
        assert_eq!(lists.in_force().serials(), 1);
    }

    #[test]
    fn an_older_list_than_the_one_in_force_is_refused_and_named() {
        let lists = Lists::with("issuing.crl", edition(5, 2, &[7]));
        let in_force = lists.in_force();
        lists.put("issuing.crl", edition(4, 1, &[]));
        let told = lists.load(Some(&in_force)).1;
        let parts = [
            "issuing.crl is older",
            "number 4 of 2026-01-01",
            "number 5 of 2026-01-02",
        ];
        one_error(&told, &parts);
        for list in [edition(5, 2, &[7]), edition(6, 2, &[])] {
            lists.put("issuing.crl", list);
            assert_eq!(lists.load(Some(&in_force)).1, []);
        }
    }

    #[test]
    fn a_list_that_is_no_longer_there_is_warned_of() {
        let lists = Lists::with("issuing.crl", edition(5, 2, &[7]));
        let in_force = lists.in_force();
        let other = usual("other");
        fs::remove_file(lists.directory.path().join("issuing.crl")).unwrap();
        lists.write("other.pem", other.certificate.pem());
        lists.write("other.crl", pem(&other, params(&[])));
        let told = lists.load(Some(&in_force)).1;
        let [(Severity::Warning, told)] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert!(
            told.contains("the list of \"CN=one\" for all certificates is no longer there"),
            "{told}"
        );
    }

    #[test]
    fn a_list_without_a_number_is_warned_of_and_counts() {
        let lists = Lists::new();
        let (number, unknown) = (b"\x06\x03\x55\x1d\x14", b"\x06\x03\x55\x1d\x63");
        lists.write(
            "issuing.crl",
            changed(&lists.ca, params(&[5]), number, unknown),
        );
        let (index, told) = lists.load(None);
        assert_eq!(index.serials(), 1);
        let [(Severity::Warning, told)] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert!(told.contains("issuing.crl carries no number"), "{told}");
    }

    #[test]
    fn a_pipe_in_the_place_of_a_list_is_not_waited_for() {
        let lists = Lists::with("good.crl", params(&[5]));
        let pipe = lists.directory.path().join("pipe.crl");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        one_error(&lists.load(None).1, &["pipe.crl is not a file"]);
    }

    #[test]
    fn no_name_of_a_file_drives_a_terminal_or_begins_a_line() {
        let lists = Lists::with("good.crl", params(&[5]));
        lists.write("\u{1b}[2J\nok: .crl", "");
        one_error(&lists.load(None).1, &[r"\u{1b}[2J\nok: .crl"]);
    }

    #[test]
    fn only_so_many_certificates_beside_the_lists_are_taken_and_each_once() {
        let lists = Lists::with("issuing.crl", params(&[5]));
        let more = |names: std::ops::Range<usize>| -> String {
            let key = lists.ca.signer.key();
            let usages = || vec![rcgen::KeyUsagePurpose::KeyCertSign];
            names
                .map(|name| certified(&name.to_string(), usages(), key).1.pem())
                .collect()
        };
        let most = more(1..MAX_CERTIFICATES);
        lists.write("more.pem", most.clone() + &most);
        lists.in_force();
        lists.write("zz.pem", more(0..1));
        let told = lists.load(None).1;
        one_error(&told, &["more than 100 certificates"]);
    }

    #[test]
    fn more_than_is_held_at_once_is_refused() {
        let lists = Lists::new();
        for at in 0..5 {
            let name = format!("{at}.crl");
            lists.write(&name, "0");
            // Without content on the disk.
            let file = fs::File::options()
                .write(true)
                .open(lists.directory.path().join(&name))
                .unwrap();
            file.set_len(MAX_LIST_BYTES).unwrap();
        }
        let told = lists.load(None).1;
        assert!(
            told.iter()
                .any(|(_, told)| told.contains("all lists together")),
            "{told:?}"
        );
    }
}
