//! `ringtmp doctor`: whether this device can show a ring to others, and what to do where it cannot.

use crate::arguments::Listen;
use crate::browser;
use crate::exit::Failure;
use crate::network::{self, NetworkChoice, addresses, certificate};
use crate::page::{self, Missing};
use anyhow::Result;
use clap::Args;
use ringtmp_peer::{Executor, ExecutorChoice};
use serde::Serialize;
use signaling_server::PageSource;
use signaling_server::certificate::Origin;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    network: NetworkChoice,
    /// Tell it as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it should be.
    Good,
    /// It works, but not for everything.
    Limited,
    /// A demo cannot start.
    Missing,
}

/// What was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    found: String,
    /// What to do about it; empty where there is nothing to do.
    advice: String,
}

#[derive(Debug, Serialize)]
struct Report {
    schema_version: u32,
    checks: Vec<Check>,
}

impl Check {
    fn new(check: &'static str, state: State, found: impl ToString, advice: &str) -> Self {
        Self {
            check,
            state,
            found: found.to_string(),
            advice: advice.to_owned(),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Good => "good   ",
            State::Limited => "limited",
            State::Missing => "missing",
        };
        write!(f, "{state}  {:<12} {}", self.check, self.found)?;
        match self.advice.as_str() {
            "" => Ok(()),
            advice => write!(f, "\n{:22} {advice}", ""),
        }
    }
}

/// Looks at everything and tells it.
///
/// # Errors
///
/// If something is missing without which a demo does not start.
pub(crate) async fn run(doctor: Doctor) -> Result<()> {
    let addresses = addresses();
    let checks = vec![
        adapter().await,
        networks(&addresses),
        port(
            "page port",
            doctor.listen.bind,
            doctor.listen.port,
            State::Missing,
            "--port",
        ),
        port(
            "HTTPS port",
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            doctor.network.lan_port,
            State::Limited,
            "--lan-port",
        ),
        kept_certificate(&doctor.network, &addresses),
        browsers(),
        page_check(&doctor.listen),
    ];
    let missing: Vec<_> = checks
        .iter()
        .filter(|check| check.state == State::Missing)
        .map(|check| check.check)
        .collect();
    let missing = missing.join(", ");
    if doctor.json {
        let report = Report {
            schema_version: 1,
            checks,
        };
        outln!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        checks.iter().for_each(|check| outln!("{check}"));
    }
    match missing.as_str() {
        "" => Ok(()),
        missing => {
            Err(Failure::Missing(format!("a demo does not start here: see {missing}")).into())
        }
    }
}

async fn adapter() -> Check {
    match Executor::open(ExecutorChoice::Gpu).await {
        Ok(executor) => {
            let name = executor.adapter();
            let software = ["llvmpipe", "lavapipe", "swiftshader", "software"];
            let lower = name.to_ascii_lowercase();
            match software.iter().any(|word| lower.contains(word)) {
                false => Check::new("GPU", State::Good, name, ""),
                true => Check::new(
                    "GPU",
                    State::Limited,
                    format!("only one in software: {name}"),
                    "Native devices train on the CPU, which is faster; install the GPU's driver if there is one.",
                ),
            }
        }
        Err(error) => Check::new(
            "GPU",
            State::Limited,
            error,
            "Native devices train on the CPU; install the GPU's driver (Vulkan, Metal or DirectX 12) if there is one.",
        ),
    }
}

fn networks(addresses: &[IpAddr]) -> Check {
    if addresses.is_empty() {
        return Check::new(
            "network",
            State::Limited,
            "this device is in no network",
            "Join a Wi-Fi, or open a hotspot that others join; tabs on this device work without.",
        );
    }
    let found: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    Check::new("network", State::Good, found.join(", "), "")
}

fn port(check: &'static str, ip: IpAddr, port: u16, otherwise: State, flag: &str) -> Check {
    let address = SocketAddr::new(ip, port);
    match TcpListener::bind(address) {
        Ok(_) => Check::new(check, State::Good, format!("{address} is free"), ""),
        Err(error) => {
            let found = match error.kind() {
                ErrorKind::AddrInUse => format!("{address} is in use by another program"),
                _ => format!("{address}: {error}"),
            };
            let advice = format!(
                "End that program, or choose another port with {flag}; 0 takes a free one."
            );
            Check::new(check, otherwise, found, &advice)
        }
    }
}

fn kept_certificate(choice: &NetworkChoice, addresses: &[IpAddr]) -> Check {
    match certificate(choice, addresses) {
        Ok(certificate) => {
            let until = certificate.good_until().unwrap_or_default();
            let from = match certificate.origin() {
                Origin::Made => "made now",
                Origin::Kept => "kept",
                Origin::Own => "your own",
            };
            let advice = match certificate.is_self_signed() {
                true => "Browsers warn of it once; --cert and --key take one that they know.",
                false => "",
            };
            let found = format!(
                "{from}, good until {until}, SHA-256 {}",
                certificate.sha256()
            );
            Check::new("certificate", State::Good, found, advice)
        }
        Err(network::Unserved::NoNetwork) => Check::new(
            "certificate",
            State::Limited,
            "none, since this device is in no network",
            "",
        ),
        // A server that is to use it does not start without.
        Err(error) if choice.cert.is_some() => Check::new(
            "certificate",
            State::Missing,
            error,
            "Mend the files, or leave --cert and --key out: then a certificate is made that browsers warn of once.",
        ),
        Err(error) => Check::new(
            "certificate",
            State::Limited,
            error,
            "Without it other devices are not served over HTTPS.",
        ),
    }
}

fn browsers() -> Check {
    match browser::find() {
        Ok(program) => Check::new("browser", State::Good, program.display(), ""),
        Err(error) => Check::new(
            "browser",
            State::Missing,
            error,
            "Only `ringtmp demo` needs one: with --tabs 0 it does without, and `ringtmp serve` too.",
        ),
    }
}

fn page_check(listen: &Listen) -> Check {
    let www = listen.www.as_deref();
    let source = page::source(www);
    match (source.has_page(), &source) {
        (true, PageSource::BuiltIn(_)) => {
            Check::new("page", State::Good, "part of this program", "")
        }
        (true, PageSource::Folder(folder)) => {
            let found = format!("built, in {}", folder.display());
            Check::new("page", State::Good, found, "")
        }
        (false, _) => {
            let Missing { found, advice } = page::missing(www);
            let advice = format!("To have one, {advice}.");
            Check::new("page", State::Missing, found, &advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_told_with_what_to_do() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let taken = TcpListener::bind((here, 0)).expect("a free port");
        let number = taken.local_addr().expect("bound").port();
        let check = port("page port", here, number, State::Missing, "--port");
        assert_eq!(check.state, State::Missing);
        let words = check.to_string();
        assert!(
            words.contains("in use") && words.contains("--port"),
            "{words}"
        );
        drop(taken);
        let check = port("page port", here, 0, State::Missing, "--port");
        assert_eq!(check.state, State::Good);
    }

    #[test]
    fn a_device_without_a_network_is_told_what_still_works() {
        let check = networks(&[]);
        assert_eq!(check.state, State::Limited);
        assert!(check.advice.contains("this device work"));
    }

    #[test]
    fn a_certificate_of_the_users_own_that_cannot_be_used_keeps_a_server_from_starting() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let broken = folder.path().join("broken.pem");
        std::fs::write(&broken, "no certificate").expect("written");
        let choice = NetworkChoice {
            no_lan: false,
            lan_port: 0,
            cert: Some(broken.clone()),
            key: Some(broken),
            qr: false,
        };
        let check = kept_certificate(&choice, &[]);
        assert_eq!(check.state, State::Missing);
        let words = check.to_string();
        assert!(words.contains("broken.pem"), "{words}");
        assert!(words.contains("--cert"), "{words}");
    }
}
