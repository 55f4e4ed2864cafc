//! The parameters of a query, decoded and encoded anew so that they are one line of ASCII.
//!
//! Standard: RFC 9421 2.2.8, which takes `application/x-www-form-urlencoded` of the URL standard
//! (5.1 to read, 5.2 to write, with the space as `%20`). One thing is stricter: a value that is not
//! UTF-8 is refused where the URL standard replaces its bytes, because two such values would then
//! be one. What it does not do: it gives no parameter a meaning.

/// Why a query has no such parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryError {
    Absent,
    Twice,
    NotUtf8,
}

/// The encoded value of the parameter whose encoded name is this one.
pub(crate) fn value(query: &str, name: &str) -> Result<String, QueryError> {
    let mut found = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A name that is not UTF-8 is another one than any that can be asked for.
        if encoded(key).eq(name.chars()) && found.replace(value).is_some() {
            return Err(QueryError::Twice);
        }
    }
    let value = found.ok_or(QueryError::Absent)?;
    check_utf8(value)?;
    Ok(encoded(value).collect())
}

/// Whether a name is as the encoding leaves it.
pub(crate) fn is_encoded(name: &str) -> bool {
    check_utf8(name).is_ok() && encoded(name).eq(name.chars())
}

/// One name or value, decoded and encoded anew, without a copy: a query is gone through for each
/// of its parameters that is covered.
fn encoded(raw: &str) -> impl Iterator<Item = char> {
    decoded(raw.as_bytes()).flat_map(|byte| {
        let plain = matches!(byte, b'*' | b'-' | b'.' | b'_') || byte.is_ascii_alphanumeric();
        let digit = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit)]);
        let (text, length) = if plain {
            ([char::from(byte), ' ', ' '], 1)
        } else {
            (['%', digit(byte >> 4), digit(byte & 15)], 3)
        };
        text.into_iter().take(length)
    })
}

fn check_utf8(raw: &str) -> Result<(), QueryError> {
    let bytes: Vec<u8> = decoded(raw.as_bytes()).collect();
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(QueryError::NotUtf8),
    }
}

/// Plus as space, percent-encoded bytes as bytes; a percent sign without two digits is itself.
fn decoded(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match (byte, after) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    Some(high << 4 | low)
                }
                _ => Some(b'%'),
            },
            _ => Some(byte),
        }
    })
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_standard_hold() {
        let query = "param=value&foo=bar&baz=batman&qux=";
        assert_eq!(value(query, "baz").unwrap(), "batman");
        assert_eq!(value(query, "qux").unwrap(), "");
        assert_eq!(value(query, "param").unwrap(), "value");
        let query = "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something";
        assert_eq!(
            value(query, "var").unwrap(),
            "this%20is%20a%20big%0Amultiline%20value"
        );
        assert_eq!(value(query, "bar").unwrap(), "with%20plus%20whitespace");
        assert_eq!(value(query, "fa%C3%A7ade%22%3A%20").unwrap(), "something");
    }

    #[test]
    fn a_parameter_is_there_once_or_not_at_all() {
        assert_eq!(value("a=1&b=2", "c"), Err(QueryError::Absent));
        assert_eq!(value("", "c"), Err(QueryError::Absent));
        assert_eq!(value("a=1&b&a=1", "a"), Err(QueryError::Twice));
        assert_eq!(value("a=1&%61=2", "a"), Err(QueryError::Twice));
        assert_eq!(value("a=1&b&&c", "b").unwrap(), "");
        assert_eq!(value("a=1=2", "a").unwrap(), "1%3D2");
        assert_eq!(value("a=%zz%", "a").unwrap(), "%25zz%25");
    }

    #[test]
    fn a_value_that_is_not_utf8_is_refused_not_replaced() {
        assert_eq!(value("a=%ff", "a"), Err(QueryError::NotUtf8));
        assert_eq!(value("%ff=1&a=2", "a").unwrap(), "2");
    }

    proptest! {
        #[test]
        fn an_encoded_value_is_its_own_encoding_and_one_line(raw in "[ -~ç\n]*") {
            if check_utf8(&raw).is_err() {
                return Ok(());
            }
            let once: String = encoded(&raw).collect();
            prop_assert!(is_encoded(&once));
            prop_assert!(once.bytes().all(|byte| byte.is_ascii_graphic()));
        }

        #[test]
        fn a_value_that_was_written_is_found(name in ".{1,9}", text in ".*") {
            // Encoding what has neither plus nor percent sign is writing it.
            let plain = |text: &str| encoded(&text.replace('%', "%25").replace('+', "%2B")).collect::<String>();
            let query = format!("x=1&{}={}&y=2", plain(&name), plain(&text));
            prop_assume!(name != "x" && name != "y");
            prop_assert_eq!(value(&query, &plain(&name)).unwrap(), plain(&text));
        }
    }
}
