//! A data channel as the WebRTC crate has it, sent to as fast as it takes messages.

use super::{Carried, Meter, PATIENCE};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use futures::future::join;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCPeerConnectionIceEvent, SettingEngineBuilder,
};

/// Bytes of a message: smaller ones are slower.
const MESSAGE_BYTES: usize = 64 * 1024;

/// What the channel may hold unacknowledged: without a limit a sender that never waits would fill the memory.
const BUFFER_BYTES: usize = 256 * 1024;

/// The most addresses of an end that wait to be told to the other; this machine's own has one.
const CANDIDATES_MAX: usize = 16;

type Candidates = mpsc::Receiver<RTCIceCandidateInit>;

struct End {
    peer: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    candidates: Candidates,
}

struct Handler(mpsc::Sender<RTCIceCandidateInit>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            // There are far fewer, and one good one is enough.
            let _ = self.0.try_send(candidate);
        }
    }
}

pub(super) async fn carry(round: Duration) -> Result<Carried> {
    let (mut from, mut to) = (open().await?, open().await?);
    let carried = {
        let relaying = join(
            relay(&mut from.candidates, &*to.peer),
            relay(&mut to.candidates, &*from.peer),
        );
        let carrying = async {
            describe(&*from.peer, &*to.peer).await?;
            opened(&*from.channel).await?;
            opened(&*to.channel).await?;
            flow(&*from.channel, &*to.channel, round).await
        };
        tokio::select! {
            carried = tokio::time::timeout(PATIENCE, carrying) => carried,
            _ = relaying => unreachable!("candidates come until their connection is dropped"),
        }
    };
    for end in [from, to] {
        end.peer.close().await?;
    }
    carried.context("nothing comes")?
}

async fn open() -> Result<End, Error> {
    let (sender, candidates) = mpsc::channel(CANDIDATES_MAX);
    let settings = SettingEngineBuilder::new()
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MESSAGE_BYTES as u32))
        .build();
    let building = PeerConnectionBuilder::new()
        .with_setting_engine(settings)
        .with_handler(Arc::new(Handler(sender)))
        .with_udp_addrs(vec!["127.0.0.1:0"])
        .with_data_channel_send_buffer_limit(BUFFER_BYTES)
        .build();
    let peer: Arc<dyn PeerConnection> = Arc::new(Box::pin(building).await?);
    let negotiated = RTCDataChannelInit {
        negotiated: Some(0),
        ..RTCDataChannelInit::default()
    };
    let channel = peer.create_data_channel("bare", Some(negotiated)).await?;
    Ok(End {
        peer,
        channel,
        candidates,
    })
}

async fn describe(from: &dyn PeerConnection, to: &dyn PeerConnection) -> Result<(), Error> {
    let offer = from.create_offer(None).await?;
    from.set_local_description(offer.clone()).await?;
    to.set_remote_description(offer).await?;
    let answer = to.create_answer(None).await?;
    to.set_local_description(answer.clone()).await?;
    from.set_remote_description(answer).await
}

/// Tells one end where the other can be found.
async fn relay(candidates: &mut Candidates, to: &dyn PeerConnection) {
    while let Some(candidate) = candidates.recv().await {
        if let Err(error) = to.add_ice_candidate(candidate).await {
            tracing::debug!(%error, "a candidate of no use");
        }
    }
}

async fn opened(channel: &dyn DataChannel) -> Result<()> {
    loop {
        match channel.poll().await {
            Some(DataChannelEvent::OnOpen) => return Ok(()),
            Some(DataChannelEvent::OnClose) | None => bail!("the channel did not open"),
            Some(_) => {}
        }
    }
}

async fn flow(from: &dyn DataChannel, to: &dyn DataChannel, round: Duration) -> Result<Carried> {
    let message = vec![7; MESSAGE_BYTES];
    let sending = async {
        loop {
            if let Err(error) = from.send(message.as_slice().into()).await {
                return error;
            }
        }
    };
    let receiving = async {
        let mut meter = Meter::new(round);
        loop {
            match to.poll().await {
                Some(DataChannelEvent::OnMessage(message)) => {
                    if let Some(carried) = meter.received(message.data.len()) {
                        return Ok(carried);
                    }
                }
                Some(DataChannelEvent::OnClose) | None => bail!("the channel is closed"),
                Some(_) => {}
            }
        }
    };
    tokio::select! {
        carried = receiving => carried,
        error = sending => Err(error.into()),
    }
}
