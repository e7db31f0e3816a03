//! The button that fetches the whole model from the ring, and the link to the file once it is here.

use super::App;
use super::dom::{Dom, listen, set_attribute, set_text, show};
use crate::model::{Offer, file_name};
use crate::shown::Phase;
use crate::words;
use js_sys::{Array, Uint8Array};
use ringtmp_peer::{Command, View};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Blob, Element, HtmlAnchorElement, HtmlElement, Url};

/// The row.
pub(super) struct Model {
    row: HtmlElement,
    fetch: HtmlElement,
    file: HtmlAnchorElement,
    bar: HtmlElement,
    status: HtmlElement,
    shown: RefCell<Option<Offer>>,
}

impl Model {
    /// `act` is called when the user asks for the model.
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        act: Rc<dyn Fn(Command)>,
    ) -> Result<Self, JsValue> {
        let row: HtmlElement = dom.typed(parent, "div", "model")?;
        let buttons = dom.child(&row, "div", "controls")?;
        let fetch: HtmlElement = dom
            .text(&buttons, "button", "", words::MODEL_FETCH.now())?
            .dyn_into()?;
        fetch.set_attribute("type", "button")?;
        listen(&fetch, "click", move |_| act(Command::FetchModel))?;
        let file: HtmlAnchorElement = dom
            .text(&buttons, "a", "button", words::MODEL_SAVE.now())?
            .dyn_into()?;
        show(&file, false);
        let bar: HtmlElement = dom.typed(&row, "progress", "")?;
        bar.set_attribute("max", "1")?;
        bar.set_attribute("aria-label", words::MODEL_BAR.now())?;
        let status: HtmlElement = dom.typed(&row, "p", "hint")?;
        status.set_attribute("aria-live", "polite")?;
        Ok(Self {
            row,
            fetch,
            file,
            bar,
            status,
            shown: RefCell::default(),
        })
    }

    pub(super) fn update(&self, phase: Phase, view: Option<&View>) -> Result<(), JsValue> {
        let offer = view.and_then(|view| Offer::of(phase, view));
        show(&self.row, offer.is_some());
        if *self.shown.borrow() == offer {
            return Ok(());
        }
        if let Some(offer) = &offer {
            show(&self.bar, offer.share.is_some());
            if let Some(share) = offer.share {
                set_attribute(&self.bar, "value", &share.to_string())?;
            }
            show(&self.status, !offer.status.is_empty());
            set_text(&self.status, &offer.status);
            let failed = if offer.failed { "yes" } else { "no" };
            set_attribute(&self.status, "data-failed", failed)?;
            // A page that was drawn anew has lost the link.
            let has_file = self.file.has_attribute("href");
            show(&self.file, offer.file.is_some() && has_file);
            let lost = offer.file.is_some() && !has_file;
            show(&self.fetch, offer.fetches || lost);
        }
        self.shown.replace(offer);
        Ok(())
    }

    /// The file is here: it is saved at once, and again at the press of a link for browsers that ask for one.
    pub(super) fn save(&self, name: &str, bytes: &Uint8Array) -> Result<(), JsValue> {
        if let Some(old) = self.file.get_attribute("href") {
            Url::revoke_object_url(&old)?;
        }
        let blob = Blob::new_with_buffer_source_sequence(&Array::of1(bytes))?;
        self.file
            .set_href(&Url::create_object_url_with_blob(&blob)?);
        self.file.set_download(name);
        show(&self.file, true);
        let shown = self.shown.borrow();
        show(
            &self.fetch,
            shown.as_ref().is_some_and(|offer| offer.fetches),
        );
        self.file.click();
        Ok(())
    }
}

impl App {
    /// Gives the model to the user.
    pub(super) fn save_model(&self, steps: u32, bytes: &Uint8Array) {
        let state = self.state.borrow();
        let room = self.room.borrow();
        if let (Some(view), Some(room)) = (&state.view, &*room)
            && let Err(error) = room.model().save(&file_name(view, steps), bytes)
        {
            wasm_bindgen::throw_val(error);
        }
    }
}
