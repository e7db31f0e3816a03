//! A relay between a tab and all others, and between it and the server, which carries nothing while its network is cut.
//!
//! The tab is told the relay's addresses in place of those of the others, and tells nobody its own: whatever it sends or
//! hears goes through here, and its peers know it by the relay's address alone, as one behind a router.

use crate::tab::Tab;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

/// How often the tab is asked whether it was told of another address.
const ASKS_EVERY: Duration = Duration::from_millis(50);

/// The largest datagram, and what is read of a stream at once.
const BYTES: usize = 1 << 16;

/// Has the page wait, with every address that it is told, for the relay's in its place, and keep its own for itself.
const SCRIPT: &str = "
    globalThis.relayed = [];
    const add = RTCPeerConnection.prototype.addIceCandidate;
    RTCPeerConnection.prototype.addIceCandidate = async function (init) {
        const words = init.candidate.split(' ');
        if (words[2].toLowerCase() !== 'udp') return;
        [words[4], words[5]] = await new Promise(done => relayed.push({ address: [words[4], words[5]], done }));
        return add.call(this, { ...init, candidate: words.join(' ') });
    };
    const listen = EventTarget.prototype.addEventListener;
    EventTarget.prototype.addEventListener = function (type, ...others) {
        const own = this instanceof RTCPeerConnection && type === 'icecandidate';
        return own ? undefined : listen.call(this, type, ...others);
    };";

/// Takes the addresses that wait.
const ASKED: &str = "return (globalThis.relayed ?? []).map(asked => asked.address)";

/// A relay. What it carries ends with it.
pub struct Relay {
    cut: watch::Sender<bool>,
    work: Mutex<JoinSet<Result<Infallible>>>,
}

impl Relay {
    /// One that carries everything.
    pub fn new() -> Self {
        Self {
            cut: watch::Sender::new(false),
            work: Mutex::default(),
        }
    }

    /// From now on datagrams are dropped and streams stand still, or no longer.
    pub fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    /// Has a tab's links to others go through here, from its next page on. To be polled as long as it makes links.
    ///
    /// # Errors
    ///
    /// What the browser says, or the system.
    pub async fn stand_between(&self, tab: &Tab) -> Result<Infallible> {
        loop {
            let asked = tab.execute(ASKED).await?;
            for address in asked.as_array().into_iter().flatten() {
                let at = self.stands_for(address_of(address)?).await?;
                let (ip, port) = (at.ip(), at.port());
                tab.execute(&format!("relayed.shift().done(['{ip}', '{port}'])"))
                    .await?;
            }
            tokio::time::sleep(ASKS_EVERY).await;
        }
    }

    /// Prepares a tab for [`Relay::stand_between`].
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn prepare(&self, tab: &Tab) -> Result<()> {
        tab.before_pages(SCRIPT).await
    }

    /// An address here that stands for that of a server.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn stands_for_server(&self, server: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind((server.ip(), 0)).await?;
        let here = listener.local_addr()?;
        let cut = self.cut.subscribe();
        self.work.lock().await.spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await?;
                let far = TcpStream::connect(server).await?;
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                streams.spawn(pass_on(near_in, far_out, cut.clone()));
                streams.spawn(pass_on(far_in, near_out, cut.clone()));
            }
        });
        Ok(here)
    }

    /// An address here that stands for that of a peer.
    async fn stands_for(&self, peer: SocketAddr) -> Result<SocketAddr> {
        let socket = Arc::new(UdpSocket::bind((peer.ip(), 0)).await?);
        let here = socket.local_addr()?;
        let cut = self.cut.subscribe();
        self.work.lock().await.spawn(carry(socket, peer, cut));
        Ok(here)
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

/// Carries datagrams to a peer, and its answers back to whoever sent them, each over a socket of its own.
async fn carry(
    near: Arc<UdpSocket>,
    peer: SocketAddr,
    cut: watch::Receiver<bool>,
) -> Result<Infallible> {
    let mut senders: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut bytes = vec![0; BYTES];
    loop {
        let (length, sender) = near.recv_from(&mut bytes).await?;
        if *cut.borrow() {
            continue;
        }
        let far = match senders.entry(sender) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let far = Arc::new(UdpSocket::bind((peer.ip(), 0)).await?);
                far.connect(peer).await?;
                let back = (Arc::clone(&far), Arc::clone(&near), sender);
                answers.spawn(carry_back(back, cut.clone()));
                new.insert(far)
            }
        };
        far.send(&bytes[..length]).await.ok();
    }
}

/// Carries what comes over the one socket to an address, over the other.
async fn carry_back(
    (far, near, sender): (Arc<UdpSocket>, Arc<UdpSocket>, SocketAddr),
    cut: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; BYTES];
    loop {
        // That a peer has closed its socket is reported as an error, and means nothing.
        let Ok(length) = far.recv(&mut bytes).await else {
            continue;
        };
        if !*cut.borrow() && near.send_to(&bytes[..length], sender).await.is_err() {
            return;
        }
    }
}

/// Passes on what comes, but for while the network is cut.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; BYTES];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let carries = cut.wait_for(|cut| !cut).await.is_ok();
        if !carries || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

fn address_of(value: &Value) -> Result<SocketAddr> {
    let [ip, port] = [0, 1].map(|at| value[at].as_str());
    let ip: IpAddr = ip
        .context("an address")?
        .parse()
        .with_context(|| format!("{value} is no number: names are hidden"))?;
    Ok(SocketAddr::new(ip, port.context("a port")?.parse()?))
}
