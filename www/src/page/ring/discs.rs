//! The devices on the ring. Each stays the same element as long as it is there, and walks when its place changes.

use super::canvas::{length, title, write};
use crate::page::dom::{Dom, clear, set_attribute, set_text};
use crate::replay::Doing;
use crate::ring::{Disc, LINE, on_its_way};
use ringtmp_core::ids::PeerId;
use ringtmp_core::signal::Form;
use std::cell::{Cell, RefCell};
use wasm_bindgen::prelude::*;
use web_sys::Element;

/// Milliseconds that a device takes to its place, or to fade.
const WALK_MS: f64 = 700.0;

/// The smallest disc with a picture of its device in it.
const ICON_RADIUS_MIN: f64 = 27.0;

/// A disc below this has a smaller number.
const SMALL_RADIUS: f64 = 18.0;

pub(super) struct Discs {
    dom: Dom,
    place: Element,
    here: RefCell<Vec<Standing>>,
    /// Devices that are gone and fade.
    gone: RefCell<Vec<Standing>>,
}

/// A device where it is now.
struct Standing {
    peer: Option<PeerId>,
    group: Element,
    badge: Element,
    letter: Element,
    drawn: RefCell<Option<Disc>>,
    doing: Cell<Option<Doing>>,
    walk: Cell<Walk>,
    /// Where it is, and how visible.
    at: Cell<(f64, f64, f64)>,
}

/// From where and how visible to where and how visible; since when, which the first frame tells.
#[derive(Clone, Copy)]
struct Walk {
    /// Of the ring.
    centre: (f64, f64),
    from: (f64, f64, f64),
    to: (f64, f64, f64),
    since: Option<f64>,
    over: bool,
}

impl Walk {
    /// How far it is at `now`: place and visibility.
    fn at(&self, now: f64) -> (f64, f64, f64) {
        let share = self
            .since
            .map_or(0.0, |since| ((now - since) / WALK_MS).clamp(0.0, 1.0));
        // Fast at first, gently to its end.
        let share = 1.0 - (1.0 - share).powi(3);
        let between = |from: f64, to: f64| from + (to - from) * share;
        let ((x0, y0, v0), (x1, y1, v1)) = (self.from, self.to);
        let (x, y) = on_its_way(self.centre, (x0, y0), (x1, y1), share);
        (x, y, between(v0, v1))
    }
}

impl Discs {
    pub(super) fn new(dom: &Dom, place: &Element) -> Self {
        Self {
            dom: dom.clone(),
            place: place.clone(),
            here: RefCell::default(),
            gone: RefCell::default(),
        }
    }

    /// Brings the devices up to date. Where things move, newcomers come from outside, the lost fade, and others walk.
    pub(super) fn update(
        &self,
        discs: &[Disc],
        centre: (f64, f64),
        moves: bool,
    ) -> Result<(), JsValue> {
        let mut here = self.here.borrow_mut();
        let mut before = std::mem::take(&mut *here);
        for (i, disc) in discs.iter().enumerate() {
            let same = |standing: &Standing| match disc.peer {
                Some(_) => standing.peer == disc.peer,
                None => false,
            };
            let found = before.iter().position(same);
            let standing = match found {
                Some(at) => before.swap_remove(at),
                None => Standing::new(&self.dom, &self.place, disc, moves)?,
            };
            standing.update(&self.dom, disc, centre, moves)?;
            set_attribute(&standing.group, "data-place", &(i + 1).to_string())?;
            here.push(standing);
        }
        for lost in before {
            if moves {
                let (x, y, _) = lost.walk.get().to;
                lost.go((x, y, 0.0), centre);
                lost.group.set_attribute("data-gone", "")?;
                self.gone.borrow_mut().push(lost);
            } else {
                lost.group.remove();
            }
        }
        Ok(())
    }

    pub(super) fn walk(&self, now: f64) -> Result<bool, JsValue> {
        let mut walks = false;
        for standing in self.here.borrow().iter() {
            walks |= standing.step(now)?;
        }
        let mut gone = self.gone.borrow_mut();
        for standing in gone.iter() {
            if !standing.step(now)? {
                standing.group.remove();
            }
        }
        gone.retain(|standing| !standing.walk.get().over);
        Ok(walks || !gone.is_empty())
    }

    /// Brings all to their places at once.
    pub(super) fn settle(&self) -> Result<(), JsValue> {
        for standing in self.here.borrow().iter() {
            standing.arrive()?;
        }
        for standing in self.gone.borrow_mut().drain(..) {
            standing.group.remove();
        }
        Ok(())
    }

    pub(super) fn show_doing(&self, doing: impl Fn(usize) -> Option<Doing>) -> Result<(), JsValue> {
        for (i, standing) in self.here.borrow().iter().enumerate() {
            let now = doing(i);
            if standing.doing.replace(now) == now {
                continue;
            }
            set_attribute(&standing.group, "data-doing", now.map_or("", Doing::key))?;
            set_text(&standing.letter, now.map_or("", Doing::letter));
        }
        Ok(())
    }
}

impl Standing {
    fn new(dom: &Dom, place: &Element, disc: &Disc, moves: bool) -> Result<Self, JsValue> {
        let group = dom.svg(place, "g", &[])?;
        let badge = dom.svg(&group, "g", &[("class", "badge")])?;
        let letter = dom.svg(
            &badge,
            "text",
            &[("dy", "0.35em"), ("text-anchor", "middle")],
        )?;
        let at = (disc.at.0, disc.at.1, 1.0);
        let from = match moves {
            true => (disc.from.0, disc.from.1, 0.0),
            false => at,
        };
        let standing = Self {
            peer: disc.peer,
            group,
            badge,
            letter,
            drawn: RefCell::default(),
            doing: Cell::new(None),
            walk: Cell::new(Walk {
                centre: (0.0, 0.0),
                from,
                to: from,
                since: None,
                over: true,
            }),
            at: Cell::new(from),
        };
        standing.put(from)?;
        Ok(standing)
    }

    fn update(
        &self,
        dom: &Dom,
        disc: &Disc,
        centre: (f64, f64),
        moves: bool,
    ) -> Result<(), JsValue> {
        let to = (disc.at.0, disc.at.1, 1.0);
        if self.walk.get().to != to {
            self.go(to, centre);
            if !moves {
                self.arrive()?;
            }
        }
        let place_apart = |disc: &Disc| Disc {
            at: (0.0, 0.0),
            from: (0.0, 0.0),
            ..disc.clone()
        };
        let drawn = self.drawn.borrow().as_ref().map(place_apart);
        if drawn.as_ref() != Some(&place_apart(disc)) {
            self.draw(dom, disc)?;
        }
        *self.drawn.borrow_mut() = Some(disc.clone());
        Ok(())
    }

    /// Sets out for another place, from where it is.
    fn go(&self, to: (f64, f64, f64), centre: (f64, f64)) {
        self.walk.set(Walk {
            centre,
            from: self.at.get(),
            to,
            since: None,
            over: false,
        });
    }

    /// One frame further. Says whether it is on its way still.
    fn step(&self, now: f64) -> Result<bool, JsValue> {
        let mut walk = self.walk.get();
        if walk.over {
            return Ok(false);
        }
        let since = *walk.since.get_or_insert(now);
        walk.over = now - since >= WALK_MS;
        self.walk.set(walk);
        self.put(walk.at(now))?;
        Ok(!walk.over)
    }

    fn arrive(&self) -> Result<(), JsValue> {
        let mut walk = self.walk.get();
        if walk.over {
            return Ok(());
        }
        walk.over = true;
        self.walk.set(walk);
        self.put(walk.to)
    }

    fn put(&self, at: (f64, f64, f64)) -> Result<(), JsValue> {
        self.at.set(at);
        let (x, y, visible) = at;
        let place = format!("translate({x:.1} {y:.1})");
        set_attribute(&self.group, "transform", &place)?;
        set_attribute(&self.group, "opacity", &format!("{visible:.2}"))
    }

    fn draw(&self, dom: &Dom, disc: &Disc) -> Result<(), JsValue> {
        let mine = if disc.mine { " mine" } else { "" };
        let class = format!("disc {}{mine}", disc.status);
        set_attribute(&self.group, "class", &class)?;
        self.badge.remove();
        clear(&self.group);
        title(dom, &self.group, &disc.title)?;
        let radius = length(disc.radius);
        dom.svg(
            &self.group,
            "circle",
            &[("class", "halo"), ("r", &length(disc.radius + 5.0))],
        )?;
        dom.svg(&self.group, "circle", &[("class", "face"), ("r", &radius)])?;
        let icon = icon(disc).filter(|_| disc.radius >= ICON_RADIUS_MIN);
        let shift = if icon.is_some() {
            disc.radius * 0.28
        } else {
            0.0
        };
        if let Some(icon) = icon {
            let place = format!("translate(0 {:.1})", -disc.radius * 0.42);
            dom.svg(
                &self.group,
                "path",
                &[("class", "icon"), ("d", icon), ("transform", &place)],
            )?;
        }
        let class = if disc.radius < SMALL_RADIUS {
            "number small"
        } else {
            "number"
        };
        write(
            dom,
            &self.group,
            &disc.number,
            class,
            (0.0, shift),
            "middle",
        )?;
        if let Some(label) = &disc.label {
            let turn = format!("rotate({:.2})", label.turn);
            let texts = dom.svg(&self.group, "g", &[("transform", &turn)])?;
            for (i, line) in label.lines.iter().enumerate() {
                let class = if i == 0 { "name" } else { "layers" };
                let at = (label.at.0, label.at.1 + i as f64 * LINE);
                write(dom, &texts, line, class, at, label.anchor)?;
            }
        }
        let corner = disc.radius * 0.74;
        clear(&self.badge);
        let size = length((disc.radius * 0.36).max(8.0));
        dom.svg(&self.badge, "circle", &[("r", &size)])?;
        self.badge.append_child(&self.letter)?;
        self.badge.set_attribute(
            "transform",
            &format!("translate({corner:.1} {:.1})", -corner),
        )?;
        self.group.append_child(&self.badge)?;
        Ok(())
    }
}

/// A picture of the device, about 20 units wide.
fn icon(disc: &Disc) -> Option<&'static str> {
    if disc.native {
        return Some("M-11 -8h22v16h-22ZM-7 -3l4 3l-4 3M0 4h6");
    }
    match disc.form? {
        Form::Phone => Some("M-5 -9h10v18h-10ZM-1.5 6h3"),
        Form::Tablet => Some("M-7.5 -9.5h15v19h-15ZM-2 6.5h4"),
        Form::Computer => Some("M-9 -8h18v12h-18ZM-12 8h24"),
    }
}
