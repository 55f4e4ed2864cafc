//! Audit messages as syslog messages (RFC 5424), counted in octets (RFC 5425 4.3).
//!
//! Standard: DICOM PS3.15 A.6, IHE ITI-20 3.20.4.1.2: facility 10, severity 5, or 4 for a warning; the
//! message id `IHE+RFC-3881`. Each message ends with a line feed that is counted with it: it is white
//! space behind the document, and a file of messages has one a line.

use super::Source;
use crate::event::Time;

/// How much attention a message asks for (RFC 5424 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// 5: normal but significant.
    Notice,
    /// 4.
    Warning,
}

/// Security/authorization messages (RFC 5424 6.2.1).
const FACILITY: u8 = 10;

/// What ITI-20 asks for. DICOM's own `DICOM+RFC3881` is for the events of DICOM alone.
const MESSAGE_ID: &str = "IHE+RFC-3881";

/// Adds a message, with its length before it.
pub(super) fn frame(
    severity: Severity,
    time: Time,
    source: &Source,
    document: &str,
    out: &mut Vec<u8>,
) {
    let priority = FACILITY * 8
        + match severity {
            Severity::Notice => 5,
            Severity::Warning => 4,
        };
    let host = printable(&source.host, 255);
    let process = source.process.map_or("-".to_owned(), |id| id.to_string());
    let message =
        format!("<{priority}>1 {time} {host} phigate {process} {MESSAGE_ID} - {document}\n");
    out.extend_from_slice(format!("{} ", message.len()).as_bytes());
    out.extend_from_slice(message.as_bytes());
}

/// `PRINTUSASCII`, no longer than that, or the nil value.
fn printable(text: &str, most: usize) -> String {
    let fits = text.chars().filter(char::is_ascii_graphic).take(most);
    let text: String = fits.collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing;

    #[test]
    fn a_message_has_the_header_of_rfc_5424_and_its_length_before_it() {
        let mut out = Vec::new();
        let time = Time(1_800_000_000_000_001_000);
        frame(Severity::Notice, time, &testing::source(), "<a/>", &mut out);
        let text = String::from_utf8(out).unwrap();
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse(), Ok(message.len()));
        assert_eq!(
            message,
            "<85>1 2027-01-15T08:00:00.000001Z gate-1 phigate 4711 IHE+RFC-3881 - <a/>\n"
        );
    }

    #[test]
    fn a_host_without_a_name_is_nil() {
        assert_eq!(printable("", 255), "-");
        assert_eq!(printable("a b\u{e9}\n", 255), "ab");
        assert_eq!(printable(&"x".repeat(300), 255).len(), 255);
    }
}
