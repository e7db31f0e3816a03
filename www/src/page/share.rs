//! The link to the room, to be opened on the next device, also as a QR code.

use super::dom::{Dom, clear, listen, set_text, show};
use crate::qr::QrDrawing;
use crate::{format, words};
use ringtmp_core::ids::ShortCode;
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Element, HtmlElement, HtmlInputElement, Response, Window};

/// The link, with a button that copies it, and its code.
pub(super) struct Share(Rc<Card>);

struct Card {
    dom: Dom,
    section: HtmlElement,
    link: HtmlInputElement,
    button: Element,
    code: HtmlElement,
    hint: Element,
    /// That the link lets one watch, and no more.
    limit: HtmlElement,
    /// The short code, for those who can neither scan nor copy.
    short: [HtmlElement; 2],
    /// The link as text, for those who cannot scan it.
    address: Element,
    /// What comes before the page, for a hall that does not see the hint.
    warning: HtmlElement,
    /// Leads to the view for many.
    projector: Element,
    /// The page's own origin, which the link begins with.
    origin: String,
    /// Where other devices find the page; none where they do not.
    reach: RefCell<Option<Reach>>,
    /// The link as it is on this device, and what may be typed in its place.
    url: RefCell<Option<String>>,
    typed: Cell<Option<ShortCode>>,
}

/// Where other devices find the page.
struct Reach {
    origin: String,
}

/// What the server says of its network, to pages on its own device.
#[derive(Deserialize)]
struct Lan {
    links: Vec<String>,
    warned_of: bool,
}

impl Share {
    pub(super) fn new(dom: &Dom, parent: &Element, window: &Window) -> Result<Self, JsValue> {
        let section: HtmlElement = dom
            .section(parent, "share", words::SHARE_TITLE.now())?
            .dyn_into()?;
        let code = dom.typed(&section, "div", "code")?;
        let line = dom.child(&section, "div", "line")?;
        let link: HtmlInputElement = dom.typed(&line, "input", "")?;
        link.set_read_only(true);
        link.set_attribute("aria-labelledby", "heading-share")?;
        let button = dom.text(&line, "button", "", words::SHARE_COPY.now())?;
        button.set_attribute("type", "button")?;
        button.set_attribute("aria-live", "polite")?;
        let hint = dom.child(&section, "p", "hint")?;
        let limit: HtmlElement = dom.typed(&section, "p", "hint")?;
        set_text(&limit, words::SHARE_WATCH.now());
        let short: [HtmlElement; 2] = [
            dom.typed(&section, "p", "hint")?,
            dom.typed(&section, "p", "short-code")?,
        ];
        set_text(&short[0], words::SHARE_SHORT.now());
        let typed = dom.child(&section, "div", "address")?;
        let address = dom.child(&typed, "p", "")?;
        let warning: HtmlElement = dom.typed(&typed, "p", "warning")?;
        set_text(&warning, words::SHARE_WARNED.now());
        show(&warning, false);
        let projector = dom.text(&section, "a", "button", words::PROJECTOR.now())?;
        projector.set_attribute("target", "_blank")?;
        show(&section, false);
        let (owned_window, input, label) = (window.clone(), link.clone(), button.clone());
        listen(&button, "click", move |_| {
            copy(&owned_window, &input, &label);
        })?;
        let origin = window.location().origin()?;
        let here_only = matches!(
            window.location().hostname()?.as_str(),
            "localhost" | "127.0.0.1" | "[::1]"
        );
        let reach = (!here_only).then(|| Reach {
            origin: origin.clone(),
        });
        let card = Rc::new(Card {
            dom: dom.clone(),
            section,
            link,
            button,
            code,
            hint,
            limit,
            short,
            address,
            warning,
            projector,
            origin,
            reach: RefCell::new(reach),
            url: RefCell::default(),
            typed: Cell::default(),
        });
        if here_only {
            set_text(&card.hint, words::SHARE_LOCAL.now());
            let (card, window) = (Rc::clone(&card), window.clone());
            spawn_local(async move { card.find_reach(&window).await });
        }
        Ok(Self(card))
    }

    /// `lets_in` says whether the link lets one take part, or only watch; `asks_us` who is asked by those that type the short code.
    pub(super) fn update(
        &self,
        url: Option<&str>,
        lets_in: bool,
        short: Option<ShortCode>,
        asks_us: bool,
    ) -> Result<(), JsValue> {
        show(&self.0.section, url.is_some());
        show(&self.0.limit, !lets_in);
        for part in &self.0.short {
            show(part, short.is_some() && asks_us);
        }
        if let (Some(short), [_, code]) = (short, &self.0.short) {
            set_text(code, &format::short_code(short));
        }
        if self.0.url.borrow().as_deref() == url && self.0.typed.get() == short {
            return Ok(());
        }
        self.0.typed.set(short);
        *self.0.url.borrow_mut() = url.map(str::to_owned);
        self.0.draw()
    }
}

impl Card {
    /// Asks the server where other devices find it. Without an answer the link is for this device.
    async fn find_reach(&self, window: &Window) {
        let Ok(Lan { links, warned_of }) = lan(window).await else {
            return;
        };
        let Some(origin) = links.into_iter().next() else {
            return;
        };
        set_text(&self.hint, words::share_network(warned_of));
        show(&self.warning, warned_of);
        *self.reach.borrow_mut() = Some(Reach { origin });
        if let Err(error) = self.draw() {
            wasm_bindgen::throw_val(error);
        }
    }

    /// Shows the link and its code.
    fn draw(&self) -> Result<(), JsValue> {
        let url = self.url.borrow();
        let Some(url) = url.as_deref() else {
            return Ok(());
        };
        let reach = self.reach.borrow();
        let path = url.strip_prefix(&self.origin).unwrap_or_default();
        let origin = reach.as_ref().map_or(&self.origin, |reach| &reach.origin);
        let link = format!("{origin}{path}");
        let address = match self.typed.get() {
            Some(short) => words::join_typing(origin, &format::short_code(short)),
            None => words::join_at(&link),
        };
        set_text(&self.address, &address);
        self.projector.set_attribute("href", &for_projector(path))?;
        if self.link.value() != link {
            self.link.set_value(&link);
            set_text(&self.button, words::SHARE_COPY.now());
        }
        clear(&self.code);
        let drawing = reach.as_ref().and_then(|_| QrDrawing::new(&link));
        show(&self.code, drawing.is_some());
        let Some(QrDrawing { size, path }) = drawing else {
            return Ok(());
        };
        let (view_box, size) = (format!("0 0 {size} {size}"), size.to_string());
        let svg = self.dom.svg(
            &self.code,
            "svg",
            &[
                ("viewBox", &view_box),
                ("role", "img"),
                ("aria-label", &words::share_code(&link)),
                ("shape-rendering", "crispEdges"),
            ],
        )?;
        // Dark on light in every colour scheme: many readers know nothing else.
        let ground = [("width", &*size), ("height", &size), ("fill", "#fff")];
        self.dom.svg(&svg, "rect", &ground)?;
        self.dom
            .svg(&svg, "path", &[("d", &path), ("fill", "#000")])?;
        Ok(())
    }
}

/// The path of the view for many. A fragment comes last.
fn for_projector(path: &str) -> String {
    match path.split_once('#') {
        None => format!("{path}?view=projector"),
        Some((path, fragment)) => format!("{path}?view=projector#{fragment}"),
    }
}

async fn lan(window: &Window) -> Result<Lan, JsValue> {
    let answer = JsFuture::from(window.fetch_with_str("/lan")).await?;
    let answer: Response = answer.dyn_into()?;
    let text = JsFuture::from(answer.text()?).await?;
    let text = text.as_string().unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| JsError::new(&error.to_string()).into())
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
                words::SHARE_COPIED.now()
            } else {
                words::SHARE_COPY_BY_HAND.now()
            },
        );
    });
}
