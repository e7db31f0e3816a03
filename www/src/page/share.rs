//! The link to the room, to be opened on the next device.

use super::dom::{Dom, listen, set_text, show};
use crate::words;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Element, HtmlElement, HtmlInputElement, Window};

/// The link, with a button that copies it.
pub(super) struct Share {
    section: HtmlElement,
    link: HtmlInputElement,
    button: Element,
}

impl Share {
    pub(super) fn new(dom: &Dom, parent: &Element, window: &Window) -> Result<Self, JsValue> {
        let section: HtmlElement = dom
            .section(parent, "share", words::SHARE_TITLE)?
            .dyn_into()?;
        let line = dom.child(&section, "div", "line")?;
        let link: HtmlInputElement = dom.typed(&line, "input", "")?;
        link.set_read_only(true);
        link.set_attribute("aria-labelledby", "heading-share")?;
        let button = dom.text(&line, "button", "", words::SHARE_COPY)?;
        button.set_attribute("type", "button")?;
        button.set_attribute("aria-live", "polite")?;
        if matches!(
            window.location().hostname()?.as_str(),
            "localhost" | "127.0.0.1" | "[::1]"
        ) {
            dom.text(&section, "p", "hint", words::SHARE_LOCAL)?;
        }
        show(&section, false);
        let (window, input, label) = (window.clone(), link.clone(), button.clone());
        listen(&button, "click", move |_| copy(&window, &input, &label))?;
        Ok(Self {
            section,
            link,
            button,
        })
    }

    pub(super) fn update(&self, url: Option<&str>) {
        show(&self.section, url.is_some());
        if let Some(url) = url
            && self.link.value() != url
        {
            self.link.set_value(url);
            set_text(&self.button, words::SHARE_COPY);
        }
    }
}

/// Copies the link; where the browser does not let us (pages without HTTPS), selects it to be copied by hand.
fn copy(window: &Window, link: &HtmlInputElement, button: &Element) {
    let (text, link, button) = (link.value(), link.clone(), button.clone());
    let clipboard = window
        .is_secure_context()
        .then(|| window.navigator().clipboard().write_text(&text));
    spawn_local(async move {
        let copied = match clipboard {
            Some(promise) => JsFuture::from(promise).await.is_ok(),
            None => false,
        };
        if !copied {
            link.select();
        }
        set_text(
            &button,
            if copied {
                words::SHARE_COPIED
            } else {
                words::SHARE_COPY_BY_HAND
            },
        );
    });
}
