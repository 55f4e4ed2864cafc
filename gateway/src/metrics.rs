//! Counters and gauges in the Prometheus text format, for the admin listener.
//!
//! Labels are names from the configuration, codes and status classes: bounded sets. Never a device,
//! an address, a host or a path: device names are identifiers too (45 CFR 164.514(b)(2)(i)(M)).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use audit::clock::State;
use audit::event::{Code, Time};
use audit::log::Status;
use audit::ship::witnesses::Stand;
use config::RouteName;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The metrics of a process. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    connections: Family<ListenerLabels, Gauge>,
    connections_ended: Family<EndLabels, Counter>,
    handshakes_refused: Family<CodeLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    unrecorded_answers: Counter,
    unrecorded_closes: Counter,
    panics: Counter,
    reloads: Family<OutcomeLabels, Counter>,
    generation: Gauge<u64, AtomicU64>,
    access_lost: Counter,
    audit: AuditGauges,
    expiry: Family<CertificateLabels, Gauge>,
    stale: Family<TrustLabels, Gauge>,
    renewals: Family<RenewalLabels, Counter>,
    fetches: Family<RenewalLabels, Counter>,
    unfetched: Family<TrustLabels, Gauge>,
    stapled: Family<CertificateLabels, Gauge>,
    staple_fetches: Family<StapleLabels, Counter>,
    questions: Family<RenewalLabels, Counter>,
    witnesses: WitnessGauges,
}

/// What witnesses of the audit log say; read off when somebody asks.
#[derive(Debug, Default)]
struct WitnessGauges {
    entries: Family<WitnessLabels, Gauge<u64, AtomicU64>>,
    succeeded: Family<WitnessLabels, Gauge<u64, AtomicU64>>,
    failures: Family<WitnessLabels, Gauge<u64, AtomicU64>>,
    lost: Family<WitnessLabels, Gauge<u64, AtomicU64>>,
    conflict: Family<WitnessLabels, Gauge<u64, AtomicU64>>,
}

impl WitnessGauges {
    fn register(registry: &mut Registry) -> WitnessGauges {
        let gauges = WitnessGauges::default();
        macro_rules! register {
            ($field:ident, $name:literal, $help:literal) => {
                registry.register($name, $help, gauges.$field.clone());
            };
        }
        register!(
            entries,
            "audit_witnessed_entries",
            "Entries of the audit log that a witness cosigned"
        );
        register!(
            succeeded,
            "audit_witness_success_seconds",
            "When a witness last knew all that was signed, seconds since 1970; 0 before it did"
        );
        register!(
            failures,
            "audit_witness_failures",
            "How often a witness could not be asked, or gave no cosignature"
        );
        register!(
            lost,
            "audit_witness_lost",
            "1 while a witness lags for longer than it may"
        );
        register!(
            conflict,
            "audit_witness_conflict",
            "1 while a witness remembers another log than this one"
        );
        gauges
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WitnessLabels {
    witness: String,
}

/// What the audit log says of itself; read off when somebody asks.
#[derive(Debug, Default)]
struct AuditGauges {
    available: Gauge,
    entries: Gauge<u64, AtomicU64>,
    queued: Gauge<u64, AtomicU64>,
    batches: Gauge<u64, AtomicU64>,
    bytes: Gauge<u64, AtomicU64>,
    write_micros: Gauge<u64, AtomicU64>,
    free: Gauge<u64, AtomicU64>,
    signed: Gauge<u64, AtomicU64>,
    signed_at: Gauge,
    clock_synchronized: Gauge,
    clock_max_error: Gauge<f64, AtomicU64>,
    clock_steps: Gauge<u64, AtomicU64>,
}

impl AuditGauges {
    fn register(registry: &mut Registry) -> AuditGauges {
        let gauges = AuditGauges::default();
        macro_rules! register {
            ($field:ident, $name:literal, $help:literal) => {
                registry.register($name, $help, gauges.$field.clone());
            };
        }
        register!(
            available,
            "audit_available",
            "1 while the audit log takes entries"
        );
        register!(entries, "audit_entries", "Entries in the audit log");
        register!(queued, "audit_queued", "Entries that wait for the disk");
        register!(batches, "audit_batches", "Batches written");
        register!(bytes, "audit_bytes", "Bytes written to the audit log");
        register!(
            write_micros,
            "audit_write_microseconds",
            "Time spent waiting for the disk"
        );
        register!(
            free,
            "audit_free_bytes",
            "Bytes free on the audit log's file system"
        );
        register!(
            signed,
            "audit_signed_entries",
            "Entries of the audit log that the last checkpoint is about"
        );
        register!(
            signed_at,
            "audit_checkpoint_seconds",
            "When the audit log was last signed, seconds since 1970; 0 before this process did"
        );
        register!(
            clock_synchronized,
            "audit_clock_synchronized",
            "1 while the kernel says that the clock is synchronized; 0 also when it does not say"
        );
        register!(
            clock_max_error,
            "audit_clock_max_error_seconds",
            "The maximum error of the clock, by the kernel's word; not a number while it does not say"
        );
        register!(
            clock_steps,
            "audit_clock_steps",
            "How often the clock was set by more than a second while this process ran"
        );
        gauges
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: RouteLabel,
    class: Class,
}

/// The name of a route; nothing for a request that took none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RouteLabel(Option<RouteName>);

impl EncodeLabelValue for RouteLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = self.0.as_ref().map_or("", RouteName::as_str);
        EncodeLabelValue::encode(&name, encoder)
    }
}

/// The class of a status; `none` for a request that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Class(u16);

impl EncodeLabelValue for Class {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let class = match self.0 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "none",
        };
        EncodeLabelValue::encode(&class, encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    listener: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    certificate: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrustLabels {
    trust: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RenewalLabels {
    trust: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StapleLabels {
    certificate: String,
    outcome: &'static str,
}

/// How an attempt to fetch a revocation list, or an OCSP answer, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome {
    /// Another one than before came.
    Updated,
    /// It is the same.
    Unchanged,
    /// What came does not count.
    Refused,
    /// Nothing came.
    Failed,
}

impl FetchOutcome {
    fn name(self) -> &'static str {
        match self {
            FetchOutcome::Updated => "updated",
            FetchOutcome::Unchanged => "unchanged",
            FetchOutcome::Refused => "refused",
            FetchOutcome::Failed => "failed",
        }
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("phigate");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let inner = Inner {
            requests: register!(
                "requests",
                "Requests by route and class of status",
                Family::default()
            ),
            request_seconds: register!(
                "request_seconds",
                "Time from the head of a request to the end of its answer",
                Histogram::new([
                    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
                    10.0
                ])
            ),
            connections: register!("connections", "Established connections", Family::default()),
            connections_ended: register!(
                "connections_ended",
                "Established connections that ended, by code",
                Family::default()
            ),
            handshakes_refused: register!(
                "handshakes_refused",
                "Peers turned away before a connection was established, by code",
                Family::default()
            ),
            refusals: register!(
                "refusals",
                "Requests that were refused, by code and by whose fault it is",
                Family::default()
            ),
            unrecorded_answers: register!(
                "unrecorded_answers",
                "Answers 503 because nothing could be recorded",
                Counter::default()
            ),
            unrecorded_closes: register!(
                "unrecorded_closes",
                "Ends of connections that were given up because the audit log had no room for too long",
                Counter::default()
            ),
            panics: register!(
                "panics",
                "Defects that ended a connection",
                Counter::default()
            ),
            reloads: register!(
                "reloads",
                "Configurations that were put in force or refused",
                Family::default()
            ),
            generation: register!(
                "generation",
                "Number of the configuration in force",
                Gauge::default()
            ),
            access_lost: register!(
                "access_log_lost",
                "Lines of the access log that found no room",
                Counter::default()
            ),
            expiry: register!(
                "certificate_expiry_seconds",
                "End of validity of our certificates, seconds since 1970",
                Family::default()
            ),
            stale: register!(
                "revocation_next_update_seconds",
                "When the first revocation list grows stale, seconds since 1970",
                Family::default()
            ),
            renewals: register!(
                "revocation_renewals",
                "Revocation lists that were read anew because they changed: applied, or with some that do not count (refused)",
                Family::default()
            ),
            fetches: register!(
                "revocation_fetches",
                "Attempts to fetch a revocation list",
                Family::default()
            ),
            unfetched: register!(
                "revocation_unfetched",
                "How many revocation lists could not be fetched when they were last asked for",
                Family::default()
            ),
            stapled: register!(
                "staple_next_update_seconds",
                "When the OCSP answer ends that is stapled to one of our certificates, seconds since 1970; 0 while none is",
                Family::default()
            ),
            staple_fetches: register!(
                "staple_fetches",
                "Attempts to have an OCSP answer about one of our certificates",
                Family::default()
            ),
            questions: register!(
                "ocsp_questions",
                "Questions to responders about the certificates of clients",
                Family::default()
            ),
            audit: AuditGauges::register(&mut registry),
            witnesses: WitnessGauges::register(&mut registry),
            registry,
        };
        Metrics {
            inner: Arc::new(inner),
        }
    }

    /// A request ended.
    pub fn request(&self, route: Option<&RouteName>, status: u16, took: Duration) {
        let labels = RequestLabels {
            route: RouteLabel(route.cloned()),
            class: Class(status / 100),
        };
        self.inner.requests.get_or_create(&labels).inc();
        self.inner.request_seconds.observe(took.as_secs_f64());
    }

    /// A connection was established.
    pub fn connection_opened(&self, listener: &str) {
        self.inner
            .connections
            .get_or_create(&ListenerLabels {
                listener: listener.to_owned(),
            })
            .inc();
    }

    /// It ended.
    pub fn connection_closed(&self, listener: &str, code: Code) {
        self.inner
            .connections
            .get_or_create(&ListenerLabels {
                listener: listener.to_owned(),
            })
            .dec();
        self.inner
            .connections_ended
            .get_or_create(&EndLabels {
                listener: listener.to_owned(),
                code: code.name(),
            })
            .inc();
        if code == Code::Panic {
            self.inner.panics.inc();
        }
    }

    /// A peer was turned away.
    pub fn handshakes_refused(&self, code: Code) {
        self.inner
            .handshakes_refused
            .get_or_create(&CodeLabels { code: code.name() })
            .inc();
    }

    /// A request was refused.
    pub fn refused(&self, code: Code, fault: &'static str) {
        self.inner
            .refusals
            .get_or_create(&RefusalLabels {
                code: code.name(),
                fault,
            })
            .inc();
    }

    /// An answer said that nothing could be recorded.
    pub fn unrecorded_answer(&self) {
        self.inner.unrecorded_answers.inc();
    }

    /// The end of a connection was given up.
    pub fn close_unrecorded(&self) {
        self.inner.unrecorded_closes.inc();
    }

    /// A line of the access log found no room.
    pub fn access_line_lost(&self) {
        self.inner.access_lost.inc();
    }

    /// A configuration was put in force, or refused.
    pub fn reload(&self, accepted: bool, generation: u64) {
        let outcome = if accepted { "accepted" } else { "refused" };
        self.inner
            .reloads
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
        self.inner.generation.set(generation);
    }

    /// Forgets every date of the configuration that was in force: what left it must not alarm.
    pub fn forget_dates(&self) {
        self.inner.expiry.clear();
        self.inner.stale.clear();
        self.inner.stapled.clear();
    }

    /// The OCSP answer that is stapled to one of our certificates ends then; nothing while none is.
    pub fn staple_next_update(&self, certificate: &str, next_update: Option<i64>) {
        let labels = CertificateLabels {
            certificate: certificate.to_owned(),
        };
        let stapled = self.inner.stapled.get_or_create(&labels);
        stapled.set(next_update.unwrap_or_default());
    }

    /// An OCSP answer about one of our certificates was asked for.
    pub fn staple_fetch(&self, certificate: &str, outcome: FetchOutcome) {
        let labels = StapleLabels {
            certificate: certificate.to_owned(),
            outcome: outcome.name(),
        };
        self.inner.staple_fetches.get_or_create(&labels).inc();
    }

    /// One of our certificates ends then.
    pub fn certificate_expiry(&self, certificate: &str, not_after: i64) {
        self.inner
            .expiry
            .get_or_create(&CertificateLabels {
                certificate: certificate.to_owned(),
            })
            .set(not_after);
    }

    /// The revocation lists of a trust set grow stale then.
    pub fn revocation_next_update(&self, trust: &str, next_update: i64) {
        self.inner
            .stale
            .get_or_create(&TrustLabels {
                trust: trust.to_owned(),
            })
            .set(next_update);
    }

    /// Revocation lists of a trust set were read anew; `is_sound` when all of them count.
    pub fn revocation_renewal(&self, trust: &str, is_sound: bool) {
        let labels = RenewalLabels {
            trust: trust.to_owned(),
            outcome: if is_sound { "applied" } else { "refused" },
        };
        self.inner.renewals.get_or_create(&labels).inc();
    }

    /// A revocation list was asked for.
    pub fn revocation_fetch(&self, trust: &str, outcome: FetchOutcome) {
        let labels = RenewalLabels {
            trust: trust.to_owned(),
            outcome: outcome.name(),
        };
        self.inner.fetches.get_or_create(&labels).inc();
    }

    /// A responder was asked about the certificate of a client, with this outcome.
    pub fn ocsp_question(&self, trust: &str, outcome: &'static str) {
        let labels = RenewalLabels {
            trust: trust.to_owned(),
            outcome,
        };
        self.inner.questions.get_or_create(&labels).inc();
    }

    /// How many lists of each trust set cannot be fetched.
    pub fn revocation_unfetched(&self, counts: &BTreeMap<&str, i64>) {
        let unfetched = &self.inner.unfetched;
        // A trust set that is gone must not alarm.
        unfetched.clear();
        for (trust, count) in counts {
            let labels = TrustLabels {
                trust: (*trust).to_owned(),
            };
            unfetched.get_or_create(&labels).set(*count);
        }
    }

    /// A witness of the audit log stands like this.
    pub fn witness(&self, stand: &Stand) {
        let gauges = &self.inner.witnesses;
        let labels = WitnessLabels {
            witness: stand.name.clone(),
        };
        for (gauge, value) in [
            (&gauges.entries, stand.witnessed),
            (&gauges.succeeded, stand.succeeded),
            (&gauges.failures, stand.failures),
            (&gauges.lost, stand.is_lost.into()),
            (&gauges.conflict, stand.is_conflict.into()),
        ] {
            gauge.get_or_create(&labels).set(value);
        }
    }

    /// All of it as text.
    pub fn render(&self, log: &Status) -> String {
        let audit = &self.inner.audit;
        audit.available.set(i64::from(log.available));
        audit.entries.set(log.durable);
        audit.queued.set(log.queued as u64);
        audit.batches.set(log.batches);
        audit.bytes.set(log.bytes);
        audit.write_micros.set(log.write_micros);
        audit.free.set(log.free);
        audit.signed.set(log.signed);
        let signed_at = log.signed_at.map_or(0, Time::unix_seconds);
        audit.signed_at.set(signed_at);
        let is_synchronized = log.clock.is_some_and(State::is_synchronized);
        audit.clock_synchronized.set(i64::from(is_synchronized));
        let max_error = log.clock.and_then(State::max_error_us);
        let max_error = max_error.map(|us| Duration::from_micros(us).as_secs_f64());
        audit.clock_max_error.set(max_error.unwrap_or(f64::NAN));
        audit.clock_steps.set(log.clock_steps);
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.inner.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::clock::Unknown;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.request(
            Some(&RouteName::parse("patients").unwrap()),
            200,
            Duration::from_millis(1),
        );
        metrics.request(None, 0, Duration::from_millis(1));
        metrics.handshakes_refused(Code::PlainHttp);
        metrics.connection_opened("devices");
        metrics.connection_closed("devices", Code::Panic);
        let text = metrics.render(&status());
        for line in [
            "phigate_requests_total{route=\"patients\",class=\"2xx\"} 1",
            "phigate_requests_total{route=\"\",class=\"none\"} 1",
            "phigate_handshakes_refused_total{code=\"plain_http\"} 1",
            "phigate_connections{listener=\"devices\"} 0",
            "phigate_panics_total 1",
            "phigate_audit_available 1",
            "phigate_audit_entries 7",
            "phigate_audit_signed_entries 5",
            "phigate_audit_checkpoint_seconds 1700000000",
            "phigate_audit_clock_synchronized 1",
            "phigate_audit_clock_max_error_seconds 0.0025",
            "phigate_audit_clock_steps 3",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_clock_that_is_not_known_to_be_synchronized_is_not() {
        let metrics = Metrics::new();
        let lost = State::Unsynchronized {
            max_error_us: 16_000_000,
        };
        for (clock, error) in [
            (Some(lost), "16.0"),
            (Some(State::Unknown(Unknown::Refused)), "NaN"),
            (None, "NaN"),
        ] {
            let text = metrics.render(&Status { clock, ..status() });
            for line in [
                "phigate_audit_clock_synchronized 0\n".to_owned(),
                format!("phigate_audit_clock_max_error_seconds {error}\n"),
            ] {
                assert!(text.contains(&line), "{line} is missing in\n{text}");
            }
        }
    }

    #[test]
    fn a_certificate_that_left_the_configuration_has_no_date() {
        let metrics = Metrics::new();
        metrics.certificate_expiry("old", 1);
        metrics.revocation_next_update("gone", 1);
        metrics.forget_dates();
        metrics.certificate_expiry("new", 2);
        let text = metrics.render(&status());
        assert!(text.contains("certificate=\"new\"} 2"), "{text}");
        assert!(
            !text.contains("\"old\"") && !text.contains("\"gone\""),
            "{text}"
        );
    }

    fn status() -> Status {
        Status {
            available: true,
            durable: 7,
            queued: 0,
            batches: 1,
            bytes: 4096,
            write_micros: 3,
            free: 9,
            signed: 5,
            signed_at: Some(Time(1_700_000_000_123_456_789)),
            clock: Some(State::Synchronized { max_error_us: 2500 }),
            clock_steps: 3,
        }
    }
}
