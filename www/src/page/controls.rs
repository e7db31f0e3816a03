//! The buttons.

use super::dom::{Dom, listen, show};
use crate::shown;
use crate::words;
use ringtmp_peer::Command;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement, Window};

/// The buttons of a room. Those that do nothing now are not shown.
pub(super) struct Controls {
    start: HtmlElement,
    start_again: HtmlElement,
    begin_anew: HtmlElement,
    pause: HtmlElement,
    resume: HtmlElement,
    stop: HtmlElement,
    leave: HtmlElement,
    hand_on: HtmlElement,
    leave_now: HtmlElement,
    save: HtmlElement,
    reload: HtmlElement,
    home: HtmlElement,
}

impl Controls {
    /// `act` is called with what the user asks for.
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        window: &Window,
        act: Rc<dyn Fn(Command)>,
        save_layers: Box<dyn Fn()>,
    ) -> Result<Self, JsValue> {
        let row = dom.child(parent, "div", "controls")?;
        let button = |text: &str, class: &str, command: Command| {
            let button: HtmlElement = dom.text(&row, "button", class, text)?.dyn_into()?;
            button.set_attribute("type", "button")?;
            let act = Rc::clone(&act);
            listen(&button, "click", move |_| act(command.clone()))?;
            Ok::<_, JsValue>(button)
        };
        let start = button(words::BUTTON_START.now(), "primary", Command::Start)?;
        let start_again = button(words::BUTTON_START_AGAIN.now(), "primary", Command::Start)?;
        let begin_anew = button(words::BUTTON_BEGIN_ANEW.now(), "", Command::Start)?;
        let resume = button(words::BUTTON_RESUME.now(), "primary", Command::Resume)?;
        let pause = button(words::BUTTON_PAUSE.now(), "", Command::Pause)?;
        let stop = button(words::BUTTON_STOP.now(), "", Command::Stop)?;
        let leave = button(words::BUTTON_LEAVE.now(), "", Command::Leave)?;
        let hand_on = button(words::BUTTON_LEAVE.now(), "", Command::HandOn)?;
        let leave_now = button(words::BUTTON_LEAVE_NOW.now(), "", Command::Leave)?;
        let save: HtmlElement = dom
            .text(&row, "button", "", words::BUTTON_SAVE.now())?
            .dyn_into()?;
        save.set_attribute("type", "button")?;
        listen(&save, "click", move |_| save_layers())?;
        let reload: HtmlElement = dom
            .text(&row, "button", "primary", words::BUTTON_RELOAD.now())?
            .dyn_into()?;
        reload.set_attribute("type", "button")?;
        let location = window.location();
        listen(&reload, "click", move |_| {
            // Reloading the page one is on is never refused.
            let _ = location.reload();
        })?;
        let home: HtmlElement = dom
            .text(&row, "a", "button", words::BUTTON_HOME.now())?
            .dyn_into()?;
        home.set_attribute("href", "/")?;
        Ok(Self {
            start,
            start_again,
            begin_anew,
            pause,
            resume,
            stop,
            leave,
            hand_on,
            leave_now,
            save,
            reload,
            home,
        })
    }

    pub(super) fn update(&self, controls: shown::Controls) {
        show(&self.start, controls.start);
        show(&self.start_again, controls.start_again);
        show(&self.begin_anew, controls.begin_anew);
        show(&self.pause, controls.pause);
        show(&self.resume, controls.resume);
        show(&self.stop, controls.stop);
        show(&self.leave, controls.leave);
        show(&self.hand_on, controls.hand_on);
        show(&self.leave_now, controls.leave_now);
        show(&self.save, controls.save);
        show(&self.reload, controls.again);
        show(&self.home, controls.another);
    }
}
