//! What has happened, in sentences.

use super::Ending;
use crate::{format, words};
use ringtmp_core::ids::PeerId;
use ringtmp_core::signal::{Recovery, RoomState, Taken};
use ringtmp_peer::{Notice, NoticeLevel, View};

/// How many times that the ring was put together anew are told of.
const RECOVERIES_SHOWN: usize = 3;

/// What happened when the ring was put together anew.
fn recovered(recovery: &Recovery, me: Option<PeerId>) -> Notice {
    let reason = recovery.reason.trim_end_matches('.');
    let seconds = format::duration(recovery.seconds.unwrap_or_default());
    let taken: Vec<(&str, String)> = recovery
        .taken
        .iter()
        .map(|taken| taken_over(taken, me))
        .collect();
    let taken = words::taken_over(&taken);
    let text = words::recovered(reason, &taken, recovery.step, &seconds);
    let advice = words::made_again(recovery.repeated);
    notice(NoticeLevel::Information, &text, &advice)
}

fn taken_over(taken: &Taken, me: Option<PeerId>) -> (&str, String) {
    let [first, last] = [taken.first, taken.last].map(|layer| u32::from(layer) + 1);
    let by = match me == Some(taken.peer) {
        true => words::THIS_DEVICE.now(),
        false => &taken.by,
    };
    (by, words::layer_range(first, last))
}

/// Everything said to the user: the ending first, then the peer's own notices, newest first. What the headline says
/// already is left out, and after the end what was merely good to know.
pub fn notices(view: Option<&View>, ending: Option<&Ending>) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut said = None;
    match ending {
        Some(Ending::Left) => return notices,
        Some(Ending::Failed(failure)) => {
            said = Some(failure.text.as_str());
            notices.push(notice(NoticeLevel::Error, &failure.text, &failure.advice));
        }
        None => {}
    }
    let Some(view) = view else { return notices };
    if let Some(RoomState::Stopped { reason }) = view.room.as_ref().map(|room| &room.state) {
        said = said.or(Some(reason));
    }
    let recoveries = view.room.iter().flat_map(|room| &room.recoveries);
    let over = recoveries
        .filter(|recovery| recovery.seconds.is_some())
        .rev();
    notices.extend(
        over.take(RECOVERIES_SHOWN)
            .map(|recovery| recovered(recovery, view.me)),
    );
    let is_said = |notice: &Notice| said.is_some_and(|said| notice.text.contains(said));
    let is_idle = |notice: &Notice| ending.is_some() && notice.level == NoticeLevel::Information;
    let news = view.notices.iter().rev();
    notices.extend(
        news.filter(|notice| !is_said(notice) && !is_idle(notice))
            .cloned(),
    );
    notices
}

/// A notice of the page's own.
pub fn notice(level: NoticeLevel, text: &str, advice: &str) -> Notice {
    Notice {
        level,
        text: text.to_owned(),
        advice: advice.to_owned(),
    }
}
