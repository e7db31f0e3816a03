//! The ways into a room: the form, a link, a run that was kept; and the worker that takes them.

use super::room::Room;
use super::session::{Report, Session, describe};
use super::{App, State, dom, form, kept, porch, projector, secrets};
use crate::address::Place;
use crate::messages::Failure;
use crate::shown::{self, Ending};
use crate::words;
use dom::{clear, set_attribute};
use ringtmp_core::secret::RoomLink;
use ringtmp_peer::NoticeLevel;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

/// Milliseconds after which a worker that does not answer is spoken of; a slow phone on a slow network needs some.
const AWAKE_MS_MAX: i32 = 20_000;

impl App {
    /// Shows what the address asks for.
    pub(super) fn open(self: &Rc<Self>) -> Result<(), JsValue> {
        let place = self.address.borrow().place.clone();
        match place {
            Place::Home => self.open_form(),
            Place::Create | Place::Resume(_) | Place::Room(_) | Place::Ask(_) => self.open_room(),
            Place::Nowhere { reason } => {
                self.show_room()?;
                let text = words::room_unreadable(&reason);
                let advice = words::REFUSED_ADVICE.now();
                self.end(Ending::Failed(Failure::new(text, advice)));
                Ok(())
            }
        }
    }

    pub(super) fn open_form(self: &Rc<Self>) -> Result<(), JsValue> {
        set_attribute(&self.body, "data-state", "home")?;
        let app = Rc::clone(self);
        let go_on = move |id| {
            app.address.borrow_mut().place = Place::Resume(id);
            clear(&app.main);
            if let Err(error) = app.open_room() {
                app.broken(&describe(&error));
            }
        };
        let app = Rc::clone(self);
        form::show(
            &self.dom,
            &self.main,
            &self.address.borrow(),
            self.window.is_secure_context(),
            move |choice| {
                {
                    let mut address = app.address.borrow_mut();
                    address.place = Place::Create;
                    address.run = choice.run;
                    address.executor = choice.executor;
                    address.open = choice.open;
                }
                clear(&app.main);
                if let Err(error) = app.open_room() {
                    app.broken(&describe(&error));
                }
            },
        )?;
        let app = Rc::clone(self);
        porch::form(&self.dom, &self.main, move |code| {
            app.address.borrow_mut().place = Place::Ask(code);
            clear(&app.main);
            if let Err(error) = app.open_room() {
                app.broken(&describe(&error));
            }
        })?;
        kept::show(&self.dom, &self.main, Rc::new(go_on))
    }

    /// Starts the worker and shows the room it enters.
    fn open_room(self: &Rc<Self>) -> Result<(), JsValue> {
        secrets::complete(&self.window, &mut self.address.borrow_mut());
        self.begin_visit();
        self.show_room()?;
        if !self.is_visit() {
            self.remember_joined();
        }
        self.start_session()
    }

    /// Starts a worker, in the place of one that is there. For a visitor it only watches.
    pub(super) fn start_session(self: &Rc<Self>) -> Result<(), JsValue> {
        self.session.borrow_mut().take();
        {
            let mut state = self.state.borrow_mut();
            let own_notices = std::mem::take(&mut state.own_notices);
            *state = State {
                own_notices,
                ..State::default()
            };
        }
        let mut address = self.address.borrow().clone();
        address.watch |= self.is_visit();
        let Some(entry) = address.entry() else {
            return Ok(());
        };
        if address.keep && !address.watch {
            kept::persist(&self.window);
        }
        let app = Rc::downgrade(self);
        let session = Session::start(&self.window, &address, entry, move |report| {
            let Some(app) = app.upgrade() else { return };
            match report {
                Report::Said(message) => app.hear(message),
                Report::Layers(bytes) => app.save_layers(&bytes),
                Report::Model(steps, bytes) => app.save_model(steps, &bytes),
                Report::Broken(detail) => app.broken(&detail),
            }
        });
        match session {
            Ok(session) => *self.session.borrow_mut() = Some(session),
            Err(error) => self.broken(&describe(&error)),
        }
        self.render();
        self.watch_over_start()
    }

    pub(super) fn show_room(self: &Rc<Self>) -> Result<(), JsValue> {
        if self.is_projector() {
            projector::dress(self.dom.document())?;
        }
        let app = Rc::downgrade(self);
        let act = move |command| {
            if let Some(app) = app.upgrade() {
                app.command(&command);
            }
        };
        self.show_preflight()?;
        let room = Room::new(
            &self.dom,
            &self.main,
            &self.window,
            self.is_projector(),
            Rc::new(act),
            self.savers(),
        )?;
        *self.room.borrow_mut() = Some(room);
        self.render();
        Ok(())
    }

    /// Says so if the worker does not answer in time. It may still come.
    fn watch_over_start(self: &Rc<Self>) -> Result<(), JsValue> {
        let app = Rc::downgrade(self);
        let late = Closure::once_into_js(move || {
            let Some(app) = app.upgrade() else { return };
            if !app.state.borrow().awake {
                let notice = shown::notice(
                    NoticeLevel::Warning,
                    words::UNANSWERED.now(),
                    words::WORKER_FAILED_ADVICE.now(),
                );
                app.state.borrow_mut().own_notices.push(notice);
                app.render();
            }
        });
        self.window
            .set_timeout_with_callback_and_timeout_and_arguments_0(
                late.unchecked_ref(),
                AWAKE_MS_MAX,
            )?;
        Ok(())
    }

    /// Once a new room has a code, the address leads there, so that a reload comes back and the link can be shared.
    pub(super) fn name_room_in_address(&self, link: RoomLink) {
        let mut address = self.address.borrow_mut();
        if !matches!(
            address.place,
            Place::Create | Place::Resume(_) | Place::Ask(_)
        ) {
            return;
        }
        address.place = Place::Room(link.room);
        address.secret = link.secret;
        let path = address.to_reference();
        // A page may always name a path of its own origin.
        let _ = self
            .window
            .history()
            .and_then(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(&path)));
        drop(address);
        if !self.is_visit() {
            self.remember_joined();
        }
    }
}
