//! What is served where, under the paths that certificates name (`publication`). Pure: a path in, a
//! route out; nothing of it is repaired.

use http::Method;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// The CRL with this file name.
    Crl(&'a str),
    /// The certificate of the issuing authority.
    Issuing,
    /// The certificate of the root.
    Root,
    /// The same in PEM: what a verifier trusts.
    Trust,
    /// The status that the body asks for.
    StatusByBody,
    /// The status that this part of the path asks for.
    StatusByPath(&'a str),
    /// Something, but not by this method.
    WrongMethod {
        /// By which.
        allow: &'static str,
    },
    /// Nothing.
    Nowhere,
}

/// Longest file name of a CRL.
const MAX_NAME: usize = 64;

/// The route of a request. `prefix` is what stands before all paths, empty or `/devices`.
pub(crate) fn route<'a>(method: &Method, path: &'a str, prefix: &str) -> Route<'a> {
    let Some(path) = path.strip_prefix(prefix) else {
        return Route::Nowhere;
    };
    if path == "/ocsp" {
        return match *method {
            Method::POST => Route::StatusByBody,
            _ => Route::WrongMethod { allow: "POST" },
        };
    }
    let fixed = match path {
        "/issuing.cer" => Some(Route::Issuing),
        "/root.cer" => Some(Route::Root),
        "/trust.pem" => Some(Route::Trust),
        _ => path
            .strip_prefix("/ocsp/")
            // Some clients put a slash between the two where the URL ended with one.
            .map(|rest| Route::StatusByPath(rest.trim_start_matches('/')))
            .or_else(|| {
                let name = path.strip_prefix("/crl/").filter(|name| is_name(name));
                name.map(Route::Crl)
            }),
    };
    match (fixed, *method == Method::GET || *method == Method::HEAD) {
        (Some(route), true) => route,
        (Some(_), false) => Route::WrongMethod { allow: "GET, HEAD" },
        (None, _) => Route::Nowhere,
    }
}

/// A file name that leads nowhere else, and to a CRL.
fn is_name(name: &str) -> bool {
    let known = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    name.len() <= MAX_NAME
        && name
            .strip_suffix(".crl")
            .is_some_and(|stem| !stem.is_empty() && stem.bytes().all(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        let get = |path| route(&Method::GET, path, "");
        assert_eq!(get("/crl/issuing-03.crl"), Route::Crl("issuing-03.crl"));
        assert_eq!(get("/issuing.cer"), Route::Issuing);
        assert_eq!(get("/root.cer"), Route::Root);
        assert_eq!(get("/trust.pem"), Route::Trust);
        assert_eq!(get("/ocsp/MEM/a=="), Route::StatusByPath("MEM/a=="));
        assert_eq!(get("/ocsp//MEM"), Route::StatusByPath("MEM"));
        assert_eq!(route(&Method::POST, "/ocsp", ""), Route::StatusByBody);
        assert_eq!(
            route(&Method::HEAD, "/devices/root.cer", "/devices"),
            Route::Root
        );
    }

    #[test]
    fn methods_that_do_nothing_say_what_does() {
        for (method, path, allow) in [
            (Method::GET, "/ocsp", "POST"),
            (Method::POST, "/ocsp/MEM", "GET, HEAD"),
            (Method::DELETE, "/crl/root.crl", "GET, HEAD"),
        ] {
            assert_eq!(route(&method, path, ""), Route::WrongMethod { allow });
        }
    }

    #[test]
    fn nothing_else_is_there() {
        for path in [
            "",
            "/",
            "*",
            "/crl",
            "/crl/",
            "/crl/.crl",
            "/crl/../ca/x.crl",
            "/crl/a/b.crl",
            "/crl/issuing.pem",
            "/crl/ISSUING.crl",
            "/crl/%69ssuing.crl",
            "/ca/issuing.key.pem",
            "//root.cer",
            "/root.cer/",
        ] {
            assert_eq!(route(&Method::GET, path, ""), Route::Nowhere, "{path}");
        }
        assert_eq!(route(&Method::GET, "/root.cer", "/devices"), Route::Nowhere);
        let long = format!("/crl/{}.crl", "x".repeat(MAX_NAME));
        assert_eq!(route(&Method::GET, &long, ""), Route::Nowhere);
    }
}
