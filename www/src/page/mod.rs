//! The page half: shows what the worker reports, and sends back what the user presses.

mod awake;
mod battery;
mod care;
mod controls;
mod curves;
mod dialog;
mod dom;
mod draw;
mod entering;
mod form;
mod hooks;
mod hosting;
mod kept;
mod language;
mod members;
mod model;
mod motion;
mod notices;
mod numbers;
mod own_device;
mod pledge;
mod porch;
mod preflight;
mod probe;
mod projector;
mod ring;
mod room;
mod saving;
mod secrets;
mod session;
mod share;
mod timeline;
mod write;

use crate::address::{Address, ViewKind};
use crate::messages::{Failure, FromWorker};
use crate::rate::Meter;
use crate::shown::{self, Ending, Phase, Progress};
use crate::traffic::Traffic;
use crate::words;
use dom::{Dom, set_attribute, set_text};
use js_sys::{Function, Reflect};
use numbers::Figures;
use ringtmp_core::secret::RoomLink;
use ringtmp_peer::{Command, Notice, NoticeLevel, ServerState, View};
use room::{Content, Room};
use session::Session;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement, MediaQueryList, UrlSearchParams, Window, console};

/// Starts the page: the form, or the room that the address names. Called once, by `page.js`.
///
/// # Errors
/// If this is no page, or the browser lacks what every browser has.
#[wasm_bindgen]
pub fn start_page() -> Result<(), JsValue> {
    let window = web_sys::window().ok_or_else(|| JsError::new("this is no page"))?;
    std::panic::set_hook(Box::new(|panic| {
        console::error_1(&panic.to_string().into());
    }));
    let location = window.location();
    let query = UrlSearchParams::new_with_str(&location.search()?)?;
    let fragment = location.hash()?;
    let address = Address::read(&location.pathname()?, session::pairs(&query), &fragment);
    language::begin(&window, address.language)?;
    let app = Rc::new(App::new(window, address)?);
    app.publish_hooks()?;
    app.listen()?;
    app.offer_languages()?;
    app.open()
}

/// The page.
struct App {
    window: Window,
    body: HtmlElement,
    main: Element,
    server: Element,
    /// Changes the language.
    switch: Element,
    dom: Dom,
    address: RefCell<Address>,
    state: RefCell<State>,
    room: RefCell<Option<Room>>,
    session: RefCell<Option<Session>>,
    /// Whether the user waits for the trace.
    trace_wanted: Cell<bool>,
    /// Whether a timer will render.
    render_due: Cell<bool>,
    /// Renders, for timers and listeners of the browser.
    render_again: OnceCell<Function>,
    scheme: OnceCell<MediaQueryList>,
    own: OnceCell<own_device::Watched>,
    visitor: preflight::Visitor,
}

/// What is known.
#[derive(Default)]
struct State {
    view: Option<View>,
    ending: Option<Ending>,
    awake: bool,
    own_notices: Vec<Notice>,
    /// Counts samples trained on.
    samples: Meter,
    /// Counts bytes on all links.
    bytes: Meter,
    /// Counts bytes on each link.
    traffic: Traffic,
    /// The last trace that was asked for.
    trace: Option<String>,
}

impl App {
    fn new(window: Window, address: Address) -> Result<Self, JsValue> {
        let document = window
            .document()
            .ok_or_else(|| JsError::new("this is no page"))?;
        let body = document
            .body()
            .ok_or_else(|| JsError::new("the page has no body"))?;
        let root = document
            .get_element_by_id("app")
            .ok_or_else(|| JsError::new("index.html has no #app"))?;
        let dom = Dom::new(document);
        let top = dom.child(&root, "header", "top")?;
        let home = dom.text(&top, "a", "wordmark", words::PRODUCT.now())?;
        home.set_attribute("href", "/")?;
        let side = dom.child(&top, "div", "side")?;
        let server = dom.child(&side, "span", "server")?;
        let switch = dom.text(&side, "button", "quiet", "")?;
        switch.set_attribute("type", "button")?;
        server.set_attribute("data-server", "none")?;
        let main = dom.child(&root, "main", "")?;
        let own_notices = address
            .problems
            .iter()
            .map(|problem| shown::notice(NoticeLevel::Warning, problem, ""));
        let insecure = (!window.is_secure_context()).then(|| {
            let (text, advice) = (words::INSECURE.now(), words::INSECURE_ADVICE.now());
            shown::notice(NoticeLevel::Warning, text, advice)
        });
        let state = State {
            own_notices: own_notices.chain(insecure).collect(),
            ..State::default()
        };
        Ok(Self {
            window,
            body,
            main,
            server,
            switch,
            dom,
            address: RefCell::new(address),
            state: RefCell::new(state),
            room: RefCell::default(),
            session: RefCell::default(),
            trace_wanted: Cell::new(false),
            render_due: Cell::new(false),
            render_again: OnceCell::new(),
            scheme: OnceCell::new(),
            own: OnceCell::new(),
            visitor: preflight::Visitor::default(),
        })
    }

    fn is_projector(&self) -> bool {
        self.address.borrow().view == ViewKind::Projector
    }

    /// Takes in what the worker says.
    fn hear(&self, message: FromWorker) {
        match message {
            FromWorker::Awake => {
                let mut state = self.state.borrow_mut();
                state.awake = true;
                state
                    .own_notices
                    .retain(|notice| notice.text != words::UNANSWERED.now());
            }
            FromWorker::View { view } => self.take_view(*view),
            FromWorker::Trace { json } => return self.save_trace(json),
            FromWorker::Ended { failure: None } => return self.end(Ending::Left),
            FromWorker::Ended {
                failure: Some(failure),
            } => {
                if failure.sent_away {
                    self.forget_joined();
                }
                return self.end(Ending::Failed(failure));
            }
        }
        self.render();
    }

    fn take_view(&self, view: View) {
        let seconds = self
            .window
            .performance()
            .map_or(0.0, |performance| performance.now() / 1000.0);
        let mut state = self.state.borrow_mut();
        if let Some(run) = &view.run {
            let samples = u64::from(Progress::of(&view).done) * u64::from(run.batch);
            state.samples.observe(seconds, samples);
        }
        if let Some(room) = &view.room {
            state.bytes.observe(seconds, shown::bytes_sent(room));
            state.traffic.observe(seconds, room);
        }
        let known = state.view.as_ref().and_then(View::link);
        if let Some(link) = view.link().filter(|link| known != Some(*link)) {
            self.let_in(link);
        }
        if state.view.as_ref().map(|view| view.host_token) != Some(view.host_token) {
            hosting::keep(&self.window, &view);
        }
        state.view = Some(view);
    }

    fn broken(&self, detail: &str) {
        let text = words::worker_failed(detail);
        let advice = words::WORKER_FAILED_ADVICE.now();
        self.end(Ending::Failed(Failure::new(text, advice)));
    }

    /// The first ending counts.
    fn end(&self, ending: Ending) {
        if self.is_projector() && ending != Ending::Left {
            projector::try_again(&self.window);
        }
        self.state.borrow_mut().ending.get_or_insert(ending);
        self.render();
        // Not while its own listener runs: it is freed with the session.
        let session = self.session.borrow_mut().take();
        wasm_bindgen_futures::spawn_local(async move { drop(session) });
    }

    fn command(&self, command: &Command) {
        if let Some(session) = &*self.session.borrow() {
            // A worker that cannot be posted to has ended, and says so itself.
            let _ = session.send(command);
        }
    }

    /// Brings the page up to date.
    fn render(&self) {
        if let Err(error) = self.try_render() {
            wasm_bindgen::throw_val(error);
        }
    }

    fn try_render(&self) -> Result<(), JsValue> {
        let state = self.state.borrow();
        let view = state.view.as_ref();
        let phase = Phase::of(view, state.ending.as_ref());
        let room = self.room.borrow();
        let Some(room) = room.as_ref() else {
            return Ok(());
        };
        let training = phase == Phase::Training;
        let finished = phase == Phase::Finished;
        let rate = |meter: &Meter| match (training, finished) {
            (true, _) => meter.per_second(),
            (_, true) => meter.average_per_second(),
            _ => None,
        };
        let url = view
            .and_then(View::link)
            .map(|link| self.room_url(link))
            .transpose()?;
        let progress = view.map_or(
            Progress {
                done: 0,
                of: 0,
                loss: None,
                accuracy: None,
            },
            Progress::of,
        );
        self.update_preflight(view, state.ending.as_ref(), state.awake)?;
        let put_off = room.update(Content {
            view,
            ending: state.ending.as_ref(),
            own_notices: &state.own_notices,
            figures: Figures {
                progress,
                samples: rate(&state.samples),
                bytes: rate(&state.bytes),
                courses: [state.samples.course(), state.bytes.course()],
            },
            traffic: &state.traffic,
            device: self.own_device(phase, view),
            url: url.as_deref(),
        })?;
        if put_off {
            self.render_later()?;
        }
        set_attribute(&self.body, "data-state", phase.key())?;
        let (key, text) = match view.map(|view| &view.server) {
            None => ("none", ""),
            Some(ServerState::Connecting) => ("connecting", words::SERVER_CONNECTING.now()),
            Some(ServerState::Connected) => ("connected", words::SERVER_CONNECTED.now()),
            Some(ServerState::Lost {
                comes_back: true, ..
            }) => ("lost", words::SERVER_AWAY.now()),
            Some(ServerState::Lost { .. }) => ("lost", words::SERVER_LOST.now()),
        };
        set_attribute(
            &self.server,
            "data-server",
            if state.ending.is_some() { "none" } else { key },
        )?;
        set_text(&self.server, if state.ending.is_some() { "" } else { text });
        self.dom
            .document()
            .set_title(&words::page_title(phase.headline()));
        Ok(())
    }

    /// Renders again when the curves may be drawn again.
    fn render_later(&self) -> Result<(), JsValue> {
        if self.render_due.replace(true) {
            return Ok(());
        }
        let Some(render) = self.render_again.get() else {
            return Ok(());
        };
        self.window
            .set_timeout_with_callback_and_timeout_and_arguments_0(render, curves::REDRAW_MS)?;
        Ok(())
    }

    fn room_url(&self, link: RoomLink) -> Result<String, JsValue> {
        Ok(format!("{}/r/{link}", self.window.location().origin()?))
    }

    /// A room has let this device in: it comes back there, after a reload and later.
    fn let_in(&self, link: RoomLink) {
        self.name_room_in_address(link);
        self.may_look();
        if self.address.borrow().keep {
            secrets::keep(&self.window, link);
        }
    }

    /// Renders anew when the width or the colours change.
    fn listen(self: &Rc<Self>) -> Result<(), JsValue> {
        let app = Rc::clone(self);
        let render = Closure::<dyn Fn()>::new(move || {
            app.render_due.set(false);
            app.render();
        });
        let render = self
            .render_again
            .get_or_init(|| render.into_js_value().unchecked_into());
        self.window
            .add_event_listener_with_callback("resize", render)?;
        if let Some(scheme) = self.window.match_media("(prefers-color-scheme: dark)")? {
            scheme.add_event_listener_with_callback("change", render)?;
            // A query that nobody holds may be collected with its listeners.
            self.scheme.set(scheme).ok();
        }
        self.watch_own_device()?;
        self.say_goodbye_when_closed()?;
        // A page that comes back from the browser's cache has lost its connections.
        let location = self.window.location();
        dom::listen(&self.window, "pageshow", move |event| {
            if Reflect::get(&event, &"persisted".into())
                .is_ok_and(|persisted| persisted.is_truthy())
            {
                // Reloading the page one is on is never refused.
                let _ = location.reload();
            }
        })
    }
}
