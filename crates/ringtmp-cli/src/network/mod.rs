//! HTTPS for the other devices of the network: which addresses this device has there, the certificate, and how both are told.

mod addresses;
mod qr;

pub(crate) use addresses::addresses;

use anyhow::Result;
use clap::Args;
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use signaling_server::Server;
use signaling_server::certificate::{Certificate, CertificateError, Origin};
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Names of a certificate that are told to people: one of a large house has dozens.
const NAMES_MAX: usize = 4;

/// How other devices of the network are served.
#[derive(Args, Clone, Debug)]
pub(crate) struct NetworkChoice {
    /// Serve only this device: no HTTPS for the others of the network
    #[arg(long)]
    pub(crate) no_lan: bool,
    /// The port of HTTPS for other devices; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub(crate) lan_port: u16,
    /// A certificate with its chain (PEM) for HTTPS, instead of one that signs itself
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "no_lan")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Draw the link for other devices as a QR code even where standard error is no terminal
    #[arg(long)]
    pub(crate) qr: bool,
}

/// What other devices are told.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    /// Links to the page, best first; at least one.
    links: Vec<String>,
    sha256: String,
    warned_of: bool,
    draws_qr: bool,
    serves_data: bool,
}

/// Why other devices are not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unserved {
    #[error("this device is in no network")]
    NoNetwork,
    #[error("the folder for the certificate is not known: {0}")]
    NoFolder(String),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Server(#[from] signaling_server::ServerError),
}

/// Serves other devices, unless told not to. Where that cannot be, says why and what to do, and goes on without them: the page
/// still works on this device.
///
/// # Errors
///
/// A certificate of the user's own that cannot be used.
pub(crate) fn invite(
    server: &mut Server,
    choice: &NetworkChoice,
    names: &[String],
) -> Result<Option<Invitation>> {
    if choice.no_lan {
        return Ok(None);
    }
    match try_invite(server, choice, names) {
        Ok(invitation) => Ok(Some(invitation)),
        Err(Unserved::Certificate(error)) if choice.cert.is_some() => Err(error.into()),
        Err(why) => {
            eprintln!(
                "Other devices are not served over HTTPS: {why}. This device is; --lan-port PORT takes another port, --no-lan leaves it out."
            );
            Ok(None)
        }
    }
}

fn try_invite(
    server: &mut Server,
    choice: &NetworkChoice,
    names: &[String],
) -> Result<Invitation, Unserved> {
    let addresses = addresses();
    let certificate = certificate(choice, &addresses)?;
    let mut hosts = hosts(&certificate, &addresses, names);
    if hosts.is_empty() {
        if addresses.is_empty() {
            return Err(Unserved::NoNetwork);
        }
        eprintln!(
            "The certificate is for no address of this device, and names none that could be told others: browsers will warn of it. Pass the name that leads here: --host-name NAME."
        );
        hosts = addresses.iter().copied().map(host).collect();
    }
    let (sha256, warned_of) = (certificate.sha256(), certificate.is_self_signed());
    let everywhere = match addresses.first() {
        Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Some(IpAddr::V4(_)) | None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let address = SocketAddr::new(everywhere, choice.lan_port);
    let links = server.serve_network(address, certificate, &hosts)?;
    Ok(Invitation {
        links,
        sha256,
        warned_of,
        draws_qr: choice.qr || std::io::stderr().is_terminal(),
        serves_data: server.serves_data(),
    })
}

/// Under what other devices find this one without being warned more than they have to be, best first. For a certificate of the
/// user's own these are the names that they gave, and what it is for itself; nothing where that leads nobody here.
fn hosts(certificate: &Certificate, addresses: &[IpAddr], given: &[String]) -> Vec<String> {
    if certificate.origin() != Origin::Own {
        return addresses.iter().copied().map(host).collect();
    }
    let is_given = |name: &String| given.iter().any(|known| known.eq_ignore_ascii_case(name));
    // To another device `localhost` is that device.
    let leads_here =
        |name: &String| !matches!(name.as_str(), "localhost" | "localhost.localdomain");
    let names = certificate.names().into_iter();
    let names = names.filter(|name| leads_here(name) && !is_given(name));
    let addresses = addresses.iter().copied();
    let addresses = addresses.filter(|address| certificate.names_address(*address));
    given
        .iter()
        .cloned()
        .chain(names.take(NAMES_MAX))
        .chain(addresses.map(host))
        .collect()
}

/// The certificate that the user names, or the one that is kept for these addresses.
pub(crate) fn certificate(
    choice: &NetworkChoice,
    addresses: &[IpAddr],
) -> Result<Certificate, Unserved> {
    if let (Some(certificate), Some(key)) = (&choice.cert, &choice.key) {
        return Ok(Certificate::own(certificate, key)?);
    }
    if addresses.is_empty() {
        return Err(Unserved::NoNetwork);
    }
    Ok(Certificate::kept(&folder()?, addresses, &own_names())?)
}

/// Where the certificate is kept: the user's folder for programs' data.
pub(crate) fn folder() -> Result<PathBuf, Unserved> {
    let folders =
        choose_native_strategy().map_err(|error| Unserved::NoFolder(error.to_string()))?;
    Ok(folders.data_dir().join("ringtmp"))
}

/// An address as links write it.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// What this device calls itself, alone and as it is found by multicast DNS.
pub(crate) fn own_names() -> Vec<String> {
    let name = host_name().unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default();
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match plain {
        true => vec![name.to_owned(), format!("{name}.local")],
        false => Vec::new(),
    }
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    Some(system.nodename().to_str().ok()?.to_owned())
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

impl Invitation {
    /// The invitation to a path of the page, in lines for a terminal.
    pub(crate) fn words(&self, path: &str) -> String {
        let mut links = self.links.iter().map(|link| format!("{link}{path}"));
        let best = links.next().unwrap_or_default();
        let mut lines = vec![format!("For other devices in this network: {best}")];
        lines.extend(links.map(|link| format!("  or {link}")));
        if self.draws_qr {
            lines.extend(qr::drawing(&best, colours()));
        }
        if self.warned_of {
            let plain = best.replacen("https://", "http://", 1);
            lines.push(format!(
                "Their browsers warn once that they do not know the certificate: go on there. {plain} explains it."
            ));
        }
        lines.push(format!("SHA-256 of the certificate: {}", self.sha256));
        if self.serves_data {
            let told = "Whoever reaches this server can read the data that it serves, at /data.";
            lines.push(told.to_owned());
        }
        lines.join("\n")
    }

    /// How a native device joins a room with a secret.
    pub(crate) fn native(&self, room: &str) -> String {
        let link = self.links.first().map(String::as_str).unwrap_or_default();
        match self.warned_of {
            true => format!(
                "ringtmp join \"{link}/r/{room}#sha256={}&secret=SECRET\"",
                self.sha256
            ),
            false => format!("ringtmp join \"{link}/r/{room}#secret=SECRET\""),
        }
    }
}

/// Whether standard error takes colours.
fn colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_color
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_names_links_warning_and_fingerprint() {
        let mut invitation = Invitation {
            links: vec![
                "https://192.168.1.7:8443".to_owned(),
                "https://10.0.0.3:8443".to_owned(),
            ],
            sha256: "ab".repeat(32),
            warned_of: true,
            draws_qr: false,
            serves_data: false,
        };
        let words = invitation.words("/r/CODE");
        assert!(
            words.contains("network: https://192.168.1.7:8443/r/CODE\n"),
            "{words}"
        );
        assert!(words.contains("or https://10.0.0.3:8443/r/CODE"), "{words}");
        assert!(words.contains("warn once") && words.contains("http://192.168.1.7:8443/r/CODE"));
        assert!(
            words.contains(&invitation.sha256) && !words.contains('█'),
            "{words}"
        );
        let native = invitation.native("CODE");
        assert!(
            native.ends_with(&format!(
                "/r/CODE#sha256={}&secret=SECRET\"",
                "ab".repeat(32)
            )),
            "{native}"
        );
        invitation.draws_qr = true;
        assert!(invitation.words("").contains('█'));
        invitation.warned_of = false;
        assert!(!invitation.words("").contains("warn"));
        assert!(!invitation.native("CODE").contains("sha256"));
        assert!(!invitation.words("").contains("/data"));
        invitation.serves_data = true;
        assert!(invitation.words("").contains("can read the data"));
    }

    #[test]
    fn a_certificate_of_the_users_own_says_under_what_it_is_found() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let here = [address("192.168.1.7"), address("10.0.0.3")];
        // One file that has both, as a certificate of ours is kept.
        let own = |name: &str, addresses: &[IpAddr], names: &[&str]| {
            let folder = folder.path().join(name);
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            Certificate::kept(&folder, addresses, &names).expect("made");
            let file = folder.join("certificate.pem");
            Certificate::own(&file, &file).expect("they belong together")
        };
        let given = ["Ring.example".to_owned()];
        let named = own(
            "named",
            &[],
            &["ring.example", "*.lab.example", "desk.lab.example"],
        );
        assert_eq!(
            hosts(&named, &here, &[]),
            ["desk.lab.example", "ring.example"]
        );
        assert_eq!(
            hosts(&named, &here, &given),
            ["Ring.example", "desk.lab.example"]
        );
        let addressed = own("addressed", &here[1..], &[]);
        assert_eq!(hosts(&addressed, &here, &[]), ["10.0.0.3"]);
        let wild = own("wild", &[], &["*.lab.example"]);
        assert!(hosts(&wild, &here, &[]).is_empty());
        assert_eq!(hosts(&wild, &here, &given), ["Ring.example"]);
        let kept = Certificate::kept(folder.path(), &here, &[]).expect("made");
        assert_eq!(
            hosts(&kept, &here, &given),
            ["192.168.1.7", "10.0.0.3"],
            "browsers warn of it under any name"
        );
    }

    #[test]
    fn addresses_are_written_as_in_links() {
        let of = |text: &str| host(text.parse().expect("an address"));
        assert_eq!(of("192.168.1.7"), "192.168.1.7");
        assert_eq!(of("fd00::7"), "[fd00::7]");
    }
}
