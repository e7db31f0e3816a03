//! Who may take part, in words.

use crate::words;
use ringtmp_core::ids::ShortCode;
use ringtmp_peer::{Access, View};

/// What there is to know of who may take part; nothing where it is as usual.
pub fn access(view: Option<&View>) -> &'static str {
    match view.map_or(Access::Unknown, |view| view.access) {
        Access::Unknown | Access::Secret { .. } => "",
        Access::Open => words::ROOM_OPEN.now(),
        Access::Watching => words::ROOM_WATCHED.now(),
    }
}

/// What may be typed elsewhere to ask whoever opened the room to be let in.
pub fn short_code(view: Option<&View>) -> Option<ShortCode> {
    let view = view?;
    let room = view.room.as_ref()?;
    let asks = matches!(view.access, Access::Secret { .. }) && room.host.is_some();
    asks.then(|| ShortCode::of(room.code))
}

/// Whether it is this device that is asked.
pub fn is_asked(view: Option<&View>) -> bool {
    view.is_some_and(|view| view.room.as_ref().is_some_and(|room| room.host == view.me))
}

/// Whether this device may take part, as far as is known.
pub fn may_take_part(view: Option<&View>) -> bool {
    view.is_none_or(|view| view.access != Access::Watching)
}
