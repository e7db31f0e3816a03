//! What the page says and offers on behalf of a device that may not last: a phone that locks its screen, a battery that runs out.

use super::dom::{Dom, listen, set_attribute, set_text, show};
use crate::shown::Care;
use crate::words;
use ringtmp_peer::Command;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement};

/// The note about the screen, and the offer at low battery.
pub(super) struct CareNotes {
    screen: HtmlElement,
    drained: HtmlElement,
    offer: HtmlElement,
    text: Element,
    pause: HtmlElement,
    hand_on: HtmlElement,
}

impl CareNotes {
    /// `act` is called with what the user chooses.
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        act: Rc<dyn Fn(Command)>,
    ) -> Result<Self, JsValue> {
        let offer: HtmlElement = dom.typed(parent, "div", "offer")?;
        offer.set_attribute("role", "status")?;
        let text = dom.child(&offer, "p", "")?;
        let row = dom.child(&offer, "div", "controls")?;
        let button = |text: &str, command: Command| {
            let button: HtmlElement = dom.text(&row, "button", "", text)?.dyn_into()?;
            button.set_attribute("type", "button")?;
            let act = Rc::clone(&act);
            listen(&button, "click", move |_| act(command.clone()))?;
            Ok::<_, JsValue>(button)
        };
        let hand_on = button(words::BUTTON_HAND_ON.now(), Command::HandOn)?;
        let pause = button(words::BUTTON_PAUSE_ALL.now(), Command::Pause)?;
        let screen: HtmlElement = dom.typed(parent, "p", "hint screen")?;
        let drained: HtmlElement = dom.typed(parent, "p", "hint drained")?;
        show(&drained, false);
        show(&offer, false);
        show(&screen, false);
        Ok(Self {
            screen,
            drained,
            offer,
            text,
            pause,
            hand_on,
        })
    }

    pub(super) fn update(&self, care: &Care) -> Result<(), JsValue> {
        show(&self.screen, care.screen.is_some());
        set_text(&self.screen, care.screen.unwrap_or_default());
        let kept = if care.screen_kept { "kept" } else { "not-kept" };
        set_attribute(&self.screen, "data-screen", kept)?;
        show(&self.drained, care.drained.is_some());
        set_text(&self.drained, care.drained.as_deref().unwrap_or_default());
        show(&self.offer, care.battery.is_some());
        set_text(&self.text, care.battery.as_deref().unwrap_or_default());
        show(&self.pause, care.may_pause);
        show(&self.hand_on, care.may_hand_on);
        Ok(())
    }
}
