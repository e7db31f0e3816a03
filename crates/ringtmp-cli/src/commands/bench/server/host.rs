//! A signalling server in a process of its own, and what it takes of this machine.

use crate::exit::Failure;
use crate::process::{Group, Guard, Messages};
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Command;

/// How long a server may take to listen: one written in JavaScript takes a second.
const START_MAX: Duration = Duration::from_secs(30);

/// How often to look whether it listens; servers of others do not say it.
const START_POLL: Duration = Duration::from_millis(50);

/// A server that answers.
pub(super) struct Host {
    address: SocketAddr,
    /// None for one that was there before.
    started: Option<(Group, Messages, Guard)>,
}

impl Host {
    /// Starts a command, in which `{port}` stands for a free port; or takes the server at the address that it is.
    pub(super) async fn start(command: &str) -> Result<Self> {
        if let Ok(address) = command.trim_start_matches("http://").parse::<SocketAddr>() {
            if !address.ip().is_loopback() {
                bail!(
                    "{address} is not of this machine: floods of others' servers are not what this is for"
                );
            }
            return Ok(Self {
                address,
                started: None,
            });
        }
        if !command.contains("{port}") {
            bail!("`{command}` says nowhere on which {{port}} to serve");
        }
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let command = command.replace("{port}", &free.port().to_string());
        let mut words = command.split_whitespace();
        let program = words.next().context("the command is empty")?;
        let mut guard = Guard::start();
        let mut child = Command::new(program);
        child.args(words).stdout(Stdio::null()).stdin(Stdio::null());
        let (group, messages) = Group::start(&mut child, &mut guard)?;
        let mut host = Self {
            address: free,
            started: Some((group, messages, guard)),
        };
        host.listens().await?;
        Ok(host)
    }

    async fn listens(&mut self) -> Result<()> {
        let Some((group, messages, _)) = &mut self.started else {
            return Ok(());
        };
        let address = self.address;
        let answers = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(START_POLL).await;
            }
        };
        let outcome = tokio::select! {
            () = answers => return Ok(()),
            status = group.leader_ended() => format!("ended with {}", status?),
            () = tokio::time::sleep(START_MAX) => format!("does not listen on port {}", address.port()),
        };
        let text = format!("the server {outcome}{}", messages.words());
        Err(Failure::Missing(text).into())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn leader(&self) -> Option<u32> {
        self.started.as_ref().and_then(|(group, ..)| group.leader())
    }

    /// Memory that it has of the machine; none where the system does not tell, or the process is not ours.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.leader()?)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// Processor time of all its threads; none where the system does not tell, or the process is not ours.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.leader()?)).ok()?;
        let mut ns = 0u64;
        for thread in threads {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            ns += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
        Some(ns as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_or_is_none_of_ours_is_told() {
        let refused = |command: &'static str| async move {
            let error = Host::start(command).await.err().expect("refused");
            format!("{error:#}")
        };
        assert!(refused("false {port}").await.contains("ended with"));
        assert!(refused("true").await.contains("{port}"));
        assert!(
            refused("192.0.2.1:80")
                .await
                .contains("not of this machine")
        );
        let missing = refused("there/is/no/such/program {port}").await;
        assert!(missing.contains("cannot start"), "{missing}");
    }
}
