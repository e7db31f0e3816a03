//! Keeps the screen on while this device trains: a phone that locks its screen stops the page.
//!
//! The lock is a browser's (`navigator.wakeLock`), given only to pages that came over HTTPS or from this computer, and taken away
//! whenever the page is hidden. It is asked for again when the page is seen again.

use super::dom::listen;
use js_sys::{Function, Promise, Reflect};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Document, Window};

/// The screen.
pub(super) struct Awake {
    window: Window,
    document: Document,
    wanted: Cell<bool>,
    asking: Cell<bool>,
    /// The browser's word for it.
    lock: RefCell<Option<JsValue>>,
    /// Called when it changed.
    changed: Box<dyn Fn()>,
}

impl Awake {
    /// `changed` is called when the screen is kept on, or is not any more.
    pub(super) fn new(
        window: &Window,
        document: &Document,
        changed: impl Fn() + 'static,
    ) -> Result<Rc<Self>, JsValue> {
        let awake = Rc::new(Self {
            window: window.clone(),
            document: document.clone(),
            wanted: Cell::new(false),
            asking: Cell::new(false),
            lock: RefCell::new(None),
            changed: Box::new(changed),
        });
        let again = Rc::downgrade(&awake);
        listen(document, "visibilitychange", move |_| {
            if let Some(awake) = again.upgrade() {
                awake.ask();
            }
        })?;
        Ok(awake)
    }

    /// Whether the browser keeps the screen on for this page.
    pub(super) fn is_kept(&self) -> bool {
        self.lock.borrow().is_some()
    }

    /// Whether the screen shall stay on from now on.
    pub(super) fn want(self: &Rc<Self>, wanted: bool) {
        if self.wanted.replace(wanted) == wanted {
            return;
        }
        if wanted {
            return self.ask();
        }
        // Released, it says so before this returns.
        let lock = self.lock.borrow_mut().take();
        if let Some(lock) = lock {
            // One that the browser has taken back already is no matter.
            let _released = call(&lock, "release", &[]);
        }
    }

    fn ask(self: &Rc<Self>) {
        let seen = !self.document.hidden();
        if !self.wanted.get() || !seen || self.is_kept() || self.asking.replace(true) {
            return;
        }
        let awake = Rc::clone(self);
        spawn_local(async move {
            let lock = awake.request().await;
            awake.asking.set(false);
            // A browser may say no, to save its battery; the page says what that means.
            let Ok(lock) = lock else { return };
            if !awake.wanted.get() {
                let _released = call(&lock, "release", &[]);
                return;
            }
            awake.keep(lock);
        });
    }

    async fn request(&self) -> Result<JsValue, JsValue> {
        let locks = Reflect::get(&self.window.navigator(), &"wakeLock".into())?;
        let promise = call(&locks, "request", &["screen".into()])?;
        JsFuture::from(promise.dyn_into::<Promise>()?).await
    }

    fn keep(self: &Rc<Self>, lock: JsValue) {
        let awake = Rc::downgrade(self);
        let released = Closure::once_into_js(move || {
            if let Some(awake) = awake.upgrade() {
                awake.lock.borrow_mut().take();
                // It may be let go of while the page is drawn.
                spawn_local(async move { (awake.changed)() });
            }
        });
        // Set as a property: the last listener of a lock that is gone goes with it.
        let _set = Reflect::set(&lock, &"onrelease".into(), &released);
        *self.lock.borrow_mut() = Some(lock);
        (self.changed)();
    }
}

/// Calls a method that `web-sys` counts as unstable, or an error where the browser has none.
pub(super) fn call(of: &JsValue, name: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let method: Function = Reflect::get(of, &name.into())?.dyn_into()?;
    method.apply(of, &arguments.iter().collect())
}
