//! The card on which a start is typed, and the network that is being trained writes on.

use super::dom::{Dom, clear, listen, set_attribute, set_text, show};
use crate::drawing::Readiness;
use crate::shown::{Computes, Phase, computes};
use crate::words;
use crate::writing::{self, Kind, Line, Sheet};
use ringtmp_peer::{Command, START_CHARACTERS_MAX, View};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, Event, HtmlElement, HtmlInputElement, HtmlSelectElement};

/// The card.
pub(super) struct Write {
    dom: Dom,
    section: HtmlElement,
    title: Element,
    hint: Element,
    form: HtmlElement,
    fields: Rc<Fields>,
    label: Element,
    manner: HtmlElement,
    go: Element,
    stop: HtmlElement,
    status: HtmlElement,
    newest: HtmlElement,
    list: HtmlElement,
    written: HtmlElement,
    shown: RefCell<Option<Sheet>>,
}

/// What is filled in.
struct Fields {
    /// What the run's network writes, once that is known.
    kind: Cell<Option<Kind>>,
    start: HtmlInputElement,
    manner: HtmlSelectElement,
    again: HtmlInputElement,
}

/// How characters are chosen, by a hundred times the temperature.
const MANNERS: [(&str, words::Text); 3] = [
    ("0", words::WRITE_LIKELIEST),
    ("60", words::WRITE_CAREFUL),
    ("100", words::WRITE_FREE),
];

impl Write {
    /// `act` is called with what is to be written.
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        act: Rc<dyn Fn(Command)>,
    ) -> Result<Self, JsValue> {
        let section = dom.section(parent, "write", words::WRITE_TITLE.now())?;
        let title = section
            .first_element_child()
            .unwrap_or_else(|| section.clone());
        let hint = dom.text(&section, "p", "hint", "")?;
        let form: HtmlElement = dom.typed(&section, "form", "write-form")?;
        let (fields, label, manner) = Fields::new(dom, &form)?;
        let row = form
            .first_element_child()
            .unwrap_or_else(|| section.clone());
        let go = dom.text(&row, "button", "primary", words::WRITE_GO.now())?;
        go.set_attribute("type", "submit")?;
        let stop: HtmlElement = dom
            .text(&row, "button", "", words::WRITE_STOP.now())?
            .dyn_into()?;
        stop.set_attribute("type", "button")?;
        let newest: HtmlElement = dom.typed(&section, "p", "newest")?;
        let status: HtmlElement = dom.typed(&section, "p", "writing-status")?;
        status.set_attribute("role", "status")?;
        let list: HtmlElement = dom.typed(&section, "div", "written")?;
        dom.text(&list, "h3", "", words::WRITE_BEFORE_LIST.now())?;
        let written = dom.typed(&list, "ol", "")?;
        let fields = Rc::new(fields);
        let (filled, ask) = (Rc::clone(&fields), Rc::clone(&act));
        listen(&form, "submit", move |event: Event| {
            event.prevent_default();
            ask(filled.read());
        })?;
        listen(&stop, "click", move |_| act(Command::StopWriting))?;
        Ok(Self {
            dom: dom.clone(),
            section: section.dyn_into()?,
            title,
            hint,
            form,
            fields,
            label,
            manner,
            go,
            stop,
            status,
            newest,
            list,
            written,
            shown: RefCell::default(),
        })
    }

    pub(super) fn update(&self, phase: Phase, view: Option<&View>) -> Result<(), JsValue> {
        let readiness = view.map_or(Readiness::Never, |view| writing::readiness(phase, view));
        show(&self.section, readiness != Readiness::Never);
        let (Some(view), Some(kind)) = (view, view.and_then(Kind::of)) else {
            return Ok(());
        };
        let start = view.writing.as_ref().map(|writing| &*writing.start);
        self.speak_of(kind, start);
        show(&self.form, readiness == Readiness::Ready);
        let hint = match readiness {
            Readiness::NotNow(why) => why,
            Readiness::Never | Readiness::Asks | Readiness::Ready => {
                kind.hint(computes(view) == Computes::Whole).now()
            }
        };
        set_text(&self.hint, hint);
        let sheet = view.writing.as_ref().map(|now| Sheet::of(kind, now));
        if *self.shown.borrow() != sheet {
            self.draw(sheet.as_ref())?;
            self.shown.replace(sheet);
        }
        Ok(())
    }

    /// Sums and texts are asked for in other words; what was asked before a page was drawn anew stands there again.
    fn speak_of(&self, kind: Kind, start: Option<&str>) {
        if self.fields.kind.replace(Some(kind)) == Some(kind) {
            return;
        }
        let [title, label, go, usual] = match kind {
            Kind::Sums => [
                words::WRITE_SUM_TITLE,
                words::WRITE_SUM,
                words::WRITE_ASK,
                words::WRITE_USUAL_SUM,
            ],
            Kind::Text => [
                words::WRITE_TITLE,
                words::WRITE_START,
                words::WRITE_GO,
                words::WRITE_USUAL,
            ],
        };
        set_text(&self.title, title.now());
        set_text(&self.label, label.now());
        set_text(&self.go, go.now());
        let start = start.unwrap_or(usual.now());
        self.fields.start.set_value(start);
        show(&self.manner, kind == Kind::Text);
    }

    fn draw(&self, sheet: Option<&Sheet>) -> Result<(), JsValue> {
        show(&self.status, sheet.is_some());
        show(&self.newest, sheet.is_some_and(|sheet| !sheet.refused));
        let stops = sheet.is_some_and(|sheet| sheet.stops);
        show(&self.stop, stops);
        let several =
            sheet.is_some_and(|sheet| sheet.written.len() + usize::from(sheet.writes) > 1);
        show(&self.list, several);
        let Some(sheet) = sheet else { return Ok(()) };
        set_text(&self.status, &sheet.status);
        set_attribute(&self.status, "data-refused", yes(sheet.refused))?;
        set_attribute(&self.newest, "data-writes", yes(sheet.writes))?;
        clear(&self.newest);
        self.line(&self.newest, &sheet.newest)?;
        let before = self.shown.borrow();
        if before.as_ref().map(|before| &before.written) != Some(&sheet.written) {
            clear(&self.written);
            for line in &sheet.written {
                let item = self.dom.child(&self.written, "li", "")?;
                let after = words::write_row(&line.steps);
                self.dom.text(&item, "span", "after", &after)?;
                let text = self.dom.child(&item, "span", "line")?;
                self.line(&text, line)?;
            }
        }
        Ok(())
    }

    fn line(&self, parent: &Element, line: &Line) -> Result<(), JsValue> {
        self.dom.text(parent, "span", "start", &line.start)?;
        self.dom.text(parent, "span", "text", &line.text)?;
        let verdict = match line.is_right {
            Some(true) => ("right", words::WRITE_RIGHT),
            Some(false) => ("wrong", words::WRITE_WRONG),
            None => return Ok(()),
        };
        let (class, text) = verdict;
        let verdict = self.dom.text(parent, "span", "verdict", text.now())?;
        verdict.set_attribute("data-verdict", class)
    }
}

impl Fields {
    /// With the label of the start, and the place of what only texts have.
    fn new(dom: &Dom, form: &Element) -> Result<(Self, Element, HtmlElement), JsValue> {
        let row = dom.child(form, "div", "line")?;
        let label = dom.text(&row, "label", "", words::WRITE_START.now())?;
        label.set_attribute("for", "start")?;
        let start: HtmlInputElement = dom.typed(&row, "input", "")?;
        start.set_id("start");
        for (name, value) in [
            ("maxlength", START_CHARACTERS_MAX.to_string().as_str()),
            ("autocomplete", "off"),
            ("autocapitalize", "off"),
            ("autocorrect", "off"),
            ("spellcheck", "false"),
            ("enterkeyhint", "go"),
            ("required", ""),
        ] {
            start.set_attribute(name, value)?;
        }
        let options = dom.child(form, "div", "options")?;
        let place: HtmlElement = dom.typed(&options, "div", "manner")?;
        dom.text(&place, "label", "", words::WRITE_MANNER.now())?
            .set_attribute("for", "manner")?;
        let manner: HtmlSelectElement = dom.typed(&place, "select", "")?;
        manner.set_id("manner");
        for (value, text) in MANNERS {
            dom.text(&manner, "option", "", text.now())?
                .set_attribute("value", value)?;
        }
        manner.set_value(MANNERS[1].0);
        let again = dom.child(&options, "label", "again")?;
        let input: HtmlInputElement = dom.typed(&again, "input", "")?;
        input.set_type("checkbox");
        input.set_checked(true);
        dom.text(&again, "span", "", words::WRITE_AGAIN.now())?;
        let fields = Self {
            kind: Cell::new(None),
            start,
            manner,
            again: input,
        };
        Ok((fields, label, place))
    }

    fn read(&self) -> Command {
        let kind = self.kind.get().unwrap_or(Kind::Text);
        let manner = self.manner.value().parse().unwrap_or(0);
        Command::Write {
            start: kind.start(&self.start.value()),
            // Of a sum only the likeliest digits are of interest.
            temperature_percent: if kind == Kind::Sums { 0 } else { manner },
            again: self.again.checked(),
        }
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
