//! The address of a room, as the page shows it.

use ringtmp_core::secret::{NoSecret, RoomLink, secret_of};
use ringtmp_transport::{ServerAddress, SignallingError};
use std::fmt;
use std::str::FromStr;

/// A server, a room on it, and what lets one in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomUrl {
    /// Where the server is, and which certificate it has to show.
    pub(crate) server: ServerAddress,
    pub(crate) link: RoomLink,
}

/// What is wrong with an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomUrlError {
    #[error("an address begins with http:// or https://, as in http://localhost:8080/r/CODE")]
    Scheme,
    #[error("the address of a room ends with /r/CODE: copy it from the page that shows it")]
    Path,
    #[error(transparent)]
    Server(#[from] SignallingError),
    #[error(transparent)]
    Code(#[from] ringtmp_core::ids::IdError),
    #[error(transparent)]
    Secret(#[from] NoSecret),
}

impl FromStr for RoomUrl {
    type Err = RoomUrlError;

    fn from_str(text: &str) -> Result<Self, RoomUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(RoomUrlError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(RoomUrlError::Scheme);
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, _settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').ok_or(RoomUrlError::Path)?;
        let code = path.strip_prefix("r/").filter(|_| !authority.is_empty());
        let code = code.ok_or(RoomUrlError::Path)?.trim_end_matches('/');
        let secret = secret_of(fragment)?;
        // An address of a server is shown and logged; what is left of it has no secret in it.
        let is_secret = |part: &&str| {
            let name = part.split_once('=').map(|(name, _)| name);
            name == Some(RoomLink::SECRET_PART)
        };
        let rest: Vec<&str> = fragment
            .split('&')
            .filter(|part| !is_secret(part))
            .collect();
        Ok(Self {
            server: format!("{scheme}://{authority}#{}", rest.join("&")).parse()?,
            link: RoomLink {
                room: code.parse()?,
                secret,
            },
        })
    }
}

impl RoomUrl {
    /// The address of the page that enters the room, with settings of the device.
    pub(crate) fn page(&self, settings: &str) -> String {
        let whole = self.to_string();
        let (address, fragment) = whole.split_once('#').unwrap_or((&whole, ""));
        match fragment {
            "" => format!("{address}?{settings}"),
            fragment => format!("{address}?{settings}#{fragment}"),
        }
    }
}

impl fmt::Display for RoomUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.to_string();
        let (origin, fragment) = server.split_once('#').unwrap_or((&server, ""));
        write!(f, "{origin}/r/{}", self.link.room)?;
        let server = (!fragment.is_empty()).then(|| fragment.to_owned());
        let parts: Vec<String> = server.into_iter().chain(self.link.fragment()).collect();
        match parts.is_empty() {
            true => Ok(()),
            false => write!(f, "#{}", parts.join("&")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_page_shows_it() {
        let url: RoomUrl = " HTTP://localhost:8080/r/0123456789ABCDEF/?executor=cpu\n"
            .parse()
            .expect("an address");
        assert_eq!(url.server.to_string(), "http://localhost:8080");
        assert_eq!(url.to_string(), "http://localhost:8080/r/0123456789abcdef");
        let bracketed: RoomUrl = "https://[::1]:8080/r/0123456789abcdef"
            .parse()
            .expect("an address");
        assert_eq!(bracketed.server.to_string(), "https://[::1]:8080");
        let pinned = format!(
            "https://192.168.1.7:8443/r/0123456789abcdef#sha256={}",
            "ab".repeat(32)
        );
        let url: RoomUrl = pinned.parse().expect("an address");
        assert!(url.server.certificate.is_some());
        assert_eq!(url.to_string(), pinned);
    }

    #[test]
    fn an_address_keeps_its_secret_out_of_that_of_the_server() {
        let secret = "0123456789abcdefghjkmnpqrs";
        let room = "https://192.168.1.7:8443/r/0123456789abcdef";
        let pinned = format!("{room}#sha256={}&secret={secret}", "ab".repeat(32));
        for text in [&pinned, &format!("{room}#secret={secret}")] {
            let url: RoomUrl = text.parse().expect("an address");
            assert_eq!(url.link.secret, Some(secret.parse().expect("a secret")));
            assert!(!url.server.to_string().contains(secret));
            assert!(!format!("{url:?}").contains(secret));
            assert_eq!(url.to_string(), *text);
            assert!(url.page("join").contains("/r/0123456789abcdef?join#"));
        }
        let plain: RoomUrl = room.parse().expect("an address");
        assert_eq!(plain.page("join"), format!("{room}?join"));
        let short = format!("{room}#secret=short").parse::<RoomUrl>();
        assert_eq!(short, Err(RoomUrlError::Secret(NoSecret)));
    }

    #[test]
    fn what_is_no_address_of_a_room_is_refused_in_words() {
        let refused = |text: &str| text.parse::<RoomUrl>().expect_err("no address");
        assert_eq!(
            refused("localhost:8080/r/0123456789abcdef"),
            RoomUrlError::Scheme
        );
        assert_eq!(
            refused("ftp://localhost/r/0123456789abcdef"),
            RoomUrlError::Scheme
        );
        assert_eq!(refused("http://localhost:8080"), RoomUrlError::Path);
        assert_eq!(refused("http://localhost:8080/"), RoomUrlError::Path);
        assert_eq!(refused("http:///r/0123456789abcdef"), RoomUrlError::Path);
        assert!(matches!(
            refused("https://localhost/r/0123456789abcdef#sha256=12"),
            RoomUrlError::Server(_)
        ));
        assert!(matches!(
            refused("http://localhost/r/short"),
            RoomUrlError::Code(_)
        ));
    }
}
