//! What a device sends, and how its link with this one is.

use super::{Progress, stage_number};
use crate::{format, words};
use ringtmp_core::signal::{MemberView, RoomView};
use ringtmp_peer::{LinkState, LinkView, View};

/// Its traffic and its link with this device, a text each.
pub(super) fn link_words(
    view: &View,
    room: &RoomView,
    member: &MemberView,
    link: Option<&LinkView>,
) -> Vec<String> {
    let mut texts: Vec<String> = member
        .links
        .iter()
        .map(|traffic| {
            let to = match stage_number(room, traffic.to) {
                Some(number) => words::device_number(number),
                None => words::UNNAMED.now().to_owned(),
            };
            let sent = words::sent_to(&format::bytes(traffic.bytes), &to);
            if traffic.relayed {
                format!("{sent} ({})", words::RELAYED.now())
            } else {
                sent
            }
        })
        .collect();
    texts.extend(bytes_per_sample(view, member));
    texts.extend(link.map(|link| match &link.state {
        LinkState::Connecting => words::LINK_CONNECTING.now().to_owned(),
        LinkState::Open => words::LINK_OPEN.now().to_owned(),
        LinkState::Failed { reason } => words::link_failed(reason),
    }));
    texts
}

/// What a member has sent for each sample that was trained on.
fn bytes_per_sample(view: &View, member: &MemberView) -> Option<String> {
    let samples = u64::from(Progress::of(view).done) * u64::from(view.run.as_ref()?.batch);
    let bytes: u64 = member.links.iter().map(|link| link.bytes).sum();
    let each = bytes.checked_div(samples).filter(|each| *each > 0)?;
    Some(words::bytes_per_sample(&format::bytes(each)))
}
