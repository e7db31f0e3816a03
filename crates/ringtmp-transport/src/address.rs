//! Where a signalling server is, and how to reach it.

use crate::error::SignallingError;
use std::fmt;
use std::str::FromStr;

/// The address of a signalling server: `http://HOST:PORT` or `https://HOST:PORT`. What follows a `#` is for this program and
/// never sent: `sha256=HEX` is the certificate that the server has to show, `signalling=events` how to talk to it; both are
/// joined by `&`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Scheme, host and port, as text without a slash at the end.
    origin: String,
    is_secure: bool,
    /// The certificate that it has to show; one that this device trusts where it is not said.
    pub certificate: Option<Fingerprint>,
    /// How signalling is carried.
    pub way: SignallingWay,
}

/// How signalling is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignallingWay {
    /// By a WebSocket; in a browser by events and posts where that fails.
    #[default]
    Any,
    /// By a WebSocket.
    WebSocket,
    /// By server-sent events and posts. Browsers only.
    Events,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl ServerAddress {
    /// Scheme, host and port, such as `https://192.168.1.7:8443`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Host and port, as in the address.
    pub fn authority(&self) -> &str {
        let (_, authority) = self.origin.split_once("://").unwrap_or_default();
        authority
    }

    /// The address of its WebSocket.
    pub(crate) fn web_socket(&self) -> String {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        format!("{scheme}://{}/signal", self.authority())
    }
}

impl FromStr for ServerAddress {
    type Err = SignallingError;

    fn from_str(text: &str) -> Result<Self, SignallingError> {
        let wrong = |detail: &str| SignallingError::address(text, detail);
        let (address, fragment) = match text.split_once('#') {
            Some((address, fragment)) => (address, fragment),
            None => (text, ""),
        };
        let (scheme, authority) = address
            .split_once("://")
            .ok_or_else(|| wrong("it begins with neither http:// nor https://"))?;
        let authority = authority.trim_end_matches('/');
        let scheme = scheme.to_ascii_lowercase();
        let is_secure = match scheme.as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("it begins with neither http:// nor https://")),
        };
        if authority.is_empty() || authority.contains(['/', '?', '@']) {
            return Err(wrong("it is no host and port alone"));
        }
        let mut server = Self {
            origin: format!("{scheme}://{authority}"),
            is_secure,
            certificate: None,
            way: SignallingWay::Any,
        };
        for part in fragment.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("sha256", hex)) if is_secure => {
                    let fingerprint = hex.parse::<Fingerprint>();
                    server.certificate =
                        Some(fingerprint.map_err(|error| wrong(&error.to_string()))?);
                }
                Some(("sha256", _)) => {
                    return Err(wrong("only an https:// address has a certificate to check"));
                }
                Some(("signalling", "events")) => server.way = SignallingWay::Events,
                Some(("signalling", "websocket")) => server.way = SignallingWay::WebSocket,
                _ => return Err(wrong("what follows # is sha256=HEX or signalling=events")),
            }
        }
        Ok(server)
    }
}

impl fmt::Display for ServerAddress {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            SignallingWay::Any => None,
            SignallingWay::WebSocket => Some("signalling=websocket".to_owned()),
            SignallingWay::Events => Some("signalling=events".to_owned()),
        };
        let certificate = self.certificate.map(|sha256| format!("sha256={sha256}"));
        let parts: Vec<_> = certificate.into_iter().chain(way).collect();
        f.write_str(&self.origin)?;
        match parts.is_empty() {
            true => Ok(()),
            false => write!(f, "#{}", parts.join("&")),
        }
    }
}

/// What is wrong with a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits")]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Takes upper and lower case, and colons between bytes, as browsers show them.
    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| u8::try_from(c.to_digit(16)?).ok())
            .collect();
        let digits = digits
            .filter(|digits| digits.len() == 64)
            .ok_or(NoFingerprint)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        let sha256 = "0a".repeat(32);
        for text in [
            "http://localhost:8080",
            "https://[::1]:8443",
            &format!("https://192.168.1.7:8443#sha256={sha256}"),
            "http://localhost#signalling=events",
            &format!("https://h:1#sha256={sha256}&signalling=websocket"),
        ] {
            let address: ServerAddress = text.parse().expect("an address");
            assert_eq!(address.to_string(), text);
        }
        let address: ServerAddress = "HTTPS://Host:1/".parse().expect("an address");
        assert_eq!(address.origin(), "https://Host:1");
        assert_eq!(address.web_socket(), "wss://Host:1/signal");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "http://"),
            ("nonsense", "http://"),
            ("ws://localhost", "http://"),
            ("http://", "host and port"),
            ("http://a/b", "host and port"),
            ("http://a@b", "host and port"),
            ("https://a#sha256=12", "64 hexadecimal"),
            ("http://a#sha256=12", "https://"),
            ("http://a#x", "follows #"),
        ] {
            let error = text.parse::<ServerAddress>().expect_err("no address");
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_browsers_show_it() {
        let shown = ["AB"; 32].join(":");
        let read: Fingerprint = shown.parse().expect("a fingerprint");
        assert_eq!(read.to_string(), "ab".repeat(32));
    }
}
