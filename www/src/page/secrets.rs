//! The secrets that this browser keeps of the rooms that it was let into.

use crate::address::{Address, Place};
use crate::secrets::Secrets;
use ringtmp_core::secret::RoomLink;
use web_sys::{Storage, Window};

/// Under which name they are kept.
const KEY: &str = "secrets";

/// Gives an address the secret of its room where only this browser knows it.
pub(super) fn complete(window: &Window, address: &mut Address) {
    if let (Place::Room(code), None) = (&address.place, address.secret) {
        address.secret = kept(window).of(*code);
    }
}

/// Keeps the secret of a room that has let this device in. Where a browser keeps nothing, its whole link is needed again.
pub(super) fn keep(window: &Window, link: RoomLink) {
    let mut secrets = kept(window);
    if let (true, Some(storage)) = (secrets.remember(link), storage(window)) {
        let _ = storage.set_item(KEY, &secrets.write());
    }
}

fn kept(window: &Window) -> Secrets {
    let text = storage(window).and_then(|storage| storage.get_item(KEY).ok()?);
    text.map(|text| Secrets::read(&text)).unwrap_or_default()
}

fn storage(window: &Window) -> Option<Storage> {
    window.local_storage().ok()?
}
