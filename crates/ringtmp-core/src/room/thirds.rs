//! Whose disk keeps a stage besides its owner's and its buddy's.

use super::{Member, Room};
use crate::ids::{PeerId, StageIndex};
use crate::signal::DeviceKind;

impl Room {
    /// For each stage of a ring a third holder: a native disk first, since browsers may clear what pages store; of equal ones the
    /// nearest after the buddy, so that copies pass few devices. None where nobody else keeps anything.
    pub(super) fn thirds(&self, order: &[PeerId]) -> Vec<Option<StageIndex>> {
        let stages = order.len();
        if !self.recovers() || stages < 3 {
            return Vec::new();
        }
        let member = |stage: usize| {
            let mut members = self.members.iter();
            members.find(|member| member.peer == order[stage])
        };
        // A disk that is still read through may have room.
        let may_keep = |member: &Member| member.disk.keeps != Some(false);
        let is_native = |member: &Member| member.device.kind == DeviceKind::Native;
        let third = |owner: usize| {
            let others = (2..stages).map(|hops| (owner + hops) % stages);
            let others = others.filter_map(|stage| Some((stage, member(stage)?)));
            let disks = others.filter(|(_, member)| may_keep(member));
            let (stage, _) = disks.min_by_key(|(_, member)| !is_native(member))?;
            Some(StageIndex(u16::try_from(stage).ok()?))
        };
        (0..stages).map(third).collect()
    }
}
