//! What is said and offered on behalf of a device that may not last.

use super::Phase;
use super::controls::own_status;
use crate::battery::{Battery, Drained};
use crate::format;
use crate::words;
use ringtmp_core::signal::{MemberStatus, Role};
use ringtmp_peer::View;

/// What is known of the device itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnDevice {
    /// Its battery, where the browser says.
    pub battery: Option<Battery>,
    /// What training has taken of it, if that can be told.
    pub drained: Option<Drained>,
    /// Whether it is used with fingers, as what has a lock screen is.
    pub has_touch: bool,
    /// Whether the browser keeps the screen on.
    pub screen_kept: bool,
}

/// What is said and offered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Care {
    /// What locking the device does; none where it has no lock, or does not train.
    pub screen: Option<&'static str>,
    /// Whether the browser keeps the screen on.
    pub screen_kept: bool,
    /// That the battery is low.
    pub battery: Option<String>,
    /// What training has taken of the battery.
    pub drained: Option<String>,
    /// Whether pausing is offered with it.
    pub may_pause: bool,
    /// Whether handing layers on is offered with it.
    pub may_hand_on: bool,
}

/// Whether this device computes, or is about to.
pub fn takes_part(phase: Phase, view: Option<&View>) -> bool {
    let works = matches!(
        phase,
        Phase::WarmingUp | Phase::Training | Phase::Reconfiguring
    );
    works && view.is_some_and(|view| view.role == Role::Participant)
}

impl Care {
    /// Of this device, in this phase.
    pub fn of(phase: Phase, view: Option<&View>, device: OwnDevice) -> Self {
        let takes_part = takes_part(phase, view);
        let screen = (takes_part && device.has_touch).then_some(match device.screen_kept {
            true => words::SCREEN_KEPT.now(),
            false => words::SCREEN_NOT_KEPT.now(),
        });
        let controls = phase.controls(view);
        let leaves = own_status(view) == Some(MemberStatus::Leaving);
        let low = device.battery.filter(|battery| battery.is_low() && !leaves);
        // Who holds nothing has nothing to save.
        let low = low.filter(|_| controls.hand_on);
        Self {
            screen,
            screen_kept: device.screen_kept,
            battery: low.map(|battery| words::battery_low((battery.level * 100.0).round() as u32)),
            drained: device.drained.map(|drained| {
                let percent = (drained.share * 100.0).round() as u32;
                words::battery_drained(percent, &format::duration(drained.seconds))
            }),
            may_pause: controls.pause,
            may_hand_on: controls.hand_on,
        }
    }
}
