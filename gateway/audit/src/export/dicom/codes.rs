//! The codes of audit messages: DICOM PS3.16 (DCM), RFC 3881, FHIR, IHE BALP.

/// Code, code system, meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code<'a>(pub(super) &'a str, pub(super) &'a str, pub(super) &'a str);

pub(super) const DCM: &str = "DCM";
pub(super) const RFC_3881: &str = "RFC-3881";
pub(super) const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";

pub(super) const APPLICATION_ACTIVITY: Code<'_> = Code("110100", DCM, "Application Activity");
pub(super) const AUDIT_LOG_USED: Code<'_> = Code("110101", DCM, "Audit Log Used");
pub(super) const PATIENT_RECORD: Code<'_> = Code("110110", DCM, "Patient Record");
pub(super) const QUERY: Code<'_> = Code("110112", DCM, "Query");
pub(super) const SECURITY_ALERT: Code<'_> = Code("110113", DCM, "Security Alert");
pub(super) const REST: Code<'_> = Code(
    "rest",
    "http://terminology.hl7.org/CodeSystem/audit-event-type",
    "Restful Operation",
);

pub(super) const APPLICATION_START: Code<'_> = Code("110120", DCM, "Application Start");
pub(super) const APPLICATION_STOP: Code<'_> = Code("110121", DCM, "Application Stop");
pub(super) const NODE_AUTHENTICATION: Code<'_> = Code("110126", DCM, "Node Authentication");
pub(super) const SECURITY_CONFIGURATION: Code<'_> = Code("110129", DCM, "Security Configuration");
pub(super) const RECORDING_STOPPED: Code<'_> = Code("110133", DCM, "Audit Recording Stopped");

pub(super) const APPLICATION: Code<'_> = Code("110150", DCM, "Application");
pub(super) const DESTINATION: Code<'_> = Code("110152", DCM, "Destination Role ID");
pub(super) const SOURCE: Code<'_> = Code("110153", DCM, "Source Role ID");

pub(super) const PATIENT_NUMBER: Code<'_> = Code("2", RFC_3881, "Patient Number");
pub(super) const URI: Code<'_> = Code("12", RFC_3881, "URI");
pub(super) const NODE_ID: Code<'_> = Code("110182", DCM, "Node ID");
pub(super) const REQUEST_ID: Code<'_> = Code(
    "XrequestId",
    "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    "X-Request-Id",
);
