//! One member of `Signature-Input`: the covered components and the parameters of the signature,
//! which are what `@signature-params` stands for.
//!
//! Standard: RFC 9421 2.3 and 4.1. Parameters that are not known are kept, in their place, because
//! they are signed. What it does not do: it judges no time and no algorithm; `verify` does.

use std::borrow::Cow;
use std::fmt;

use crate::component::Component;
use crate::error::{Error, Fault};
use crate::limits::{COMPONENTS, TEXT};
use crate::structured::{self, Bare, InnerList, Member};

const FIELD: &str = "signature-input";

/// What one signature covers, and what it says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Input {
    components: Vec<Component>,
    params: Params,
    text: String,
}

/// The parameters of RFC 9421 2.3. Times are in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// When the signature was made.
    pub created: Option<u64>,
    /// When it ends.
    pub expires: Option<u64>,
    /// A value that is used once.
    pub nonce: Option<Box<str>>,
    /// The algorithm, as the signer names it.
    pub alg: Option<Box<str>>,
    /// Which key signed.
    pub keyid: Option<Box<str>>,
    /// What the signature is for.
    pub tag: Option<Box<str>>,
}

impl Input {
    /// Reads an inner list with parameters, as it stands behind a label in `Signature-Input`.
    pub fn parse(text: &[u8]) -> Result<Input, Error> {
        let malformed = |fault| Error::FieldMalformed {
            field: FIELD,
            fault,
        };
        let members = structured::list(text).map_err(malformed)?;
        match &members[..] {
            [Member::InnerList(inner)] => Input::read(inner),
            _ => Err(malformed(Fault::Type)),
        }
    }

    /// What these components and parameters are as one value. The parameters stand in the order
    /// in which [`Params`] lists them.
    pub fn new(components: &[Component], params: &Params) -> Result<Input, Error> {
        let covered: Vec<_> = components.iter().map(Component::as_str).collect();
        let mut text = format!("({})", covered.join(" "));
        params.write(&mut text)?;
        // One reader for both directions: what is made here is refused for the same reasons.
        Input::parse(text.as_bytes())
    }

    pub(crate) fn read(inner: &InnerList<'_>) -> Result<Input, Error> {
        if inner.items.len() > COMPONENTS {
            return Err(Error::TooManyComponents { limit: COMPONENTS });
        }
        let params = Params::read(&inner.parameters)?;
        let mut components = Vec::with_capacity(inner.items.len());
        for (index, item) in inner.items.iter().enumerate() {
            let component = Component::read(item, index)?;
            if components.contains(&component) {
                return Err(Error::ComponentTwice { index });
            }
            components.push(component);
        }
        let mut text = String::from("(");
        for (index, component) in components.iter().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(component.as_str());
        }
        text.push(')');
        structured::write_parameters(&mut text, &inner.parameters);
        Ok(Input {
            components,
            params,
            text,
        })
    }

    /// The covered components in their order.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Whether this component is covered.
    pub fn covers(&self, component: &Component) -> bool {
        self.components.contains(component)
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The value of `@signature-params`, canonical. It can hold what a peer chose: not for logs.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What is covered, by public names.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.components).finish()
    }
}

impl Params {
    fn read(parameters: &structured::Parameters<'_>) -> Result<Params, Error> {
        let mut params = Params::default();
        for (key, value) in parameters {
            match key.as_str() {
                "created" => params.created = Some(time("created", value)?),
                "expires" => params.expires = Some(time("expires", value)?),
                "nonce" => params.nonce = Some(text("nonce", value)?),
                "alg" => params.alg = Some(text("alg", value)?),
                "keyid" => params.keyid = Some(text("keyid", value)?),
                "tag" => params.tag = Some(text("tag", value)?),
                // Signed with the rest, and of no meaning here.
                _ => {}
            }
        }
        if let (Some(created), Some(expires)) = (params.created, params.expires)
            && expires < created
        {
            return Err(Error::ExpiresFirst { created, expires });
        }
        Ok(params)
    }

    fn write(&self, out: &mut String) -> Result<(), Error> {
        let times = [("created", self.created), ("expires", self.expires)];
        for (parameter, seconds) in times {
            if let Some(seconds) = seconds {
                out.extend([";", parameter, "=", &seconds.to_string()]);
            }
        }
        let texts = [
            ("nonce", &self.nonce),
            ("alg", &self.alg),
            ("keyid", &self.keyid),
            ("tag", &self.tag),
        ];
        for (parameter, text) in texts {
            if let Some(text) = text {
                let text = sfv::StringRef::from_str(text)
                    .map_err(|_| Error::ParameterType { parameter })?;
                out.extend([";", parameter, "="]);
                structured::write_bare(out, &Bare::String(Cow::Borrowed(text)));
            }
        }
        Ok(())
    }
}

fn time(parameter: &'static str, value: &Bare<'_>) -> Result<u64, Error> {
    value
        .as_integer()
        .and_then(|seconds| u64::try_from(i64::from(seconds)).ok())
        .ok_or(Error::ParameterType { parameter })
}

fn text(parameter: &'static str, value: &Bare<'_>) -> Result<Box<str>, Error> {
    let text = value
        .as_string()
        .ok_or(Error::ParameterType { parameter })?;
    if text.as_str().len() > TEXT {
        return Err(Error::ParameterTooLong {
            parameter,
            limit: TEXT,
        });
    }
    Ok(text.as_str().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_read_is_printed_in_its_order() {
        let text = r#"("@target-uri" "@authority" "date";tr "cache-control");keyid="test-key-rsa-pss";alg="rsa-pss-sha512";created=1618884475;expires=1618884775;x=:AAE=:;y"#;
        let input = Input::parse(text.as_bytes()).unwrap();
        assert_eq!(input.as_str(), text);
        assert_eq!(input.components().len(), 4);
        assert_eq!(input.params().created, Some(1_618_884_475));
        assert_eq!(input.params().keyid.as_deref(), Some("test-key-rsa-pss"));
        assert_eq!(input.params().nonce, None);
    }

    #[test]
    fn space_that_the_grammar_allows_is_not_signed() {
        let input = Input::parse(br#" (  "date"   "@method" ); created=1;  tag="a" "#).unwrap();
        assert_eq!(input.as_str(), r#"("date" "@method");created=1;tag="a""#);
    }

    #[test]
    fn a_parameter_of_another_type_or_out_of_range_is_refused() {
        for (text, parameter) in [
            ("();created=-1", "created"),
            ("();created=1.0", "created"),
            ("();created=\"1\"", "created"),
            ("();created=@1", "created"),
            ("();created", "created"),
            ("();expires=a", "expires"),
            ("();nonce=:AAE=:", "nonce"),
            ("();keyid=abc", "keyid"),
            ("();alg=ed25519", "alg"),
            ("();tag=1", "tag"),
        ] {
            let error = Input::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, Error::ParameterType { parameter }, "{text}");
        }
        let malformed = |fault| Error::FieldMalformed {
            field: FIELD,
            fault,
        };
        let sixteen_digits = Input::parse(b"();created=1000000000000000");
        assert_eq!(sixteen_digits.unwrap_err(), malformed(Fault::Syntax));
        let twice = Input::parse(b"();created=1;created=1");
        assert_eq!(twice.unwrap_err(), malformed(Fault::Duplicate));
        let item = Input::parse(b"\"date\";created=1");
        assert_eq!(item.unwrap_err(), malformed(Fault::Type));
    }

    #[test]
    fn a_component_that_is_covered_twice_is_refused() {
        for (text, index) in [
            (r#"("date" "@method" "date")"#, 2),
            (r#"("date";tr;req "date";req;tr)"#, 1),
        ] {
            let error = Input::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, Error::ComponentTwice { index }, "{text}");
        }
        assert!(Input::parse(br#"("date" "date";tr "date";req)"#).is_ok());
    }

    #[test]
    fn there_are_limits() {
        let list = |count: usize| {
            let items: Vec<_> = (0..count).map(|at| format!("\"x{at}\"")).collect();
            Input::parse(format!("({})", items.join(" ")).as_bytes())
        };
        assert!(list(COMPONENTS).is_ok());
        let limit = COMPONENTS;
        let error = list(COMPONENTS + 1).unwrap_err();
        assert_eq!(error, Error::TooManyComponents { limit });
        let nonce =
            |length| Input::parse(format!("();nonce=\"{}\"", "a".repeat(length)).as_bytes());
        assert!(nonce(TEXT).is_ok());
        assert!(matches!(
            nonce(TEXT + 1).unwrap_err(),
            Error::ParameterTooLong {
                parameter: "nonce",
                ..
            }
        ));
    }

    #[test]
    fn a_signature_does_not_end_before_it_begins() {
        let error = Input::parse(b"();expires=9;created=10").unwrap_err();
        let (created, expires) = (10, 9);
        assert_eq!(error, Error::ExpiresFirst { created, expires });
        assert!(Input::parse(b"();expires=10;created=10").is_ok());
    }

    #[test]
    fn what_is_no_string_cannot_be_a_parameter() {
        let params = Params {
            nonce: Some("ç".into()),
            ..Params::default()
        };
        let error = Input::new(&[], &params).unwrap_err();
        assert_eq!(error, Error::ParameterType { parameter: "nonce" });
    }

    proptest! {
        #[test]
        fn what_is_made_is_read_as_it_was(
            created in proptest::option::of(0..1_000_000_u64),
            texts in proptest::collection::vec(proptest::option::of("[ -~]{0,20}"), 4),
            names in proptest::collection::hash_set("[a-z]{1,8}", 0..9),
        ) {
            let mut texts = texts.into_iter().map(|text| text.map(Box::from));
            let params = Params {
                created,
                expires: created.map(|created| created + 5),
                nonce: texts.next().unwrap(),
                alg: texts.next().unwrap(),
                keyid: texts.next().unwrap(),
                tag: texts.next().unwrap(),
            };
            let components: Vec<_> = names.iter().map(|name| Component::named(name).unwrap()).collect();
            let input = Input::new(&components, &params).unwrap();
            prop_assert_eq!(input.params(), &params);
            prop_assert_eq!(input.components(), &components[..]);
            let again = Input::parse(input.as_str().as_bytes()).unwrap();
            prop_assert_eq!(again.as_str(), input.as_str());
        }

        #[test]
        fn no_bytes_make_reading_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Input::parse(&text);
        }
    }
}
