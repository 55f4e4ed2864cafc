//! Header fields that say who the client is: stripped from what comes in, then set from what was
//! proved. And the fields that end at this hop.
//!
//! An identity header is believed by the upstream, so nobody but the gateway may write one. One
//! table lists every spelling that an upstream might believe; underscores equal hyphens, since CGI
//! and its heirs fold them. Standards: RFC 9440 (Client-Cert), RFC 7239 (Forwarded), RFC 9110 7.6.1
//! (Connection).

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;

/// The id of a request, which its record and its answer share.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The certificate of a client, as the gateway proved it (RFC 9440).
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What an upstream might believe about who the client is, and where that spelling comes from.
/// Names are in lower case with hyphens.
#[rustfmt::skip]
const ALIASES: &[(Alias, &str)] = &[
    (Alias::Prefix("client-cert"),             "RFC 9440"),
    (Alias::Exact("client-ip"),                "CGI recipes"),
    (Alias::Prefix("x-client-cert"),           "common before RFC 9440"),
    (Alias::Prefix("x-client-ssl"),            "HAProxy recipes"),
    (Alias::Prefix("x-client-verify"),         "nginx recipes"),
    (Alias::Exact("x-client-dn"),              "nginx recipes"),
    (Alias::Prefix("x-client-s-dn"),           "nginx recipes"),
    (Alias::Prefix("x-client-i-dn"),           "nginx recipes"),
    (Alias::Prefix("x-client-subject"),        "nginx recipes"),
    (Alias::Prefix("x-client-issuer"),         "nginx recipes"),
    (Alias::Prefix("x-client-serial"),         "nginx recipes"),
    (Alias::Prefix("x-client-fingerprint"),    "nginx recipes"),
    (Alias::Exact("x-client-ip"),              "load balancers"),
    (Alias::Prefix("x-ssl-"),                  "nginx and HAProxy recipes"),
    (Alias::Prefix("ssl-client-"),             "Apache mod_ssl variables, nginx ingress"),
    (Alias::Prefix("x-tls-client-"),           "HAProxy recipes"),
    (Alias::Prefix("x-forwarded"),             "de facto"),
    (Alias::Exact("forwarded"),                "RFC 7239"),
    (Alias::Prefix("x-original-"),             "Traefik, Azure; IIS, Symfony: x-original-url names another target"),
    (Alias::Exact("x-arr-clientcert"),         "IIS"),
    (Alias::Exact("x-arr-ssl"),                "IIS"),
    (Alias::Prefix("x-amzn-mtls-"),            "AWS application load balancer"),
    (Alias::Prefix("x-amzn-oidc-"),            "AWS application load balancer"),
    (Alias::Prefix("x-ms-client-principal"),   "Azure App Service"),
    (Alias::Prefix("x-goog-authenticated-"),   "Google Identity-Aware Proxy"),
    (Alias::Exact("x-goog-iap-jwt-assertion"), "Google Identity-Aware Proxy"),
    (Alias::Prefix("cf-connecting-ip"),        "Cloudflare, also for IPv6"),
    (Alias::Prefix("cf-client-cert"),          "Cloudflare"),
    (Alias::Prefix("cf-access-"),              "Cloudflare Access"),
    (Alias::Exact("true-client-ip"),           "Akamai, Cloudflare"),
    (Alias::Exact("fastly-client-ip"),         "Fastly"),
    (Alias::Prefix("x-envoy-"),                "Envoy"),
    (Alias::Exact("x-cluster-client-ip"),      "Rackspace, Zeus"),
    (Alias::Exact("x-real-ip"),                "nginx"),
    (Alias::Prefix("wl-proxy-"),               "WebLogic (wl-proxy-client-cert, -ip, -ssl)"),
    (Alias::Prefix("proxy-"),                  "WebLogic (proxy-client-cert); proxy-user, proxy-remote-user"),
    (Alias::Exact("proxy"),                    "CGI: becomes HTTP_PROXY, CVE-2016-5385"),
    (Alias::Prefix("remote-user"),             "CGI, RFC 3875 4.1.11"),
    (Alias::Prefix("remote-addr"),             "CGI, RFC 3875 4.1.8"),
    (Alias::Exact("remote-host"),              "CGI, RFC 3875 4.1.9"),
    (Alias::Exact("remote-ident"),             "CGI, RFC 3875 4.1.10"),
    (Alias::Exact("remote-groups"),            "Authelia"),
    (Alias::Exact("remote-name"),              "Authelia"),
    (Alias::Exact("remote-email"),             "Authelia"),
    (Alias::Prefix("x-remote-"),               "Kubernetes and other authenticating proxies"),
    (Alias::Prefix("x-auth-request-"),         "oauth2-proxy"),
    (Alias::Prefix("x-authenticated-"),        "authenticating proxies"),
    (Alias::Prefix("x-authentik-"),            "authentik"),
    (Alias::Prefix("x-webauth-"),              "Grafana and other auth-proxy users"),
    (Alias::Exact("x-user"),                   "authenticating proxies"),
    (Alias::Exact("x-username"),               "authenticating proxies"),
    (Alias::Exact("x-request-id"),             "ours to give"),
    (Alias::Exact("auth-type"),                "CGI, RFC 3875 4.1.1"),
];

/// Fields that ask an upstream to act on another target, method or length than the one that was
/// permitted, or take what was not compared for what was. The last five count in any spelling but their own,
/// in which they frame the message or are verified.
#[rustfmt::skip]
const OVERRIDES: &[(Alias, &str)] = &[
    (Alias::Exact("x-rewrite-url"),            "IIS, Symfony"),
    (Alias::Exact("x-http-method"),            "OData"),
    (Alias::Exact("x-http-method-override"),   "de facto"),
    (Alias::Exact("x-method-override"),        "de facto"),
    (Alias::Exact("content-length"),           "CGI: content_length"),
    (Alias::Exact("transfer-encoding"),        "CGI: transfer_encoding"),
    (Alias::Exact("content-digest"),           "CGI: content_digest, which nobody compares"),
    (Alias::Exact("repr-digest"),              "CGI: repr_digest"),
    (Alias::Exact("signature-input"),          "CGI: signature_input"),
];

/// Those that count in any spelling but this one.
const OWN_SPELLING: [&str; 5] = [
    "content-length",
    "transfer-encoding",
    "content-digest",
    "repr-digest",
    "signature-input",
];

enum Alias {
    Exact(&'static str),
    Prefix(&'static str),
}

/// Whether a field ends at this hop whatever `Connection` says (RFC 9110 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// Whether an upstream might take this field for the word of the gateway, or let it overrule what
/// the gateway permitted.
pub fn is_alias(name: &HeaderName) -> bool {
    if OWN_SPELLING.contains(&name.as_str()) {
        return false;
    }
    let name = name.as_str().as_bytes();
    let (Some(first), Some(second)) = (name.first(), name.get(1)) else {
        return false;
    };
    let goes_on = BEGINNINGS
        .get(usize::from(first.wrapping_sub(b'a')))
        .is_some_and(|seconds| seconds & 1 << second_bit(*second) != 0);
    if !goes_on {
        return false;
    }
    ALIASES
        .iter()
        .chain(OVERRIDES)
        .any(|(alias, _)| match alias {
            Alias::Exact(alias) => name.len() == alias.len() && folds_to(name, alias),
            Alias::Prefix(alias) => {
                name.len() >= alias.len() && folds_to(&name[..alias.len()], alias)
            }
        })
}

/// For each first letter, how a name in the tables can go on: a bit for each letter, and one for all
/// that folds to a hyphen. Most fields of a request are told apart here.
const BEGINNINGS: [u32; 26] = {
    let mut found = [0; 26];
    let tables = [ALIASES, OVERRIDES];
    let mut table = 0;
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            let (Alias::Exact(name) | Alias::Prefix(name)) = &tables[table][row].0;
            let name = name.as_bytes();
            found[(name[0] - b'a') as usize] |= 1 << second_bit(name[1]);
            row += 1;
        }
        table += 1;
    }
    found
};

const fn second_bit(byte: u8) -> u8 {
    if byte.is_ascii_lowercase() {
        byte - b'a'
    } else {
        26
    }
}

/// CGI and its heirs fold every byte that is neither a letter nor a digit (RFC 3875 4.1.18 has the
/// hyphen; old servers fold them all).
fn folds_to(name: &[u8], alias: &str) -> bool {
    name.iter()
        .zip(alias.as_bytes())
        .all(|(&a, &b)| a == b || (b == b'-' && !a.is_ascii_alphanumeric()))
}

/// Removes what must not pass in either direction: what `Connection` names, then what ends at this
/// hop. Content-Length and Transfer-Encoding are written anew by whoever frames the message.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let nominated: Vec<HeaderName> = http1::connection::nominated(headers)
            .filter_map(|name| name.parse().ok())
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    remove_all(headers, is_hop_by_hop);
}

/// Removes the fields whose name is one of these. Most messages have none, so that is asked first.
fn remove_all(headers: &mut HeaderMap, is_one: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&is_one) {
        return;
    }
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_one(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes every spelling of an identity header, and what would overrule target or method.
pub fn strip_aliases(headers: &mut HeaderMap) {
    remove_all(headers, is_alias);
}

/// Asks an upstream that speaks FHIR for answers that can be read: without a coding (RFC 9110 12.5.3;
/// no field would allow any), and as JSON where the client does not mind. A client that names types gets
/// what it names, and a Binary comes as what it is (HL7 FHIR R4, Binary, "Serving Binary Resources
/// using the RESTful API").
pub fn ask_for_readable(headers: &mut HeaderMap, resource: Option<&str>) {
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    let takes_any = headers.get_all(header::ACCEPT).iter().all(|value| {
        let mut ranges = value.as_bytes().split(|byte| *byte == b',');
        ranges.all(|range| {
            let range = range.split(|byte| *byte == b';').next().unwrap_or_default();
            matches!(range.trim_ascii(), b"" | b"*/*" | b"application/*")
        })
    });
    if takes_any && resource != Some("Binary") {
        let json = HeaderValue::from_static("application/fhir+json, */*;q=0.8");
        headers.insert(header::ACCEPT, json);
    }
}

/// Removes from an answer what is ours to say: the proof of a client, which must not travel back
/// (RFC 9440 2), and the id of the request.
pub fn strip_from_answer(headers: &mut HeaderMap) {
    for name in [CLIENT_CERT, CLIENT_CERT_CHAIN, X_REQUEST_ID] {
        headers.remove(name);
    }
}

/// Keeps the trailers that may pass: none that frames or routes (RFC 9110 6.5.1), none that says who
/// the client is.
pub fn filter_trailers(trailers: &mut HeaderMap) {
    remove_all(trailers, |name| {
        !http1::may_be_trailer(name) || is_hop_by_hop(name) || is_alias(name)
    });
}

/// Where a connection comes from, as header fields have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// As X-Forwarded-For has it.
    plain: HeaderValue,
    /// As a node of RFC 7239 6.
    node: Box<str>,
}

impl Origin {
    /// Of a peer with this address and port.
    pub fn of(address: SocketAddr) -> Origin {
        let port = address.port();
        let (plain, node) = match address.ip().to_canonical() {
            IpAddr::V4(ip) => (ip.to_string(), format!("\"{ip}:{port}\"")),
            IpAddr::V6(ip) => (ip.to_string(), format!("\"[{ip}]:{port}\"")),
        };
        let plain = HeaderValue::try_from(plain).expect("an address prints as ASCII");
        let node = node.into();
        Origin { plain, node }
    }
}

/// The proof that the gateway has of a client, as the upstream gets it.
#[derive(Debug, Clone, Copy)]
pub struct Proved<'a> {
    /// Where it comes from.
    pub origin: &'a Origin,
    /// The host that the request was for, and its port, as received (RFC 7239 5.3).
    pub authority: &'a HeaderValue,
    /// `Client-Cert`, for a client with a certificate.
    pub certificate: Option<&'a HeaderValue>,
    /// `Client-Cert-Chain`.
    pub chain: Option<&'a HeaderValue>,
    /// The request's id.
    pub request_id: &'a HeaderValue,
}

/// Sets the identity headers. The caller has stripped what the client sent.
pub fn set_identity(headers: &mut HeaderMap, proved: &Proved<'_>) {
    if let Some(certificate) = proved.certificate {
        headers.insert(CLIENT_CERT, certificate.clone());
        if let Some(chain) = proved.chain {
            headers.insert(CLIENT_CERT_CHAIN, chain.clone());
        }
    }
    let Origin { plain, node } = proved.origin;
    let host = proved.authority.as_bytes();
    let mut forwarded = BytesMut::with_capacity(node.len() + host.len() + 32);
    for part in [
        b"for=",
        node.as_bytes(),
        b";host=\"",
        host,
        b"\";proto=https",
    ] {
        forwarded.extend_from_slice(part);
    }
    // The host was parsed as one, and an address prints as ASCII: both are good field values.
    if let Ok(value) = HeaderValue::from_maybe_shared(forwarded.freeze()) {
        headers.insert(header::FORWARDED, value);
    }
    headers.insert(X_FORWARDED_FOR, plain.clone());
    headers.insert(X_FORWARDED_HOST, proved.authority.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(X_REQUEST_ID, proved.request_id.clone());
}

/// A certificate as `Client-Cert` has it: a byte sequence of RFC 8941.
pub fn client_cert(certificate: &CertificateDer<'_>) -> HeaderValue {
    header_value(byte_sequence(certificate))
}

/// The certificates above the leaf as `Client-Cert-Chain` has them; `None` when there are none.
pub fn client_cert_chain(above: &[CertificateDer<'_>]) -> Option<HeaderValue> {
    let items: Vec<String> = above
        .iter()
        .map(|certificate| byte_sequence(certificate))
        .collect();
    (!items.is_empty()).then(|| header_value(items.join(", ")))
}

fn byte_sequence(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("base64, colons and commas are a field value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(names: &[&str]) -> HeaderMap {
        names
            .iter()
            .map(|name| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_static("forged"),
                )
            })
            .collect()
    }

    #[test]
    fn json_is_asked_for_where_the_client_does_not_mind() {
        let asked = |accept: &[&'static str], resource| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            ask_for_readable(&mut headers, resource);
            assert_eq!(headers[header::ACCEPT_ENCODING], "identity");
            let values = headers.get_all(header::ACCEPT).iter();
            values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let json = ["application/fhir+json, */*;q=0.8"];
        for any in [
            &[][..],
            &["*/*"],
            &["application/* ; q=1", "*/*;q=0.1"],
            &[""],
        ] {
            assert_eq!(asked(any, Some("Patient")), json, "{any:?}");
            assert_eq!(asked(any, Some("Binary")), any, "{any:?}");
        }
        for named in [
            &["application/fhir+json"][..],
            &["application/fhir+xml"],
            &["text/html, */*;q=0.1"],
            &["*/*", "image/png"],
        ] {
            assert_eq!(asked(named, None), named);
        }
    }

    #[test]
    fn every_spelling_of_an_identity_header_is_stripped() {
        let names = [
            "Client-Cert",
            "client_cert",
            "Client-Cert-Chain",
            "CLIENT_CERT-CHAIN",
            "X-Client-Cert",
            "X-Client-Certificate",
            "X-Client-Cert-Subject",
            "X-SSL-Client-Cert",
            "x_ssl_client_s_dn",
            "SSL_CLIENT_CERT",
            "Ssl-Client-Verify",
            "X-Forwarded-Client-Cert",
            "x_forwarded_client_cert",
            "X-ARR-ClientCert",
            "Remote-User",
            "REMOTE_USER",
            "X-Remote-User",
            "X-Forwarded-User",
            "X-Forwarded-Email",
            "X-Auth-Request-User",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X_Forwarded_Host",
            "X-Real-IP",
            "X-Request-Id",
            "x-request_id",
            "X-Original-URL",
            "x_rewrite_url",
            "X-HTTP-Method-Override",
            "X-Original-Method",
            "client.cert",
            "client~cert",
            "WL-Proxy-Client-Cert",
            "Proxy-Client-Cert",
            "Proxy",
            "X-Amzn-Mtls-Clientcert-Leaf",
            "X-TLS-Client-Cert",
            "X-Client-DN",
            "X-Client-Verify",
            "X-MS-Client-Principal-Name",
            "X-Goog-Authenticated-User-Email",
            "X-WebAuth-User",
            "X-Envoy-Original-Path",
            "True-Client-IP",
            "X-Client-IP",
            "X-User",
            "content_length",
            "Transfer_Encoding",
        ];
        let mut map = headers(&names);
        strip_aliases(&mut map);
        assert_eq!(map.keys().collect::<Vec<_>>(), Vec::<&HeaderName>::new());
    }

    #[test]
    fn other_fields_pass() {
        let names = [
            "accept",
            "content-type",
            "cookie",
            "x-custom",
            "x-forward",
            "real-ip",
            "x-users",
            "content-length",
            "host",
            "cache-control",
            "x-requested-with",
        ];
        let mut map = headers(&names);
        strip_aliases(&mut map);
        assert_eq!(map.len(), names.len());
    }

    #[test]
    fn what_connection_names_ends_here_and_so_does_connection() {
        let mut map = headers(&[
            "x-secret",
            "accept",
            "te",
            "keep-alive",
            "upgrade",
            "proxy-authorization",
        ]);
        map.insert(
            header::CONNECTION,
            HeaderValue::from_static("close, X-Secret"),
        );
        strip_hop_by_hop(&mut map);
        assert_eq!(
            map.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["accept"]
        );
    }

    #[test]
    fn identity_is_set_from_what_was_proved() {
        let mut map = HeaderMap::new();
        let certificate = client_cert(&CertificateDer::from(vec![1, 2, 3]));
        set_identity(
            &mut map,
            &Proved {
                origin: &Origin::of("[2001:db8::1]:4711".parse().unwrap()),
                authority: &HeaderValue::from_static("api.example:8443"),
                certificate: Some(&certificate),
                chain: None,
                request_id: &HeaderValue::from_static("00ff"),
            },
        );
        let value = |name: &str| map.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(value("client-cert"), Some(":AQID:"));
        assert_eq!(
            value("forwarded"),
            Some("for=\"[2001:db8::1]:4711\";host=\"api.example:8443\";proto=https")
        );
        assert_eq!(value("x-forwarded-for"), Some("2001:db8::1"));
        assert_eq!(value("x-forwarded-proto"), Some("https"));
        assert_eq!(value("x-forwarded-host"), Some("api.example:8443"));
        assert_eq!(value("x-request-id"), Some("00ff"));
        assert_eq!(value("client-cert-chain"), None);
    }

    #[test]
    fn an_ipv4_peer_on_a_dual_stack_socket_is_named_as_ipv4() {
        let Origin { plain, node } = Origin::of("[::ffff:192.0.2.1]:80".parse().unwrap());
        assert_eq!(
            (plain.as_bytes(), &*node),
            (&b"192.0.2.1"[..], "\"192.0.2.1:80\"")
        );
    }

    #[test]
    fn trailers_neither_frame_nor_name_the_client() {
        let mut map = headers(&[
            "x-checksum",
            "content-length",
            "client_cert",
            "authorization",
            "te",
        ]);
        filter_trailers(&mut map);
        assert_eq!(
            map.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-checksum"]
        );
    }

    proptest! {
        #[test]
        fn no_mix_of_hyphens_and_underscores_gets_past_the_table(row in 0..ALIASES.len(), mask: u32, suffix in "[a-z_-]{0,8}") {
            let (base, exact) = match &ALIASES[row].0 {
                Alias::Exact(name) => (*name, true),
                Alias::Prefix(name) => (*name, false),
            };
            let folded: String = base.chars().enumerate().map(|(i, c)| if c == '-' && mask >> (i % 32) & 1 == 1 { ['_', '.', '~', '!'][i % 4] } else { c }).collect();
            let name = if exact { folded } else { folded + &suffix };
            prop_assert!(is_alias(&name.parse().unwrap()));
        }
    }
}
