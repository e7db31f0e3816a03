//! How much travels on each link in a second, from what devices report.

use crate::rate::Meter;
use ringtmp_core::ids::PeerId;
use ringtmp_core::signal::RoomView;
use std::collections::BTreeMap;

/// The most links that are counted; a ring has two for each of its devices.
const LINKS_MAX: usize = 4096;

/// A meter for each directed link.
#[derive(Debug, Default)]
pub struct Traffic {
    links: BTreeMap<(PeerId, PeerId), Meter>,
}

impl Traffic {
    /// Takes down what the members of a room have sent by `seconds`.
    pub fn observe(&mut self, seconds: f64, room: &RoomView) {
        let sent = room.members.iter().flat_map(|member| {
            let links = member.links.iter();
            links.map(|link| ((member.peer, link.to), link.bytes))
        });
        let sent: BTreeMap<_, _> = sent.take(LINKS_MAX).collect();
        self.links.retain(|link, _| sent.contains_key(link));
        for (link, bytes) in sent {
            self.links.entry(link).or_default().observe(seconds, bytes);
        }
    }

    /// Bytes a second over the last seconds, once there are two counts.
    pub fn per_second(&self, from: PeerId, to: PeerId) -> Option<f64> {
        self.links.get(&(from, to))?.per_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::tests_view;
    use ringtmp_core::signal::LinkTraffic;

    #[test]
    fn each_direction_of_a_link_has_its_own_rate_and_is_forgotten_with_it() {
        let mut view = tests_view();
        let room = view.room.as_mut().expect("a room");
        let (one, two) = (PeerId(1), PeerId(2));
        let mut traffic = Traffic::default();
        for second in 0..3 {
            room.members[0].links = vec![LinkTraffic {
                to: two,
                bytes: 100 * second,
                relayed: false,
            }];
            room.members[1].links = vec![LinkTraffic {
                to: one,
                bytes: 7 * second,
                relayed: false,
            }];
            traffic.observe(second as f64, room);
        }
        assert_eq!(traffic.per_second(one, two), Some(100.0));
        assert_eq!(traffic.per_second(two, one), Some(7.0));
        room.members[0].links.clear();
        traffic.observe(3.0, room);
        assert_eq!(traffic.per_second(one, two), None);
    }
}
