//! The view for a room full of people: the same page in other clothes, which the style sheet has. Nobody is at its keyboard, so it
//! helps itself.

use super::dom::set_attribute;
use wasm_bindgen::prelude::*;
use web_sys::{Document, Window};

/// Milliseconds after which a view that fell out of its room tries to come back.
const AGAIN_MS: i32 = 10_000;

/// Puts the clothes on: dark, since halls are.
pub(super) fn dress(document: &Document) -> Result<(), JsValue> {
    let Some(root) = document.document_element() else {
        return Ok(());
    };
    set_attribute(&root, "data-view", "projector")?;
    match document.get_element_by_id("dark") {
        Some(dark) => set_attribute(&dark, "media", "all"),
        None => Ok(()),
    }
}

/// Comes back after a while. If the room is gone, the page says so again.
pub(super) fn try_again(window: &Window) {
    let location = window.location();
    let reload = Closure::once_into_js(move || {
        // Reloading the page one is on is never refused.
        let _ = location.reload();
    });
    // A page without timers stays as it is.
    let _ = window
        .set_timeout_with_callback_and_timeout_and_arguments_0(reload.unchecked_ref(), AGAIN_MS);
}
