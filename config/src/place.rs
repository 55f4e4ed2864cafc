//! Where in the operator's file something stands.
//!
//! Every name and path of the model keeps its [`Place`], so that whoever opens a file or binds an
//! address later can still say which line asked for it. Nothing here reads a file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A position in the configuration file, with the key that stands there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named when it was loaded.
    pub file: Arc<Path>,
    /// The line, counted from 1; 0 when the file as a whole is meant (it could not be read).
    pub line: u32,
    /// The column in characters, counted from 1; 0 when the file as a whole is meant.
    pub column: u32,
    /// The key from the root, such as `routes.observations.allow`. A table in a list is called by
    /// its `name`, or by its number from 1 (`routes.#2`) when it has none. Empty for the root.
    pub key: String,
}

impl Place {
    /// The file as a whole, for when there is no text to point into.
    pub fn whole(file: &Path) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            key: String::new(),
        }
    }

    /// The key `name` below this place. It stands where its table stands until it is found.
    #[must_use]
    pub(crate) fn child(&self, name: &str) -> Self {
        Self {
            key: join(&self.key, name),
            ..self.clone()
        }
    }
}

/// `file:line:column: key`, leaving out what is not known.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

/// A value and where it was written. A default stands where its table stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// What was written.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

/// A key under its parent, quoted as TOML would where it is not a bare key.
pub(crate) fn join(parent: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name.len() <= LONGEST_KEY
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_#".contains(c));
    let name = if bare { name.to_owned() } else { quoted(name) };
    if parent.is_empty() {
        name
    } else {
        format!("{parent}.{name}")
    }
}

/// Text of the operator's for a message: in quotes, escaped, and never longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(LONGEST_KEY).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", shown.escape_debug())
}

const LONGEST_KEY: usize = 64;

/// The line and column of each byte of a text.
pub(crate) struct Lines<'t> {
    text: &'t str,
    /// Byte offset of the first byte of each line.
    starts: Vec<usize>,
    /// Characters before byte `i * BLOCK`, so that a column costs one block even when the whole
    /// file is a single line.
    blocks: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0)
            .chain(newlines.map(|(at, _)| at + 1))
            .collect();
        let mut blocks = vec![0];
        for block in text.as_bytes().chunks(BLOCK) {
            let before = blocks[blocks.len() - 1];
            blocks.push(before + characters(block));
        }
        Self {
            text,
            starts,
            blocks,
        }
    }

    /// Line and column, both from 1, of a byte offset. An offset beyond the end is the end.
    pub(crate) fn position(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let column = self.before(offset) - self.before(self.starts[line - 1]) + 1;
        (small(line), small(column))
    }

    fn before(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        self.blocks[block] + characters(&self.text.as_bytes()[block * BLOCK..offset])
    }
}

const BLOCK: usize = 1024;

/// Counts the bytes that begin a character in UTF-8 (RFC 3629 section 3).
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_that_is_not_bare_is_quoted() {
        assert_eq!(join("trust", "devices"), "trust.devices");
        assert_eq!(join("trust", "a b"), "trust.\"a b\"");
        assert_eq!(join("", "audit"), "audit");
    }

    #[test]
    fn a_long_or_hostile_text_is_cut_and_escaped() {
        assert_eq!(quoted("a\u{1b}[31m"), "\"a\\u{1b}[31m\"");
        assert_eq!(
            quoted(&"x".repeat(70)),
            format!("\"{}...\"", "x".repeat(64))
        );
    }

    #[test]
    fn a_place_without_a_line_is_the_file() {
        assert_eq!(
            Place::whole(Path::new("gateway.toml")).to_string(),
            "gateway.toml"
        );
    }

    proptest! {
        #[test]
        fn a_position_counts_lines_and_characters(text in "[a\u{e9}\u{1F600}\n\r]{0,3000}") {
            let lines = Lines::of(&text);
            let (mut line, mut column) = (1, 1);
            for (at, character) in text.char_indices() {
                prop_assert_eq!(lines.position(at), (line, column));
                (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
            prop_assert_eq!(lines.position(text.len()), (line, column));
            prop_assert_eq!(lines.position(usize::MAX), (line, column));
        }
    }
}
