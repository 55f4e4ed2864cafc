//! XML 1.0 as far as an audit message needs it: elements, attributes, text, in plain ASCII on one line.
//!
//! What is not ASCII is written as a character reference, so that no reader has to guess an encoding
//! and a syslog message needs no byte order mark (RFC 5424 6.4). Characters that XML 1.0 does not know
//! become U+FFFD.

use std::fmt::Write as _;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    pub(super) fn new(name: &'static str) -> Element {
        Element {
            name,
            attributes: Vec::new(),
            children: Vec::new(),
            text: String::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Element {
        self.attributes.push((name, value.into()));
        self
    }

    pub(super) fn containing(mut self, children: impl IntoIterator<Item = Element>) -> Element {
        self.children.extend(children);
        self
    }

    pub(super) fn saying(mut self, text: impl Into<String>) -> Element {
        self.text = text.into();
        self
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        if self.children.is_empty() && self.text.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        escape(&self.text, out);
        for child in &self.children {
            child.write(out);
        }
        out.push_str("</");
        out.push_str(self.name);
        out.push('>');
    }
}

/// No text is written longer, characters: whatever an operator or a peer chose, a message stays one
/// that receivers take.
pub(super) const LONGEST: usize = 600;

/// XML 1.0 2.2 (characters), 2.4 and 3.3.3 (what must be escaped, also in attributes).
fn escape(text: &str, out: &mut String) {
    let begin = out.len();
    for c in text.chars() {
        if out.len() - begin > LONGEST {
            out.push_str("...");
            return;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            ' '..='~' => out.push(c),
            '\t' | '\n' | '\r' => reference(c, out),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => reference('\u{fffd}', out),
            _ => reference(c, out),
        }
    }
}

fn reference(c: char, out: &mut String) {
    // Writing to a String does not fail.
    let _ = write!(out, "&#x{:X};", u32::from(c));
}

#[cfg(test)]
pub(super) mod reading {
    //! Reads back what this file writes, and no more of XML.

    /// An element, as a reader finds it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in super::super) struct Node {
        pub(in super::super) name: String,
        pub(in super::super) attributes: Vec<(String, String)>,
        pub(in super::super) children: Vec<Node>,
        pub(in super::super) text: String,
    }

    impl Node {
        pub(in super::super) fn attribute(&self, name: &str) -> Option<&str> {
            let mut found = self.attributes.iter().filter(|(known, _)| known == name);
            let value = found.next().map(|(_, value)| value.as_str());
            assert!(found.next().is_none(), "{name} twice in {}", self.name);
            value
        }

        pub(in super::super) fn all(&self, name: &str) -> Vec<&Node> {
            self.children.iter().filter(|it| it.name == name).collect()
        }
    }

    /// The element that a text is.
    pub(in super::super) fn read(text: &str) -> Node {
        let mut rest = text;
        let node = element(&mut rest);
        assert_eq!(rest, "", "behind the document");
        node
    }

    fn element(rest: &mut &str) -> Node {
        let (tag, behind) = rest.strip_prefix('<').unwrap().split_once('>').unwrap();
        *rest = behind;
        let (tag, is_empty) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut node = Node {
            name: name.to_owned(),
            attributes: Vec::new(),
            children: Vec::new(),
            text: String::new(),
        };
        let mut pairs = attributes.split('"');
        while let (Some(name), Some(value)) = (pairs.next(), pairs.next()) {
            let name = name.trim().strip_suffix('=').unwrap();
            node.attributes.push((name.to_owned(), plain(value)));
        }
        if is_empty {
            return node;
        }
        let end = format!("</{name}>");
        loop {
            if let Some(behind) = rest.strip_prefix(&end) {
                *rest = behind;
                return node;
            }
            if rest.starts_with('<') {
                node.children.push(element(rest));
            } else {
                let (text, _) = rest.split_once('<').unwrap();
                *rest = &rest[text.len()..];
                node.text.push_str(&plain(text));
            }
        }
    }

    fn plain(text: &str) -> String {
        let mut parts = text.split('&');
        let mut plain = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, behind) = part.split_once(';').unwrap();
            plain.push(match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                number => {
                    let digits = number.strip_prefix("#x").unwrap();
                    char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap()
                }
            });
            plain.push_str(behind);
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_said_stays_within_its_element(text: String, value: String) {
            let mut out = String::new();
            Element::new("a").with("b", value.as_str()).saying(text.as_str()).write(&mut out);
            prop_assert!(out.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let known = |text: &str| text.replace(|c: char| matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}') && !matches!(c, '\t' | '\n' | '\r'), "\u{fffd}");
            let node = reading::read(&out);
            if text.len().max(value.len()) < LONGEST / 8 {
                prop_assert_eq!(node.text, known(&text));
                prop_assert_eq!(&node.attributes, &[("b".to_owned(), known(&value))]);
            }
            prop_assert!(node.children.is_empty());
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let mut out = String::new();
        Element::new("a")
            .saying("\u{e9}".repeat(10_000))
            .write(&mut out);
        assert!(
            out.len() < LONGEST + 30 && out.ends_with("...</a>"),
            "{out}"
        );
    }

    #[test]
    fn what_xml_does_not_know_is_replaced() {
        let mut out = String::new();
        Element::new("a")
            .saying("\0é\u{ffff}\n<&\u{1f600}")
            .write(&mut out);
        assert_eq!(out, "<a>&#xFFFD;&#xE9;&#xFFFD;&#xA;&lt;&amp;&#x1F600;</a>");
    }
}
