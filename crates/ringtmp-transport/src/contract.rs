//! The contract of a link, tested over every kind of it.
//!
//! Each test is a function over two connectors; [`contract_suite`] makes the tests of one kind from them. The peers A and B
//! are relayed by the test itself.

use crate::connector::{ConnectRole, Connector, ConnectorEvent};
use crate::error::{ClosedBy, LinkError};
use crate::link::{CONTROL_QUEUE_BYTES_MAX, Link, LinkReceiver, QUEUE_BYTES_MAX, ROOM_BYTES};
use crate::platform;
use futures::future::{Either, FutureExt, join, select};
use futures::stream::{FuturesUnordered, StreamExt};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::signal::Signal;
use ringtmp_core::wire::{CHUNK_BYTES_MAX, Lane, WireError};
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

const A: PeerId = PeerId(0xa);
const B: PeerId = PeerId(0xb);
const EPOCH: Epoch = Epoch {
    number: 3,
    incarnation: 1,
};
const OLDER: Epoch = Epoch {
    number: 2,
    incarnation: 1,
};
const NEWER: Epoch = Epoch {
    number: 4,
    incarnation: 1,
};

/// A test that waits so long has failed: the slowest step is a connection, which has 20 s itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tests of the contract, as tests of the kind of link that `$connectors` makes: an async function from nothing to the
/// connectors of A and B.
macro_rules! contract_suite {
    (#[$attribute:meta] $connectors:path: $($test:ident)*) => {
        $(
            #[$attribute]
            async fn $test() {
                let [a, b] = $connectors().await;
                crate::contract::$test(a, b).await;
            }
        )*
    };
    (#[$attribute:meta] $connectors:path) => {
        contract_suite! {
            #[$attribute] $connectors:
            frames_of_every_length_arrive_whole_and_in_order
            a_control_frame_overtakes_a_queue_of_tensors
            an_empty_or_too_long_frame_is_refused_and_the_link_stays
            who_waits_for_room_holds_one_frame_in_the_queue
            who_waits_for_room_hears_of_the_end
            closing_is_noticed_at_the_other_end
            dropping_the_receiver_closes_the_link
            disconnecting_and_dropping_the_connector_close_links
            what_came_before_the_close_can_still_be_read
            chunks_in_a_wrong_order_close_the_link
            an_oversized_chunk_closes_the_link
            an_oversized_frame_closes_the_link_before_it_is_sent
            a_description_of_no_sense_fails_the_attempt
            a_candidate_of_no_sense_does_no_harm
            too_many_signals_fail_the_attempt
            signals_wait_until_connect_is_called
            signals_of_an_older_epoch_are_ignored
            a_newer_attempt_replaces_the_older_link
            a_peer_that_starts_again_is_understood
        }
    };
}

/// What only holds where the peer cannot be held back.
#[cfg(target_arch = "wasm32")]
macro_rules! contract_of_channels_that_cannot_pause {
    (#[$attribute:meta] $connectors:path) => {
        contract_suite! {
            #[$attribute] $connectors:
            a_reader_that_stops_loses_the_link_and_not_its_memory
        }
    };
}

/// What only holds where chunks go as they were cut from their frames.
macro_rules! contract_of_whole_chunks {
    (#[$attribute:meta] $connectors:path) => {
        contract_suite! {
            #[$attribute] $connectors:
            traffic_counts_what_the_channels_carried
        }
    };
}

/// What only holds where the peer can be held back.
macro_rules! contract_of_back_pressure {
    (#[$attribute:meta] $connectors:path) => {
        contract_suite! {
            #[$attribute] $connectors:
            a_reader_that_stops_holds_the_sender_back_and_loses_nothing
        }
    };
}

async fn frames_of_every_length_arrive_whole_and_in_order(a: Connector, b: Connector) {
    let (_a, _b, mut link_a, mut link_b) = connected(a, b).await;
    let chunk = CHUNK_BYTES_MAX;
    let tensors = [
        1,
        2,
        chunk - 6,
        chunk - 5,
        chunk - 4,
        chunk,
        2 * chunk - 6,
        2 * chunk - 5,
        5 * 1024 * 1024 + 1,
        3,
    ];
    let control = [1, 100, chunk - 5, chunk];
    let mut sent = Vec::new();
    for (lane, lengths) in [(Lane::Tensors, &tensors[..]), (Lane::Control, &control[..])] {
        for (index, length) in lengths.iter().enumerate() {
            let frame = pattern(*length, index);
            link_a
                .sender
                .queue(lane, frame.clone())
                .expect("within bounds");
            link_b
                .sender
                .queue(lane, frame.clone())
                .expect("within bounds");
            sent.push((lane, frame));
        }
    }
    let both = join(
        receive(&mut link_a.receiver, sent.len()),
        receive(&mut link_b.receiver, sent.len()),
    );
    let (at_a, at_b) = within(both).await;
    for lane in Lane::ALL {
        let of_lane = |frames: &[(Lane, Vec<u8>)]| {
            frames
                .iter()
                .filter(|f| f.0 == lane)
                .cloned()
                .collect::<Vec<_>>()
        };
        assert!(
            of_lane(&at_a) == of_lane(&sent),
            "lane {lane:?} from B to A"
        );
        assert!(
            of_lane(&at_b) == of_lane(&sent),
            "lane {lane:?} from A to B"
        );
    }
}

async fn a_control_frame_overtakes_a_queue_of_tensors(a: Connector, b: Connector) {
    let (_a, _b, link_a, mut link_b) = connected(a, b).await;
    let (count, bytes) = (40, 1024 * 1024);
    for frame in vec![vec![7; bytes]; count] {
        link_a
            .sender
            .queue(Lane::Tensors, frame)
            .expect("within bounds");
    }
    link_a
        .sender
        .queue(Lane::Control, b"heartbeat".to_vec())
        .expect("within bounds");
    let mut before = 0;
    while within(link_b.receiver.receive())
        .await
        .expect("the link is open")
        .0
        == Lane::Tensors
    {
        before += 1;
    }
    // Of the 40 MiB, only what the channels already carried may come first.
    assert!(before <= 10, "{before} MiB of tensors came first");
    receive(&mut link_b.receiver, count - before).await;
}

async fn an_empty_or_too_long_frame_is_refused_and_the_link_stays(a: Connector, b: Connector) {
    let (_a, _b, link_a, mut link_b) = connected(a, b).await;
    for lane in Lane::ALL {
        let limit = lane.frame_bytes_max();
        for size in [0, limit + 1] {
            let refused = link_a.sender.queue(lane, vec![0; size]);
            assert_eq!(refused, Err(LinkError::FrameLength { lane, size, limit }));
        }
    }
    link_a
        .sender
        .queue(Lane::Control, vec![1])
        .expect("the link is open");
    assert_eq!(
        within(link_b.receiver.receive()).await,
        Ok((Lane::Control, vec![1]))
    );
}

async fn who_waits_for_room_holds_one_frame_in_the_queue(a: Connector, b: Connector) {
    let (_a, _b, link_a, mut link_b) = connected(a, b).await;
    let (frames, bytes) = (3, 2 * ROOM_BYTES);
    assert!(link_a.sender.has_room(), "nothing waits");
    let send = async {
        for index in 0..frames {
            within(poll_fn(|context| link_a.sender.poll_room(context))).await;
            let waiting = link_a.sender.traffic().queued;
            assert!(waiting < ROOM_BYTES as u64, "{waiting} bytes wait");
            let queued = link_a.sender.queue(Lane::Tensors, pattern(bytes, index));
            queued.expect("there is room");
        }
    };
    let read = async {
        let received = receive(&mut link_b.receiver, frames).await;
        for (index, (_, frame)) in received.iter().enumerate() {
            assert!(*frame == pattern(bytes, index), "frame {index}");
        }
    };
    // Each of them is polled only when it is woken itself.
    let mut both = FuturesUnordered::from_iter([send.boxed_local(), read.boxed_local()]);
    while both.next().await.is_some() {}
}

async fn who_waits_for_room_hears_of_the_end(a: Connector, b: Connector) {
    let (_a, _b, link_a, link_b) = connected(a, b).await;
    // More than a reader's bounds and a channel's take, so that room comes of the end alone.
    while link_a
        .sender
        .queue(Lane::Tensors, vec![7; 2 * ROOM_BYTES])
        .is_ok()
    {}
    assert!(!link_a.sender.has_room(), "all of it waits");
    drop(link_b);
    within(poll_fn(|context| link_a.sender.poll_room(context))).await;
}

async fn a_reader_that_stops_holds_the_sender_back_and_loses_nothing(a: Connector, b: Connector) {
    let (_a, _b, link_a, mut link_b) = connected(a, b).await;
    let bytes = 8 * 1024 * 1024;
    let mut queued = 0;
    // What was queued may flow into the channels while we look, so the limit is met when it stays full.
    let stuck = loop {
        match link_a.sender.queue(Lane::Tensors, pattern(bytes, queued)) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            stuck,
            LinkError::Stuck {
                lane: Lane::Tensors,
                limit: QUEUE_BYTES_MAX,
                ..
            }
        ),
        "{stuck}"
    );
    // The other lane has a bound of its own.
    while link_a
        .sender
        .queue(Lane::Control, vec![7; CHUNK_BYTES_MAX])
        .is_ok()
    {
        assert!(
            link_a.sender.traffic().queued
                <= (QUEUE_BYTES_MAX + CONTROL_QUEUE_BYTES_MAX + CHUNK_BYTES_MAX) as u64
        );
    }
    // Wait until nothing moves any more: B takes no more than its bounds allow.
    let mut received = u64::MAX;
    while received != link_b.sender.traffic().received {
        received = link_b.sender.traffic().received;
        platform::sleep(Duration::from_millis(300)).await;
    }
    assert!(
        received < 16 * 1024 * 1024,
        "{received} bytes came although nobody reads"
    );
    // Now B reads, and everything comes.
    let mut next = 0;
    while next < queued {
        let (lane, frame) = within(link_b.receiver.receive())
            .await
            .expect("the link is open");
        if lane == Lane::Tensors {
            assert!(frame == pattern(bytes, next), "frame {next}");
            next += 1;
        }
    }
    link_a
        .sender
        .queue(Lane::Tensors, vec![1])
        .expect("there is space again");
}

#[cfg(target_arch = "wasm32")]
async fn a_reader_that_stops_loses_the_link_and_not_its_memory(a: Connector, b: Connector) {
    let (_a, _b, mut link_a, mut link_b) = connected(a, b).await;
    // The control lane, whose bound is the smaller one.
    while link_b.sender.queue(Lane::Control, vec![1]).is_ok() {
        let _ = link_a.sender.queue(Lane::Control, vec![7; CHUNK_BYTES_MAX]);
        platform::sleep(Duration::from_millis(1)).await;
    }
    let received = link_b.sender.traffic().received;
    assert!(
        received <= (2 * CONTROL_QUEUE_BYTES_MAX) as u64,
        "{received} bytes came although nobody reads"
    );
    let error = loop {
        if let Err(error) = within(link_b.receiver.receive()).await {
            break error;
        }
    };
    assert!(
        matches!(
            error,
            LinkError::Overrun {
                lane: Lane::Control,
                ..
            }
        ),
        "{error}"
    );
    while within(link_a.receiver.receive()).await.is_ok() {}
}

async fn closing_is_noticed_at_the_other_end(a: Connector, b: Connector) {
    let (_a, _b, mut link_a, mut link_b) = connected(a, b).await;
    link_a.sender.close();
    let ours = LinkError::Closed { by: ClosedBy::Us };
    let theirs = LinkError::Closed { by: ClosedBy::Peer };
    for _ in 0..2 {
        assert_eq!(within(link_a.receiver.receive()).await, Err(ours.clone()));
        assert_eq!(within(link_b.receiver.receive()).await, Err(theirs.clone()));
    }
    assert_eq!(link_a.sender.queue(Lane::Control, vec![1]), Err(ours));
    assert_eq!(link_b.sender.queue(Lane::Control, vec![1]), Err(theirs));
}

async fn dropping_the_receiver_closes_the_link(a: Connector, b: Connector) {
    let (_a, _b, link_a, mut link_b) = connected(a, b).await;
    drop(link_a.receiver);
    assert_eq!(
        link_a.sender.queue(Lane::Control, vec![1]),
        Err(LinkError::Closed { by: ClosedBy::Us })
    );
    assert_eq!(
        within(link_b.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Peer })
    );
}

async fn disconnecting_and_dropping_the_connector_close_links(a: Connector, b: Connector) {
    let (a, b, mut link_a, mut link_b) = connected(a, b).await;
    a.disconnect(B);
    assert_eq!(
        within(link_a.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Us })
    );
    assert_eq!(
        within(link_b.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Peer })
    );
    let (a, _b, mut link_a, mut link_b) = connected(a, b).await;
    drop(a);
    assert_eq!(
        within(link_a.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Us })
    );
    assert_eq!(
        within(link_b.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Peer })
    );
}

async fn what_came_before_the_close_can_still_be_read(a: Connector, b: Connector) {
    let (_a, _b, link_a, mut link_b) = connected(a, b).await;
    link_a
        .sender
        .queue(Lane::Control, vec![1])
        .expect("within bounds");
    link_a
        .sender
        .queue(Lane::Tensors, vec![2])
        .expect("within bounds");
    assert_eq!(
        within(link_b.receiver.receive())
            .await
            .map(|(_, frame)| frame.len()),
        Ok(1)
    );
    until(|| link_b.sender.traffic().received == 12).await;
    link_a.sender.close();
    until(|| link_b.sender.queue(Lane::Control, vec![1]).is_err()).await;
    assert_eq!(
        within(link_b.receiver.receive())
            .await
            .map(|(_, frame)| frame.len()),
        Ok(1)
    );
    assert!(within(link_b.receiver.receive()).await.is_err());
}

async fn chunks_in_a_wrong_order_close_the_link(a: Connector, b: Connector) {
    let error = after_raw_bytes(a, b, vec![1, 2, 3]).await;
    assert!(
        matches!(error, LinkError::Wire(WireError::Chunks(_))),
        "{error}"
    );
}

async fn an_oversized_chunk_closes_the_link(a: Connector, b: Connector) {
    let error = after_raw_bytes(a, b, vec![0; CHUNK_BYTES_MAX + 1]).await;
    assert!(
        matches!(error, LinkError::Wire(WireError::TooLarge { .. })),
        "{error}"
    );
}

async fn an_oversized_frame_closes_the_link_before_it_is_sent(a: Connector, b: Connector) {
    let error = after_raw_bytes(a, b, vec![0, 0xff, 0xff, 0xff, 0xff, 1]).await;
    assert!(
        matches!(error, LinkError::Wire(WireError::TooLarge { .. })),
        "{error}"
    );
}

async fn traffic_counts_what_the_channels_carried(a: Connector, b: Connector) {
    // One chunk and 48 further ones, and one of the control frame.
    assert_eq!(
        chunks_and_bytes(a, b).await,
        (50, 3 * 1024 * 1024 + 5 + 48 + 1 + 5)
    );
}

#[cfg(not(target_arch = "wasm32"))]
async fn traffic_counts_what_was_cut_once_more(a: Connector, b: Connector) {
    let (chunks, bytes) = chunks_and_bytes(a, b).await;
    // Each of those 49 in four at most.
    assert!((50..=4 * 49 + 1).contains(&chunks), "{chunks}");
    assert_eq!(bytes, 3 * 1024 * 1024 + 5 + 1 + 5 + chunks - 2);
}

/// What it takes to send 3 MiB and a byte: chunks, and their bytes, which both ends count alike.
async fn chunks_and_bytes(a: Connector, b: Connector) -> (u64, u64) {
    let (_a, _b, link_a, mut link_b) = connected(a, b).await;
    link_a
        .sender
        .queue(Lane::Tensors, pattern(3 * 1024 * 1024, 0))
        .expect("within bounds");
    link_a
        .sender
        .queue(Lane::Control, vec![1])
        .expect("within bounds");
    receive(&mut link_b.receiver, 2).await;
    let (at_a, at_b) = (link_a.sender.traffic(), link_b.sender.traffic());
    assert_eq!((at_a.sent, at_a.queued), (at_b.received, 0));
    assert_eq!((at_a.received, at_b.sent, at_b.queued), (0, 0, 0));
    (link_a.sender.chunks_sent(), at_a.sent)
}

async fn a_description_of_no_sense_fails_the_attempt(a: Connector, b: Connector) {
    let (mut a, mut b) = (a, b);
    for sdp in ["", "v=0", "loopback 1234", "\u{0}\u{ffff}"] {
        a.connect(B, ConnectRole::Answer, EPOCH);
        a.deliver(B, Signal::offer(EPOCH, sdp.to_owned()));
        assert!(
            matches!(failure(&mut a).await, LinkError::Signal { .. }),
            "offer {sdp:?}"
        );
        b.connect(A, ConnectRole::Offer, EPOCH);
        b.deliver(A, Signal::answer(EPOCH, sdp.to_owned()));
        assert!(
            matches!(failure(&mut b).await, LinkError::Signal { .. }),
            "answer {sdp:?}"
        );
    }
    // Neither is the worse for it.
    connected(a, b).await;
}

async fn a_candidate_of_no_sense_does_no_harm(a: Connector, b: Connector) {
    a.connect(B, ConnectRole::Offer, EPOCH);
    b.connect(A, ConnectRole::Answer, EPOCH);
    for candidate in [
        "",
        "candidate:",
        "nonsense",
        "candidate:1 1 udp 1 x.local 9 typ host",
        "candidate:1 1 udp 1 1.1.1.1 99999 typ q",
    ] {
        let signal = Signal::Candidate {
            epoch: EPOCH,
            candidate: candidate.to_owned(),
            mid: Some("7".to_owned()),
        };
        a.deliver(B, signal.clone());
        b.deliver(A, signal);
    }
    meet(a, b).await;
}

async fn too_many_signals_fail_the_attempt(a: Connector, _: Connector) {
    let mut a = a;
    a.connect(B, ConnectRole::Answer, EPOCH);
    for index in 0..1000 {
        a.deliver(
            B,
            Signal::Candidate {
                epoch: EPOCH,
                candidate: format!("candidate:{index}"),
                mid: None,
            },
        );
    }
    assert!(matches!(failure(&mut a).await, LinkError::Signal { .. }));
}

async fn signals_wait_until_connect_is_called(a: Connector, b: Connector) {
    let mut a = a;
    a.connect(B, ConnectRole::Offer, EPOCH);
    // An old offer, and noise of one who has no offer at all.
    b.deliver(A, Signal::offer(OLDER, "old".to_owned()));
    b.deliver(A, Signal::answer(EPOCH, "noise".to_owned()));
    b.deliver(
        PeerId(0xc),
        Signal::Candidate {
            epoch: EPOCH,
            candidate: "noise".to_owned(),
            mid: None,
        },
    );
    match within(a.next()).await {
        ConnectorEvent::Signal { to, signal } => {
            assert_eq!(to, B);
            b.deliver(A, signal);
        }
        other => panic!("an offer comes first, not {other:?}"),
    }
    b.connect(A, ConnectRole::Answer, EPOCH);
    meet(a, b).await;
}

async fn signals_of_an_older_epoch_are_ignored(a: Connector, b: Connector) {
    a.connect(B, ConnectRole::Offer, EPOCH);
    b.connect(A, ConnectRole::Answer, EPOCH);
    a.deliver(B, Signal::answer(OLDER, "nonsense".to_owned()));
    b.deliver(A, Signal::offer(OLDER, "nonsense".to_owned()));
    meet(a, b).await;
}

async fn a_newer_attempt_replaces_the_older_link(a: Connector, b: Connector) {
    let (mut a, b, mut old_a, mut old_b) = connected(a, b).await;
    a.connect(B, ConnectRole::Offer, NEWER);
    assert_eq!(
        within(old_a.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Us })
    );
    assert_eq!(
        within(old_b.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Peer })
    );
    // The newer offer comes to B before B knows of the newer epoch.
    loop {
        match within(a.next()).await {
            ConnectorEvent::Signal {
                signal: signal @ Signal::Offer { epoch: NEWER, .. },
                ..
            } => break b.deliver(A, signal),
            ConnectorEvent::Signal { signal, .. } => b.deliver(A, signal),
            other => panic!("an offer comes first, not {other:?}"),
        }
    }
    b.connect(A, ConnectRole::Answer, NEWER);
    let (_a, _b, mut link_a, link_b) = meet(a, b).await;
    link_b
        .sender
        .queue(Lane::Control, vec![1])
        .expect("the link is open");
    assert_eq!(
        within(link_a.receiver.receive()).await,
        Ok((Lane::Control, vec![1]))
    );
}

async fn a_peer_that_starts_again_is_understood(a: Connector, b: Connector) {
    let (a, b, _old_a, mut old_b) = connected(a, b).await;
    // A's program was started anew: the old link is still open as far as B can see, but A offers again.
    b.deliver(A, Signal::offer(EPOCH, "of no sense".to_owned()));
    assert_eq!(
        within(old_b.receiver.receive()).await,
        Err(LinkError::CLOSED_BY_PEER)
    );
    // The offer waits for B to connect again, and the newest counts.
    a.connect(B, ConnectRole::Offer, EPOCH);
    let mut a = a;
    let offered = loop {
        if let ConnectorEvent::Signal { signal, .. } = within(a.next()).await
            && matches!(signal, Signal::Offer { .. })
        {
            break signal;
        }
    };
    b.deliver(A, offered);
    b.connect(A, ConnectRole::Answer, EPOCH);
    meet(a, b).await;
}

/// A and B, connected, with A offering.
async fn connected(a: Connector, b: Connector) -> (Connector, Connector, Link, Link) {
    a.connect(B, ConnectRole::Offer, EPOCH);
    b.connect(A, ConnectRole::Answer, EPOCH);
    meet(a, b).await
}

/// Relays the signals of A and B until they are connected.
async fn meet(a: Connector, b: Connector) -> (Connector, Connector, Link, Link) {
    let (mut a, mut b) = (a, b);
    let (mut link_a, mut link_b) = (None, None);
    while link_a.is_none() || link_b.is_none() {
        let event = match within(select(pin!(a.next()), pin!(b.next()))).await {
            Either::Left((event, _)) => Either::Left(event),
            Either::Right((event, _)) => Either::Right(event),
        };
        match event {
            Either::Left(event) => take(event, &mut link_a, |signal| b.deliver(A, signal)),
            Either::Right(event) => take(event, &mut link_b, |signal| a.deliver(B, signal)),
        }
    }
    let (link_a, link_b) = link_a.zip(link_b).expect("both are there");
    (a, b, link_a, link_b)
}

fn take(event: ConnectorEvent, link: &mut Option<Link>, relay: impl FnOnce(Signal)) {
    match event {
        ConnectorEvent::Signal { signal, .. } => relay(signal),
        ConnectorEvent::Connected { link: new, .. } => *link = Some(new),
        ConnectorEvent::Failed { error, .. } => panic!("connecting failed: {error}"),
    }
}

/// What B says after A has sent `bytes` that are no chunk; A must notice that B has closed.
async fn after_raw_bytes(a: Connector, b: Connector, bytes: Vec<u8>) -> LinkError {
    let (_a, _b, mut link_a, mut link_b) = connected(a, b).await;
    link_a.sender.queue_raw(Lane::Tensors, bytes);
    let error = within(link_b.receiver.receive())
        .await
        .expect_err("the bytes are no frame");
    assert_eq!(within(link_b.receiver.receive()).await, Err(error.clone()));
    assert_eq!(
        within(link_a.receiver.receive()).await,
        Err(LinkError::Closed { by: ClosedBy::Peer })
    );
    error
}

async fn failure(connector: &mut Connector) -> LinkError {
    loop {
        match within(connector.next()).await {
            ConnectorEvent::Failed { error, .. } => return error,
            ConnectorEvent::Signal { .. } => {}
            ConnectorEvent::Connected { .. } => panic!("there is nobody to connect to"),
        }
    }
}

async fn receive(receiver: &mut LinkReceiver, count: usize) -> Vec<(Lane, Vec<u8>)> {
    let mut frames = Vec::new();
    while frames.len() < count {
        frames.push(within(receiver.receive()).await.expect("the link is open"));
    }
    frames
}

/// A frame whose bytes tell its index and every place in it.
fn pattern(length: usize, index: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place / 251 + place * 7 + index * 31) as u8)
        .collect()
}

/// Waits for what no event tells.
async fn until(mut reached: impl FnMut() -> bool) {
    within(async {
        while !reached() {
            platform::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    match select(pin!(future), pin!(platform::sleep(PATIENCE))).await {
        Either::Left((value, _)) => value,
        Either::Right(_) => panic!("nothing happened for {PATIENCE:?}"),
    }
}

/// Connectors in memory, with a seed that is printed so that a failure can be repeated.
async fn loopback_connectors() -> [Connector; 2] {
    let seed = match option_env!("RINGTMP_SEED") {
        Some(text) => text.parse().expect("RINGTMP_SEED is a number"),
        None => 0x5eed,
    };
    eprintln!("RINGTMP_SEED={seed}");
    let network = crate::loopback::LoopbackNetwork::new(seed);
    [network.connector(A), network.connector(B)]
}

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

#[cfg(target_arch = "wasm32")]
mod over_loopback {
    contract_suite! { #[wasm_bindgen_test::wasm_bindgen_test] super::loopback_connectors }
    contract_of_whole_chunks! { #[wasm_bindgen_test::wasm_bindgen_test] super::loopback_connectors }
    contract_of_back_pressure! { #[wasm_bindgen_test::wasm_bindgen_test] super::loopback_connectors }
}

#[cfg(target_arch = "wasm32")]
mod over_transferred_channels {
    use super::Connector;
    use crate::browser::page::ChannelMode;

    async fn connectors() -> [Connector; 2] {
        super::browser_connectors(ChannelMode::Transfer)
    }

    contract_suite! { #[wasm_bindgen_test::wasm_bindgen_test] connectors }
    contract_of_whole_chunks! { #[wasm_bindgen_test::wasm_bindgen_test] connectors }
    contract_of_channels_that_cannot_pause! { #[wasm_bindgen_test::wasm_bindgen_test] connectors }
}

#[cfg(target_arch = "wasm32")]
mod over_posted_channels {
    use super::Connector;
    use crate::browser::page::ChannelMode;

    async fn connectors() -> [Connector; 2] {
        super::browser_connectors(ChannelMode::Post)
    }

    contract_suite! { #[wasm_bindgen_test::wasm_bindgen_test] connectors }
    contract_of_whole_chunks! { #[wasm_bindgen_test::wasm_bindgen_test] connectors }
    contract_of_channels_that_cannot_pause! { #[wasm_bindgen_test::wasm_bindgen_test] connectors }
}

/// Connectors of a browser: both halves of both peers live on the test's page, each pair joined by a message channel.
#[cfg(target_arch = "wasm32")]
fn browser_connectors(mode: crate::browser::page::ChannelMode) -> [Connector; 2] {
    use crate::browser::{connector, page::Connections};
    use std::cell::RefCell;

    thread_local! {
        // The pages' halves of the running test.
        static PAGES: RefCell<Vec<Connections>> = const { RefCell::new(Vec::new()) };
    }
    PAGES.with_borrow_mut(Vec::clear);
    [(); 2].map(|()| {
        let channel = web_sys::MessageChannel::new().expect("every browser has it");
        PAGES.with_borrow_mut(|pages| pages.push(Connections::new(channel.port1(), mode)));
        connector(channel.port2())
    })
}

#[cfg(not(target_arch = "wasm32"))]
mod over_loopback {
    contract_suite! { #[tokio::test] super::loopback_connectors }
    contract_of_whole_chunks! { #[tokio::test] super::loopback_connectors }
    contract_of_back_pressure! { #[tokio::test] super::loopback_connectors }
}

#[cfg(not(target_arch = "wasm32"))]
mod over_native_webrtc {
    use super::Connector;

    async fn connectors() -> [Connector; 2] {
        [crate::native::connector(), crate::native::connector()]
    }

    contract_suite! { #[tokio::test(flavor = "multi_thread", worker_threads = 2)] connectors }
    contract_suite! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)] connectors:
        traffic_counts_what_was_cut_once_more
    }
    contract_of_back_pressure! { #[tokio::test(flavor = "multi_thread", worker_threads = 2)] connectors }
}
