//! Other hosts, as network namespaces of this one (ip-netns(8)): each has an address and a wire to this machine, and reaches
//! nobody else. It takes root, on Linux.

use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::Command;

/// A host. Dropping it takes it away; what runs there has to be ended before.
#[derive(Debug)]
pub struct Host {
    name: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// This machine's address, as this host knows it.
    pub here: Ipv4Addr,
}

impl Host {
    /// Makes a host; `number` tells those of one test apart. None, with words, where that cannot be done here.
    ///
    /// # Errors
    ///
    /// What fails though it can be done.
    pub fn new(number: u8) -> Result<Option<Self>> {
        if let Err(reason) = ip(["netns", "list"]) {
            eprintln!("SKIP: no other hosts can be made here: {reason:#}");
            return Ok(None);
        }
        let process = std::process::id();
        let (name, wire) = (
            format!("ringtmp-{process}-{number}"),
            format!("rt{number}-{process}"),
        );
        if let Err(reason) = ip(["netns", "add", &name]) {
            eprintln!("SKIP: no other hosts can be made here: {reason:#}");
            return Ok(None);
        }
        // A network for documentation (RFC 5737), which nobody has.
        let host = Self {
            name,
            address: Ipv4Addr::new(192, 0, 2, 4 * number + 2),
            here: Ipv4Addr::new(192, 0, 2, 4 * number + 1),
        };
        let (here, there) = (format!("{}/30", host.here), format!("{}/30", host.address));
        ip([
            "link", "add", &wire, "type", "veth", "peer", "name", "wire", "netns", &host.name,
        ])?;
        ip(["addr", "add", &here, "dev", &wire])?;
        ip(["link", "set", &wire, "up"])?;
        ip(["-n", &host.name, "addr", "add", &there, "dev", "wire"])?;
        ip(["-n", &host.name, "link", "set", "wire", "up"])?;
        ip(["-n", &host.name, "link", "set", "lo", "up"])?;
        Ok(Some(host))
    }

    /// Has it reach another address of this machine as well.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn reaches(&self, address: Ipv4Addr) -> Result<()> {
        let (to, via) = (format!("{address}/32"), self.here.to_string());
        ip(["-n", &self.name, "route", "add", &to, "via", &via])
    }

    /// Has it send whatever it has no other way for to this machine, as a phone does to its access point: browsers tell of no address
    /// that leads nowhere.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn has_a_way_out(&self) -> Result<()> {
        let via = self.here.to_string();
        ip(["-n", &self.name, "route", "add", "default", "via", &via])
    }

    /// Has it know no way to another host, also where this machine would pass packets on.
    ///
    /// # Errors
    ///
    /// What `ip` says.
    pub fn cannot_reach(&self, other: &Self) -> Result<()> {
        let to = format!("{}/32", other.address);
        ip(["-n", &self.name, "route", "add", "unreachable", &to])
    }

    /// Something to run there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its end of the wire goes with it, and so does ours.
        if let Err(error) = ip(["netns", "del", &self.name]) {
            eprintln!("a host is left behind: {error:#}");
        }
    }
}

fn ip<const N: usize>(arguments: [&str; N]) -> Result<()> {
    let words = arguments.join(" ");
    let output = Command::new("ip").args(arguments).output();
    let output = output.context("there is no program `ip` (Debian's iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {words}: {}", said.trim());
    Ok(())
}
