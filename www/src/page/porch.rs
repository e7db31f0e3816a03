//! A device that has only a room's short code asks to be let in; the host's page shows who asks.

use super::dom::{Dom, clear, listen, set_text, show};
use crate::shown;
use crate::words;
use ringtmp_core::ids::ShortCode;
use ringtmp_peer::{AskView, AskingView, Command, View};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, Event, HtmlElement, HtmlInputElement};

/// Shows the form that asks for a room by its short code.
pub(super) fn form(
    dom: &Dom,
    parent: &Element,
    ask: impl Fn(ShortCode) + 'static,
) -> Result<(), JsValue> {
    let form = dom.child(parent, "form", "panel code-form")?;
    dom.text(&form, "h2", "", words::CODE_TITLE.now())?;
    let field = dom.child(&form, "div", "field")?;
    dom.text(&field, "label", "", words::CODE_LABEL.now())?
        .set_attribute("for", "code")?;
    let input: HtmlInputElement = dom.typed(&field, "input", "short-code")?;
    input.set_id("code");
    for (attribute, value) in [
        ("type", "text"),
        ("required", ""),
        ("maxlength", "9"),
        ("autocomplete", "off"),
        ("autocapitalize", "characters"),
        ("spellcheck", "false"),
        ("aria-describedby", "hint-code problem-code"),
    ] {
        input.set_attribute(attribute, value)?;
    }
    dom.text(&form, "p", "hint", words::CODE_HINT.now())?
        .set_id("hint-code");
    let problem: HtmlElement = dom.typed(&form, "p", "problem")?;
    problem.set_id("problem-code");
    problem.set_attribute("role", "alert")?;
    show(&problem, false);
    let submit = dom.text(&form, "button", "", words::CODE_ASK.now())?;
    submit.set_attribute("type", "submit")?;
    listen(&form, "submit", move |event: Event| {
        event.prevent_default();
        match input.value().parse() {
            Ok(code) => ask(code),
            Err(_) => {
                show(&problem, true);
                set_text(&problem, words::CODE_UNREADABLE.now());
                let _ = input.focus();
            }
        }
    })
}

/// Who asks this device, and what it asks itself.
pub(super) struct Porch {
    dom: Dom,
    act: Rc<dyn Fn(Command)>,
    asking: HtmlElement,
    sentence: Element,
    digits: HtmlElement,
    askers: HtmlElement,
    shown: RefCell<Vec<AskView>>,
}

impl Porch {
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        act: Rc<dyn Fn(Command)>,
    ) -> Result<Self, JsValue> {
        let asking: HtmlElement = dom.typed(parent, "section", "asking panel")?;
        asking.set_attribute("aria-live", "polite")?;
        let sentence = dom.child(&asking, "p", "")?;
        let digits: HtmlElement = dom.typed(&asking, "p", "digits")?;
        let askers: HtmlElement = dom.typed(parent, "section", "askers")?;
        askers.set_attribute("aria-live", "polite")?;
        show(&asking, false);
        show(&askers, false);
        Ok(Self {
            dom: dom.clone(),
            act,
            asking,
            sentence,
            digits,
            askers,
            shown: RefCell::default(),
        })
    }

    pub(super) fn update(&self, view: Option<&View>) -> Result<(), JsValue> {
        let asking = view.and_then(|view| view.asking.as_ref());
        show(&self.asking, asking.is_some());
        if let Some(AskingView { code, digits }) = asking {
            let sentence = match digits {
                None => words::asking(&code.to_string()),
                Some(_) => words::ASKING_DIGITS.now().to_owned(),
            };
            set_text(&self.sentence, &sentence);
            show(&self.digits, digits.is_some());
            set_text(&self.digits, digits.as_deref().unwrap_or_default());
        }
        let askers = view.map_or(&[][..], |view| &view.askers);
        // What stands there is left alone: somebody may be about to press it.
        if *self.shown.borrow() == askers {
            return Ok(());
        }
        clear(&self.askers);
        show(&self.askers, !askers.is_empty());
        for asker in askers {
            self.draw(asker)?;
        }
        self.shown.replace(askers.to_vec());
        Ok(())
    }

    /// One that asks, with what lets it in and what does not.
    fn draw(&self, asker: &AskView) -> Result<(), JsValue> {
        let card = self.dom.child(&self.askers, "div", "asker panel")?;
        card.set_attribute("role", "group")?;
        let name = shown::device_name(&asker.device);
        let title = words::asks(name, shown::device_kind(&asker.device));
        card.set_attribute("aria-label", &title)?;
        self.dom.text(&card, "p", "", &title)?;
        if let Some(digits) = &asker.digits {
            self.dom.text(&card, "p", "digits", digits)?;
            self.dom.text(&card, "p", "hint", words::ASKS_HINT.now())?;
        }
        let row = self.dom.child(&card, "div", "controls")?;
        for (text, class, allow) in [
            (words::BUTTON_ALLOW, "primary", true),
            (words::BUTTON_DENY, "", false),
        ] {
            let button = self.dom.text(&row, "button", class, text.now())?;
            button.set_attribute("type", "button")?;
            if allow && asker.digits.is_none() {
                button.set_attribute("disabled", "")?;
            }
            let (act, asker) = (Rc::clone(&self.act), asker.asker);
            listen(&button, "click", move |_| {
                act(Command::Admit { asker, allow });
            })?;
        }
        Ok(())
    }
}
