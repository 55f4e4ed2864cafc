//! The stable codes: every way in which something ended or was refused, one row each.
//!
//! A code is what the log, the metrics and the problem document of an answer agree on. Its number
//! is the wire format and its name the interface; neither is ever reused or renamed. `docs/codes.md`
//! is this table, and a test compares the two.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($number:literal $variant:ident $name:literal $meaning:literal)*) => {
        /// Why something ended or was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Code {
            $(#[doc = $meaning] #[n($number)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// Its stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning),* }
            }
        }
    };
}

codes! {
    // How things end.
    0   Complete                  "complete"                    "It ended as it should."
    1   ClientGone                "client_gone"                 "The client went away before the end."
    2   ClosedByClient            "closed_by_client"            "The client closed the connection in order."
    3   Idle                      "idle"                        "The connection carried no request for the time allowed."
    4   AgeLimit                  "age_limit"                   "The connection reached its greatest age."
    5   Drained                   "drained"                     "The gateway stopped or gave up the listener, and let the connection end."
    6   Withheld                  "withheld"                    "An answer was ready but did not leave."
    7   Panic                     "panic"                       "A defect in the gateway ended the connection."
    8   PeerProtocol              "peer_protocol"               "The peer broke the protocol of the connection (RFC 9112, RFC 9113)."
    9   ClosedAfterAnswer         "closed_after_answer"         "The gateway closed the connection after an answer, as it had announced."

    10  ClientStalled             "client_stalled"            "The client did not take the answer in time."

    // Before a connection is established: the hello (RFC 8446, RFC 5246).
    20  InappropriateFallback     "inappropriate_fallback"      "The client says that it fell back from a version that both sides have (RFC 7507 3)."
    21  ProtocolVersion           "protocol_version"            "No version that the listener allows was offered (RFC 8446 6.2)."
    22  NoSharedSuite             "no_shared_suite"             "No cipher suite that the listener allows was offered (RFC 8446 4.1.1)."
    23  NoSharedGroup             "no_shared_group"             "No group that the listener allows was offered (RFC 8446 4.1.1)."
    24  NoSharedSignature         "no_shared_signature"         "No signature scheme that the server's certificate can answer was offered (RFC 8446 4.2.3)."
    25  HelloMalformed            "hello_malformed"             "The ClientHello does not follow the grammar (RFC 8446 4.1.2)."
    26  HelloTooLarge             "hello_too_large"             "The ClientHello is larger than the gateway reads."
    27  NotTls                    "not_tls"                     "What arrived is not TLS."
    28  PlainHttp                 "plain_http"                  "Plain HTTP arrived on a TLS port."
    29  Ssl2                      "ssl2"                        "An SSL 2.0 hello arrived (RFC 6176)."
    30  HelloTimeout              "hello_timeout"               "The ClientHello did not arrive in time."
    31  HandshakeTimeout          "handshake_timeout"           "The handshake did not end in time."
    32  HandshakeFailed           "handshake_failed"            "The TLS library ended the handshake."
    33  HandshakeBrokenOff        "handshake_broken_off"        "The peer went away during the handshake."
    34  PeerAlert                 "peer_alert"                  "The peer ended the handshake with an alert."
    35  NoSharedProtocol          "no_shared_protocol"          "No application protocol that the listener speaks was offered (RFC 7301 3.2)."
    36  NoExtendedMasterSecret    "no_extended_master_secret" "A TLS 1.2 client does not bind its keys to the handshake (RFC 7627 5.3)."
    37  StapleMissing             "staple_missing"              "The gateway's certificate demands an OCSP answer with it (RFC 7633), and there is none that holds."

    // The peer's certificate (RFC 5280; names after webpki).
    40  CertificateMissing        "certificate_missing"         "The listener requires a client certificate and none was presented."
    41  CertificateExpired        "certificate_expired"         "The client's certificate, or one above it, has expired."
    42  CertificateNotYetValid    "certificate_not_yet_valid"   "The client's certificate, or one above it, is not valid yet."
    43  CertificateRevoked        "certificate_revoked"         "The client's certificate, or one above it, is revoked."
    44  CertificateUnknownIssuer  "certificate_unknown_issuer"  "The client's certificate does not lead to a trusted root."
    45  CertificatePurpose        "certificate_purpose"         "The client's certificate is not meant for client authentication (RFC 5280 4.2.1.12)."
    46  CertificateSignature      "certificate_signature"       "A signature in the client's chain, or of the handshake, does not verify."
    47  CertificateInvalid        "certificate_invalid"         "The client's chain breaks another rule of RFC 5280."
    48  CertificateMalformed      "certificate_malformed"       "The client's certificate is not well-formed."
    49  RevocationUnknown         "revocation_unknown"          "No revocation list covers the client's certificate."
    50  RevocationStale           "revocation_stale"            "The revocation list that covers the client's certificate is out of date."
    51  IdentityMissing           "identity_missing"            "The client's certificate holds no name of the kind that the trust set asks for."
    52  IdentityAmbiguous         "identity_ambiguous"          "The client's certificate holds more than one name of the kind that the trust set asks for."
    53  IdentityMalformed         "identity_malformed"          "The name in the client's certificate is not a valid one of its kind."
    54  StatusUnavailable         "status_unavailable"          "No OCSP responder said in time whether the client's certificate is revoked."
    55  StatusUnknown             "status_unknown"              "The OCSP responder does not know the client's certificate."
    56  StatusInvalid             "status_invalid"              "What the OCSP responder said of the client's certificate is out of date, or not by its authority."

    // Limits on connections.
    60  ConnectionLimit           "connection_limit"            "The listener, or the gateway as a whole, holds as many connections as it may."
    61  AddressLimit              "address_limit"               "The peer's address holds as many connections as it may."

    // The request on the wire (RFC 9112, RFC 9113).
    70  HeadMalformed             "head_malformed"              "The head of the message does not follow RFC 9112."
    71  HeadTooLarge              "head_too_large"              "The head of the message is larger than allowed."
    72  TargetTooLong             "target_too_long"             "The request target is longer than allowed."
    73  HeadTimeout               "head_timeout"                "The head of the message did not arrive in time."
    74  FramingAmbiguous          "framing_ambiguous"           "The length of the content can be read in two ways (RFC 9112 6.3)."
    75  CodingUnsupported         "coding_unsupported"          "The content has a transfer coding other than chunked (RFC 9112 6.1)."
    76  BodyMalformed             "body_malformed"              "The content breaks its framing (RFC 9112 7.1)."
    77  BodyTooLarge              "body_too_large"              "The content is larger than the route allows."
    78  BodyTimeout               "body_timeout"                "The content stalled, or came slower than allowed."
    79  VersionUnsupported        "version_unsupported"         "The HTTP version is not one that the gateway speaks."

    // The request by its meaning.
    90  HostMissing               "host_missing"                "The request names no host (RFC 9112 3.2)."
    91  HostAmbiguous             "host_ambiguous"              "The request names more than one host (RFC 9112 3.2)."
    92  HostMalformed             "host_malformed"              "The host of the request is not a valid one (RFC 9110 7.2)."
    93  Misdirected               "misdirected_request"         "The host of the request does not belong to this connection (RFC 9110 7.4)."
    94  MethodUnsupported         "method_unsupported"          "The gateway never forwards this method."
    95  TargetForm                "target_form"                 "The form of the request target is not accepted (RFC 9112 3.2)."
    96  PathRefused               "path_refused"                "The path could be read in two ways; it is refused, never rewritten."
    97  UpgradeRefused            "upgrade_refused"             "The route allows no upgrade to this protocol."
    98  ExpectationFailed         "expectation_failed"          "The request expects something other than 100-continue (RFC 9110 10.1.1)."
    99  FieldRefused              "field_refused"               "A header field is not accepted in this place."

    // Policy.
    110 NoRoute                   "no_route"                    "No route serves this host and path on this listener."
    111 MethodNotAllowed          "method_not_allowed"          "The route does not serve this method."
    112 NotPermitted              "not_permitted"               "No rule permits this client on this route."
    113 ClientUnknown             "client_unknown"              "The route asks for a client certificate and the connection has none."
    114 RateLimited               "rate_limited"                "The client sent more requests than the route allows."
    115 ListenerGone              "listener_gone"               "The listener of this connection is no longer configured."
    116 TrustGone                 "trust_gone"                  "The trust set that vouched for the client is no longer configured, or has changed."

    117 OriginRefused             "origin_refused"              "A page of an origin that the route does not name asks for a WebSocket (RFC 6455 10.2)."
    118 UpgradeMalformed          "upgrade_malformed"           "The opening handshake of the WebSocket does not follow RFC 6455 4.2.1."
    119 UpgradeVersion            "upgrade_version"             "The version of WebSocket is not 13 (RFC 6455 4.4)."

    // What was sent is what arrived, once (RFC 9530, RFC 9421).
    120 DigestMissing             "digest_missing"              "The route asks for a digest of the content and there is none (RFC 9530 2)."
    121 DigestMalformed           "digest_malformed"            "A digest field is malformed, or of no algorithm that is trusted (RFC 9530 5)."
    122 DigestMismatch            "digest_mismatch"             "The content is not what its digest says (RFC 9530 2)."
    123 SignatureMissing          "signature_missing"           "The route asks for a signature and there is none (RFC 9421 4)."
    124 SignatureMalformed        "signature_malformed"         "The signature, or what it covers, is malformed (RFC 9421 4)."
    125 SignatureInsufficient     "signature_insufficient"      "The signature does not cover what the route asks for, lacks a parameter, or is of an algorithm that is not accepted (RFC 9421 3.2.1)."
    126 SignatureTime             "signature_time"              "The signature is too old, expired, or of the future (RFC 9421 3.2.1)."
    127 SignatureKeyUnknown       "signature_key_unknown"       "The signature is not by the key of the client's certificate, nor by one that is registered for the route."
    128 SignatureInvalid          "signature_invalid"           "The signature does not verify (RFC 9421 3.2)."
    129 SignatureReplayed         "signature_replayed"          "A message with this nonce was accepted before (RFC 9421 7.2.2)."
    137 AnswerDigestMismatch      "answer_digest_mismatch"      "The content of the upstream's answer is not what its digest says (RFC 9530 2)."
    138 AnswerSignatureInvalid    "answer_signature_invalid"    "The signature of the upstream's answer does not verify, or is missing (RFC 9421 3.2)."
    152 ReplayWindowFull          "replay_window_full"          "So many signed messages were accepted of late that no further one can be remembered."
    139 BodyNoRoom                "body_no_room"                "The connection holds so much content already that there is no room to check more."
    154 ReplayUnavailable         "replay_unavailable"          "That the message was accepted could not be written down, so it was not."
    153 ReplayUnknown             "replay_unknown"              "The message was signed before the gateway could know which ones it had accepted: sign it again."

    // Upstream.
    130 UpstreamUnreachable       "upstream_unreachable"        "No connection to the upstream could be made."
    131 UpstreamConnectTimeout    "upstream_connect_timeout"    "The upstream did not accept a connection in time."
    132 UpstreamUntrusted         "upstream_untrusted"          "The upstream did not prove who it is, or refused us."
    133 UpstreamTimeout           "upstream_timeout"            "The upstream did not answer in time."
    134 UpstreamBroken            "upstream_broken"             "The upstream broke off or broke the protocol."
    135 UpstreamBusy              "upstream_busy"               "All connections to the upstream are in use."
    136 UpstreamStalled           "upstream_stalled"            "The content of the upstream's answer stalled."

    // Ours.
    150 AuditUnavailable          "audit_unavailable"           "The request could not be recorded, so it was not served."
    151 Internal                  "internal"                    "A defect in the gateway ended the request."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
        }
    }
}
