//! What is said of a room that was opened here.

use crate::room_url::RoomUrl;
use ringtmp_core::secret::RoomLink;

/// What `--open` means, for those who are in such a room.
pub(crate) const OPEN: &str =
    "This room is open: whoever reaches the server and hears the room's code may take part.";

/// Prints the room's address on standard output, and who may take part on standard error.
pub(crate) fn announce(url: &RoomUrl) {
    outln!("{url}");
    eprintln!("{}", who_may_take_part(&url.link));
}

/// Who may take part in a room.
pub(crate) const fn who_may_take_part(link: &RoomLink) -> &'static str {
    match link.secret {
        Some(_) => {
            "The address holds the room's secret: give it to those alone who are to take part."
        }
        None => OPEN,
    }
}
