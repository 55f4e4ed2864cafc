//! Words as a shell reads them back.
//!
//! Standard: POSIX.1-2017, Shell Command Language 2.2. What it does not do: it reads no shell.

/// One word, in quotes unless no shell would take it for anything but itself.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Words of one line.
pub fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(word).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_needs_no_quotes_has_none() {
        assert_eq!(
            line(["curl", "https://a.example:8443/b"]),
            "curl https://a.example:8443/b"
        );
        assert_eq!(
            line(["", "a b", "it's", "~", "a=b"]),
            r"'' 'a b' 'it'\''s' '~' 'a=b'"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_shell_reads_back_what_was_written(
            words in proptest::collection::vec("[ -~\n\tä]{0,12}", 1..6),
        ) {
            let script = format!(
                r#"set -- {}; printf '%s\0' "$@""#,
                line(words.iter().map(String::as_str))
            );
            let ran = Command::new("sh").args(["-c", &script]).output().unwrap();
            let read: Vec<_> = ran.stdout.split(|byte| *byte == 0).collect();
            let expected: Vec<_> = words.iter().map(String::as_bytes).chain([&b""[..]]).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
