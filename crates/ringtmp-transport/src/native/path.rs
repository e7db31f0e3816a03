//! Which way a link goes: from device to device, or by way of a server that relays.

use crate::link::Endpoint;
use rtc::peer_connection::transport::RTCIceCandidateType;
use rtc::statistics::StatsSelector;
use rtc::statistics::report::{RTCStatsReport, RTCStatsReportEntry};
use std::time::{Duration, Instant};
use webrtc::peer_connection::PeerConnection;

/// When it is looked at after the link has opened, and then again and again: a better way may be found a little later.
const LOOK_AFTER: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(2),
    Duration::from_secs(30),
];

/// Tells the link which way it goes, for as long as it is asked to.
pub(super) async fn watch(peer: &dyn PeerConnection, endpoint: &Endpoint) {
    let mut wait = LOOK_AFTER[0];
    for looks in 1.. {
        tokio::time::sleep(wait).await;
        let report = peer.get_stats(Instant::now(), StatsSelector::None).await;
        endpoint.set_relayed(is_relayed(&report));
        wait = LOOK_AFTER[usize::min(looks, LOOK_AFTER.len() - 1)];
    }
}

/// Whether either end of the pair of addresses in use belongs to a server that relays.
fn is_relayed(report: &RTCStatsReport) -> bool {
    let selected = report.transport();
    let selected = selected.map(|transport| transport.selected_candidate_pair_id.as_str());
    let mut pairs = report.candidate_pairs();
    let pair = pairs.find(|pair| selected == Some(pair.stats.id.as_str()));
    let pair = pair.or_else(|| report.candidate_pairs().find(|pair| pair.nominated));
    // The crate names candidates in pairs without the prefix that they have by themselves.
    let is_relay = |prefix: &str, id: &str| match report.get(&format!("{prefix}{id}")) {
        Some(
            RTCStatsReportEntry::LocalCandidate(candidate)
            | RTCStatsReportEntry::RemoteCandidate(candidate),
        ) => candidate.candidate_type == RTCIceCandidateType::Relay,
        _ => false,
    };
    pair.is_some_and(|pair| {
        is_relay("RTCLocalIceCandidate_", &pair.local_candidate_id)
            || is_relay("RTCRemoteIceCandidate_", &pair.remote_candidate_id)
    })
}
