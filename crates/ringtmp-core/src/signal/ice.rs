//! Servers by which devices reach each other that cannot do so by themselves.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most such servers of a signalling server: each costs every link a round of messages before it opens.
pub const ICE_SERVERS_MAX: usize = 4;

/// The longest address, name or password of one.
const TEXT_BYTES_MAX: usize = 256;

/// A server that tells devices under which address the internet sees them (STUN), or that also relays for those that cannot reach
/// each other (TURN). RFC 7064 and 7065 have its address.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:HOST`, `turn:HOST:PORT?transport=udp`.
    pub url: String,
    /// Who may have it relay.
    #[serde(default)]
    pub username: String,
    /// The password. Everybody who is let into a room is told it.
    #[serde(default)]
    pub credential: String,
}

/// Why a text names no such server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IceServerError {
    /// Nothing that WebRTC knows.
    #[error(
        "a STUN server is named as stun:HOST[:PORT], one that relays as turn:NAME:PASSWORD@HOST[:PORT][?transport=tcp]"
    )]
    Form,
    /// Nobody relays for everybody.
    #[error("a server that relays asks for a name and a password: turn:NAME:PASSWORD@HOST")]
    NoCredential,
    /// Too long.
    #[error("no part of it may be longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

impl IceServer {
    /// Whether it relays.
    pub fn relays(&self) -> bool {
        self.url.starts_with("turn")
    }

    /// Whether it is one that a device may be given. What a server sends is remote input.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn check(&self) -> Result<(), IceServerError> {
        let texts = [&self.url, &self.username, &self.credential];
        if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(IceServerError::TooLong);
        }
        let (scheme, rest) = self.url.split_once(':').ok_or(IceServerError::Form)?;
        let place = rest.split_once('?').map_or(rest, |(place, _)| place);
        let of_address = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        let known = ["stun", "stuns", "turn", "turns"].contains(&scheme);
        if !known || place.is_empty() || !place.chars().all(of_address) {
            return Err(IceServerError::Form);
        }
        let named = !self.username.is_empty() && !self.credential.is_empty();
        if self.relays() && !named {
            return Err(IceServerError::NoCredential);
        }
        Ok(())
    }
}

/// As on a command line: with the name and the password before the host.
impl FromStr for IceServer {
    type Err = IceServerError;

    fn from_str(text: &str) -> Result<Self, IceServerError> {
        let (scheme, rest) = text.split_once(':').ok_or(IceServerError::Form)?;
        // A password may have an @, a host has none.
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (login, place),
            None => ("", rest),
        };
        let (username, credential) = login.split_once(':').unwrap_or((login, ""));
        let server = Self {
            url: format!("{scheme}:{place}"),
            username: username.to_owned(),
            credential: credential.to_owned(),
        };
        server.check()?;
        Ok(server)
    }
}

/// The password is for no log.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("url", &self.url)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_people_type_it_and_its_password_is_in_no_log() {
        let server: IceServer = "turn:ring:p@ss:word@relay.example:3478?transport=udp"
            .parse()
            .expect("one that relays");
        assert_eq!(server.url, "turn:relay.example:3478?transport=udp");
        assert_eq!(
            (&*server.username, &*server.credential),
            ("ring", "p@ss:word")
        );
        assert!(server.relays());
        assert!(!format!("{server:?}").contains("word"));
        let stun: IceServer = "stun:[2001:db8::1]:3478".parse().expect("STUN");
        assert!(!stun.relays() && stun.username.is_empty());
    }

    #[test]
    fn what_names_no_server_is_refused_with_what_would() {
        let refused = |text: &str| text.parse::<IceServer>().expect_err(text);
        for text in [
            "relay.example",
            "http://relay.example",
            "stun:",
            "turn:a:b@",
        ] {
            assert_eq!(refused(text), IceServerError::Form, "{text}");
        }
        assert_eq!(refused("turn:relay.example"), IceServerError::NoCredential);
        assert_eq!(refused("turn:name@host"), IceServerError::NoCredential);
        let long = format!("stun:{}", "a".repeat(300));
        assert_eq!(refused(&long), IceServerError::TooLong);
        // Neither is anything that a page would be made to fetch.
        let strange = IceServer {
            url: "stun:host/../x y".to_owned(),
            ..IceServer::default()
        };
        assert_eq!(strange.check(), Err(IceServerError::Form));
    }
}
