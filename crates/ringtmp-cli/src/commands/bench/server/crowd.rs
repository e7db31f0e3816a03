//! Many peers of a signalling server in one process.

use super::dialect::{Dialect, Heard};
use anyhow::{Context, Result, bail};
use futures::SinkExt;
use futures::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Peers that come at a time while rooms fill: a few more than a server takes in at once.
const COMING_MAX: usize = 64;

/// How long a peer may take to be in.
const ENTRY_MAX: Duration = Duration::from_secs(60);

/// How long the last messages may take to arrive.
const LATE_MAX: Duration = Duration::from_secs(10);

/// How often a peer says that it is there, where the server wants it.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);

/// Messages that wait to be sent by one peer.
const SAYING_MAX: usize = 16;

/// Buffers of a peer: there are many in this process.
const BUFFER_BYTES: usize = 2 * 1024;

type Socket = WebSocketStream<TcpStream>;

/// How a crowd came in that came at once.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Storm {
    pub(super) peers: u32,
    pub(super) failed: u32,
    /// Until the last was in.
    pub(super) seconds: f64,
    /// From the beginning of the storm until a peer was in.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// How messages got from peer to peer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Relayed {
    pub(super) sent: usize,
    pub(super) lost: usize,
    pub(super) per_second: u32,
    /// From when a message was due until it arrived.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) longest_ms: f64,
}

/// What all peers have heard.
#[derive(Debug, Default)]
struct Tally {
    lost: AtomicU32,
    arrivals: OnceLock<Arrivals>,
}

/// When messages arrived, in microseconds since the beginning; 0 for not yet.
#[derive(Debug)]
struct Arrivals {
    begun: Instant,
    us: Vec<AtomicU64>,
    missing: AtomicU64,
}

impl Tally {
    fn heard(&self, text: &str) {
        let Some(arrivals) = self.arrivals.get() else {
            return;
        };
        let Some(slot) = Dialect::number_of(text).and_then(|number| arrivals.us.get(number)) else {
            return;
        };
        let us = arrivals.begun.elapsed().as_micros().max(1) as u64;
        if slot.swap(us, Ordering::Relaxed) == 0 {
            arrivals.missing.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A peer that is in.
struct Peer {
    id: String,
    room: usize,
    says: mpsc::Sender<String>,
}

/// A server's peers.
pub(super) struct Crowd {
    dialect: Dialect,
    server: SocketAddr,
    /// What the server calls them.
    rooms: Vec<String>,
    peers: Vec<Peer>,
    next: u32,
    tally: Arc<Tally>,
}

impl Crowd {
    pub(super) fn new(dialect: Dialect, server: SocketAddr, rooms: u32) -> Self {
        Self {
            dialect,
            server,
            rooms: vec![String::new(); rooms as usize],
            peers: Vec::new(),
            next: 0,
            tally: Arc::default(),
        }
    }

    /// Peers that the server has dropped.
    pub(super) fn lost(&self) -> u32 {
        self.tally.lost.load(Ordering::Relaxed)
    }

    /// Lets so many peers come in, some at a time, the first of each room first.
    pub(super) async fn fill(&mut self, peers: u32) -> Result<()> {
        let rooms = (self.rooms.len() as u32).min(peers);
        for count in [rooms, peers - rooms] {
            let first = self.next;
            let mut coming = FuturesUnordered::new();
            let mut waiting = first..first + count;
            loop {
                while coming.len() < COMING_MAX
                    && let Some(number) = waiting.next()
                {
                    coming.push(self.newcomer(number).enter());
                }
                let Some(entered) = coming.next().await else {
                    break;
                };
                let (peer, room) = entered.context("a peer does not come in")?;
                self.rooms[peer.room] = room;
                self.peers.push(peer);
            }
            self.next += count;
        }
        Ok(())
    }

    /// Lets so many come at once.
    pub(super) async fn storm(&mut self, peers: u32) -> Storm {
        let newcomers: Vec<Newcomer> = (self.next..self.next + peers)
            .map(|number| self.newcomer(number))
            .collect();
        self.next += peers;
        let begun = Instant::now();
        let tasks = newcomers.into_iter().map(|newcomer| {
            tokio::spawn(async move {
                let entered = newcomer.enter().await;
                (entered, begun.elapsed())
            })
        });
        let mut coming: FuturesUnordered<_> = tasks.collect();
        let mut took = Vec::new();
        let mut storm = Storm {
            peers,
            ..Storm::default()
        };
        while let Some(entered) = coming.next().await {
            match entered {
                Ok((Ok((peer, _)), elapsed)) => {
                    self.peers.push(peer);
                    took.push(elapsed.as_secs_f64() * 1e3);
                }
                Ok((Err(error), _)) => {
                    if storm.failed == 0 {
                        eprintln!("a peer of the storm does not come in: {error:#}");
                    }
                    storm.failed += 1;
                }
                Err(_) => storm.failed += 1,
            }
        }
        took.sort_by(f64::total_cmp);
        storm.seconds = took.last().map_or(0.0, |ms| ms / 1e3);
        storm.p50_ms = quantile(&took, 0.5);
        storm.p99_ms = quantile(&took, 0.99);
        storm
    }

    fn newcomer(&self, number: u32) -> Newcomer {
        let room = number as usize % self.rooms.len();
        Newcomer {
            dialect: self.dialect,
            server: self.server,
            number,
            room,
            code: self.rooms[room].clone(),
            tally: Arc::clone(&self.tally),
        }
    }

    /// Sends so many messages a second, each from a member of a room to the next, from room to room.
    pub(super) async fn relay(&mut self, per_second: u32, seconds: u32) -> Result<Relayed> {
        let mut rooms = vec![Vec::new(); self.rooms.len()];
        for (i, peer) in self.peers.iter().enumerate() {
            rooms[peer.room].push(i);
        }
        rooms.retain(|members| members.len() > 1);
        if rooms.is_empty() {
            bail!("no room has two peers");
        }
        let sent = per_second as usize * seconds as usize;
        let arrivals = Arrivals {
            begun: Instant::now(),
            us: (0..sent).map(|_| AtomicU64::new(0)).collect(),
            missing: AtomicU64::new(sent as u64),
        };
        let begun = arrivals.begun;
        if self.tally.arrivals.set(arrivals).is_err() {
            bail!("messages are sent once");
        }
        let due = |number: usize| number as f64 / f64::from(per_second);
        for number in 0..sent {
            let members = &rooms[number % rooms.len()];
            let turn = number / rooms.len();
            let from = &self.peers[members[turn % members.len()]];
            let to = &self.peers[members[(turn + 1) % members.len()]];
            let text = self.dialect.relay(&to.id, number)?;
            tokio::time::sleep_until(begun + Duration::from_secs_f64(due(number))).await;
            // Whoever was dropped says nothing, and its messages are lost.
            let _dropped = from.says.try_send(text);
        }
        let arrivals = self.tally.arrivals.get().context("they were just set")?;
        let last = Instant::now() + LATE_MAX;
        while arrivals.missing.load(Ordering::Relaxed) > 0 && Instant::now() < last {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut delays: Vec<f64> = (0..sent)
            .filter_map(|number| {
                let us = arrivals.us[number].load(Ordering::Relaxed);
                (us > 0).then(|| us as f64 / 1e3 - due(number) * 1e3)
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        Ok(Relayed {
            sent,
            lost: sent - delays.len(),
            per_second,
            p50_ms: quantile(&delays, 0.5),
            p99_ms: quantile(&delays, 0.99),
            longest_ms: delays.last().copied().unwrap_or(f64::NAN),
        })
    }
}

/// The smallest number that so great a share of them does not exceed; they are sorted.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share).ceil() as usize;
    let number = sorted.get(index.saturating_sub(1));
    number.copied().unwrap_or(f64::NAN)
}

/// A peer on its way in.
struct Newcomer {
    dialect: Dialect,
    server: SocketAddr,
    number: u32,
    room: usize,
    /// What the server calls the room; empty if it has to be opened.
    code: String,
    tally: Arc<Tally>,
}

impl Newcomer {
    /// Comes in, and stays in with a task of its own. Also says what the server calls the room.
    async fn enter(self) -> Result<(Peer, String)> {
        tokio::time::timeout(ENTRY_MAX, self.try_enter())
            .await
            .context("it takes too long")?
    }

    async fn try_enter(self) -> Result<(Peer, String)> {
        let mut socket = self.connect().await?;
        let mut code = self.code.clone();
        let opens = self.dialect.opens_rooms() && code.is_empty();
        if opens {
            socket.send(Message::text(self.dialect.open()?)).await?;
        } else if let Some(join) = self.dialect.join(&code)? {
            socket.send(Message::text(join)).await?;
        }
        let id = loop {
            let heard = match socket.next().await.context("the server hung up")?? {
                Message::Text(text) => self.dialect.hear(&text, self.number),
                _ => continue,
            };
            match heard {
                Heard::Opened { room } => {
                    if let Some(join) = self.dialect.join(&room)? {
                        socket.send(Message::text(join)).await?;
                    }
                    code = room;
                }
                Heard::In { id } => break id,
                Heard::Refused(why) => bail!("refused: {why}"),
                Heard::Other => {}
            }
        };
        let (says, saying) = mpsc::channel(SAYING_MAX);
        let heartbeat = self.dialect.heartbeat();
        tokio::spawn(stay(socket, saying, heartbeat, self.tally));
        let peer = Peer {
            id,
            room: self.room,
            says,
        };
        Ok((peer, code))
    }

    async fn connect(&self) -> Result<Socket> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0);
        let url = self.dialect.url(self.server, self.room, self.number);
        let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
        Ok(opened?.0)
    }
}

/// A peer that is in: it listens, and says what it is told to say.
async fn stay(
    mut socket: Socket,
    mut saying: mpsc::Receiver<String>,
    heartbeat: Option<&'static str>,
    tally: Arc<Tally>,
) {
    let mut beats = tokio::time::interval(HEARTBEAT_EVERY);
    beats.reset();
    loop {
        let said = tokio::select! {
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(text))) => {
                    tally.heard(&text);
                    continue;
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
            said = saying.recv() => match said {
                Some(text) => Message::text(text),
                // It was measured.
                None => return,
            },
            _ = beats.tick(), if heartbeat.is_some() => {
                Message::text(heartbeat.unwrap_or_default())
            }
        };
        if socket.send(said).await.is_err() {
            break;
        }
    }
    tally.lost.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numbers_that_were_there() {
        let numbers: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&numbers, 0.5), 50.0);
        assert_eq!(quantile(&numbers, 0.99), 99.0);
        assert_eq!(quantile(&numbers[..1], 0.99), 1.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
