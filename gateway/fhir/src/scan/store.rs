//! Texts that wait for the end of an object, in a store with a fixed size.

use zeroize::Zeroizing;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Resource.id.
    Id,
    /// Identifier.system.
    System,
    /// Identifier.value.
    Value,
    /// The end of an Identifier; no text.
    End,
    /// Bundle.entry.fullUrl.
    FullUrl,
}

/// Texts one after another: what was put in last goes first.
pub(crate) struct Store(Zeroizing<Vec<u8>>);

/// The kind and two bytes of length.
const HEAD: usize = 3;

impl Store {
    /// Bytes that there is room for. It holds the longest text that the lexer keeps, and more.
    pub(crate) const SIZE: usize = 1024;

    pub(crate) fn new() -> Store {
        Store(Zeroizing::new(Vec::with_capacity(Self::SIZE)))
    }

    /// Where the next text will stand.
    pub(crate) fn mark(&self) -> u16 {
        // SIZE is below 2^16, and so is every place in it.
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }

    /// Removes everything from here on.
    pub(crate) fn cut(&mut self, mark: u16) {
        self.0.truncate(usize::from(mark));
    }

    /// Adds a text, and says whether there was room.
    #[must_use]
    pub(crate) fn push(&mut self, piece: Piece, text: &str) -> bool {
        if self.0.len() + HEAD + text.len() > Self::SIZE {
            return false;
        }
        let Ok(length) = u16::try_from(text.len()) else {
            return false;
        };
        self.0.push(piece as u8);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        true
    }

    /// The texts from here on, each with the place behind it.
    pub(crate) fn texts(&self, mark: u16) -> impl Iterator<Item = (Piece, &str, u16)> {
        let mut at = usize::from(mark);
        std::iter::from_fn(move || {
            let (head, rest) = self.0.get(at..)?.split_first_chunk::<HEAD>()?;
            let [piece, low, high] = *head;
            let length = usize::from(u16::from_le_bytes([low, high]));
            let text = str::from_utf8(rest.get(..length)?).ok()?;
            at += HEAD + length;
            let piece = match piece {
                0 => Piece::Id,
                1 => Piece::System,
                2 => Piece::Value,
                3 => Piece::End,
                _ => Piece::FullUrl,
            };
            Some((piece, text, u16::try_from(at).ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_read_from_any_mark_until_it_is_cut() {
        let mut store = Store::new();
        let all = [
            (Piece::Id, "1"),
            (Piece::System, ""),
            (Piece::Value, "\u{e4}"),
            (Piece::End, ""),
            (Piece::FullUrl, "x"),
        ];
        let marks = all.map(|(piece, text)| {
            let mark = store.mark();
            assert!(store.push(piece, text));
            mark
        });
        for (first, mark) in marks.iter().enumerate() {
            let read: Vec<_> = store
                .texts(*mark)
                .map(|(piece, text, _)| (piece, text))
                .collect();
            assert_eq!(read, all[first..]);
        }
        store.cut(marks[2]);
        assert_eq!(store.texts(0).count(), 2);
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let mut store = Store::new();
        let text = "x".repeat(Store::SIZE - HEAD);
        assert!(store.push(Piece::Value, &text));
        assert!(!store.push(Piece::End, ""));
        assert_eq!(store.texts(0).count(), 1);
    }
}
