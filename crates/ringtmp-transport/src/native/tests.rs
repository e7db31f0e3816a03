//! What only native links have; their contract is tested with all others.

use super::access_link::AccessLink;
use super::{connector, connector_behind};
use crate::connector::{ConnectRole, Connector, ConnectorEvent};
use crate::error::LinkError;
use crate::link::Link;
use ringtmp_core::ids::{Epoch, PeerId, RoomCode};
use ringtmp_core::secret::{LinkKey, ProofError, RoomSecret};
use ringtmp_core::signal::Signal;
use ringtmp_core::wire::Lane;
use std::time::Instant;

const PEERS: [PeerId; 2] = [PeerId(1), PeerId(2)];

async fn pair(mut ends: [Connector; 2]) -> ([Connector; 2], [Link; 2]) {
    ends[0].connect(PEERS[1], ConnectRole::Offer, Epoch::default());
    ends[1].connect(PEERS[0], ConnectRole::Answer, Epoch::default());
    let mut links = [None, None];
    while links.iter().any(Option::is_none) {
        let [a, b] = &mut ends;
        let (event, at) = tokio::select! {
            event = a.next() => (event, 0),
            event = b.next() => (event, 1),
        };
        match event {
            ConnectorEvent::Signal { signal, .. } => ends[1 - at].deliver(PEERS[at], signal),
            ConnectorEvent::Connected { link, .. } => links[at] = Some(link),
            ConnectorEvent::Failed { error, .. } => panic!("connecting failed: {error}"),
        }
    }
    (ends, links.map(|link| link.expect("both are there")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_between_peers_behind_access_links_goes_through_both_of_them() {
    let link: AccessLink = "5ms,100mbit".parse().expect("an access link");
    let backends = [connector_behind(link), connector_behind(link)];
    let (ends, [mut a, mut b]) = pair(backends).await;
    let frame = vec![7; 1_000_000];
    a.sender
        .queue(Lane::Tensors, frame.clone())
        .expect("within bounds");
    let received = b.receiver.receive().await.expect("the link is open");
    assert_eq!(received, (Lane::Tensors, frame));
    b.sender
        .queue(Lane::Control, vec![1; 64])
        .expect("within bounds");
    let received = a.receiver.receive().await.expect("the link is open");
    assert_eq!(received, (Lane::Control, vec![1; 64]));
    for end in &ends {
        let carried = end.carried_by_access_link();
        assert!(carried > 1_000_000, "only {carried} bytes went through");
    }
}

/// The link key of a room with this secret.
fn key(secret: u8) -> LinkKey {
    let secret = RoomSecret::from_random([secret; 16]);
    LinkKey::new(&secret, RoomCode::from_random([1; 10]))
}

/// Connectors of two members.
fn members(keys: [Option<LinkKey>; 2]) -> [Connector; 2] {
    let [mut a, mut b] = [connector(), connector()];
    for ((end, key), me) in [&mut a, &mut b].into_iter().zip(keys).zip(PEERS) {
        if let Some(key) = key {
            end.guard(key, me);
        }
    }
    [a, b]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_know_the_secret_connect_as_others_do() {
    let (_ends, [a, mut b]) = pair(members([Some(key(1)), Some(key(1))])).await;
    a.sender
        .queue(Lane::Control, vec![7; 8])
        .expect("within bounds");
    let received = b.receiver.receive().await.expect("the link is open");
    assert_eq!(received, (Lane::Control, vec![7; 8]));
}

/// A server that has a connection of its own to each of two peers, in the other's name.
struct Between {
    ends: [Connector; 2],
    own: [Connector; 2],
    /// It puts its own descriptions under the proofs of the peers, as the last that were seen.
    keeps_proofs: bool,
    seen: [Option<Signal>; 2],
}

impl Between {
    fn new(ends: [Connector; 2], keeps_proofs: bool) -> Self {
        ends[0].connect(PEERS[1], ConnectRole::Offer, Epoch::default());
        ends[1].connect(PEERS[0], ConnectRole::Answer, Epoch::default());
        let own = [connector(), connector()];
        // To the first it is the second, and answers; to the second the first, and offers.
        own[0].connect(PEERS[0], ConnectRole::Answer, Epoch::default());
        own[1].connect(PEERS[1], ConnectRole::Offer, Epoch::default());
        Self {
            ends,
            own,
            keeps_proofs,
            seen: [None, None],
        }
    }

    /// What the peers and the server come to think of their links.
    async fn outcomes(mut self) -> [Result<(), LinkError>; 2] {
        let mut outcomes = [None, None];
        // A link that is dropped closes, and it must not before its other end has told that it is open.
        let mut links = Vec::new();
        while outcomes.iter().any(Option::is_none) {
            let [a, b] = &mut self.ends;
            let [m, n] = &mut self.own;
            let (event, at, is_own) = tokio::select! {
                event = a.next() => (event, 0, false),
                event = b.next() => (event, 1, false),
                event = m.next() => (event, 0, true),
                event = n.next() => (event, 1, true),
            };
            match event {
                ConnectorEvent::Signal { signal, .. } if is_own => {
                    let signal = self.forge(1 - at, signal);
                    self.ends[at].deliver(PEERS[1 - at], signal);
                }
                ConnectorEvent::Signal { signal, .. } => {
                    if !matches!(signal, Signal::Candidate { .. }) {
                        self.seen[at] = Some(signal.clone());
                    }
                    self.own[at].deliver(PEERS[at], signal);
                }
                ConnectorEvent::Connected { link, .. } => {
                    links.push(link);
                    if !is_own {
                        outcomes[at] = Some(Ok(()));
                    }
                }
                ConnectorEvent::Failed { error, .. } if !is_own => outcomes[at] = Some(Err(error)),
                ConnectorEvent::Failed { .. } => {}
            }
        }
        outcomes.map(|outcome| outcome.expect("both are there"))
    }

    /// Its own description in the name of a peer.
    fn forge(&self, of: usize, signal: Signal) -> Signal {
        let proved = self.seen[of].as_ref().filter(|_| self.keeps_proofs);
        let stolen = match proved {
            Some(Signal::Offer { proof, .. } | Signal::Answer { proof, .. }) => *proof,
            Some(Signal::Candidate { .. } | Signal::Confirm { .. }) | None => None,
        };
        match signal {
            Signal::Offer { epoch, sdp, .. } => Signal::Offer {
                epoch,
                sdp,
                proof: stolen,
            },
            Signal::Answer { epoch, sdp, .. } => Signal::Answer {
                epoch,
                sdp,
                proof: stolen,
            },
            other @ (Signal::Candidate { .. } | Signal::Confirm { .. }) => other,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_gets_between_peers_of_an_open_room_and_not_between_those_that_know_a_secret() {
    // That the first succeeds shows that the others fail for the right reason.
    let open = Between::new(members([None, None]), false);
    assert_eq!(open.outcomes().await, [Ok(()), Ok(())]);
    for keeps_proofs in [false, true] {
        let guarded = members([Some(key(1)), Some(key(1))]);
        for outcome in Between::new(guarded, keeps_proofs).outcomes().await {
            let error = outcome.expect_err("nobody is let in");
            assert!(matches!(error, LinkError::Unproved(_)), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_secret_gets_no_link_and_whoever_does_says_why() {
    for (stranger, expected) in [
        (Some(key(2)), ProofError::Wrong),
        (None, ProofError::Missing),
    ] {
        let mut ends = members([stranger, Some(key(1))]);
        ends[0].connect(PEERS[1], ConnectRole::Offer, Epoch::default());
        ends[1].connect(PEERS[0], ConnectRole::Answer, Epoch::default());
        let [stranger, member] = &mut ends;
        let error = loop {
            tokio::select! {
                event = stranger.next() => match event {
                    ConnectorEvent::Signal { signal, .. } => member.deliver(PEERS[0], signal),
                    other => panic!("nothing is heard by it: {other:?}"),
                },
                event = member.next() => match event {
                    ConnectorEvent::Failed { error, .. } => break error,
                    other => panic!("a member says nothing to a stranger: {other:?}"),
                },
            }
        };
        assert_eq!(error, LinkError::Unproved(expected));
        assert!(error.advice().contains("whole link"));
    }
}

/// Not a test of speed, which depends on the machine: it shows the figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test -p ringtmp-transport --lib -- --ignored --nocapture rate"]
async fn rate_and_round_trip_between_two_native_peers() {
    let start = Instant::now();
    let (_ends, [mut a, mut b]) = pair([connector(), connector()]).await;
    println!("connected in {:.3} s", start.elapsed().as_secs_f64());
    let (frames, bytes) = (256, 1024 * 1024);
    let start = Instant::now();
    let mut queued = 0;
    for received in 0..frames {
        while queued < frames && queued < received + 64 {
            a.sender
                .queue(Lane::Tensors, vec![7; bytes])
                .expect("within bounds");
            queued += 1;
        }
        b.receiver.receive().await.expect("the link is open");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.1} MB/s", (frames * bytes) as f64 / 1e6 / seconds);
    let rounds = 500;
    let start = Instant::now();
    for _ in 0..rounds {
        a.sender
            .queue(Lane::Control, vec![7; 64])
            .expect("within bounds");
        let (lane, frame) = b.receiver.receive().await.expect("the link is open");
        b.sender.queue(lane, frame).expect("within bounds");
        a.receiver.receive().await.expect("the link is open");
    }
    println!(
        "round trip of 64 bytes: {:.3} ms",
        start.elapsed().as_secs_f64() * 1e3 / f64::from(rounds)
    );
}
