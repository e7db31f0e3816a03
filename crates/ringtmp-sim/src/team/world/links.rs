//! Links: a frame leaves by its sender's access link, and comes in by its receiver's.

use super::{Happening, Parcel, World, index};
use crate::team::TeamCompute;
use ringtmp_core::ids::Epoch;
use ringtmp_core::parameter_server::Input;
use ringtmp_core::trace::{Details, Span};
use std::time::Duration;

impl<C: TeamCompute> World<'_, C> {
    pub(super) fn link_up(&mut self, at: usize, other: usize, epoch: Epoch) {
        let Some(seat) = &self.devices[at].seat else {
            return;
        };
        let peer = seat.order.iter().position(|device| *device == other);
        if let (Some(peer), true) = (peer, seat.epoch == epoch) {
            self.input(at, Input::LinkUp { peer: index(peer) });
        }
    }

    pub(super) fn delay(&self, from: usize, to: usize) -> Duration {
        Duration::from_secs_f64(self.scenario.links.get(from, to).delay_seconds)
    }

    pub(super) fn transfer(&self, parcel: &Parcel<C::Numbers>) -> Duration {
        let link = self.scenario.links.get(parcel.from, parcel.to);
        Duration::from_secs_f64(link.transfer_seconds(parcel.bytes))
    }

    /// The next frame takes up its sender's access link, if that is free.
    pub(super) fn begin_to_send(&mut self, me: usize) {
        let device = &mut self.devices[me];
        if device.is_sending {
            return;
        }
        let next = device
            .control
            .pop_front()
            .or_else(|| device.tensors.pop_front());
        let Some(parcel) = next else { return };
        device.is_sending = true;
        if device.seat.as_ref().is_some_and(|seat| seat.begun) {
            device.bytes_sent += parcel.bytes;
        }
        let deaths = device.deaths;
        let takes = self.transfer(&parcel);
        let delay = self.delay(me, parcel.to);
        self.schedule(takes, Happening::Left(me, deaths));
        self.schedule(delay, Happening::Reaches(Box::new(parcel)));
    }

    /// It takes up its receiver's access link once that is free, and is there when its last bytes are.
    pub(super) fn reaches(&mut self, parcel: Box<Parcel<C::Numbers>>) {
        let takes = self.transfer(&parcel);
        let device = &mut self.devices[parcel.to];
        let begins = device.receives_from.max(self.now);
        device.receives_from = begins + takes;
        let after = device.receives_from.since(self.now);
        self.schedule(after, Happening::Arrives(parcel));
    }

    pub(super) fn arrives(&mut self, parcel: Parcel<C::Numbers>) {
        let at = parcel.to;
        let Some(seat) = &self.devices[at].seat else {
            return;
        };
        if seat.epoch != parcel.epoch || seat.ends {
            return;
        }
        let told = parcel.message.transfer();
        let from = seat.order.iter().position(|device| *device == parcel.from);
        let Some(from) = from else { return };
        if let Some((activity, clock)) = told {
            self.trace.push(Span {
                peer: parcel.from as u32,
                activity,
                start: parcel.handed_over,
                end: self.now,
                details: Details {
                    step: Some(clock.0),
                    to: Some(at as u32),
                    ..Details::default()
                },
            });
        }
        let device = &mut self.devices[at];
        let payload = parcel.numbers.map(|numbers| device.keep(numbers));
        let input = Input::Message {
            from: index(from),
            message: parcel.message,
            payload,
        };
        self.input(at, input);
    }
}
