//! A question in front of the page: to be answered with a text, or with yes.

use super::dom::{Dom, clear, listen};
use crate::words;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, Event, HtmlDialogElement, HtmlInputElement};

/// The longest text that can be typed; a room keeps no longer names.
const CHARACTERS_MAX: &str = "80";

/// Where questions are asked. The browser keeps the focus in it and gives it back.
#[derive(Clone)]
pub(super) struct Dialog {
    dom: Dom,
    element: HtmlDialogElement,
}

impl Dialog {
    pub(super) fn new(dom: &Dom, parent: &Element) -> Result<Self, JsValue> {
        let element: HtmlDialogElement = dom.typed(parent, "dialog", "question")?;
        element.set_attribute("aria-labelledby", "heading-question")?;
        Ok(Self {
            dom: dom.clone(),
            element,
        })
    }

    /// Asks for a text that begins as `text`.
    pub(super) fn ask(
        &self,
        question: &str,
        text: &str,
        button: &str,
        act: impl Fn(String) + 'static,
    ) -> Result<(), JsValue> {
        let form = self.begin(question)?;
        let input: HtmlInputElement = self.dom.typed(&form, "input", "")?;
        input.set_value(text);
        for (name, value) in [
            ("maxlength", CHARACTERS_MAX),
            ("required", ""),
            ("aria-labelledby", "heading-question"),
        ] {
            input.set_attribute(name, value)?;
        }
        self.end(&form, button, move || act(input.value()))
    }

    /// Asks for a yes.
    pub(super) fn confirm(
        &self,
        question: &str,
        button: &str,
        act: impl Fn() + 'static,
    ) -> Result<(), JsValue> {
        let form = self.begin(question)?;
        self.end(&form, button, act)
    }

    fn begin(&self, question: &str) -> Result<Element, JsValue> {
        clear(&self.element);
        let form = self.dom.child(&self.element, "form", "")?;
        form.set_attribute("method", "dialog")?;
        self.dom
            .text(&form, "h2", "", question)?
            .set_id("heading-question");
        Ok(form)
    }

    fn end(&self, form: &Element, button: &str, act: impl Fn() + 'static) -> Result<(), JsValue> {
        let row = self.dom.child(form, "div", "controls")?;
        let yes = self.dom.text(&row, "button", "primary", button)?;
        yes.set_attribute("type", "submit")?;
        let no = self
            .dom
            .text(&row, "button", "", words::BUTTON_CANCEL.now())?;
        no.set_attribute("type", "button")?;
        let element = self.element.clone();
        listen(&no, "click", move |_| element.close())?;
        let act = Rc::new(act);
        // The browser closes the dialog with its form.
        listen(form, "submit", move |_: Event| act())?;
        self.element.show_modal()
    }
}
