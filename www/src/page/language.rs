//! Which language the page speaks: what its address says, what was chosen here before, or what the browser prefers.

use super::App;
use super::dom::{clear, listen, set_attribute, set_text};
use super::session::describe;
use crate::words::{self, Language};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Storage, Window};

/// Under which name the choice is kept.
const KEY: &str = "language";

/// Speaks from the first word on.
pub(super) fn begin(window: &Window, wanted: Option<Language>) -> Result<(), JsValue> {
    let kept = || storage(window)?.get_item(KEY).ok()?;
    let language = wanted
        .or_else(|| Language::of_tag(&kept()?))
        .or_else(|| Language::of_tag(&window.navigator().language()?))
        .unwrap_or_default();
    speak(window, language)
}

fn speak(window: &Window, language: Language) -> Result<(), JsValue> {
    words::speak(language);
    let root = window.document().and_then(|page| page.document_element());
    match root {
        Some(root) => set_attribute(&root, "lang", language.tag()),
        None => Ok(()),
    }
}

fn storage(window: &Window) -> Option<Storage> {
    window.local_storage().ok()?
}

impl App {
    /// The button that changes the language, which stands there in its own words.
    pub(super) fn offer_languages(self: &Rc<Self>) -> Result<(), JsValue> {
        self.name_other()?;
        let app = Rc::clone(self);
        listen(&self.switch, "click", move |_| {
            if let Err(error) = app.change_language() {
                app.broken(&describe(&error));
            }
        })
    }

    fn name_other(&self) -> Result<(), JsValue> {
        let other = words::spoken().other();
        set_text(&self.switch, other.name());
        set_attribute(&self.switch, "lang", other.tag())
    }

    /// Makes the page anew in the other language. The device goes on with what it does.
    fn change_language(self: &Rc<Self>) -> Result<(), JsValue> {
        let language = words::spoken().other();
        speak(&self.window, language)?;
        if let Some(storage) = storage(&self.window) {
            // Where a browser keeps nothing, the choice lasts as long as the page.
            let _ = storage.set_item(KEY, language.tag());
        }
        self.name_other()?;
        clear(&self.main);
        match self.room.borrow_mut().take() {
            Some(_) => {}
            None => return self.open_form(),
        }
        self.show_room()
    }
}
