//! A secret that a person types at the terminal of this process, and does not see.
//!
//! The terminal is `/dev/tty`, whatever stdin, stdout and stderr are: what is piped is data, not a
//! person. Keys are read one by one, interrupts among them, so that every way out but a kill gives
//! the terminal back as it was found.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::{MAX_SECRET_OCTETS, Secret, SecretError};

/// Asks for a secret. Refused where there is no terminal.
pub(super) fn ask(what: &str) -> Result<Secret, SecretError> {
    let tty = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(SecretError::NoTerminal)?;
    let silent = Silent::begin(&tty).map_err(SecretError::NoTerminal)?;
    let secret = write!(&tty, "{what}: ")
        .map_err(SecretError::NoTerminal)
        .and_then(|()| read_line(&mut io::Read::bytes(&tty)));
    drop(silent);
    let _ = writeln!(&tty);
    Secret::new(secret?)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silent<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn begin(tty: &'a File) -> io::Result<Self> {
        let before = tcgetattr(tty)?;
        let mut silent = before.clone();
        // Without the signals of ^C and ^Z, which would leave the terminal silent.
        silent.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed before anybody asked was shown, and is no answer.
        tcsetattr(tty, OptionalActions::Flush, &silent)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.tty, OptionalActions::Drain, &self.before);
    }
}

/// A line, with the keys that correct it.
fn read_line(
    keys: &mut impl Iterator<Item = io::Result<u8>>,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const KILL_LINE: u8 = 0x15;
    const SUSPEND: u8 = 0x1a;
    const QUIT: u8 = 0x1c;
    const DELETE: u8 = 0x7f;
    // Room for everything from the start: a vector that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_SECRET_OCTETS));
    for key in keys {
        match key.map_err(SecretError::NoTerminal)? {
            b'\r' | b'\n' => return Ok(line),
            END if !line.is_empty() => return Ok(line),
            INTERRUPT | END | SUSPEND | QUIT => return Err(SecretError::Interrupted),
            BACKSPACE | DELETE => erase_character(&mut line),
            KILL_LINE => line.clear(),
            _ if line.len() == MAX_SECRET_OCTETS => return Err(SecretError::TooLong),
            octet => line.push(octet),
        }
    }
    Err(SecretError::Interrupted)
}

/// The last character, all octets of it (UTF-8, RFC 3629 section 3).
fn erase_character(line: &mut Vec<u8>) {
    while let Some(octet) = line.pop() {
        if octet & 0b1100_0000 != 0b1000_0000 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> Result<String, SecretError> {
        let line = read_line(&mut keys.bytes().map(Ok))?;
        Ok(String::from_utf8(line.to_vec()).unwrap())
    }

    #[test]
    fn a_line_is_what_was_typed_and_corrected() {
        for (keys, line) in [
            ("secret\n", "secret"),
            ("secret\r", "secret"),
            ("secret\u{4}", "secret"),
            ("sex\u{7f}cret\n", "secret"),
            ("sé\u{8}ecret\n", "secret"),
            ("wrong\u{15}secret\n", "secret"),
            ("\u{7f}\u{7f}\n", ""),
        ] {
            assert_eq!(typed(keys).unwrap(), line);
        }
    }

    #[test]
    fn who_gives_up_typed_nothing() {
        for keys in [
            "sec\u{3}ret\n",
            "\u{4}",
            "sec\u{1a}",
            "sec\u{1c}",
            "sec",
            "",
        ] {
            assert!(matches!(typed(keys), Err(SecretError::Interrupted)));
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let endless = &mut std::iter::repeat_with(|| Ok(b'x'));
        assert!(matches!(read_line(endless), Err(SecretError::TooLong)));
    }
}
