//! Component identifiers: what of a message a signature covers.
//!
//! Standard: RFC 9421 2.1 to 2.4. Read strictly, printed canonically: reading what was printed
//! gives the same identifier back, with its parameters in the order in which they came. Two are
//! equal when name and parameters are, in whatever order (section 2). `@signature-params` is none:
//! it covers itself. What it does not do: it takes no value from a message; `base` does.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use http::header::HeaderName;
use sfv::{KeyRef, StringRef, key_ref};

use crate::error::Error;
use crate::query;
use crate::structured::{self, Bare, Item, Parameters};

/// One covered component.
#[derive(Clone)]
pub struct Component {
    name: Name,
    /// Taken from the request that the message answers (`;req`, section 2.4).
    req: bool,
    /// The identifier as it stands in the signature base.
    text: Box<str>,
}

/// What is covered, without `;req`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// `@method` (2.2.1).
    Method,
    /// `@target-uri` (2.2.2).
    TargetUri,
    /// `@authority` (2.2.3).
    Authority,
    /// `@scheme` (2.2.4).
    Scheme,
    /// `@request-target` (2.2.5).
    RequestTarget,
    /// `@path` (2.2.6).
    Path,
    /// `@query` (2.2.7).
    Query,
    /// `@query-param` and its encoded `name` (2.2.8).
    QueryParam(Box<str>),
    /// `@status` (2.2.9).
    Status,
    /// A field (2.1).
    Field {
        /// Its name.
        name: HeaderName,
        /// How its value is taken.
        form: Form,
        /// From the trailers (`;tr`, 2.1.4).
        trailer: bool,
    },
}

/// How the value of a field is taken (2.1). `bs` excludes the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it stands there, lines joined.
    Plain,
    /// `;sf`: parsed and serialized anew (2.1.1).
    Strict,
    /// `;key`: one member of a dictionary (2.1.2); `sf` beside it adds nothing but is part of the
    /// identifier.
    Member {
        /// The key.
        key: Box<str>,
        /// Whether `sf` stands there too.
        sf: bool,
    },
    /// `;bs`: each line as a byte sequence (2.1.3).
    Bytes,
}

/// Derived components that have no parameter of their own (2.2).
const DERIVED: &[(&str, Name)] = &[
    ("@method", Name::Method),
    ("@target-uri", Name::TargetUri),
    ("@authority", Name::Authority),
    ("@scheme", Name::Scheme),
    ("@request-target", Name::RequestTarget),
    ("@path", Name::Path),
    ("@query", Name::Query),
    ("@status", Name::Status),
];

const QUERY_PARAM: &str = "@query-param";

const REQ: &KeyRef = key_ref("req");
const SF: &KeyRef = key_ref("sf");
const BS: &KeyRef = key_ref("bs");
const TR: &KeyRef = key_ref("tr");
const KEY: &KeyRef = key_ref("key");
const NAME: &KeyRef = key_ref("name");

impl Component {
    /// Reads one identifier as it stands in `Signature-Input`, quotes and all:
    /// `"content-digest";req`.
    pub fn parse(text: &str) -> Result<Component, Error> {
        let item = structured::item(text.as_bytes());
        let item = item.map_err(|_| Error::ComponentName { index: 0 })?;
        Component::read(&item, 0)
    }

    /// The component of this name without parameters: `@method`, `content-digest`.
    pub fn named(name: &str) -> Result<Component, Error> {
        let name = StringRef::from_str(name).map_err(|_| Error::ComponentName { index: 0 })?;
        let item = Item {
            value: Bare::String(Cow::Borrowed(name)),
            parameters: Parameters::new(),
        };
        Component::read(&item, 0)
    }

    /// The same component of the request that the message answers (`;req`).
    pub fn of_request(&self) -> Result<Component, Error> {
        if self.req {
            return Ok(self.clone());
        }
        Component::parse(&format!("{};req", self.text))
    }

    /// Reads one item of the list of covered components; `index` is its place, for errors.
    pub(crate) fn read(item: &Item<'_>, index: usize) -> Result<Component, Error> {
        let Some(name) = item.value.as_string() else {
            return Err(Error::ComponentName { index });
        };
        let name = name.as_str();
        let given = Given::read(&item.parameters, index)?;
        let mut text = String::with_capacity(name.len() + 8);
        structured::write_item(&mut text, item);
        Ok(Component {
            name: if name.starts_with('@') {
                derived(name, &given, index)?
            } else {
                field(name, &given, index)?
            },
            req: given.req,
            text: text.into(),
        })
    }

    /// What is covered.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it is taken from the request that the message answers (`;req`).
    pub fn is_of_request(&self) -> bool {
        self.req
    }

    /// The identifier in its canonical form, as in the signature base: `"content-digest";req`. It
    /// can hold the name of a query parameter that a peer chose: not for logs.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name alone, for errors and logs: what stands in `name` or `key` is left out, because a
    /// peer chose it.
    pub fn public_name(&self) -> Box<str> {
        let req = if self.req { ";req" } else { "" };
        let name = match &self.name {
            Name::QueryParam(_) => QUERY_PARAM,
            Name::Field { name, .. } => name.as_str(),
            derived => {
                let row = DERIVED.iter().find(|(_, known)| known == derived);
                row.map_or("", |(name, _)| name)
            }
        };
        format!("{name}{req}").into()
    }
}

/// Equal when name and parameters are, whatever the order of the parameters (section 2).
impl PartialEq for Component {
    fn eq(&self, other: &Component) -> bool {
        (&self.name, self.req) == (&other.name, other.req)
    }
}

impl Eq for Component {}

impl Hash for Component {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.req).hash(state);
    }
}

/// The canonical form.
impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The public name.
impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public_name())
    }
}

/// The parameters of an identifier; unknown ones are refused.
#[derive(Default)]
struct Given<'a> {
    req: bool,
    sf: bool,
    bs: bool,
    tr: bool,
    key: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn read(parameters: &'a Parameters<'_>, index: usize) -> Result<Given<'a>, Error> {
        let mut given = Given::default();
        for (parameter, value) in parameters {
            let flag = value.as_boolean() == Some(true);
            let text = value.as_string().map(StringRef::as_str);
            match *parameter {
                known if known == REQ && flag => given.req = true,
                known if known == SF && flag => given.sf = true,
                known if known == BS && flag => given.bs = true,
                known if known == TR && flag => given.tr = true,
                known if known == KEY && text.is_some() => given.key = text,
                known if known == NAME && text.is_some() => given.name = text,
                _ => return Err(Error::ComponentParameter { index }),
            }
        }
        Ok(given)
    }
}

fn derived(name: &str, given: &Given<'_>, index: usize) -> Result<Name, Error> {
    if given.sf || given.bs || given.tr || given.key.is_some() {
        return Err(Error::ComponentParameter { index });
    }
    if name == QUERY_PARAM {
        // A name that is not as the encoding leaves it could never be found.
        return match given.name {
            Some(name) if query::is_encoded(name) => Ok(Name::QueryParam(name.into())),
            _ => Err(Error::ComponentParameter { index }),
        };
    }
    let row = DERIVED.iter().find(|(known, _)| *known == name);
    match row {
        Some(_) if given.name.is_some() => Err(Error::ComponentParameter { index }),
        Some((_, name)) => Ok(name.clone()),
        None => Err(Error::ComponentUnknown { index }),
    }
}

fn field(name: &str, given: &Given<'_>, index: usize) -> Result<Name, Error> {
    if given.name.is_some() {
        return Err(Error::ComponentParameter { index });
    }
    let form = match (given.key, given.sf, given.bs) {
        (None, false, false) => Form::Plain,
        (None, true, false) => Form::Strict,
        (None, false, true) => Form::Bytes,
        (Some(key), sf, false) => Form::Member {
            key: key.into(),
            sf,
        },
        (_, _, true) => return Err(Error::ComponentConflict { index }),
    };
    Ok(Name::Field {
        name: HeaderName::from_lowercase(name.as_bytes())
            .map_err(|_| Error::ComponentName { index })?,
        form,
        trailer: given.tr,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_component_of_the_standard_is_read_and_printed_as_it_was() {
        for text in [
            r#""@method""#,
            r#""@target-uri""#,
            r#""@authority";req"#,
            r#""@scheme""#,
            r#""@request-target""#,
            r#""@path";req"#,
            r#""@query""#,
            r#""@query-param";name="fa%C3%A7ade%22%3A%20""#,
            r#""@query-param";req;name="a""#,
            r#""@status""#,
            r#""content-digest""#,
            r#""content-digest";req;tr;sf"#,
            r#""example";key="a\"b""#,
            r#""example";sf;key="a""#,
            r#""example";bs;tr"#,
        ] {
            let component = Component::parse(text).unwrap();
            assert_eq!(component.as_str(), text);
            assert_eq!(component.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_component_is_refused_by_its_reason() {
        let index = 0;
        let unknown = Error::ComponentUnknown { index };
        let name = Error::ComponentName { index };
        let parameter = Error::ComponentParameter { index };
        let conflict = Error::ComponentConflict { index };
        for (text, error) in [
            (r#""@signature-params""#, &unknown),
            (r#""@Method""#, &unknown),
            (r#""@""#, &unknown),
            (r#""@request-response";key="a""#, &parameter),
            (r#""Content-Digest""#, &name),
            (r#""content digest""#, &name),
            (r#""""#, &name),
            (r"content-digest", &name),
            (r#""a" "b""#, &name),
            (r#""@method";sf"#, &parameter),
            (r#""@method";tr"#, &parameter),
            (r#""@method";name="a""#, &parameter),
            (r#""@query-param""#, &parameter),
            (r#""@query-param";name=a"#, &parameter),
            (r#""@query-param";name="a b""#, &parameter),
            (r#""@query-param";name="%c3%a7""#, &parameter),
            (r#""@query-param";name="%41""#, &parameter),
            (r#""date";name="a""#, &parameter),
            (r#""date";req=?0"#, &parameter),
            (r#""date";sf=1"#, &parameter),
            (r#""date";key=a"#, &parameter),
            (r#""date";other"#, &parameter),
            (r#""date";bs;sf"#, &conflict),
            (r#""date";key="a";bs"#, &conflict),
        ] {
            assert_eq!(&Component::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn the_order_of_parameters_makes_no_other_component() {
        let one = Component::parse(r#""date";req;tr"#).unwrap();
        let other = Component::parse(r#""date";tr;req"#).unwrap();
        assert_eq!(one, other);
        assert_ne!(one.as_str(), other.as_str());
        assert_ne!(one, Component::parse(r#""date";tr"#).unwrap());
        let member = |text| Component::parse(text).unwrap();
        assert_ne!(member(r#""a";key="b""#), member(r#""a";key="c""#));
        assert_ne!(member(r#""a";key="b""#), member(r#""a";key="b";sf"#));
    }

    #[test]
    fn what_a_peer_chose_is_not_in_the_public_name() {
        let component = Component::parse(r#""@query-param";name="patient";req"#).unwrap();
        assert_eq!(&*component.public_name(), "@query-param;req");
        assert_eq!(format!("{component:?}"), "@query-param;req");
    }

    #[test]
    fn a_component_of_the_request_is_the_same_with_req() {
        let method = Component::named("@method").unwrap();
        let of_request = method.of_request().unwrap();
        assert_eq!(of_request.as_str(), r#""@method";req"#);
        assert!(of_request.is_of_request());
        assert_eq!(of_request.of_request().unwrap(), of_request);
    }

    proptest! {
        #[test]
        fn reading_what_was_printed_gives_the_same(text in r#""(@[a-z-]{1,14}|[a-zA-Z0-9-]{0,9})"(;(sf|bs|tr|req|key="[ -~]{0,4}"|name="[a-zA-Z0-9%+ ]{0,6}")){0,4}"#) {
            if let Ok(component) = Component::parse(&text) {
                let again = Component::parse(component.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), component.as_str());
                prop_assert_eq!(again, component);
            }
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".*") {
            let _ = Component::parse(&text);
            let _ = Component::named(&text);
        }
    }
}
