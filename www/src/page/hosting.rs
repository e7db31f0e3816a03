//! What this tab remembers of a room that was opened on it, so that a reload is no change of hosts.

use crate::address::Place;
use ringtmp_core::ids::{MemberToken, RoomCode};
use ringtmp_peer::View;
use web_sys::{Storage, Window};

/// What shows that this tab has opened the room that an address leads to; none if it has not.
pub(super) fn token(window: &Window, place: &Place) -> Option<MemberToken> {
    let Place::Room(code) = place else {
        return None;
    };
    let text = storage(window)?.get_item(&key(*code)).ok()??;
    serde_json::from_str(&text).ok()
}

/// Keeps it as long as the tab lives. Where a browser does not let us, a reload costs being the host.
pub(super) fn keep(window: &Window, view: &View) {
    let (Some(token), Some(room)) = (view.host_token, &view.room) else {
        return;
    };
    if let (Some(storage), Ok(text)) = (storage(window), serde_json::to_string(&token)) {
        let _ = storage.set_item(&key(room.code), &text);
    }
}

fn storage(window: &Window) -> Option<Storage> {
    window.session_storage().ok()?
}

fn key(code: RoomCode) -> String {
    format!("host of {code}")
}
