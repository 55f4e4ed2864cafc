//! Every way in which a received message can break the rules: one variant a fault.
//!
//! Standard: the section stands in each row of the table. What this file does not do: it does not
//! decide anything, and it carries no byte of the message, only where the fault is and which limit
//! it crossed. Faults of our own side, when a message cannot be written, are
//! [`EncodeError`](crate::encode::EncodeError).

use std::fmt;

/// Writes the enum, its four exhaustive matches and the list of all its variants from one table,
/// so that a fault cannot be added without its code, status, section and sentence.
macro_rules! faults {
    ($(
        $name:ident $({ $($evidence:ident : $kind:ty),* })? =
            $status:literal, $code:literal, $section:literal, $text:literal;
    )*) => {
        /// A fault in a received message. It ends the connection: after it nobody can say where
        /// the next message would begin.
        ///
        /// The evidence: `at` is where the fault stands, in bytes from the start of the head
        /// (after an ignored empty line) or, for a body and its trailers, from the start of the
        /// body as it was transferred; a field line is named by its start, the trailers by theirs.
        /// `limit` is the limit that was crossed, `lines` how many lines there were, `received` how
        /// many bytes; `status`, `major` and `minor` are the numbers received. [`Error::ALL`] holds
        /// zeros in their places.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Error {
            $(
                #[doc = concat!($section, ": ", $text, ".")]
                $name $({
                    $(#[doc = "See the evidence of [`Error`]."] $evidence: $kind),*
                })?,
            )*
        }

        impl Error {
            /// One of each variant, for tables that must name every code.
            pub const ALL: &'static [Self] = &[
                $(Self::$name $({ $($evidence: 0),* })?),*
            ];

            /// The stable name of the fault in records, metrics and documents.
            pub const fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code),* }
            }

            /// The status with which a server answers a request that has this fault. A gateway that
            /// finds it in the response of an upstream answers 502 instead, whatever stands here.
            pub const fn status(&self) -> u16 {
                match self { $(Self::$name { .. } => $status),* }
            }

            /// The standard and section that the message breaks.
            pub const fn section(&self) -> &'static str {
                match self { $(Self::$name { .. } => $section),* }
            }
        }

        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $({ $($evidence),* })? => {
                        f.write_str(concat!($text, " (", $section))?;
                        $($(write!(f, concat!(", ", stringify!($evidence), " {}"), $evidence)?;)*)?
                        f.write_str(")")
                    })*
                }
            }
        }
    };
}

faults! {
    // lines, in heads and in trailers
    BareLf { at: u64 } = 400, "bare_lf", "RFC 9112 2.2",
        "a line ends in LF without CR";
    BareCr { at: u64 } = 400, "bare_cr", "RFC 9112 2.2",
        "CR is not followed by LF";
    EmptyLine = 400, "empty_line", "RFC 9112 2.2",
        "an empty line stands before the start line";
    HeadTooLarge { limit: usize } = 431, "head_too_large", "RFC 6585 5",
        "the head is longer than the limit in bytes";
    TooManyFields { limit: usize } = 431, "too_many_fields", "RFC 6585 5",
        "there are more field lines than the limit";
    HeadIncomplete { received: usize } = 400, "head_incomplete", "RFC 9112 8",
        "the connection ended within a head";

    // the request line
    RequestLine { at: u64 } = 400, "request_line", "RFC 9112 3",
        "the request line is not three parts with one space between them";
    Method { at: u64 } = 400, "method", "RFC 9110 9.1",
        "the method is not a token";
    MethodTooLong { limit: usize } = 501, "method_too_long", "RFC 9112 3",
        "the method is longer than any that is known";
    TargetTooLong { limit: usize } = 414, "target_too_long", "RFC 9112 3",
        "the request target is longer than the limit in bytes";
    TargetByte { at: u64 } = 400, "target_byte", "RFC 9112 3.2",
        "the request target holds a byte that is not visible ASCII, or a fragment";
    TargetForm { at: u64 } = 400, "target_form", "RFC 9112 3.2",
        "the request target has none of the four forms, or one that its method does not allow";
    TargetAuthority { at: u64 } = 400, "target_authority", "RFC 9110 4.2",
        "the authority of the request target is empty, malformed or holds userinfo";
    Version { at: u64 } = 400, "version", "RFC 9112 2.3",
        "the protocol version is malformed";
    VersionNotSupported { major: u8, minor: u8 } = 505, "version_not_supported", "RFC 9110 15.6.6",
        "the protocol version is neither HTTP/1.0 nor HTTP/1.1";

    // the status line
    StatusLine { at: u64 } = 502, "status_line", "RFC 9112 4",
        "the status line is malformed";
    StatusCode { status: u16 } = 502, "status_code", "RFC 9110 15",
        "the status code is not within 100 to 599";
    ReasonPhrase { at: u64 } = 502, "reason_phrase", "RFC 9112 4",
        "the reason phrase holds a control character";

    // field lines
    ObsoleteFold { at: u64 } = 400, "obsolete_fold", "RFC 9112 5.2",
        "a field line begins with white space";
    FieldWithoutColon { at: u64 } = 400, "field_without_colon", "RFC 9112 5",
        "a field line has no colon";
    FieldNameEmpty { at: u64 } = 400, "field_name_empty", "RFC 9110 5.1",
        "a field has no name";
    SpaceBeforeColon { at: u64 } = 400, "space_before_colon", "RFC 9112 5.1",
        "white space stands between a field name and its colon";
    FieldName { at: u64 } = 400, "field_name", "RFC 9110 5.1",
        "a field name is not a token";
    FieldValue { at: u64 } = 400, "field_value", "RFC 9110 5.5",
        "a field value holds a control character";

    // framing
    ContentLengthWithTransferEncoding = 400, "content_length_with_transfer_encoding", "RFC 9112 6.1",
        "Content-Length stands beside Transfer-Encoding";
    ContentLengthRepeated { lines: usize } = 400, "content_length_repeated", "RFC 9112 6.3",
        "there is more than one Content-Length";
    ContentLengthList = 400, "content_length_list", "RFC 9112 6.3",
        "Content-Length is a list";
    ContentLength = 400, "content_length", "RFC 9110 8.6",
        "Content-Length is not a number of digits alone";
    ContentLengthOverflow = 400, "content_length_overflow", "RFC 9110 8.6",
        "Content-Length does not fit in 64 bits";
    TransferEncodingInHttp10 = 400, "transfer_encoding_in_http10", "RFC 9112 6.1",
        "an HTTP/1.0 message has a Transfer-Encoding";
    TransferEncodingRepeated { lines: usize } = 400, "transfer_encoding_repeated", "RFC 9112 6.1",
        "there is more than one Transfer-Encoding";
    TransferEncoding = 400, "transfer_encoding", "RFC 9112 6.1",
        "Transfer-Encoding applies chunked twice or has an empty member";
    ChunkedNotLast = 400, "chunked_not_last", "RFC 9112 6.3",
        "the last transfer coding is not chunked alone";
    TransferCodingUnsupported = 501, "transfer_coding_unsupported", "RFC 9112 6.1",
        "a transfer coding other than chunked is applied";
    FramingOnBodilessStatus { status: u16 } = 502, "framing_on_bodiless_status", "RFC 9110 8.6",
        "a response that cannot have a body declares one";

    // expectations
    Expectation = 417, "expectation", "RFC 9110 10.1.1",
        "an expectation is not 100-continue";

    // bodies
    BodyIncomplete { at: u64 } = 400, "body_incomplete", "RFC 9112 8",
        "the connection ended before the body did";
    ChunkSize { at: u64 } = 400, "chunk_size", "RFC 9112 7.1",
        "a chunk size is not hexadecimal digits alone";
    ChunkSizeTooLong { at: u64 } = 400, "chunk_size_too_long", "RFC 9112 7.1",
        "a chunk size has more than 16 digits";
    ChunkExtension { at: u64 } = 400, "chunk_extension", "RFC 9112 7.1.1",
        "a chunk has an extension";
    ChunkEnd { at: u64 } = 400, "chunk_end", "RFC 9112 7.1",
        "the data of a chunk is not followed by CRLF";
    TrailersTooLarge { limit: usize } = 431, "trailers_too_large", "RFC 6585 5",
        "the trailers are longer than the limit in bytes";
    TrailerForbidden { at: u64 } = 400, "trailer_forbidden", "RFC 9110 6.5.1",
        "a trailer holds a field that must stand in the head";
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_code_is_unique_and_in_snake_case() {
        let codes: HashSet<_> = Error::ALL.iter().map(Error::code).collect();
        assert_eq!(codes.len(), Error::ALL.len());
        for code in codes {
            assert!(
                code.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{code}"
            );
        }
    }

    #[test]
    fn each_fault_has_a_status_of_error_and_a_section() {
        for fault in Error::ALL {
            assert!((400..600).contains(&fault.status()), "{fault}");
            assert!(fault.section().starts_with("RFC "), "{fault}");
        }
    }

    #[test]
    fn the_sentence_ends_with_the_section_and_the_evidence() {
        assert_eq!(
            Error::BareLf { at: 14 }.to_string(),
            "a line ends in LF without CR (RFC 9112 2.2, at 14)"
        );
        assert_eq!(
            Error::VersionNotSupported { major: 2, minor: 0 }.to_string(),
            "the protocol version is neither HTTP/1.0 nor HTTP/1.1 (RFC 9110 15.6.6, major 2, minor 0)"
        );
    }
}
