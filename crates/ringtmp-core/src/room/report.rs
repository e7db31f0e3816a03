//! How members do: what they report is kept, and shown to all.

use super::Room;
use crate::ids::{Epoch, PeerId};
use crate::profile::Planning;
use crate::signal::LinkTraffic;
use crate::time::Time;
use crate::trace::Report;
use std::time::Duration;

/// Reports are shown to members so long after the first of them: they come in together, once a second.
const REPORT_VIEW_DELAY: Duration = Duration::from_millis(250);

impl Room {
    pub(super) fn report(
        &mut self,
        now: Time,
        from: PeerId,
        epoch: Epoch,
        links: Vec<LinkTraffic>,
        report: Report,
    ) {
        if !self.active(from, epoch) {
            return;
        }
        self.traffic(from, links);
        let believed = report.checked(now).map(Box::new);
        let tasks = believed.as_ref().map(|report| report.task_seconds);
        self.learn(from, tasks.unwrap_or_default());
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == from) {
            member.report = believed;
        }
        self.report_view_due.get_or_insert(now + REPORT_VIEW_DELAY);
        if self.ring().and_then(|plan| plan.order.first()) == Some(&from)
            && self.run.outline.planning == Planning::Measured
        {
            self.move_layers_if_worth_it();
        }
    }

    pub(super) fn traffic(&mut self, from: PeerId, mut links: Vec<LinkTraffic>) {
        // A peer of a ring has at most two neighbours.
        let most = if self.is_ring() {
            2
        } else {
            self.parts().len()
        };
        links.truncate(most);
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == from) {
            member.links = links;
        }
    }
}
