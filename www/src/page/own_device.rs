//! What the page knows of its device, and does for it.

use super::App;
use super::awake::Awake;
use super::battery;
use super::dom::listen;
use crate::battery::{Battery, Drain};
use crate::shown::{OwnDevice, Phase, takes_part};
use ringtmp_peer::{Command, View};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

/// What is watched for as long as the page is there.
pub(super) struct Watched {
    awake: Rc<Awake>,
    battery: Rc<Cell<Option<Battery>>>,
    drain: Cell<Drain>,
    has_touch: bool,
}

impl App {
    /// Begins to follow the battery and the screen.
    pub(super) fn watch_own_device(self: &Rc<Self>) -> Result<(), JsValue> {
        let render = || {
            let app = Rc::downgrade(self);
            move || {
                if let Some(app) = app.upgrade() {
                    app.render();
                }
            }
        };
        let coarse = self.window.match_media("(pointer: coarse)")?;
        let watched = Watched {
            awake: Awake::new(&self.window, self.dom.document(), render())?,
            battery: battery::follow(&self.window, render()),
            drain: Cell::default(),
            has_touch: coarse.is_some_and(|query| query.matches()),
        };
        self.own.set(watched).ok();
        Ok(())
    }

    /// What is known of this device, which is kept awake while it takes part.
    pub(super) fn own_device(&self, phase: Phase, view: Option<&View>) -> OwnDevice {
        let Some(own) = self.own.get() else {
            return OwnDevice::default();
        };
        own.awake
            .want(takes_part(phase, view) || self.is_projector());
        let mut drain = own.drain.get();
        let seconds = js_sys::Date::now() / 1e3;
        drain.see(own.battery.get(), takes_part(phase, view), seconds);
        own.drain.set(drain);
        OwnDevice {
            battery: own.battery.get(),
            drained: drain.drained(),
            has_touch: own.has_touch,
            screen_kept: own.awake.is_kept(),
        }
    }

    /// A page that is closed, or left for another, says so while it still can: the others need not find out.
    pub(super) fn say_goodbye_when_closed(self: &Rc<Self>) -> Result<(), JsValue> {
        let app = Rc::downgrade(self);
        listen(&self.window, "pagehide", move |_| {
            if let Some(app) = app.upgrade() {
                app.command(&Command::Leave);
            }
        })
    }
}
