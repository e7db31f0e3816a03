//! A link as rings have it.

use super::{Carried, Meter, PATIENCE, TENSOR_BYTES};
use anyhow::{Context, Result};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::wire::Lane;
use ringtmp_transport::native::{AccessLink, connector, connector_behind};
use ringtmp_transport::{ConnectRole, Connector, ConnectorEvent, Link, LinkError, LinkSender};
use std::time::Duration;

const PEERS: [PeerId; 2] = [PeerId(1), PeerId(2)];

/// Tensors that wait to be sent: some for the channel to take whenever it has room, few enough for the queue's bound.
const WAITING_BYTES: u64 = 4 * TENSOR_BYTES as u64;

pub(super) async fn carry(behind: Option<AccessLink>, round: Duration) -> Result<Carried> {
    let end = || behind.map_or_else(connector, connector_behind);
    let connecting = tokio::time::timeout(PATIENCE, connect([end(), end()]));
    let (_ends, [from, mut to]) = connecting.await.context("no path was found")??;
    let mut meter = Meter::new(round);
    loop {
        fill(&from.sender)?;
        let received = tokio::time::timeout(PATIENCE, to.receiver.receive());
        let (_, frame) = received.await.context("nothing comes")??;
        if let Some(carried) = meter.received(frame.len()) {
            return Ok(carried);
        }
    }
}

fn fill(sender: &LinkSender) -> Result<(), LinkError> {
    while sender.traffic().queued < WAITING_BYTES {
        sender.queue(Lane::Tensors, vec![7; TENSOR_BYTES])?;
    }
    Ok(())
}

async fn connect(mut ends: [Connector; 2]) -> Result<([Connector; 2], [Link; 2])> {
    ends[0].connect(PEERS[1], ConnectRole::Offer, Epoch::default());
    ends[1].connect(PEERS[0], ConnectRole::Answer, Epoch::default());
    let mut links = [None, None];
    loop {
        let [a, b] = &mut ends;
        let (event, at) = tokio::select! {
            event = a.next() => (event, 0),
            event = b.next() => (event, 1),
        };
        match event {
            ConnectorEvent::Signal { signal, .. } => ends[1 - at].deliver(PEERS[at], signal),
            ConnectorEvent::Connected { link, .. } => links[at] = Some(link),
            ConnectorEvent::Failed { error, .. } => return Err(error.into()),
        }
        links = match links {
            [Some(from), Some(to)] => return Ok((ends, [from, to])),
            links => links,
        };
    }
}
