//! The examples of RFC 9421 section 2, and what must never come into a base.

use http::{HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use crate::message::Response;

use super::*;

/// A request by its target and fields.
struct Sample {
    method: Method,
    headers: HeaderMap,
    trailers: HeaderMap,
    authority: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    target: Option<&'static str>,
}

impl Sample {
    fn new() -> Sample {
        Sample {
            method: Method::POST,
            headers: HeaderMap::new(),
            trailers: HeaderMap::new(),
            authority: "www.example.com",
            path: "/path",
            query: Some("param=value"),
            target: Some("/path?param=value"),
        }
    }

    fn with(fields: &[(&'static str, &[u8])]) -> Sample {
        let mut sample = Sample::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value).unwrap();
            sample.headers.append(*name, value);
        }
        sample
    }

    fn view(&self) -> Request<'_> {
        Request {
            method: &self.method,
            scheme: "https",
            authority: self.authority,
            path: self.path,
            query: self.query,
            target: self.target,
            headers: &self.headers,
            trailers: Some(&self.trailers),
        }
    }

    fn value(&self, component: &str) -> Result<String, Error> {
        value(&Message::Request(self.view()), component)
    }
}

fn value(message: &Message<'_>, component: &str) -> Result<String, Error> {
    let mut out = String::new();
    write_value(&mut out, message, &Component::parse(component).unwrap())?;
    Ok(out)
}

fn name(component: &str) -> Box<str> {
    component.into()
}

#[test]
fn derived_components_are_as_in_the_standard() {
    let sample = Sample::new();
    for (component, expected) in [
        (r#""@method""#, "POST"),
        (
            r#""@target-uri""#,
            "https://www.example.com/path?param=value",
        ),
        (r#""@authority""#, "www.example.com"),
        (r#""@scheme""#, "https"),
        (r#""@request-target""#, "/path?param=value"),
        (r#""@path""#, "/path"),
        (r#""@query""#, "?param=value"),
        (r#""@query-param";name="param""#, "value"),
    ] {
        assert_eq!(sample.value(component).unwrap(), expected, "{component}");
    }
}

#[test]
fn a_target_in_another_form_stands_there_as_it_was() {
    for target in [
        "https://www.example.com/path?param=value",
        "www.example.com:80",
        "*",
    ] {
        let mut sample = Sample::new();
        sample.target = Some(target);
        assert_eq!(sample.value(r#""@request-target""#).unwrap(), target);
    }
    let mut sample = Sample::new();
    (sample.path, sample.query, sample.target) = ("", None, Some("*"));
    assert_eq!(
        sample.value(r#""@target-uri""#).unwrap(),
        "https://www.example.com"
    );
    assert_eq!(sample.value(r#""@path""#).unwrap(), "/");
    assert_eq!(sample.value(r#""@query""#).unwrap(), "?");
    sample.target = None;
    assert_eq!(
        sample.value(r#""@target-uri""#).unwrap(),
        "https://www.example.com/"
    );
    let component = name("@request-target");
    let error = sample.value(r#""@request-target""#).unwrap_err();
    assert_eq!(error, Error::ComponentAbsent { component });
}

#[test]
fn an_authority_is_lower_case_and_without_the_port_that_goes_without_saying() {
    for (scheme, authority, expected) in [
        ("https", "Example.COM", "example.com"),
        ("https", "example.com:443", "example.com"),
        ("HTTPS", "example.com:443", "example.com"),
        ("https", "example.com:80", "example.com:80"),
        ("http", "example.com:80", "example.com"),
        ("https", "example.com:8443", "example.com:8443"),
        ("https", "example.com:", "example.com"),
        ("https", "[2001:DB8::443]", "[2001:db8::443]"),
        ("https", "[::1]:443", "[::1]"),
    ] {
        let sample = Sample::new();
        let request = Request {
            scheme,
            authority,
            ..sample.view()
        };
        let message = Message::Request(request);
        assert_eq!(value(&message, r#""@authority""#).unwrap(), expected);
        let uri = value(&message, r#""@target-uri""#).unwrap();
        assert_eq!(
            uri,
            format!("{}://{expected}/path?param=value", scheme.to_lowercase())
        );
    }
    let mut sample = Sample::new();
    sample.authority = ":443";
    let component = name("@authority");
    let error = sample.value(r#""@authority""#).unwrap_err();
    assert_eq!(error, Error::ComponentAbsent { component });
}

#[test]
fn fields_are_as_in_the_standard() {
    // 2.1, with registered names for what stands there as Example-Dict.
    let sample = Sample::with(&[
        ("host", b"www.example.com"),
        ("x-ows-header", b"  Leading and trailing whitespace.  "),
        ("cache-control", b"max-age=60"),
        ("cache-control", b"   must-revalidate"),
        ("priority", b"a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ("x-empty-header", b" "),
        ("accept-ch", b"a,  b"),
        ("accept-ch", b"c;x=01.50"),
        ("client-cert", b":AAE=:  "),
        ("x-header", b"value, with, lots"),
        ("x-header", b"of, commas"),
    ]);
    for (component, expected) in [
        (r#""host""#, "www.example.com"),
        (r#""x-ows-header""#, "Leading and trailing whitespace."),
        (r#""cache-control""#, "max-age=60, must-revalidate"),
        (r#""priority""#, "a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        (r#""priority";sf"#, "a=1, b=2;x=1;y=2, c=(a b c), d"),
        (r#""priority";key="a""#, "1"),
        (r#""priority";key="d""#, "?1"),
        (r#""priority";key="b""#, "2;x=1;y=2"),
        (r#""priority";key="c";sf"#, "(a b c)"),
        (r#""x-empty-header""#, ""),
        (r#""accept-ch";sf"#, "a, b, c;x=1.5"),
        (r#""client-cert";sf"#, ":AAE=:"),
        (r#""x-header""#, "value, with, lots, of, commas"),
        (
            r#""x-header";bs"#,
            ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:",
        ),
    ] {
        assert_eq!(sample.value(component).unwrap(), expected, "{component}");
    }
}

#[test]
fn a_trailer_is_no_header_and_a_header_no_trailer() {
    let mut sample = Sample::with(&[("expires", b"in the head")]);
    let component = || name("expires");
    assert_eq!(sample.value(r#""expires""#).unwrap(), "in the head");
    let error = sample.value(r#""expires";tr"#).unwrap_err();
    assert_eq!(
        error,
        Error::ComponentAbsent {
            component: component()
        }
    );
    sample.trailers.append("expires", "behind".parse().unwrap());
    assert_eq!(sample.value(r#""expires";tr"#).unwrap(), "behind");
    sample.headers.clear();
    let error = sample.value(r#""expires""#).unwrap_err();
    assert_eq!(
        error,
        Error::ComponentAbsent {
            component: component()
        }
    );
    let unread = Message::Request(Request {
        trailers: None,
        ..sample.view()
    });
    let error = value(&unread, r#""expires";tr"#).unwrap_err();
    assert_eq!(
        error,
        Error::ComponentAbsent {
            component: component()
        }
    );
}

#[test]
fn what_cannot_be_a_value_is_refused_by_its_reason() {
    let mut sample = Sample::with(&[
        ("x-latin", b"caf\xe9"),
        ("x-utf8", "café".as_bytes()),
        ("set-cookie", b"a=1"),
        ("set-cookie", b"b=2"),
        ("priority", b"a=1, a=2"),
        ("date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
        ("accept-ch", b"("),
    ]);
    sample.query = Some("a=1&a=2&b=%ff");
    let byte = |component: &str| Error::ValueByte {
        component: name(component),
    };
    let malformed = |component: &str, fault| Error::ValueMalformed {
        component: name(component),
        fault,
    };
    let ambiguous = |component: &str| Error::ValueAmbiguous {
        component: name(component),
    };
    let misplaced = |component: &str| Error::ComponentMisplaced {
        component: name(component),
    };
    let not_structured = |component: &str| Error::NotStructured {
        component: name(component),
    };
    for (component, expected) in [
        (r#""x-latin""#, byte("x-latin")),
        (r#""x-utf8""#, byte("x-utf8")),
        (r#""set-cookie""#, ambiguous("set-cookie")),
        (r#""priority";sf"#, malformed("priority", Fault::Duplicate)),
        (
            r#""priority";key="a""#,
            malformed("priority", Fault::Duplicate),
        ),
        (r#""accept-ch";sf"#, malformed("accept-ch", Fault::Syntax)),
        (r#""accept-ch";key="a""#, not_structured("accept-ch")),
        (r#""date";sf"#, not_structured("date")),
        (r#""date";key="a""#, not_structured("date")),
        (r#""@query-param";name="a""#, ambiguous("@query-param")),
        (r#""@query-param";name="b""#, byte("@query-param")),
        (r#""@status""#, misplaced("@status")),
        (r#""@method";req"#, misplaced("@method;req")),
        (r#""date";req"#, misplaced("date;req")),
    ] {
        assert_eq!(
            sample.value(component).unwrap_err(),
            expected,
            "{component}"
        );
    }
    assert_eq!(sample.value(r#""x-latin";bs"#).unwrap(), ":Y2Fm6Q==:");
    sample.path = "/a b";
    assert_eq!(sample.value(r#""@path""#).unwrap_err(), byte("@path"));
    sample.path = "/a\nb";
    assert_eq!(
        sample.value(r#""@target-uri""#).unwrap_err(),
        byte("@target-uri")
    );
}

#[test]
fn a_response_has_a_status_and_what_it_answers_with_req() {
    let sample = Sample::with(&[("date", b"then")]);
    let headers = HeaderMap::from_iter([(http::header::DATE, HeaderValue::from_static("now"))]);
    let mut response = Response {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headers: &headers,
        trailers: None,
        request: Some(sample.view()),
    };
    let message = Message::Response(response);
    assert_eq!(value(&message, r#""@status""#).unwrap(), "503");
    assert_eq!(value(&message, r#""date""#).unwrap(), "now");
    assert_eq!(value(&message, r#""date";req"#).unwrap(), "then");
    assert_eq!(value(&message, r#""@method";req"#).unwrap(), "POST");
    for component in ["@method", "@path", "@status;req"] {
        let text = match component.split_once(';') {
            Some((name, req)) => format!("\"{name}\";{req}"),
            None => format!("\"{component}\""),
        };
        let expected = Error::ComponentMisplaced {
            component: name(component),
        };
        assert_eq!(value(&message, &text).unwrap_err(), expected);
    }
    response.request = None;
    let message = Message::Response(response);
    for component in [r#""date";req"#, r#""@method";req"#] {
        let error = value(&message, component).unwrap_err();
        assert!(matches!(error, Error::NoRequest { .. }), "{component}");
    }
}

#[test]
fn a_base_has_a_limit() {
    let value = vec![b'a'; BASE];
    let sample = Sample::with(&[("x-long", &value)]);
    let input = Input::parse(br#"("x-long")"#).unwrap();
    let error = Base::build(&Message::Request(sample.view()), &input).unwrap_err();
    assert_eq!(error, Error::BaseTooLarge { limit: BASE });
}

#[test]
fn a_short_list_of_components_cannot_ask_for_much_work() {
    let space = " ".repeat(12 * 1024);
    let value = format!("a=1, b=2, c=3, d=(1 1){space}, e=1");
    let mut sample = Sample::with(&[("priority", value.as_bytes())]);
    let build = |sample: &Sample, text: &str| {
        let input = Input::parse(text.as_bytes()).unwrap();
        Base::build(&Message::Request(sample.view()), &input).map(|_| ())
    };
    let too_large = Err(Error::BaseTooLarge { limit: PARSED });
    let five = r#"("priority";key="a" "priority";key="b" "priority";key="c" "priority";key="d" "priority";key="e")"#;
    assert_eq!(build(&sample, five), Ok(()));
    let six = five.replace(')', r#" "priority";sf)"#);
    assert_eq!(build(&sample, &six), too_large);
    let query = format!("a=1&{}b=2", "x&".repeat(12 * 1024));
    sample.query = Some(query.leak());
    let two = r#"("@query-param";name="a" "@query-param";name="b")"#;
    assert_eq!(build(&sample, two), Ok(()));
    let three = r#"("@query-param";name="a" "@query-param";name="b" "@query-param";name="c")"#;
    assert_eq!(build(&sample, three), too_large);
}

proptest! {
    /// No value makes a line of its own, whatever is in it (RFC 9421 7.5.5).
    #[test]
    fn a_base_has_one_line_a_component(
        values in proptest::collection::vec("[ -~\t]{0,20}", 1..5),
        path in "/[!-~]{0,20}",
        query in proptest::option::of("[!-~]{0,20}"),
    ) {
        let mut headers = HeaderMap::new();
        for value in &values {
            headers.append("x-any", HeaderValue::from_str(value).unwrap());
        }
        let message = Message::Request(Request {
            method: &Method::GET,
            scheme: "https",
            authority: "a.example",
            path: &path,
            query: query.as_deref(),
            target: None,
            headers: &headers,
            trailers: None,
        });
        let text = br#"("@method" "x-any" "@path" "@query" "x-any";bs "@target-uri");created=1"#;
        let input = Input::parse(text).unwrap();
        let base = Base::build(&message, &input).unwrap();
        let lines: Vec<_> = base.as_str().split('\n').collect();
        prop_assert_eq!(lines.len(), input.components().len() + 1);
        for (line, component) in lines.iter().zip(input.components()) {
            let start = format!("{component}: ");
            prop_assert!(line.starts_with(&start));
        }
        let last = format!("\"@signature-params\": {}", input.as_str());
        prop_assert_eq!(lines.last(), Some(&last.as_str()));
    }
}
