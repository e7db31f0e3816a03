//! Links in memory: the same signals, chunks and bounds as the real ones, with a seeded order of delivery.
//!
//! The session description is a token by which the answering end finds the offering one. Each lane has a channel each way
//! that holds a few chunks; each chunk waits a random number of turns, so that the lanes overtake each other
//! differently for every seed and, on one thread, equally for equal seeds.

use crate::connector::{
    Attempt, Backend as AnyBackend, ConnectRole, Connector, SignalSender, until_ended,
};
use crate::error::LinkError;
use crate::limits::within_limits;
use crate::link::Endpoint;
use crate::negotiation::{Negotiation, Step};
use crate::platform;
use futures::channel::mpsc;
use futures::future::join4;
use futures::{SinkExt, StreamExt};
use ringtmp_core::ids::PeerId;
use ringtmp_core::wire::Lane;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// The most chunks in one direction of one lane: a few, as a real channel's buffer of 256 KiB holds.
const CHANNEL_CHUNKS: usize = 4;

/// The most turns that a chunk waits.
const TURNS_MAX: u64 = 4;

/// A network in memory, which connects the connectors that it makes.
#[derive(Clone, Debug)]
pub struct LoopbackNetwork {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: SplitMix64,
    /// The answering end's halves, until they are fetched. One per attempt that offers.
    offers: BTreeMap<String, Ends>,
}

/// Where chunks go, by lane.
type Senders = [mpsc::Sender<Vec<u8>>; 2];

/// Where chunks come from, by lane.
type Receivers = [mpsc::Receiver<Vec<u8>>; 2];

/// One end's halves of the channels of both lanes.
#[derive(Debug)]
struct Ends {
    senders: Senders,
    receivers: Receivers,
    random: SplitMix64,
}

impl LoopbackNetwork {
    /// A network whose order of delivery follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: SplitMix64(seed),
            offers: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A connector for the peer `me`.
    pub fn connector(&self, me: PeerId) -> Connector {
        Connector::new(AnyBackend::Loopback(Backend {
            network: self.clone(),
            me,
        }))
    }

    /// Makes both ends of a connection; keeps one under a token.
    fn offer(&self, me: PeerId) -> (Offer, Ends) {
        let mut state = self.lock();
        let token = format!("loopback {me} {:016x}", state.random.next());
        let (to_answerer, from_offerer) = channels();
        let (to_offerer, from_answerer) = channels();
        let random = state.random.fork();
        let ours = Ends {
            senders: to_answerer,
            receivers: from_answerer,
            random,
        };
        let random = state.random.fork();
        state.offers.insert(
            token.clone(),
            Ends {
                senders: to_offerer,
                receivers: from_offerer,
                random,
            },
        );
        (
            Offer {
                network: self.clone(),
                token,
            },
            ours,
        )
    }

    fn fetch(&self, token: &str) -> Result<Ends, LinkError> {
        self.lock()
            .offers
            .remove(token)
            .ok_or_else(|| LinkError::signal("a token of no offer"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An offer in the network, withdrawn when dropped.
struct Offer {
    network: LoopbackNetwork,
    token: String,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.network.lock().offers.remove(&self.token);
    }
}

pub(crate) struct Backend {
    network: LoopbackNetwork,
    me: PeerId,
}

impl Backend {
    pub(crate) fn start(&self, attempt: Attempt) {
        platform::spawn(run(self.network.clone(), self.me, attempt));
    }
}

async fn run(network: LoopbackNetwork, me: PeerId, mut attempt: Attempt) {
    let endpoint = attempt.endpoint.clone();
    let proved = attempt.take_proved();
    let mut ends = None;
    let connecting = async {
        ends = Some(connect(&network, me, &mut attempt).await?);
        Ok(())
    };
    let outcome = within_limits(&endpoint, proved, connecting).await;
    if attempt.report(outcome).await
        && let Some(ends) = ends
    {
        until_ended(&endpoint, pump(&endpoint, ends)).await;
    }
}

async fn connect(
    network: &LoopbackNetwork,
    me: PeerId,
    attempt: &mut Attempt,
) -> Result<Ends, LinkError> {
    let mut sender = attempt.signal_sender();
    let offer = match attempt.role {
        ConnectRole::Offer => {
            let (offer, ours) = network.offer(me);
            sender.offer(offer.token.clone()).await;
            Some((offer, ours))
        }
        ConnectRole::Answer => None,
    };
    let mut negotiation = Negotiation::new(attempt.role);
    loop {
        let Some(signal) = attempt.signals.next().await else {
            std::future::pending().await
        };
        // Candidates mean nothing here; the description comes first in any list of steps.
        let described = negotiation.take(signal)?.into_iter().next();
        match (described, &offer) {
            (Some(Step::Answer(token)), _) => return answer(network, token, &mut sender).await,
            (Some(Step::Finish(token)), Some((offer, _))) if token != offer.token => {
                return Err(LinkError::signal("an answer to another offer"));
            }
            (Some(Step::Finish(_)), Some(_)) => break,
            (Some(Step::Finish(_) | Step::Candidate { .. }) | None, _) => {}
        }
    }
    offer
        .map(|(_, ours)| ours)
        .ok_or_else(|| LinkError::signal("an answer to no offer"))
}

async fn answer(
    network: &LoopbackNetwork,
    token: String,
    sender: &mut SignalSender,
) -> Result<Ends, LinkError> {
    let ends = network.fetch(&token)?;
    sender.answer(token).await;
    Ok(ends)
}

async fn pump(endpoint: &Endpoint, ends: Ends) {
    let Ends {
        senders: [control_out, tensors_out],
        receivers: [control_in, tensors_in],
        mut random,
    } = ends;
    join4(
        pump_out(endpoint, Lane::Control, control_out, random.fork()),
        pump_out(endpoint, Lane::Tensors, tensors_out, random.fork()),
        pump_in(endpoint, Lane::Control, control_in),
        pump_in(endpoint, Lane::Tensors, tensors_in),
    )
    .await;
}

async fn pump_out(
    endpoint: &Endpoint,
    lane: Lane,
    mut channel: mpsc::Sender<Vec<u8>>,
    mut random: SplitMix64,
) {
    while let Some(chunk) = endpoint.next_outgoing(lane).await {
        turns(random.next() % (TURNS_MAX + 1)).await;
        if channel.send(chunk).await.is_err() {
            return endpoint.end(LinkError::CLOSED_BY_PEER);
        }
    }
}

async fn pump_in(endpoint: &Endpoint, lane: Lane, mut channel: mpsc::Receiver<Vec<u8>>) {
    while endpoint.incoming_space(lane).await {
        match channel.next().await {
            Some(chunk) => endpoint.accept(lane, &chunk),
            None => return endpoint.end(LinkError::CLOSED_BY_PEER),
        }
    }
}

/// Lets other tasks run so many times.
async fn turns(count: u64) {
    let mut left = count;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn channels() -> (Senders, Receivers) {
    let (control_sender, control_receiver) = mpsc::channel(CHANNEL_CHUNKS);
    let (tensors_sender, tensors_receiver) = mpsc::channel(CHANNEL_CHUNKS);
    (
        [control_sender, tensors_sender],
        [control_receiver, tensors_receiver],
    )
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: enough to shuffle deliveries.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::connector::ConnectorEvent;
    use crate::limits::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
    use ringtmp_core::ids::Epoch;
    use ringtmp_core::signal::Signal;
    use std::time::Duration;
    use tokio::time::Instant;

    const PEER: PeerId = PeerId(2);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_answers_is_unreachable_after_the_time_limit() {
        let mut connector = LoopbackNetwork::new(1).connector(PeerId(1));
        let start = Instant::now();
        connector.connect(PEER, ConnectRole::Offer, Epoch::default());
        assert!(matches!(
            connector.next().await,
            ConnectorEvent::Signal { to: PEER, .. }
        ));
        match connector.next().await {
            ConnectorEvent::Failed {
                peer: PEER,
                error: error @ LinkError::Unreachable { .. },
            } => {
                assert!(error.advice().contains("firewall"));
            }
            other => panic!("there is nobody: {other:?}"),
        }
        assert_eq!(start.elapsed(), ANSWER_TIMEOUT);
    }

    /// As a tab does that takes memory for a large model first.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_late_is_linked_and_who_falls_silent_is_not_waited_for_as_long() {
        let late = ANSWER_TIMEOUT - Duration::from_secs(5);
        let network = LoopbackNetwork::new(1);
        let [mut one, mut other] = [1, 2].map(|peer| network.connector(PeerId(peer)));
        one.connect(PEER, ConnectRole::Offer, Epoch::default());
        let ConnectorEvent::Signal { signal, .. } = one.next().await else {
            panic!("an offer comes first");
        };
        tokio::time::sleep(late).await;
        other.connect(PeerId(1), ConnectRole::Answer, Epoch::default());
        other.deliver(PeerId(1), signal);
        let ConnectorEvent::Signal { signal, .. } = other.next().await else {
            panic!("then its answer");
        };
        one.deliver(PEER, signal);
        for connector in [&mut one, &mut other] {
            let event = connector.next().await;
            assert!(
                matches!(event, ConnectorEvent::Connected { .. }),
                "{event:?}"
            );
        }

        // Who was heard, and then says no more, is not waited for as long.
        let mut other = network.connector(PEER);
        other.connect(PeerId(1), ConnectRole::Answer, Epoch::default());
        let candidate = Signal::Candidate {
            epoch: Epoch::default(),
            candidate: "none".to_owned(),
            mid: None,
        };
        other.deliver(PeerId(1), candidate);
        let start = Instant::now();
        match other.next().await {
            ConnectorEvent::Failed { error, .. } => {
                assert!(error.to_string().contains("no path"), "{error}");
            }
            event => panic!("there is no link: {event:?}"),
        }
        assert_eq!(start.elapsed(), CONNECT_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_given_up_says_nothing_more() {
        let network = LoopbackNetwork::new(1);
        let mut connector = network.connector(PeerId(1));
        connector.connect(PEER, ConnectRole::Answer, Epoch::default());
        connector.disconnect(PEER);
        let event = tokio::time::timeout(2 * CONNECT_TIMEOUT, connector.next()).await;
        assert!(event.is_err(), "{event:?}");
        connector.connect(PEER, ConnectRole::Offer, Epoch::default());
        assert!(matches!(
            connector.next().await,
            ConnectorEvent::Signal { .. }
        ));
        assert_eq!(network.lock().offers.len(), 1);
        connector.disconnect(PEER);
        tokio::time::sleep(CONNECT_TIMEOUT).await;
        assert!(
            network.lock().offers.is_empty(),
            "an offer that nobody will fetch stays"
        );
    }

    #[tokio::test]
    async fn equal_seeds_give_equal_orders_and_unequal_ones_differ() {
        // One after another: who runs beside a test takes turns away from it.
        let orders = [
            order_of_arrival(7).await,
            order_of_arrival(7).await,
            order_of_arrival(8).await,
        ];
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
    }

    /// The lanes of 40 frames as they arrive.
    async fn order_of_arrival(seed: u64) -> Vec<Lane> {
        let network = LoopbackNetwork::new(seed);
        let (mut a, mut b) = (network.connector(PeerId(1)), network.connector(PEER));
        a.connect(PEER, ConnectRole::Offer, Epoch::default());
        b.connect(PeerId(1), ConnectRole::Answer, Epoch::default());
        let ConnectorEvent::Signal { signal, .. } = a.next().await else {
            panic!("an offer comes first")
        };
        b.deliver(PeerId(1), signal);
        let ConnectorEvent::Signal { signal, .. } = b.next().await else {
            panic!("an answer comes first")
        };
        a.deliver(PEER, signal);
        let ConnectorEvent::Connected { link: link_a, .. } = a.next().await else {
            panic!("it is answered")
        };
        let ConnectorEvent::Connected {
            link: mut link_b, ..
        } = b.next().await
        else {
            panic!("it has answered")
        };
        for _ in 0..20 {
            for lane in Lane::ALL {
                link_a
                    .sender
                    .queue(lane, vec![0; 100])
                    .expect("within bounds");
            }
        }
        let mut order = Vec::new();
        while order.len() < 40 {
            order.push(link_b.receiver.receive().await.expect("the link is open").0);
        }
        order
    }
}
