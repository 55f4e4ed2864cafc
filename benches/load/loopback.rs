//! The only addresses that the generator sends to and the backend listens on: 127.0.0.0/8 and ::1.
//!
//! A load generator that can be pointed at another machine is a weapon, so there is no switch for
//! it: the type cannot hold another address. What this file does not do: it resolves no names,
//! because what a name resolves to is somebody else's choice.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// An address and port of this machine's loopback interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loopback(SocketAddr);

/// Why a text is no loopback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoopbackError {
    /// It is no `ADDRESS:PORT`.
    Form,
    /// It is an address of somewhere else.
    Elsewhere(SocketAddr),
}

impl Loopback {
    /// The address.
    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }
}

/// Fails closed: an IPv4 address in IPv6 clothes (`::ffff:127.0.0.1`) is refused too.
impl FromStr for Loopback {
    type Err = LoopbackError;

    fn from_str(text: &str) -> Result<Self, LoopbackError> {
        let address: SocketAddr = text.parse().map_err(|_| LoopbackError::Form)?;
        if address.ip().is_loopback() {
            Ok(Self(address))
        } else {
            Err(LoopbackError::Elsewhere(address))
        }
    }
}

impl fmt::Display for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LoopbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("write an address with a port, as 127.0.0.1:8443"),
            Self::Elsewhere(address) => write!(
                f,
                "{address} is not on loopback, and this program loads nothing else"
            ),
        }
    }
}

impl std::error::Error for LoopbackError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_loopback_is_taken() {
        for text in [
            "127.0.0.1:8443",
            "127.255.255.254:1",
            "[::1]:8443",
            "127.0.0.1:0",
        ] {
            assert_eq!(text.parse::<Loopback>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_address_of_elsewhere_is_refused() {
        for text in [
            "0.0.0.0:8443",
            "[::]:8443",
            "128.0.0.1:8443",
            "126.255.255.255:8443",
            "10.0.0.5:8443",
            "192.0.2.1:443",
            "[2001:db8::1]:443",
            "[fe80::1]:443",
            "[::ffff:127.0.0.1]:443",
            "[::2]:443",
        ] {
            assert_eq!(
                text.parse::<Loopback>(),
                Err(LoopbackError::Elsewhere(text.parse().unwrap()))
            );
        }
    }

    #[test]
    fn a_name_is_not_resolved() {
        for text in ["localhost:8443", "127.0.0.1", ":8443", "", "127.1:8443"] {
            assert_eq!(text.parse::<Loopback>(), Err(LoopbackError::Form));
        }
    }
}
