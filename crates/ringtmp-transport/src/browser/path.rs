//! What the browser says of a connection's way: from device to device, or by way of a server that relays.

use super::event::sleep;
use js_sys::{Array, Map, Reflect};
use ringtmp_core::signal::IceServer;
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{RtcConfiguration, RtcIceServer, RtcPeerConnection};

/// When it is looked at after the connection was made, and then again and again: a better way may be found a little later.
const LOOK_AFTER: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(30),
];

/// How a connection may be made.
pub(super) fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let list = servers.iter().map(|server| {
        let one = RtcIceServer::new();
        one.set_urls(&JsValue::from_str(&server.url));
        if server.relays() {
            one.set_username(&server.username);
            one.set_credential(&server.credential);
        }
        one
    });
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&list.collect::<Array>());
    configuration
}

/// Tells which way the connection goes, whenever that has changed, for as long as it is asked to.
pub(super) async fn watch(peer: &RtcPeerConnection, mut tell: impl FnMut(bool)) {
    let mut told = false;
    let mut wait = LOOK_AFTER[0];
    for looks in 1.. {
        sleep(wait).await;
        wait = LOOK_AFTER[usize::min(looks, LOOK_AFTER.len() - 1)];
        let Ok(report) = JsFuture::from(peer.get_stats()).await else {
            continue;
        };
        let relayed = is_relayed(&report);
        if relayed != told {
            told = relayed;
            tell(relayed);
        }
    }
}

/// Whether either end of the pair of addresses in use belongs to a server that relays. The report is like a map: by id, objects
/// of many kinds (W3C, *Identifiers for WebRTC's Statistics API*).
fn is_relayed(report: &JsValue) -> bool {
    let report: &Map = report.unchecked_ref();
    let mut entries = Vec::new();
    report.for_each(&mut |entry, _| entries.push(entry));
    let text = |entry: &JsValue, key: &str| Reflect::get(entry, &key.into()).ok()?.as_string();
    let is_true = |entry: &JsValue, key: &str| {
        Reflect::get(entry, &key.into()).is_ok_and(|value| value.as_bool() == Some(true))
    };
    let of_kind = |kind: &'static str| {
        let entries = entries.iter();
        entries.filter(move |entry| text(entry, "type").as_deref() == Some(kind))
    };
    let by_id = |id: &str| {
        let mut entries = entries.iter();
        entries.find(|entry| text(entry, "id").as_deref() == Some(id))
    };
    let selected = of_kind("transport").find_map(|entry| text(entry, "selectedCandidatePairId"));
    // Firefox marks the pair instead.
    let marked = || of_kind("candidate-pair").find(|pair| is_true(pair, "selected"));
    let Some(pair) = selected.as_deref().and_then(by_id).or_else(marked) else {
        return false;
    };
    ["localCandidateId", "remoteCandidateId"].iter().any(|end| {
        let candidate = text(pair, end);
        let candidate = candidate.as_deref().and_then(by_id);
        candidate.is_some_and(|one| text(one, "candidateType").as_deref() == Some("relay"))
    })
}
