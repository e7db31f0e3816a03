//! One loop of animation frames for all that moves on a page.
//!
//! Browsers ask for no frames of a hidden page, so that nothing moves there. Whoever prefers reduced motion sees
//! every change at once and no motion at all.

use js_sys::Function;
use std::cell::{Cell, OnceCell};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;
use web_sys::{MediaQueryList, Window};

/// What moves.
pub(super) trait Moves {
    /// Shows itself as it is at `now`, in milliseconds; says whether it goes on moving.
    fn frame(&self, now: f64) -> Result<bool, JsValue>;
}

/// The loop. It runs while something moves.
pub(super) struct Motion {
    window: Window,
    reduced: Option<MediaQueryList>,
    asked: Rc<Cell<bool>>,
    frame: OnceCell<Function>,
}

impl Motion {
    pub(super) fn new(window: &Window) -> Result<Self, JsValue> {
        Ok(Self {
            window: window.clone(),
            reduced: window.match_media("(prefers-reduced-motion: reduce)")?,
            asked: Rc::default(),
            frame: OnceCell::new(),
        })
    }

    /// Whether things may move, and are seen.
    pub(super) fn is_on(&self) -> bool {
        let reduced = self.reduced.as_ref().is_some_and(MediaQueryList::matches);
        let hidden = self.window.document().is_none_or(|page| page.hidden());
        !reduced && !hidden
    }

    /// Milliseconds, by the clock that frames have.
    pub(super) fn now(&self) -> f64 {
        self.window
            .performance()
            .map_or(0.0, |performance| performance.now())
    }

    /// Asks for frames until what moves says that it is done.
    pub(super) fn wake(&self, moves: &Rc<impl Moves + 'static>) -> Result<(), JsValue> {
        let frame = self.frame.get_or_init(|| self.frames(Rc::downgrade(moves)));
        if !self.asked.replace(true) {
            self.window.request_animation_frame(frame)?;
        }
        Ok(())
    }

    fn frames(&self, moves: Weak<impl Moves + 'static>) -> Function {
        let (window, asked) = (self.window.clone(), Rc::clone(&self.asked));
        let itself: Rc<OnceCell<Function>> = Rc::default();
        let next = Rc::clone(&itself);
        let frame = Closure::<dyn Fn(f64)>::new(move |now: f64| {
            let Some(moves) = moves.upgrade() else { return };
            let goes_on = match moves.frame(now) {
                Ok(goes_on) => goes_on,
                Err(error) => wasm_bindgen::throw_val(error),
            };
            asked.set(goes_on);
            if let (true, Some(frame)) = (goes_on, next.get())
                && let Err(error) = window.request_animation_frame(frame)
            {
                wasm_bindgen::throw_val(error);
            }
        });
        // Lives as long as the page does, as the loop may.
        let frame: Function = frame.into_js_value().unchecked_into();
        itself.set(frame.clone()).ok();
        frame
    }
}
