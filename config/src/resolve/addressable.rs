//! Controls that may be weakened when somebody writes down why.
//!
//! Some specifications of 45 CFR 164.312 are addressable: carry them out, or write down why not
//! (164.306(d)(3)). This project holds every default of its own to the same rule: whatever weakens
//! one needs a `rationale` beside it, or there is no configuration. [`ADDRESSABLE`] is the whole
//! list. Every rationale in use becomes a [`Decision`].

use std::collections::BTreeSet;

use super::Draft;
use crate::decision::{Control, Decision};
use crate::error::{Finding, Report, Severity};
use crate::integrity::Demand;
use crate::model::{
    Allow, Audit, Clients, Config, Durability, Rationale, Revocation, Route, Server,
    UpstreamIdentity, WhenStale,
};
use crate::name::SHORTEST_RATIONALE;
use crate::place::{Place, Placed, quoted};

/// One control, what asks for it, and what weakens it.
pub struct Addressable {
    /// The control.
    pub control: Control,
    /// The paragraph that asks for it.
    pub paragraph: &'static str,
    /// What is the case when it is weakened.
    pub weakened: &'static str,
    /// What to do rather than to write a rationale.
    pub instead: &'static str,
    found: Found,
}

/// Who can see that a control is weakened.
enum Found {
    /// The configuration shows it.
    Here(fn(&Draft) -> Vec<Weak<'_>>),
    /// Only whoever looks at the machine can: see [`Config::weak_file_system`].
    OnTheMachine,
}

/// A place where a control is weakened.
struct Weak<'d> {
    place: &'d Place,
    rationale: &'d Rationale,
    /// Which route makes it matter, where that stands elsewhere.
    because: Option<&'d Route>,
}

/// Everything that needs a rationale.
#[rustfmt::skip]
pub const ADDRESSABLE: &[Addressable] = &[
    Addressable {
        control: Control::EphiDeclaredAbsent,
        paragraph: "45 CFR 164.312(b)",
        weakened: "responses of this route leave before their record is durable",
        instead: "leave ephi = false out",
        found: Found::Here(ephi_declared_absent),
    },
    Addressable {
        control: Control::AnyoneOnEphi,
        paragraph: "45 CFR 164.312(a)(1)",
        weakened: "anyone may reach ePHI through this route",
        instead: "name roles",
        found: Found::Here(anyone_on_ephi),
    },
    Addressable {
        control: Control::NoClientCertificates,
        paragraph: "45 CFR 164.312(d)",
        weakened: "clients of this listener have no certificate",
        instead: "write certificates = \"required\"",
        found: Found::Here(no_client_certificates),
    },
    Addressable {
        control: Control::OptionalClientCertificates,
        paragraph: "45 CFR 164.312(d)",
        weakened: "clients of this listener get in without a certificate",
        instead: "write certificates = \"required\"",
        found: Found::Here(optional_client_certificates),
    },
    Addressable {
        control: Control::PlainUpstream,
        paragraph: "45 CFR 164.312(e)(2)(ii)",
        weakened: "messages cross the network without encryption",
        instead: "write the server as https://HOST:PORT",
        found: Found::Here(plain_upstream),
    },
    Addressable {
        control: Control::UnprovenGateway,
        paragraph: "45 CFR 164.312(d)",
        weakened: "this upstream cannot tell the gateway from anybody else who connects",
        instead: "give it a client_certificate over https, or a unix socket",
        found: Found::Here(unproven_gateway),
    },
    Addressable {
        control: Control::UncheckedDigest,
        paragraph: "45 CFR 164.312(c)(2)",
        weakened: "content passes that is not what its digest says",
        instead: "write digest = \"when-present\"",
        found: Found::Here(unchecked_digest),
    },
    Addressable {
        control: Control::StaleCrl,
        paragraph: "45 CFR 164.312(d)",
        weakened: "revoked clients get in when their list is not renewed",
        instead: "write when_stale = \"refuse\"",
        found: Found::Here(stale_crl),
    },
    Addressable {
        control: Control::RevocationOff,
        paragraph: "45 CFR 164.312(d)",
        weakened: "a lost or stolen certificate is good until it expires",
        instead: "name revocation lists: revocation = { crls = [...] }",
        found: Found::Here(revocation_off),
    },
    Addressable {
        control: Control::UnsignedAudit,
        paragraph: "45 CFR 164.312(c)(2)",
        weakened: "nobody signs the audit log, or names patients in it",
        instead: "make keys with `audit keygen` and name them: keys = \"file:audit.keys\"",
        found: Found::Here(unsigned_audit),
    },
    Addressable {
        control: Control::ReadableAudit,
        paragraph: "45 CFR 164.312(a)(2)(iv)",
        weakened: "records are not encrypted: whoever has the disk reads who did what",
        instead: "name who may read them: readers = [\"reader.pem\"]",
        found: Found::Here(readable_audit),
    },
    Addressable {
        control: Control::BufferedAudit,
        paragraph: "45 CFR 164.312(b)",
        weakened: "records of the last moments are lost with the power",
        instead: "write durability = \"durable\"",
        found: Found::Here(buffered_audit),
    },
    Addressable {
        control: Control::ShortRetention,
        paragraph: "45 CFR 164.316(b)(2)(i)",
        weakened: "records of this class can be destroyed before six years are over",
        instead: "write keep_years = 6 or more",
        found: Found::Here(short_retention),
    },
    Addressable {
        control: Control::WeakFileSystem,
        paragraph: "45 CFR 164.312(b)",
        weakened: "the audit log lies on a file system that may not keep what it was told to keep",
        instead: "put the log on a local disk",
        found: Found::OnTheMachine,
    },
];

/// Judges a draft by every row: the decisions that are made in it, and a note for each that is
/// missing its reason.
pub(crate) fn judge(draft: &Draft, report: &mut Report) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for row in ADDRESSABLE {
        let Found::Here(find) = row.found else {
            continue;
        };
        for weak in find(draft) {
            let because = weak.because.map(|route| {
                format!(
                    " (route {} carries ePHI)",
                    quoted(route.name.value.as_str())
                )
            });
            match row.decide(weak.place, weak.rationale, &because.unwrap_or_default()) {
                Ok(decision) => decisions.push(decision),
                Err(finding) => report.note(finding),
            }
        }
    }
    decisions.sort_by(|one, other| one.place.cmp(&other.place));
    warn_of_idle(draft, &decisions, report);
    decisions
}

impl Addressable {
    fn decide(
        &self,
        place: &Place,
        rationale: &Rationale,
        because: &str,
    ) -> Result<Decision, Finding> {
        let Self {
            control,
            paragraph,
            weakened,
            instead,
            ..
        } = *self;
        match rationale {
            Rationale::Given(sentence) => Ok(Decision {
                control,
                paragraph,
                place: place.clone(),
                rationale: sentence.clone(),
            }),
            Rationale::Absent => Err(Finding {
                severity: Severity::Error,
                place: place.clone(),
                message: format!("{weakened}{because}, and no rationale says why ({paragraph})"),
                hint: Some(format!(
                    "{instead}, or write rationale = \"...\" beside it, {SHORTEST_RATIONALE} characters or more"
                )),
            }),
        }
    }
}

impl Config {
    /// What it means that the audit log lies on a file system which may not keep its word
    /// (`seen`: its type, such as `tmpfs`): the decision, if `[audit]` holds a rationale.
    ///
    /// Fails closed: without a rationale it is an error, and the log must not be opened.
    pub fn weak_file_system(&self, seen: &str) -> Result<Decision, Finding> {
        let row = ADDRESSABLE
            .iter()
            .find(|row| row.control == Control::WeakFileSystem)
            .expect("the table has a row for file systems");
        row.decide(
            &self.audit.directory.place,
            &self.audit.rationale,
            &format!(" ({seen})"),
        )
    }
}

fn ephi_declared_absent(draft: &Draft) -> Vec<Weak<'_>> {
    let routes = draft.routes.iter().filter(|route| !route.ephi.value);
    routes
        .map(|route| weak(&route.ephi.place, &route.rationale))
        .collect()
}

fn anyone_on_ephi(draft: &Draft) -> Vec<Weak<'_>> {
    let routes = ephi(draft).filter(|route| route.allow.value == Allow::Anyone);
    routes
        .map(|route| weak(&route.allow.place, &route.rationale))
        .collect()
}

fn no_client_certificates(draft: &Draft) -> Vec<Weak<'_>> {
    listeners_with_ephi(draft, |clients| matches!(clients, Clients::None))
}

fn optional_client_certificates(draft: &Draft) -> Vec<Weak<'_>> {
    listeners_with_ephi(draft, |clients| matches!(clients, Clients::Optional { .. }))
}

fn listeners_with_ephi(draft: &Draft, weakens: fn(&Clients) -> bool) -> Vec<Weak<'_>> {
    let listeners = draft
        .listeners
        .iter()
        .filter(|(_, listener)| weakens(&listener.clients.value));
    listeners
        .filter_map(|(name, listener)| {
            let on_it = |route: &&Route| route.listeners.iter().any(|on| on.value == *name);
            let because = Some(ephi(draft).find(on_it)?);
            Some(Weak {
                because,
                ..weak(&listener.clients.place, &listener.rationale)
            })
        })
        .collect()
}

fn plain_upstream(draft: &Draft) -> Vec<Weak<'_>> {
    let plain = |server: &Server| match server {
        Server::Http { authority } => !authority.host.is_loopback(),
        Server::Https { .. } | Server::Unix { .. } => false,
    };
    let upstreams = draft
        .upstreams
        .values()
        .filter(|upstream| plain(&upstream.server.value));
    upstreams
        .map(|upstream| weak(&upstream.server.place, &upstream.rationale))
        .collect()
}

fn unproven_gateway(draft: &Draft) -> Vec<Weak<'_>> {
    let unproven = |server: &Server| match server {
        Server::Http { .. } => true,
        Server::Https { identity, .. } => *identity == UpstreamIdentity::Nothing,
        Server::Unix { .. } => false,
    };
    let upstreams = draft
        .upstreams
        .iter()
        .filter(|(_, upstream)| unproven(&upstream.server.value));
    upstreams
        .filter_map(|(name, upstream)| {
            let because = Some(ephi(draft).find(|route| route.upstream.value == *name)?);
            Some(Weak {
                because,
                ..weak(&upstream.server.place, &upstream.rationale)
            })
        })
        .collect()
}

fn unchecked_digest(draft: &Draft) -> Vec<Weak<'_>> {
    let routes = draft.routes.iter();
    let unchecked = routes.filter(|route| route.digest.value == Demand::Off);
    unchecked
        .map(|route| weak(&route.digest.place, &route.rationale))
        .collect()
}

fn stale_crl(draft: &Draft) -> Vec<Weak<'_>> {
    revocations(draft, |revocation| {
        matches!(
            revocation,
            Revocation::Crls {
                when_stale: WhenStale::Accept,
                ..
            }
        )
    })
}

fn revocation_off(draft: &Draft) -> Vec<Weak<'_>> {
    revocations(draft, |revocation| matches!(revocation, Revocation::Off))
}

fn revocations(draft: &Draft, weakens: fn(&Revocation) -> bool) -> Vec<Weak<'_>> {
    let sets = draft
        .trust
        .values()
        .filter(|trust| weakens(&trust.revocation.value));
    sets.map(|trust| weak(&trust.revocation.place, &trust.rationale))
        .collect()
}

fn unsigned_audit(draft: &Draft) -> Vec<Weak<'_>> {
    audit_without(draft, |audit| audit.keys.is_none())
}

fn readable_audit(draft: &Draft) -> Vec<Weak<'_>> {
    audit_without(draft, |audit| audit.readers.is_empty())
}

fn audit_without(draft: &Draft, lacks: fn(&Audit) -> bool) -> Vec<Weak<'_>> {
    let audit = draft.audit.iter().filter(|audit| lacks(audit));
    audit
        .map(|audit| weak(&audit.place, &audit.rationale))
        .collect()
}

fn buffered_audit(draft: &Draft) -> Vec<Weak<'_>> {
    let audit = draft
        .audit
        .iter()
        .filter(|audit| audit.durability.value == Durability::Buffered);
    audit
        .map(|audit| weak(&audit.durability.place, &audit.rationale))
        .collect()
}

fn short_retention(draft: &Draft) -> Vec<Weak<'_>> {
    let classes = draft.audit.iter().flat_map(|audit| audit.classes.values());
    let short = classes.filter(|class| class.keep_years.value.get() < 6);
    short
        .map(|class| weak(&class.keep_years.place, &class.rationale))
        .collect()
}

fn ephi(draft: &Draft) -> impl Iterator<Item = &Route> {
    draft.routes.iter().filter(|route| route.ephi.value)
}

fn weak<'d>(place: &'d Place, rationale: &'d Rationale) -> Weak<'d> {
    Weak {
        place,
        rationale,
        because: None,
    }
}

/// A rationale that covers nothing: it was left behind, or what it is about was meant to be here.
/// That of the audit log is left alone, for only the machine shows whether it is needed.
fn warn_of_idle(draft: &Draft, decisions: &[Decision], report: &mut Report) {
    let in_use: BTreeSet<&Place> = decisions
        .iter()
        .map(|decision| &decision.rationale.place)
        .collect();
    let trust = draft.trust.values().map(|trust| &trust.rationale);
    let listeners = draft.listeners.values().map(|listener| &listener.rationale);
    let upstreams = draft.upstreams.values().map(|upstream| &upstream.rationale);
    let routes = draft.routes.iter().map(|route| &route.rationale);
    let classes = draft.audit.iter().flat_map(|audit| audit.classes.values());
    let classes = classes.map(|class| &class.rationale);
    let all = trust.chain(listeners).chain(upstreams);
    for rationale in all.chain(routes).chain(classes) {
        if let Rationale::Given(Placed { place, .. }) = rationale
            && !in_use.contains(place)
        {
            let hint = "leave it out; a reader would look for what it excuses";
            report.warning(place, "nothing here needs a rationale", hint);
        }
    }
}
