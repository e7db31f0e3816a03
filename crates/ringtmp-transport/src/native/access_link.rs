//! An emulated access link: what a device's Wi-Fi or mobile network does to its packets, in user space and without privileges.
//!
//! ```text
//!   our ICE agent ◀──▶ socket of a forward ◀── up, down: rate, delay ──▶ its other sockets ◀──▶ peers
//! ```
//!
//! Every candidate is replaced by the socket of a forward, ours before the peer hears of it and the peer's before our agent
//! does, so that no packet goes past it. All connections of a [`Connector`](crate::Connector) share one line up and one down.
//! Peers behind two access links have both delays between them.

use super::runtime::hold_bursts;
use futures::stream::{FuturesUnordered, StreamExt};
use socket2::SockRef;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long a packet may wait for those before it: what a home router's buffer holds. One that would wait longer is lost.
const QUEUE_TIME_MAX: Duration = Duration::from_millis(100);

/// Packets on their way into a line, beyond which readers wait and the system's socket buffers fill.
const PACKETS_MAX: usize = 256;

/// Longer than any packet of WebRTC, which keeps below an Ethernet frame.
const PACKET_BYTES_MAX: usize = 2048;

/// Addresses from which a forward takes packets; an agent has one or two, and more would be somebody else's.
const FLOWS_MAX: usize = 16;

/// Forwards of one connection: one for every candidate of either end.
const FORWARDS_MAX: usize = 64;

/// The longest delay that is emulated; connecting takes several round trips within a limit of its own.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// The link between a device and everybody else, the same both ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccessLink {
    /// One way.
    pub delay: Duration,
    /// None for any amount at once.
    pub bytes_per_second: Option<f64>,
}

/// A text that describes no access link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no access link: write a delay of at most 1 s, a rate, or both, such as 25ms, 10mbit or 25ms,10mbit"
)]
pub struct UnknownAccessLink(String);

impl FromStr for AccessLink {
    type Err = UnknownAccessLink;

    fn from_str(text: &str) -> Result<Self, UnknownAccessLink> {
        let unknown = || UnknownAccessLink(text.chars().take(64).collect());
        let mut link = Self {
            delay: Duration::ZERO,
            bytes_per_second: None,
        };
        for part in text.split(',') {
            let number = |unit| part.strip_suffix(unit)?.trim().parse::<f64>().ok();
            if let Some(rate) = number("mbit") {
                let sane = (0.01..=100_000.0).contains(&rate);
                link.bytes_per_second = Some(sane.then_some(rate * 125_000.0).ok_or_else(unknown)?);
            } else {
                let milliseconds = number("ms").filter(|delay| *delay >= 0.0);
                let delay = milliseconds.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
                link.delay = delay
                    .filter(|delay| *delay <= DELAY_MAX)
                    .ok_or_else(unknown)?;
            }
        }
        Ok(link)
    }
}

impl fmt::Display for AccessLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.delay.as_secs_f64() * 1e3)?;
        match self.bytes_per_second {
            Some(rate) => write!(f, ",{}mbit", rate / 125_000.0),
            None => Ok(()),
        }
    }
}

/// One direction: a queue, a rate, then a delay.
#[derive(Debug)]
struct Line {
    link: AccessLink,
    free: Option<Instant>,
}

impl Line {
    /// When a packet that comes now arrives; none if it finds the queue full.
    fn admit(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let begins = self.free.map_or(now, |free| free.max(now));
        if begins - now > QUEUE_TIME_MAX {
            return None;
        }
        let rate = self.link.bytes_per_second;
        let seconds = rate.map_or(0.0, |rate| bytes as f64 / rate);
        let leaves = begins + Duration::from_secs_f64(seconds);
        self.free = Some(leaves);
        Some(leaves + self.link.delay)
    }
}

struct Packet {
    bytes: Vec<u8>,
    through: Arc<UdpSocket>,
    /// None for the address that the socket is connected to.
    to: Option<SocketAddr>,
}

/// Carries packets along a line until nobody can send any more.
async fn carry(mut line: Line, mut packets: mpsc::Receiver<Packet>, carried: Arc<AtomicU64>) {
    let mut under_way: VecDeque<(Instant, Packet)> = VecDeque::new();
    loop {
        let next = under_way.front().map(|(arrives, _)| *arrives);
        let arrival = sleep_until(next.unwrap_or_else(Instant::now));
        tokio::select! {
            packet = packets.recv() => {
                let Some(packet) = packet else { return };
                let arrives = line.admit(Instant::now(), packet.bytes.len());
                if arrives.is_none() {
                    tracing::debug!("an emulated access link's queue is full");
                }
                under_way.extend(arrives.map(|arrives| (arrives, packet)));
            }
            () = arrival, if next.is_some() => {
                let Some((_, Packet { bytes, through, to })) = under_way.pop_front() else { continue };
                carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                // A packet that cannot be delivered is lost, as on any network.
                let _lost = match to {
                    Some(to) => through.try_send_to(&bytes, to),
                    None => through.try_send(&bytes),
                };
            }
        }
    }
}

/// The lines of one device.
#[derive(Clone, Debug)]
pub(super) struct Access {
    up: mpsc::Sender<Packet>,
    down: mpsc::Sender<Packet>,
    carried: Arc<AtomicU64>,
}

impl Access {
    /// Must be called within a runtime.
    pub(super) fn new(link: AccessLink) -> Self {
        let carried = Arc::new(AtomicU64::new(0));
        let line = || {
            let (sender, packets) = mpsc::channel(PACKETS_MAX);
            let line = Line { link, free: None };
            super::spawn(carry(line, packets, carried.clone()));
            sender
        };
        let (up, down) = (line(), line());
        Self { up, down, carried }
    }

    /// Bytes carried so far, both ways.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet of {} bytes", self.bytes.len())
    }
}

/// The addresses of one connection: as they are, or replaced by forwards, which end with it.
#[derive(Debug)]
pub(super) struct Addresses {
    access: Option<Access>,
    forwards: JoinSet<()>,
}

impl Addresses {
    pub(super) fn new(access: Option<Access>) -> Self {
        Self {
            access,
            forwards: JoinSet::new(),
        }
    }

    /// A description as the other end may see it: candidates are sent and replaced one by one.
    pub(super) fn description(&self, sdp: String) -> String {
        if self.access.is_none() {
            return sdp;
        }
        let lines = sdp.split_inclusive('\n');
        lines
            .filter(|line| !line.starts_with("a=candidate:"))
            .collect()
    }

    /// A candidate of ours as the peer may know it.
    pub(super) async fn ours(&mut self, candidate: String) -> Option<String> {
        let Some(access) = self.access.clone() else {
            return Some(candidate);
        };
        let address = address(&candidate)?;
        let forward = self.forward(address.ip(), address, access.down, access.up);
        Some(readdress(&candidate, forward.await?))
    }

    /// A candidate of the peer's as our agent may know it.
    pub(super) async fn theirs(&mut self, candidate: String) -> Option<String> {
        let Some(access) = self.access.clone() else {
            return Some(candidate);
        };
        let address = address(&candidate)?;
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let forward = self.forward(here, address, access.up, access.down);
        Some(readdress(&candidate, forward.await?))
    }

    /// Begins to forward between `target` and whoever sends to the address that this gives.
    async fn forward(
        &mut self,
        at: IpAddr,
        target: SocketAddr,
        there: mpsc::Sender<Packet>,
        back: mpsc::Sender<Packet>,
    ) -> Option<SocketAddr> {
        if self.forwards.len() >= FORWARDS_MAX {
            return None;
        }
        let open = async {
            let socket = UdpSocket::bind((at, 0)).await?;
            hold_bursts(SockRef::from(&socket));
            let address = socket.local_addr()?;
            io::Result::Ok((socket, address))
        };
        match open.await {
            Ok((socket, address)) => {
                let forwarding = serve(Arc::new(socket), target, there, back);
                self.forwards.spawn(async move {
                    if let Err(error) = forwarding.await {
                        tracing::debug!(%error, %target, "an emulated access link lost a socket");
                    }
                });
                Some(address)
            }
            Err(error) => {
                tracing::warn!(%error, %target, "no socket for an emulated access link");
                None
            }
        }
    }
}

/// Forwards until it is dropped.
async fn serve(
    socket: Arc<UdpSocket>,
    target: SocketAddr,
    there: mpsc::Sender<Packet>,
    back: mpsc::Sender<Packet>,
) -> io::Result<()> {
    let mut flows: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut returning = FuturesUnordered::new();
    loop {
        tokio::select! {
            received = receive(&socket) => {
                let Ok((bytes, from)) = received else { continue };
                let through = match flows.get(&from) {
                    Some(flow) => flow.clone(),
                    None if flows.len() < FLOWS_MAX => {
                        let flow = Arc::new(towards(target).await?);
                        flows.insert(from, flow.clone());
                        returning.push(give_back(flow.clone(), socket.clone(), from, back.clone()));
                        flow
                    }
                    None => continue,
                };
                // Ends only with the runtime.
                let _ended = there.send(Packet { bytes, through, to: None }).await;
            }
            Some(()) = returning.next() => {}
        }
    }
}

/// A socket that only `target` can send to.
async fn towards(target: SocketAddr) -> io::Result<UdpSocket> {
    let flow = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    hold_bursts(SockRef::from(&flow));
    flow.connect(target).await?;
    Ok(flow)
}

async fn give_back(
    flow: Arc<UdpSocket>,
    through: Arc<UdpSocket>,
    to: SocketAddr,
    back: mpsc::Sender<Packet>,
) {
    loop {
        // An error is the echo of a packet that found nobody.
        let Ok((bytes, _)) = receive(&flow).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let packet = Packet {
            bytes,
            through: through.clone(),
            to: Some(to),
        };
        if back.send(packet).await.is_err() {
            return;
        }
    }
}

async fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; PACKET_BYTES_MAX];
    let (length, from) = socket.recv_from(&mut buffer).await?;
    Ok((buffer[..length].to_vec(), from))
}

/// The address in a candidate line (RFC 8839, section 5.1): its fifth and sixth words. None for one that hides it, or that is not
/// of this kind of network.
fn address(candidate: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
    let (protocol, ip, port) = (words.get(2)?, words.get(4)?, words.get(5)?);
    let address = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
    (protocol.eq_ignore_ascii_case("udp") && address.is_ipv4()).then_some(address)
}

fn readdress(candidate: &str, address: SocketAddr) -> String {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let words = candidate.split_ascii_whitespace().enumerate();
    let words: Vec<&str> = words
        .map(|(i, word)| match i {
            4 => ip.as_str(),
            5 => port.as_str(),
            _ => word,
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> AccessLink {
        text.parse().expect("an access link")
    }

    #[test]
    fn an_access_link_reads_as_it_is_written_and_nothing_else_is_one() {
        let both = link("2.5ms,10mbit");
        assert_eq!(both.delay, Duration::from_micros(2500));
        assert_eq!(both.bytes_per_second, Some(1.25e6));
        assert_eq!(link(&both.to_string()), both);
        assert_eq!(link("5ms").bytes_per_second, None);
        assert_eq!(link("100mbit").delay, Duration::ZERO);
        for wrong in [
            "", "5", "5s", "-1ms", "2000ms", "0mbit", "NaNmbit", "infms", "1ms,fast",
        ] {
            assert!(wrong.parse::<AccessLink>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_spaces_packets_by_its_rate_delays_them_and_drops_what_would_wait_too_long() {
        // 1 MB/s: 1,000 bytes take 1 ms.
        let mut line = Line {
            link: link("20ms,8mbit"),
            free: None,
        };
        let start = Instant::now();
        let arrives = |packet: Option<Instant>| packet.map(|at| (at - start).as_millis());
        assert_eq!(arrives(line.admit(start, 1000)), Some(21));
        assert_eq!(arrives(line.admit(start, 2000)), Some(23));
        let later = start + Duration::from_millis(50);
        assert_eq!(arrives(line.admit(later, 1000)), Some(71));
        assert_eq!(arrives(line.admit(later, 100_000)), Some(171));
        assert_eq!(line.admit(later, 1), None, "101 ms of packets wait");
        let free = later + Duration::from_millis(1);
        assert_eq!(arrives(line.admit(free, 1000)), Some(172));
    }

    #[test]
    fn candidates_change_their_address_and_nothing_else() {
        let candidate = "candidate:1 1 udp 2130706431 192.168.1.7 4242 typ host generation 0";
        let address = address(candidate).expect("an address");
        assert_eq!(address, SocketAddr::from(([192, 168, 1, 7], 4242)));
        let changed = readdress(candidate, SocketAddr::from(([127, 0, 0, 1], 9)));
        let expected = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host generation 0";
        assert_eq!(changed, expected);
        let hidden = "candidate:1 1 udp 1 0c1a2b.local 4242 typ host";
        assert_eq!(super::address(hidden), None);
        assert_eq!(
            super::address("candidate:1 1 tcp 1 10.0.0.1 9 typ host"),
            None
        );
        assert_eq!(super::address(""), None);
    }
}
