//! One native peer connection: two negotiated channels, trickled candidates, back-pressure both ways.

use super::access_link::{Access, Addresses};
use super::path;
use super::runtime::LargeSockets;
use super::window::{self, Window};
use crate::connector::{Attempt, SignalSender, until_ended};
use crate::error::LinkError;
use crate::limits::within_limits;
use crate::link::Endpoint;
use crate::negotiation::{Negotiation, Step};
use futures::channel::mpsc;
use futures::future::{Either, join3, join4, select, try_join};
use futures::{StreamExt, stream};
use ringtmp_core::ids::PeerId;
use ringtmp_core::signal::{IceServer, Signal};
use ringtmp_core::wire::Lane;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use rtc::peer_connection::configuration::{RTCConfigurationBuilder, RTCIceServer};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
};

/// Whoever waits for room looks again after so long, should the crate's event have been missed or wait behind messages.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What every browser takes as one message; the crate's own default is a quarter of it.
const MESSAGE_BYTES_MAX: u32 = SctpMaxMessageSize::MAX_MESSAGE_SIZE;

/// The most local addresses that wait to be sent to the peer; a device has a few.
const CANDIDATES_MAX: usize = 64;

/// A wildcard stands for every interface but loopback, which peers in one machine (tests, demos) need as well. IPv4 alone:
/// local networks have it, and each address more costs checks.
const BIND_ADDRESSES: [&str; 2] = ["0.0.0.0:0", "127.0.0.1:0"];

/// Runs an attempt, and then the link, behind an emulated access link if there is one.
pub(super) async fn run(mut attempt: Attempt, access: Option<Access>) {
    let endpoint = attempt.endpoint.clone();
    let (candidates_sender, candidates) = mpsc::channel(CANDIDATES_MAX);
    let handler = Handler {
        peer: attempt.peer,
        endpoint: endpoint.clone(),
        candidates: Mutex::new(candidates_sender),
    };
    let connection = match Box::pin(open(handler, &attempt.ice_servers)).await {
        Ok(connection) => connection,
        Err(error) => {
            attempt.report(Err(LinkError::device(error))).await;
            return;
        }
    };
    let addresses = Addresses::new(access.clone());
    drive(&mut attempt, &endpoint, &connection, addresses, candidates).await;
    if let Some(access) = access {
        let bytes = access.carried();
        tracing::debug!(peer = %attempt.peer, bytes, "carried by the access link so far");
    }
    // Dropping a connection would leave its driver running; closing it tells the peer.
    if let Err(error) = connection.peer.close().await {
        tracing::debug!(peer = %attempt.peer, %error, "closing a connection");
    }
}

struct Connection {
    peer: Arc<dyn PeerConnection>,
    control: Arc<dyn DataChannel>,
    tensors: Arc<dyn DataChannel>,
}

async fn open(handler: Handler, ice_servers: &[IceServer]) -> Result<Connection, Error> {
    let settings = SettingEngineBuilder::new()
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MESSAGE_BYTES_MAX))
        // A sender's window is of no use where the receiver has a smaller one.
        .with_sctp_max_receive_buffer_size(window::BYTES_MAX as u32)
        // We send our real addresses, so a tab that hides its own is still found: it dials us.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .build();
    let ice_servers = ice_servers.iter().map(|server| RTCIceServer {
        urls: vec![server.url.clone()],
        username: server.username.clone(),
        credential: server.credential.clone(),
    });
    let configuration = RTCConfigurationBuilder::new()
        .with_ice_servers(ice_servers.collect())
        .build();
    let building = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(settings)
        .with_runtime(Arc::new(LargeSockets))
        .with_handler(Arc::new(handler))
        .with_udp_addrs(BIND_ADDRESSES.to_vec())
        .with_data_channel_send_buffer_limit(window::BYTES_MAX)
        .build();
    // Boxed: it is a future of 20 kB, needed once.
    let peer: Arc<dyn PeerConnection> = Arc::new(Box::pin(building).await?);
    let channels = try_join(
        create_channel(&*peer, Lane::Control),
        create_channel(&*peer, Lane::Tensors),
    )
    .await;
    match channels {
        Ok((control, tensors)) => Ok(Connection {
            peer,
            control,
            tensors,
        }),
        Err(error) => {
            // The first error says more than one from closing.
            let _ = peer.close().await;
            Err(error)
        }
    }
}

async fn create_channel(
    peer: &dyn PeerConnection,
    lane: Lane,
) -> Result<Arc<dyn DataChannel>, Error> {
    let options = RTCDataChannelInit {
        negotiated: Some(lane.channel_id()),
        ..RTCDataChannelInit::default()
    };
    peer.create_data_channel(lane.label(), Some(options)).await
}

/// Connects, reports, and moves chunks until the link ends.
async fn drive(
    attempt: &mut Attempt,
    endpoint: &Endpoint,
    connection: &Connection,
    addresses: Addresses,
    candidates: mpsc::Receiver<RTCIceCandidateInit>,
) {
    let negotiation = Negotiation::new(attempt.role);
    let signals = attempt.take_signals();
    // Negotiation goes on beside the open link: late candidates may be the better ones.
    let mut negotiating = pin!(negotiate(
        negotiation,
        &*connection.peer,
        addresses,
        signals,
        candidates,
        attempt.signal_sender()
    ));
    let opening = try_join(opened(&*connection.control), opened(&*connection.tensors));
    let connecting = async {
        match select(negotiating.as_mut(), pin!(opening)).await {
            Either::Left((error, _)) => Err(error),
            Either::Right((outcome, _)) => outcome.map(|_| ()),
        }
    };
    let outcome = within_limits(endpoint, attempt.take_proved(), connecting).await;
    if !attempt.report(outcome).await {
        return;
    }
    let negotiating = async { endpoint.end(negotiating.await) };
    let looking = async {
        if !attempt.ice_servers.is_empty() {
            path::watch(&*connection.peer, endpoint).await;
        }
    };
    let all = join3(negotiating, pump(endpoint, connection), looking);
    until_ended(endpoint, all).await;
}

/// Applies what the peer says and sends what we have to say; ends only by an error.
async fn negotiate(
    mut negotiation: Negotiation,
    peer: &dyn PeerConnection,
    mut addresses: Addresses,
    signals: mpsc::Receiver<Signal>,
    candidates: mpsc::Receiver<RTCIceCandidateInit>,
    mut sender: SignalSender,
) -> LinkError {
    if negotiation.offers()
        && let Err(error) = offer(peer, &addresses, &mut sender).await
    {
        return LinkError::device(error);
    }
    let mut inputs = stream::select(signals.map(Input::Signal), candidates.map(Input::Candidate));
    loop {
        let done = match inputs.next().await {
            Some(Input::Signal(signal)) => {
                apply(&mut negotiation, peer, &mut addresses, signal, &mut sender).await
            }
            // Our only media section is the first; without its name the peer takes that one.
            Some(Input::Candidate(candidate)) => {
                if let Some(candidate) = addresses.ours(candidate.candidate).await {
                    sender.candidate(candidate, None).await;
                }
                Ok(())
            }
            // The attempt is given up; so will be this future.
            None => std::future::pending().await,
        };
        if let Err(error) = done {
            return error;
        }
    }
}

enum Input {
    Signal(Signal),
    Candidate(RTCIceCandidateInit),
}

async fn offer(
    peer: &dyn PeerConnection,
    addresses: &Addresses,
    sender: &mut SignalSender,
) -> Result<(), Error> {
    let description = peer.create_offer(None).await?;
    let sdp = addresses.description(description.sdp.clone());
    peer.set_local_description(description).await?;
    sender.offer(sdp).await;
    Ok(())
}

async fn apply(
    negotiation: &mut Negotiation,
    peer: &dyn PeerConnection,
    addresses: &mut Addresses,
    signal: Signal,
    sender: &mut SignalSender,
) -> Result<(), LinkError> {
    for step in negotiation.take(signal)? {
        match step {
            Step::Answer(sdp) => {
                let answered = answer(peer, addresses, sdp, sender).await;
                answered.map_err(LinkError::signal)?;
            }
            Step::Finish(sdp) => {
                let finished = finish(peer, addresses.description(sdp)).await;
                finished.map_err(LinkError::signal)?;
            }
            Step::Candidate { candidate, mid } => {
                if let Some(candidate) = addresses.theirs(candidate).await {
                    try_candidate(peer, candidate, mid).await;
                }
            }
        }
    }
    Ok(())
}

async fn answer(
    peer: &dyn PeerConnection,
    addresses: &Addresses,
    sdp: String,
    sender: &mut SignalSender,
) -> Result<(), Error> {
    let sdp = addresses.description(sdp);
    peer.set_remote_description(RTCSessionDescription::offer(sdp)?)
        .await?;
    let description = peer.create_answer(None).await?;
    let sdp = addresses.description(description.sdp.clone());
    peer.set_local_description(description).await?;
    sender.answer(sdp).await;
    Ok(())
}

async fn finish(peer: &dyn PeerConnection, sdp: String) -> Result<(), Error> {
    peer.set_remote_description(RTCSessionDescription::answer(sdp)?)
        .await
}

async fn try_candidate(peer: &dyn PeerConnection, candidate: String, mid: Option<String>) {
    let init = RTCIceCandidateInit {
        candidate,
        sdp_mid: mid,
        sdp_mline_index: Some(0),
        ..RTCIceCandidateInit::default()
    };
    // One good candidate is enough, and browsers send kinds that this crate does not know.
    if let Err(error) = peer.add_ice_candidate(init).await {
        tracing::debug!(%error, "a candidate of no use");
    }
}

async fn opened(channel: &dyn DataChannel) -> Result<(), LinkError> {
    loop {
        match channel.poll().await {
            Some(DataChannelEvent::OnOpen) => return Ok(()),
            Some(DataChannelEvent::OnClose) | None => return Err(LinkError::CLOSED_BY_PEER),
            Some(_) => {}
        }
    }
}

async fn pump(endpoint: &Endpoint, connection: &Connection) {
    let acknowledged = Notify::new();
    join4(
        pump_out(endpoint, Lane::Control, &*connection.control, &acknowledged),
        pump_out(endpoint, Lane::Tensors, &*connection.tensors, &acknowledged),
        pump_in(endpoint, Lane::Control, &*connection.control, &acknowledged),
        pump_in(endpoint, Lane::Tensors, &*connection.tensors, &acknowledged),
    )
    .await;
}

async fn pump_out(
    endpoint: &Endpoint,
    lane: Lane,
    channel: &dyn DataChannel,
    acknowledged: &Notify,
) {
    let mut window = Window::new();
    while let Some(piece) = endpoint.next_piece(lane, window.piece_bytes()).await {
        let sent = send(channel, &piece, &mut window, acknowledged).await;
        if sent.is_err() {
            return endpoint.end(LinkError::CLOSED_BY_PEER);
        }
    }
}

/// Hands a chunk over as soon as the window has room for it.
async fn send(
    channel: &dyn DataChannel,
    chunk: &[u8],
    window: &mut Window,
    acknowledged: &Notify,
) -> Result<(), Error> {
    let mut is_told = false;
    loop {
        let outstanding = channel.outstanding_bytes().await?;
        window.seen(Instant::now(), outstanding);
        if window.has_room(outstanding, chunk.len()) {
            window.handed(Instant::now(), outstanding, chunk.len());
            return channel.send(chunk.into()).await;
        }
        if is_told {
            // It makes no difference which of them it was.
            let _ = tokio::time::timeout(LOOK_AGAIN, acknowledged.notified()).await;
        } else {
            // Then looked at once more: it may have been acknowledged meanwhile.
            let low = window.bytes().saturating_sub(chunk.len());
            let low = u32::try_from(low).unwrap_or(u32::MAX);
            channel.set_buffered_amount_low_threshold(low).await?;
            is_told = true;
        }
    }
}

async fn pump_in(
    endpoint: &Endpoint,
    lane: Lane,
    channel: &dyn DataChannel,
    acknowledged: &Notify,
) {
    while endpoint.incoming_space(lane).await {
        match channel.poll().await {
            Some(DataChannelEvent::OnMessage(message)) => endpoint.accept(lane, &message.data),
            Some(DataChannelEvent::OnBufferedAmountLow) if lane == Lane::Tensors => {
                acknowledged.notify_one();
            }
            Some(DataChannelEvent::OnClosing | DataChannelEvent::OnClose) | None => {
                return endpoint.end(LinkError::CLOSED_BY_PEER);
            }
            Some(_) => {}
        }
    }
}

/// What the crate calls from its driver, where nothing may wait.
struct Handler {
    peer: PeerId,
    endpoint: Endpoint,
    candidates: Mutex<mpsc::Sender<RTCIceCandidateInit>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let sent = event.candidate.to_json().map(|candidate| {
            let mut candidates = self
                .candidates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            candidates.try_send(candidate)
        });
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(peer = %self.peer, "a local address was not announced");
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(peer = %self.peer, %state, "connection");
        match state {
            RTCPeerConnectionState::Failed => self.endpoint.end(LinkError::LOST),
            RTCPeerConnectionState::Closed => self.endpoint.end(LinkError::CLOSED_BY_PEER),
            // A disconnected peer may come back; who has waited long enough closes the link.
            _ => {}
        }
    }

    async fn on_data_channel(&self, _: Arc<dyn DataChannel>) {
        // Both channels are negotiated. Nobody would read another one, so what it brings would pile up.
        self.endpoint.end(LinkError::signal(
            "it opened a channel that was not agreed on",
        ));
    }
}
