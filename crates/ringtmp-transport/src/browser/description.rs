//! Descriptions and candidates, as a browser's peer connection takes and gives them.

use super::event::describe;
use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{RtcIceCandidateInit, RtcPeerConnection, RtcSdpType, RtcSessionDescriptionInit};

/// Applies the description that `describing` makes; gives its text.
pub(super) async fn describe_locally(
    peer: &RtcPeerConnection,
    describing: Promise,
) -> Result<String, JsValue> {
    let description: RtcSessionDescriptionInit = JsFuture::from(describing).await?.unchecked_into();
    JsFuture::from(peer.set_local_description(&description)).await?;
    description
        .get_sdp()
        .ok_or_else(|| JsValue::from_str("a description without a text"))
}

pub(super) async fn describe_remotely(
    peer: &RtcPeerConnection,
    kind: RtcSdpType,
    sdp: &str,
) -> Result<(), JsValue> {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    JsFuture::from(peer.set_remote_description(&description))
        .await
        .map(|_| ())
}

pub(super) async fn try_candidate(peer: &RtcPeerConnection, candidate: &str, mid: Option<&str>) {
    let init = RtcIceCandidateInit::new(candidate);
    // The only media section is the first.
    init.set_sdp_m_line_index(Some(0));
    init.set_sdp_mid(mid.filter(|mid| !mid.is_empty()));
    let adding = peer.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init));
    // One good candidate is enough, and other programs send kinds that this browser does not know.
    if let Err(thrown) = JsFuture::from(adding).await {
        tracing::debug!(reason = describe(&thrown), "a candidate of no use");
    }
}
