//! The card on which a digit is drawn: the network is asked what it is, and it can be labelled and trained on.

use super::dom::{Dom, clear, listen, set_attribute, set_text, show};
use crate::drawing::{self, Drawing, Readiness, SIDE, Verdict};
use crate::format;
use crate::shown::Phase;
use crate::words;
use ringtmp_peer::{Command, View};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, Event, HtmlElement, PointerEvent};

/// The card.
pub(super) struct Draw(Rc<Card>);

struct Card {
    dom: Dom,
    section: HtmlElement,
    hint: Element,
    tools: HtmlElement,
    pad: Element,
    /// Of the labels.
    group: HtmlElement,
    labels: Vec<Element>,
    clear: Element,
    train: HtmlElement,
    fates: Element,
    drawing: RefCell<Drawing>,
    /// The pen that draws.
    pen: Cell<Option<i32>>,
    label: Cell<Option<u32>>,
    /// Whether what is drawn now was asked about.
    asks: Cell<bool>,
    shown: RefCell<Vec<String>>,
    verdict: Answer,
    act: Rc<dyn Fn(Command)>,
}

/// What the network says, and a bar for each digit.
struct Answer {
    place: HtmlElement,
    sentence: Element,
    list: HtmlElement,
    /// Bar and number of each digit.
    bars: Vec<[Element; 3]>,
    shown: RefCell<Option<Verdict>>,
}

impl Answer {
    fn new(dom: &Dom, parent: &Element) -> Result<Self, JsValue> {
        let place: HtmlElement = dom.typed(parent, "div", "answer")?;
        let sentence = dom.child(&place, "p", "")?;
        sentence.set_attribute("role", "status")?;
        let list: HtmlElement = dom.typed(&place, "ol", "bars")?;
        list.set_attribute("role", "list")?;
        list.set_attribute("aria-label", words::ASK_BARS.now())?;
        let bar = |digit: usize| {
            let item = dom.child(&list, "li", "")?;
            dom.text(&item, "span", "digit", &digit.to_string())?;
            let bar = dom.child(&item, "progress", "")?;
            bar.set_attribute("max", "1")?;
            // The number beside it says the same.
            bar.set_attribute("aria-hidden", "true")?;
            let share = dom.child(&item, "span", "share-of-one")?;
            Ok::<_, JsValue>([item, bar, share])
        };
        let bars = (0..DIGITS).map(bar).collect::<Result<Vec<_>, _>>()?;
        show(&place, false);
        Ok(Self {
            place,
            sentence,
            list,
            bars,
            shown: RefCell::default(),
        })
    }

    fn update(&self, verdict: Option<Verdict>) -> Result<(), JsValue> {
        if *self.shown.borrow() == verdict {
            return Ok(());
        }
        show(&self.place, verdict.is_some());
        if let Some(verdict) = &verdict {
            set_text(&self.sentence, &verdict.sentence);
            show(&self.list, !verdict.probabilities.is_empty());
            let shares = verdict.probabilities.iter().enumerate();
            for ((digit, share), [item, bar, text]) in shares.zip(&self.bars) {
                set_attribute(bar, "value", &share.to_string())?;
                set_text(text, &format::percent(*share));
                let is_likeliest = verdict.likeliest == Some(digit);
                let likeliest = if is_likeliest { "yes" } else { "no" };
                set_attribute(item, "data-likeliest", likeliest)?;
            }
        }
        self.shown.replace(verdict);
        Ok(())
    }
}

const DIGITS: usize = 10;

impl Draw {
    /// `act` is called with what is to be trained on.
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        act: Rc<dyn Fn(Command)>,
    ) -> Result<Self, JsValue> {
        let section = dom.section(parent, "draw", words::DRAW_TITLE.now())?;
        let hint = dom.text(&section, "p", "hint", "")?;
        let tools: HtmlElement = dom.typed(&section, "div", "draw-tools")?;
        let view_box = format!("0 0 {SIDE} {SIDE}");
        let pad = dom.svg(&tools, "svg", &[("class", "pad"), ("viewBox", &view_box)])?;
        pad.set_attribute("role", "img")?;
        pad.set_attribute("aria-label", words::DRAW_PAD.now())?;
        let verdict = Answer::new(dom, &tools)?;
        let side = dom.child(&tools, "div", "draw-side")?;
        let group: HtmlElement = dom.typed(&side, "div", "draw-labels")?;
        group.set_attribute("role", "group")?;
        group.set_attribute("aria-label", words::DRAW_LABELS.now())?;
        let button = |parent: &Element, class: &str, text: &str| {
            let button = dom.text(parent, "button", class, text)?;
            button.set_attribute("type", "button")?;
            Ok::<_, JsValue>(button)
        };
        let labels = (0..DIGITS)
            .map(|label| button(&group, "", &label.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let row = dom.child(&side, "div", "controls")?;
        let train = button(&row, "primary", words::DRAW_TRAIN.now())?.dyn_into()?;
        let clear = button(&row, "", words::DRAW_CLEAR.now())?;
        let fates = dom.child(&side, "ul", "fates")?;
        fates.set_attribute("aria-live", "polite")?;
        let card = Rc::new(Card {
            dom: dom.clone(),
            section: section.dyn_into()?,
            hint,
            tools,
            pad,
            group,
            labels,
            clear,
            train,
            fates,
            drawing: RefCell::default(),
            pen: Cell::new(None),
            label: Cell::new(None),
            asks: Cell::new(false),
            shown: RefCell::default(),
            verdict,
            act,
        });
        card.listen_to_pen()?;
        card.listen_to_buttons()?;
        card.refresh()?;
        Ok(Self(card))
    }

    pub(super) fn update(&self, phase: Phase, view: Option<&View>) -> Result<(), JsValue> {
        let card = &self.0;
        let readiness = view.map_or(Readiness::Never, |view| Readiness::of(phase, view));
        show(&card.section, readiness != Readiness::Never);
        let asks = matches!(readiness, Readiness::Ready | Readiness::Asks);
        show(&card.tools, asks);
        let trains = readiness == Readiness::Ready;
        show(&card.group, trains);
        show(&card.train, trains);
        set_text(
            &card.hint,
            match readiness {
                Readiness::NotNow(why) => why,
                Readiness::Ready => words::DRAW_HINT.now(),
                Readiness::Asks => words::DRAW_ASKS_HINT.now(),
                Readiness::Never => "",
            },
        );
        let asked = view.and_then(|view| view.asked.as_ref());
        // An answer belongs to what is drawn.
        let asked = asked.filter(|_| card.asks.get());
        card.verdict.update(asked.map(Verdict::of))?;
        let fresh = view.map(|view| &view.fresh[..]).unwrap_or_default();
        let lines: Vec<String> = fresh.iter().rev().map(drawing::line).collect();
        if *card.shown.borrow() != lines {
            clear(&card.fates);
            for line in &lines {
                card.dom.text(&card.fates, "li", "", line)?;
            }
            card.shown.replace(lines);
        }
        Ok(())
    }
}

impl Card {
    /// One pen at a time draws: a finger, a mouse, a stylus.
    fn listen_to_pen(self: &Rc<Self>) -> Result<(), JsValue> {
        let on = |event: &str, act: fn(&Self, &PointerEvent) -> Result<(), JsValue>| {
            let card = Rc::clone(self);
            listen(&self.pad, event, move |event: Event| {
                if let Ok(event) = event.dyn_into::<PointerEvent>()
                    && let Err(error) = act(&card, &event)
                {
                    wasm_bindgen::throw_val(error);
                }
            })
        };
        on("pointerdown", Self::pen_down)?;
        on("pointermove", Self::pen_moved)?;
        on("pointerup", Self::pen_up)?;
        on("pointercancel", Self::pen_up)
    }

    fn listen_to_buttons(self: &Rc<Self>) -> Result<(), JsValue> {
        for (label, button) in (0..).zip(&self.labels) {
            let card = Rc::clone(self);
            listen(button, "click", move |_| {
                card.label.set(Some(label));
                card.refreshed();
            })?;
        }
        let card = Rc::clone(self);
        listen(&self.clear, "click", move |_| {
            card.forget();
        })?;
        let card = Rc::clone(self);
        listen(&self.train, "click", move |_| {
            let Some(label) = card.label.take() else {
                return;
            };
            let strokes = card.drawing.borrow_mut().take();
            (card.act)(Command::TrainOn { strokes, label });
            card.forget();
        })
    }

    fn pen_down(&self, event: &PointerEvent) -> Result<(), JsValue> {
        if self.pen.get().is_some() {
            return Ok(());
        }
        event.prevent_default();
        // A pen that is up again cannot be captured; it then draws a dot.
        let _ = self.pad.set_pointer_capture(event.pointer_id());
        self.pen.set(Some(event.pointer_id()));
        self.drawing.borrow_mut().begin(self.place(event));
        self.dom.svg(&self.pad, "polyline", &[])?;
        self.draw_last()?;
        self.refresh()
    }

    fn pen_moved(&self, event: &PointerEvent) -> Result<(), JsValue> {
        if self.pen.get() != Some(event.pointer_id()) {
            return Ok(());
        }
        self.drawing.borrow_mut().extend(self.place(event));
        self.draw_last()
    }

    fn pen_up(&self, event: &PointerEvent) -> Result<(), JsValue> {
        if self.pen.get() == Some(event.pointer_id()) {
            self.pen.set(None);
            self.asks.set(true);
            let strokes = self.drawing.borrow().strokes();
            (self.act)(Command::Ask { strokes });
        }
        Ok(())
    }

    /// Where the pen is, in the drawing's unit.
    fn place(&self, event: &PointerEvent) -> [u16; 2] {
        let area = self.pad.get_bounding_client_rect();
        let unit = |place: f64, start: f64, length: f64| {
            let share = (place - start) / length.max(1.0);
            // `as` takes what is no number for 0.
            (share.clamp(0.0, 1.0) * f64::from(SIDE)) as u16
        };
        let (x, y) = (f64::from(event.client_x()), f64::from(event.client_y()));
        [
            unit(x, area.left(), area.width()),
            unit(y, area.top(), area.height()),
        ]
    }

    fn draw_last(&self) -> Result<(), JsValue> {
        match self.pad.last_element_child() {
            Some(line) => set_attribute(&line, "points", &self.drawing.borrow().last_polyline()),
            None => Ok(()),
        }
    }

    fn forget(&self) {
        self.drawing.borrow_mut().take();
        self.pen.set(None);
        self.label.set(None);
        self.asks.set(false);
        clear(&self.pad);
        if let Err(error) = self.verdict.update(None) {
            wasm_bindgen::throw_val(error);
        }
        self.refreshed();
    }

    fn refreshed(&self) {
        if let Err(error) = self.refresh() {
            wasm_bindgen::throw_val(error);
        }
    }

    /// Which label is chosen, and whether there is something to train on.
    fn refresh(&self) -> Result<(), JsValue> {
        for (label, button) in (0..).zip(&self.labels) {
            let pressed = self.label.get() == Some(label);
            set_attribute(
                button,
                "aria-pressed",
                if pressed { "true" } else { "false" },
            )?;
        }
        let drawn = !self.drawing.borrow().is_empty();
        enable(&self.train, drawn && self.label.get().is_some())?;
        enable(&self.clear, drawn)
    }
}

fn enable(button: &Element, enabled: bool) -> Result<(), JsValue> {
    if enabled {
        button.remove_attribute("disabled")
    } else {
        set_attribute(button, "disabled", "")
    }
}
