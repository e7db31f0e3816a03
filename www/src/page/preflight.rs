//! The card before joining. Behind it the page watches already, and computes nothing.

use super::App;
use super::dom::{Dom, listen, set_attribute, set_text, show};
use super::probe;
use super::session::describe;
use crate::address::{Place, ViewKind};
use crate::preflight::{self, Check, Findings};
use crate::shown::{self, Ending};
use crate::{pledge, words};
use js_sys::Reflect;
use ringtmp_peer::View;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Element, HtmlElement, HtmlSelectElement, HtmlTextAreaElement, Storage, Window};

/// Under which name it is kept for this tab which room it has joined, so that a reload comes back without asking.
const JOINED: &str = "joined";

/// What the visitor is asked and told.
pub(super) struct Preflight {
    card: HtmlElement,
    rest: HtmlElement,
    story: Vec<Element>,
    rows: Vec<[Element; 3]>,
    memory: HtmlSelectElement,
    join: HtmlElement,
    diagnostics: HtmlTextAreaElement,
    checks: RefCell<Vec<Check>>,
    agent: String,
}

/// Where a visitor stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Visit {
    /// It is no visit, or it is over.
    #[default]
    None,
    /// The visitor has only the room's short code, and asks to be let in.
    Asks,
    /// The visitor looks at what there is.
    Looks,
    /// The visitor only wants to watch, and may join later.
    Watches,
}

/// What the page knows of the visitor and the device.
#[derive(Default)]
pub(super) struct Visitor {
    pub(super) visit: Cell<Visit>,
    found: RefCell<Findings>,
    card: RefCell<Option<Preflight>>,
}

impl Preflight {
    fn new(app: &Rc<App>) -> Result<Self, JsValue> {
        let dom = &app.dom;
        let card: HtmlElement = dom
            .section(&app.main, "preflight", words::PREFLIGHT_TITLE.now())?
            .dyn_into()?;
        card.set_class_name("preflight panel");
        let rest: HtmlElement = dom.typed(&card, "div", "rest")?;
        let story = (0..3).map(|_| dom.child(&rest, "p", ""));
        let story = story.collect::<Result<Vec<_>, _>>()?;
        let memory = memory(dom, &rest, app)?;
        let row = dom.child(&card, "div", "controls")?;
        let join = button(dom, &row, "primary", words::BUTTON_JOIN.now(), {
            let app = Rc::downgrade(app);
            move || {
                if let Some(app) = app.upgrade() {
                    app.join();
                }
            }
        })?;
        button(dom, &row, "watch", words::BUTTON_WATCH.now(), {
            let app = Rc::downgrade(app);
            move || {
                if let Some(app) = app.upgrade() {
                    app.visitor.visit.set(Visit::Watches);
                    app.render();
                }
            }
        })?;
        let details = dom.child(&card, "details", "")?;
        dom.text(&details, "summary", "", words::PREFLIGHT_CHECKS.now())?;
        let list = dom.child(&details, "ul", "checks")?;
        list.set_attribute("role", "list")?;
        let check = |_| {
            let item = dom.child(&list, "li", "")?;
            let name = dom.child(&item, "span", "check")?;
            let word = dom.child(&item, "span", "grade")?;
            let detail = dom.child(&item, "span", "detail")?;
            Ok::<_, JsValue>([name, word, detail])
        };
        let checks = preflight::checks(&Findings::default());
        let rows = (0..checks.len())
            .map(check)
            .collect::<Result<Vec<_>, _>>()?;
        let diagnostics = copy_button(dom, &details, &app.window)?;
        let agent = app.window.navigator().user_agent()?;
        Ok(Self {
            card,
            rest,
            story,
            rows,
            memory,
            join: join.dyn_into()?,
            diagnostics,
            checks: RefCell::default(),
            agent,
        })
    }

    fn update(&self, found: &Findings, view: Option<&View>, visit: Visit) -> Result<(), JsValue> {
        show(&self.rest, visit == Visit::Looks);
        show(&self.join, shown::may_take_part(view));
        let kind = if visit == Visit::Looks {
            "looks"
        } else {
            "watches"
        };
        set_attribute(&self.card, "data-visit", kind)?;
        let told = view.map(preflight::story).unwrap_or_default();
        for (place, line) in self.story.iter().enumerate() {
            set_text(line, told.get(place).map_or("", String::as_str));
        }
        let checks = preflight::checks(found).to_vec();
        let given = self.memory.value().parse().unwrap_or_default();
        let text = preflight::diagnostics(&checks, given, &self.agent);
        if self.diagnostics.value() != text {
            self.diagnostics.set_value(&text);
        }
        if *self.checks.borrow() == checks {
            return Ok(());
        }
        for (check, [name, word, detail]) in checks.iter().zip(&self.rows) {
            set_text(name, check.name);
            set_text(word, check.grade.word());
            set_attribute(word, "data-grade", check.grade.key())?;
            set_text(detail, &check.detail);
        }
        self.checks.replace(checks);
        Ok(())
    }
}

fn button(
    dom: &Dom,
    parent: &Element,
    class: &str,
    text: &str,
    act: impl Fn() + 'static,
) -> Result<Element, JsValue> {
    let button = dom.text(parent, "button", class, text)?;
    button.set_attribute("type", "button")?;
    listen(&button, "click", move |_| act())?;
    Ok(button)
}

/// How much this device gives: at first what tabs usually do.
fn memory(dom: &Dom, parent: &Element, app: &Rc<App>) -> Result<HtmlSelectElement, JsValue> {
    let row = dom.child(parent, "div", "pledge")?;
    dom.text(&row, "label", "", words::PLEDGE.now())?
        .set_attribute("for", "pledge-before")?;
    let select: HtmlSelectElement = dom.typed(&row, "select", "")?;
    select.set_id("pledge-before");
    let usual = Reflect::get(&app.window.navigator(), &"deviceMemory".into());
    let usual = pledge::usual(usual.ok().and_then(|gib| gib.as_f64()));
    let given = app.address.borrow().memory_bytes.unwrap_or(usual);
    for (bytes, text) in pledge::choices(Some(given)) {
        dom.text(&select, "option", "", &text)?
            .set_attribute("value", &bytes.to_string())?;
    }
    select.set_value(&given.to_string());
    dom.text(&row, "span", "hint", words::PLEDGE_HINT.now())?;
    let (app, chosen) = (Rc::downgrade(app), select.clone());
    listen(&select, "change", move |_| {
        if let Some(app) = app.upgrade() {
            app.address.borrow_mut().memory_bytes = chosen.value().parse().ok();
            app.render();
        }
    })?;
    Ok(select)
}

/// The diagnostics as text, and what copies them; where the browser does not let a page copy, they are selected.
fn copy_button(
    dom: &Dom,
    parent: &Element,
    window: &Window,
) -> Result<HtmlTextAreaElement, JsValue> {
    let text: HtmlTextAreaElement = dom.typed(parent, "textarea", "diagnostics")?;
    text.set_read_only(true);
    text.set_rows(8);
    text.set_attribute("aria-label", words::DIAGNOSTICS.now())?;
    let button = dom.text(parent, "button", "quiet", words::DIAGNOSTICS_COPY.now())?;
    button.set_attribute("type", "button")?;
    button.set_attribute("aria-live", "polite")?;
    let (window, area, shown) = (window.clone(), text.clone(), button.clone());
    listen(&button, "click", move |_| {
        let clipboard = window
            .is_secure_context()
            .then(|| window.navigator().clipboard().write_text(&area.value()));
        let (area, shown) = (area.clone(), shown.clone());
        spawn_local(async move {
            let copied = match clipboard {
                Some(promise) => JsFuture::from(promise).await.is_ok(),
                None => false,
            };
            if !copied {
                area.select();
            }
            let said = if copied {
                words::SHARE_COPIED
            } else {
                words::SHARE_COPY_BY_HAND
            };
            set_text(&shown, said.now());
        });
    })?;
    Ok(text)
}

fn storage(window: &Window) -> Option<Storage> {
    window.session_storage().ok()?
}

impl App {
    /// Whether the address leads somebody here for the first time, who is asked before this device computes.
    pub(super) fn begin_visit(&self) {
        let address = self.address.borrow();
        if address.watch || address.join || address.view != ViewKind::Page {
            return;
        }
        let known = storage(&self.window).and_then(|kept| kept.get_item(JOINED).ok()?);
        let visit = match &address.place {
            Place::Room(code) if known.as_deref() != Some(&code.to_string()) => Visit::Looks,
            Place::Ask(_) => Visit::Asks,
            _ => return,
        };
        self.visitor.visit.set(visit);
    }

    /// Who has asked is let in: there is something to look at.
    pub(super) fn may_look(&self) {
        if self.visitor.visit.get() == Visit::Asks {
            self.visitor.visit.set(Visit::Looks);
        }
    }

    /// The host has sent this device away: it is asked again before it takes part.
    pub(super) fn forget_joined(&self) {
        if let Some(kept) = storage(&self.window) {
            // Where a browser keeps nothing, there is nothing to forget.
            let _ = kept.remove_item(JOINED);
        }
    }

    /// This tab takes part in that room, and may come back to it.
    pub(super) fn remember_joined(&self) {
        let address = self.address.borrow();
        if let (Place::Room(code), false, Some(kept)) =
            (&address.place, address.watch, storage(&self.window))
        {
            // Where a browser keeps nothing, it asks again.
            let _ = kept.set_item(JOINED, &code.to_string());
        }
    }

    /// Whether this page only looks, so far.
    pub(super) fn is_visit(&self) -> bool {
        self.visitor.visit.get() != Visit::None
    }

    /// Puts the card at the top of the page, and begins to ask the browser.
    pub(super) fn show_preflight(self: &Rc<Self>) -> Result<(), JsValue> {
        if !self.is_visit() {
            return Ok(());
        }
        *self.visitor.card.borrow_mut() = Some(Preflight::new(self)?);
        let asked = std::mem::replace(
            &mut *self.visitor.found.borrow_mut(),
            Findings {
                secure: self.window.is_secure_context(),
                wake_lock: probe::wake_lock(&self.window),
                ..Findings::default()
            },
        );
        if asked.link.is_some() {
            // The language was changed, and all is known.
            *self.visitor.found.borrow_mut() = asked;
            return Ok(());
        }
        let app = Rc::clone(self);
        spawn_local(async move {
            let adapter = probe::adapter(&app.window).await;
            app.found(|found| found.adapter = Some(adapter));
            let storage = probe::storage(&app.window).await;
            app.found(|found| found.storage = Some(storage));
            let link = probe::link(&app.window).await;
            app.found(|found| found.link = Some(link));
        });
        Ok(())
    }

    fn found(&self, note: impl FnOnce(&mut Findings)) {
        note(&mut self.visitor.found.borrow_mut());
        if self.is_visit() {
            self.render();
        }
    }

    pub(super) fn update_preflight(
        &self,
        view: Option<&View>,
        ending: Option<&Ending>,
        awake: bool,
    ) -> Result<(), JsValue> {
        let card = self.visitor.card.borrow();
        let Some(card) = card.as_ref() else {
            return Ok(());
        };
        let visit = self.visitor.visit.get();
        // Of a room that is not there, or not yet, nothing can be joined.
        show(&card.card, ending.is_none() && visit != Visit::Asks);
        self.visitor.found.borrow_mut().worker = awake;
        card.update(&self.visitor.found.borrow(), view, visit)
    }

    /// From now on this device takes part.
    fn join(self: &Rc<Self>) {
        self.visitor.visit.set(Visit::None);
        if let Some(card) = self.visitor.card.borrow_mut().take() {
            card.card.remove();
        }
        self.remember_joined();
        // The button that had the focus is gone: reading goes on where the page begins.
        if let Some(main) = self.main.dyn_ref::<HtmlElement>() {
            main.set_tab_index(-1);
            let _ = main.focus();
        }
        if let Err(error) = self.start_session() {
            self.broken(&describe(&error));
        }
    }
}
