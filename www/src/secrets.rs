//! Which rooms this browser has been let into, with their secrets, so that it comes back to them without their whole link.

use ringtmp_core::ids::RoomCode;
use ringtmp_core::secret::{RoomLink, RoomSecret};
use serde::{Deserialize, Serialize};

/// The most rooms that are remembered: those of some weeks, in a kilobyte.
pub const ROOMS_MAX: usize = 16;

/// The rooms, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets(Vec<RoomLink>);

impl Secrets {
    /// What was kept; nothing where it cannot be read.
    pub fn read(kept: &str) -> Self {
        serde_json::from_str(kept).unwrap_or_default()
    }

    /// To be kept.
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The secret of a room, if it is known here.
    pub fn of(&self, room: RoomCode) -> Option<RoomSecret> {
        let mut links = self.0.iter();
        links.find(|link| link.room == room)?.secret
    }

    /// Remembers a room that has let this device in. Whether there is anything new in that.
    pub fn remember(&mut self, link: RoomLink) -> bool {
        if link.secret.is_none() || self.of(link.room) == link.secret {
            return false;
        }
        self.0.retain(|other| other.room != link.room);
        self.0.insert(0, link);
        self.0.truncate(ROOMS_MAX);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: u8) -> RoomLink {
        RoomLink {
            room: RoomCode::from_random([number; 10]),
            secret: Some(RoomSecret::from_random([number; 16])),
        }
    }

    #[test]
    fn the_newest_rooms_are_remembered_and_read_back() {
        let mut secrets = Secrets::default();
        for number in 0..=ROOMS_MAX as u8 {
            assert!(secrets.remember(link(number)));
            assert!(!secrets.remember(link(number)), "it is known");
        }
        assert!(!secrets.remember(RoomLink::without_secret(link(200).room)));
        let secrets = Secrets::read(&secrets.write());
        assert_eq!(secrets.of(link(0).room), None, "the oldest has made place");
        assert_eq!(secrets.of(link(1).room), link(1).secret);
        assert_eq!(Secrets::read("nonsense"), Secrets::default());
    }

    #[test]
    fn a_room_that_has_another_secret_now_is_remembered_with_that() {
        let mut secrets = Secrets::default();
        secrets.remember(link(1));
        let secret = link(2).secret;
        assert!(secrets.remember(RoomLink { secret, ..link(1) }));
        assert_eq!(secrets.of(link(1).room), secret);
    }
}
