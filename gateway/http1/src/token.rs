//! Tokens: the alphabet of methods, field names and connection options (RFC 9110 5.6.2). What this
//! file does not do: it reads no list and no quoted string.

/// Whether these bytes are a token. An empty slice is none.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    // without an early end the table is read as fast as memory allows, and names are good as a rule
    let all = |good, &byte: &u8| good & TCHAR[usize::from(byte)];
    !bytes.is_empty() && bytes.iter().fold(true, all)
}

/// The place of the first byte that cannot stand in a token.
pub(crate) fn first_outside(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| !TCHAR[usize::from(byte)])
}

/// Without the spaces and tabs at both ends (OWS, RFC 9110 5.6.3).
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_what_the_grammar_lists_and_nothing_else() {
        let tokens: Vec<u8> = (0..=255).filter(|&byte| is_token(&[byte])).collect();
        assert_eq!(
            tokens,
            b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
        assert!(!is_token(b""));
    }

    #[test]
    fn only_space_and_tab_are_trimmed() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b" \t "), b"");
        assert_eq!(trim_ows(b"\x0ba\x0c"), b"\x0ba\x0c");
    }
}
