//! Carries out a [`RingDrawing`], and lets a [`Replay`] move on it.

mod canvas;
mod discs;

pub(super) use canvas::Canvas;

use super::dom::{Dom, set_text, show};
use super::motion::{Motion, Moves};
use crate::replay::Replay;
use crate::ring::RingDrawing;
use crate::words;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement, Window};

/// The width, in pixels, under which names are left to the table.
const NARROW_PIXELS: i32 = 430;

/// Seconds after which a replay that no other follows is no longer shown.
const REPLAY_SECONDS_MAX: f64 = 2.5;

/// The drawing of the ring.
pub(super) struct Ring {
    section: Element,
    heading: Option<Element>,
    motion: Motion,
    moving: Rc<Moving>,
    legend: HtmlElement,
    speed: Element,
}

/// What moves: the canvas, and the replay that runs on it.
struct Moving {
    canvas: Canvas,
    replay: RefCell<Option<Running>>,
}

struct Running {
    replay: Replay,
    since: f64,
}

impl Ring {
    pub(super) fn new(dom: &Dom, parent: &Element, window: &Window) -> Result<Self, JsValue> {
        let section = dom.section(parent, "ring", words::RING_TITLE.now())?;
        let canvas = Canvas::new(dom, &section)?;
        let legend: HtmlElement = dom.typed(&section, "p", "motion")?;
        for (class, text) in [
            ("activation", words::MOTION_ACTIVATIONS.now()),
            ("gradient", words::MOTION_GRADIENTS.now()),
        ] {
            let item = dom.child(&legend, "span", "kind")?;
            dom.child(&item, "span", &format!("dot {class}"))?;
            dom.text(&item, "span", "", text)?;
        }
        let speed = dom.child(&legend, "span", "speed")?;
        show(&legend, false);
        let replay = RefCell::default();
        Ok(Self {
            heading: section.first_element_child(),
            section,
            motion: Motion::new(window)?,
            moving: Rc::new(Moving { canvas, replay }),
            legend,
            speed,
        })
    }

    /// Whether there is too little width for names. An element that is not laid out yet counts as wide.
    pub(super) fn is_narrow(&self) -> bool {
        (1..NARROW_PIXELS).contains(&self.section.client_width())
    }

    /// Shows a drawing, with three lines of text in its middle, and what moved lately.
    pub(super) fn update(
        &self,
        drawing: RingDrawing,
        centre: [String; 3],
        replay: Option<Replay>,
    ) -> Result<(), JsValue> {
        if let Some(heading) = &self.heading {
            set_text(heading, drawing.title);
        }
        let moves = self.motion.is_on();
        let canvas = &self.moving.canvas;
        canvas.draw(drawing, moves)?;
        canvas.write_centre(centre);
        let replay = replay.filter(|_| moves);
        show(&self.legend, replay.is_some());
        if let Some(replay) = &replay {
            set_text(&self.speed, &words::slower(replay.slower));
        }
        self.moving.play(replay, self.motion.now());
        if moves {
            self.motion.wake(&self.moving)
        } else {
            canvas.settle()
        }
    }
}

impl Moving {
    /// Begins a replay, unless it runs already.
    fn play(&self, replay: Option<Replay>, now: f64) {
        let mut running = self.replay.borrow_mut();
        let runs = running.as_ref().map(|running| running.replay.until);
        if runs != replay.as_ref().map(|replay| replay.until) {
            *running = replay.map(|replay| Running { replay, since: now });
        }
    }
}

impl Moves for Moving {
    fn frame(&self, now: f64) -> Result<bool, JsValue> {
        let walks = self.canvas.walk(now)?;
        let running = self.replay.borrow();
        let seconds = running
            .as_ref()
            .map_or(f64::INFINITY, |running| (now - running.since) / 1000.0);
        let playing = running.as_ref().filter(|_| seconds < REPLAY_SECONDS_MAX);
        match playing {
            // Held at its end until the next begins.
            Some(Running { replay, .. }) => {
                let seconds = seconds.clamp(0.0, replay.seconds() - 1e-3);
                self.canvas
                    .show_moment(|place| replay.doing(place, seconds), replay.dots(seconds))?;
            }
            None => self.canvas.show_moment(|_| None, std::iter::empty())?,
        }
        Ok(walks || playing.is_some())
    }
}
