//! Drives whole rings: a signalling server in this process, browsers through WebDriver, native peers as processes.
//!
//! A [`Theatre`] is one test's place: it waits for its turn (two cores do not carry two rings of tabs at once), starts the
//! server and says which browsers there are. A [`Browser`] is one browser process with a profile of its own, a [`Tab`] one
//! page in it. A tab is watched from outside, by what its user sees (`data-state` of the body, texts) and by what the page
//! offers to programs (`ringtmp.view()`). Every wait has a limit and fails with the page's own words and a picture.
//!
//! Everything is closed and killed when its owner is dropped, also by a failed test.

mod browser;
pub mod chaos;
mod driver;
pub mod hosts;
pub mod keep;
pub mod links;
mod native;
pub mod processes;
pub mod program;
pub mod relay;
pub mod ring;
pub mod source;
pub mod speed;
mod tab;
pub mod team;
pub mod terminal;
mod theatre;
pub mod turn;

pub use browser::{Browser, BrowserKind, Look, Profile};
pub use native::NativePeer;
pub use tab::Tab;
pub use theatre::{Theatre, fragment_last, repository};
