//! What curl 7.88 was seen to send, and what is refused.

use super::*;

fn read(line: &str) -> Result<Curl, CurlError> {
    let words = line.split(' ').map(|word| word.replace('_', " "));
    let mut open = |path: &str| match path {
        "lines" => Ok(b"l1\r\nl2\0\n".to_vec()),
        _ => Err(format!("cannot open {path}")),
    };
    Curl::read(words.collect(), &mut open)
}

fn sent(line: &str) -> Request {
    read(line).unwrap().request
}

fn target(line: &str) -> String {
    sent(line).target.as_str().to_owned()
}

fn refused(line: &str) -> CurlError {
    read(line).map(|_| ()).unwrap_err()
}

#[test]
fn a_request_is_as_curl_was_seen_to_send_it() {
    let request = sent("curl https://Api.example:8443/a?b#c");
    assert_eq!(
        (&request.method, request.target.as_str()),
        (&Method::GET, "/a?b")
    );
    assert_eq!(&*request.authority, "Api.example:8443");
    assert_eq!(request.headers["accept"], "*/*");
    assert!(!request.headers.contains_key("content-type"));

    let request = sent("curl -d @lines -d y http://h/x");
    assert_eq!(
        (&request.method, &request.content[..]),
        (&Method::POST, &b"l1l2&y"[..])
    );
    assert_eq!(request.headers["content-length"], "6");
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );

    let request = sent(r#"curl --json {"a":1} --json x -d z http://h/x"#);
    assert_eq!(&request.content[..], br#"{"a":1}x&z"#);
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["accept"], "application/json");

    let request = sent("curl --data-binary @lines --data-raw @x http://h/x");
    assert_eq!(&request.content[..], b"l1\r\nl2\0\n&@x");
    assert_eq!(sent("curl -I https://h/").method, Method::HEAD);
    assert_eq!(sent("curl -X get -d x https://h/").method.as_str(), "get");
}

#[test]
fn the_target_is_what_stands_on_the_wire() {
    for (line, expected) in [
        ("curl https://h", "/"),
        ("curl https://h?x=1", "/?x=1"),
        ("curl https://h/a%2fb/.x", "/a%2fb/.x"),
        (
            "curl -G -d a=b -d c=%2f https://h/x?q=1",
            "/x?q=1&a=b&c=%2f",
        ),
        ("curl --get --data a=b https://h/x", "/x?a=b"),
        ("curl -g https://h/[1]", "/[1]"),
        ("curl --path-as-is https://h/a/../b", "/a/../b"),
        ("curl --url https://[::1]:8443/x", "/x"),
    ] {
        assert_eq!(target(line), expected, "{line}");
    }
    assert_eq!(&*sent("curl https://h:443/").authority, "h");
    assert_eq!(&*sent("curl http://h:443/").authority, "h:443");
    assert_eq!(sent("curl https://h/").view().target, None);
    assert_eq!(sent("curl --http1.1 https://h/a").view().target, Some("/a"));
}

#[test]
fn fields_are_sent_withheld_or_empty_as_the_line_says() {
    let request = sent("curl -H Z:__v__ -H Y; -H Accept: -H Host:_other:1 -d x https://h/");
    assert_eq!(request.headers["z"], "v");
    assert_eq!(request.headers["y"], "");
    assert!(!request.headers.contains_key("accept"));
    assert_eq!(&*request.authority, "other:1");
    let request = sent("curl -H content-type:_a/b -H Content-Type:_c/d -d x https://h/");
    assert_eq!(request.headers.get_all("content-type").iter().count(), 2);
    assert!(
        !sent("curl -H Content-Type: -d x https://h/")
            .headers
            .contains_key("content-type")
    );
}

#[test]
fn letters_may_stand_together_and_values_behind_them() {
    let curl =
        read("/usr/bin/curl -sSiXPUT -HA:b -dx -kE chain.pem:secret --key k https://h/").unwrap();
    assert_eq!(curl.request.method, Method::PUT);
    assert_eq!(curl.request.headers["a"], "b");
    assert_eq!(curl.request.content, "x");
    assert_eq!(curl.certificate.as_deref(), Some("chain.pem"));
    assert_eq!(curl.key.as_deref(), Some("k"));
}

#[test]
fn what_curl_would_change_or_nobody_knows_is_refused_by_its_name() {
    let unknown = |option: &str| CurlError::Unknown {
        option: option.to_owned(),
    };
    let unsure = |option: &str, why| CurlError::Unsure {
        option: option.to_owned(),
        why,
    };
    for (line, error) in [
        ("wget https://h/", CurlError::NoCurl),
        ("curl -L https://h/", unknown("-L")),
        ("curl -sF a=b https://h/", unknown("-F")),
        (
            "curl --data-urlencode a https://h/",
            unknown("--data-urlencode"),
        ),
        ("curl --retry 3 https://h/", unknown("--retry")),
        ("curl --next https://h/", unknown("--next")),
        ("curl --request=PUT https://h/", unknown("--request=PUT")),
        ("curl -- https://h/", unknown("--")),
        (
            "curl https://h/ -X",
            CurlError::NoValue {
                option: "-X".to_owned(),
            },
        ),
        ("curl", CurlError::Urls { found: 0 }),
        ("curl https://h/ https://h/", CurlError::Urls { found: 2 }),
        ("curl h/", CurlError::Scheme),
        ("curl https:///x", CurlError::Url),
        ("curl https://user@h/", CurlError::Url),
        ("curl https://h/{a,b}", CurlError::Glob),
        ("curl https://h/a/../b", CurlError::Dots),
        ("curl https://h/a/%2E%2e", CurlError::Dots),
        ("curl https://h/a?", CurlError::EmptyQuery),
        ("curl -X a_b https://h/", CurlError::Method),
        ("curl -H nonsense https://h/", CurlError::Field { index: 1 }),
        (
            "curl -H a:b -H c_d:e https://h/",
            CurlError::Field { index: 2 },
        ),
        ("curl -H @file https://h/", CurlError::FieldFile),
        ("curl -H Host: https://h/", CurlError::Host),
        ("curl -d @- https://h/", unsure("-d", Unsure::StandardInput)),
        (
            "curl -I -d x https://h/",
            unsure("--head", Unsure::HeadWithData),
        ),
        (
            "curl -G --json x https://h/",
            unsure("--get", Unsure::GetWithJson),
        ),
        ("curl -G -d  https://h/", unsure("--get", Unsure::EmptyData)),
        ("curl -d  -d x https://h/", unsure("-d", Unsure::EmptyData)),
        (
            "curl -d @gone https://h/",
            CurlError::File {
                option: "-d".to_owned(),
                error: "cannot open gone".to_owned(),
            },
        ),
    ] {
        assert_eq!(refused(line), error, "{line}");
    }
    assert!(matches!(refused("curl https://h/ä"), CurlError::Target(_)));
    assert!(matches!(
        refused("curl https://h/a_b"),
        CurlError::Target(_)
    ));
    assert!(matches!(
        refused("curl -G -d a#b https://h/"),
        CurlError::Target(_)
    ));
}

#[test]
fn the_line_is_printed_again_with_more_fields_for_a_shell() {
    let curl = read("curl -H A:_it's https://h/?a&b").unwrap();
    let field = (
        HeaderName::from_static("signature-input"),
        HeaderValue::from_static("sig1=(\"@method\")"),
    );
    assert_eq!(
        curl.with_fields(&[field]),
        r#"curl -H 'A: it'\''s' 'https://h/?a&b' -H 'Signature-Input: sig1=("@method")'"#
    );
}
