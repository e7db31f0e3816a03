//! What only native links have; their contract is tested with all others.

use super::access_link::AccessLink;
use super::{connector, connector_behind};
use crate::connector::{ConnectRole, Connector, ConnectorEvent};
use crate::link::Link;
use ringtmp_core::ids::{Epoch, PeerId};
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
