//! What the simulator says of a ring that has its plan.

use anyhow::{Context, Result, bail};
use ringtmp_core::plan::{LayerCost, Plan};
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{DeviceKind, Replication, RunOutline};
use ringtmp_core::trace::{Shares, Span, extent, shares};
use ringtmp_peer::update_operations;
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::{DeviceSpec, Hop, Hops, Scenario};
use ringtmp_transport::native::AccessLink;

/// What links are like within a machine whose devices compute meanwhile: between native peers, and where a tab is at an end.
pub(crate) const NATIVE_LINK: Hop = Hop {
    delay_seconds: 0.001,
    bytes_per_second: Some(40e6),
};
const TAB_LINK: Hop = Hop {
    delay_seconds: 0.002,
    bytes_per_second: Some(15e6),
};

/// What a link is like if each of its ends is behind an access link besides.
pub(crate) fn behind(access: Option<AccessLink>, link: Hop) -> Hop {
    let Some(access) = access else { return link };
    let slower = |rate: f64| access.bytes_per_second.map_or(rate, |own| own.min(rate));
    Hop {
        delay_seconds: link.delay_seconds + 2.0 * access.delay.as_secs_f64(),
        bytes_per_second: link
            .bytes_per_second
            .map(slower)
            .or(access.bytes_per_second),
    }
}

/// A device that a paced peer emulates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Emulated {
    pub(super) operations_per_second: f64,
    pub(super) kind: DeviceKind,
}

/// How the simulator says that devices of these speeds spend their time with this plan, head first: each from when the ring
/// begins until its own part is done.
pub(super) fn predicted(
    outline: &RunOutline,
    plan: &Plan,
    devices: &[Emulated],
    access: Option<AccessLink>,
) -> Result<Vec<Shares>> {
    let scenario = scenario(outline, plan, devices, access)?;
    let outcome = simulate_checked(&scenario)?;
    if !outcome.order.iter().copied().eq(0..devices.len()) {
        let order = outcome.order;
        bail!("the simulator has the devices in the order {order:?}: they cannot be compared");
    }
    let (start, _) = extent(&outcome.trace);
    let of_peer = |peer: usize| {
        let own = |span: &&Span| span.peer as usize == peer;
        let own: Vec<Span> = outcome.trace.iter().filter(own).copied().collect();
        let (_, end) = extent(&own);
        let shares = shares(&outcome.trace, start, end);
        shares.get(&(peer as u32)).copied().unwrap_or_default()
    };
    Ok((0..devices.len()).map(of_peer).collect())
}

fn scenario(
    outline: &RunOutline,
    plan: &Plan,
    devices: &[Emulated],
    access: Option<AccessLink>,
) -> Result<Scenario> {
    let peers = u16::try_from(devices.len()).context("more devices than a room takes")?;
    let stages: Vec<&[LayerCost]> = plan
        .cuts
        .windows(2)
        .map(|pair| &outline.layers[usize::from(pair[0])..usize::from(pair[1])])
        .collect();
    let mode = outline.schedule.mode;
    let equal = Scenario::equal(peers, mode, outline.micro_batches, outline.steps, 0.0);
    let spec = |(layers, device): (&&[LayerCost], &Emulated)| DeviceSpec {
        flops_per_second: [device.operations_per_second; 3],
        update_seconds: update_operations(layers) / device.operations_per_second,
        ..equal.devices[0]
    };
    let native = behind(access, NATIVE_LINK);
    let mut links = Hops::all(native);
    for (one, device) in devices.iter().enumerate() {
        for other in (0..devices.len()).filter(|other| *other != one) {
            if device.kind == DeviceKind::Tab {
                links.set(one, other, behind(access, TAB_LINK));
            }
        }
    }
    Ok(Scenario {
        outline: RunOutline {
            // A layer for each device, so that there is one way to cut them: the plan's.
            layers: stages.iter().map(|layers| whole(layers)).collect(),
            start_at_peers: peers,
            planning: Planning::Counted,
            // What copying costs is no part of what the schedule promises.
            replication: Replication::Off,
            topology: ringtmp_core::parameter_server::Topology::Ring,
            ..outline.clone()
        },
        devices: stages.iter().zip(devices).map(spec).collect(),
        links,
        limits: Some(plan.limits.clone()),
        shares_access: access.is_some(),
        ..equal
    })
}

/// Several layers as one.
fn whole(layers: &[LayerCost]) -> LayerCost {
    LayerCost {
        flops: [0, 1, 2].map(|pass| layers.iter().map(|layer| layer.flops[pass]).sum()),
        parameters: layers.iter().map(|layer| layer.parameters).sum(),
        output_bytes: layers.last().map_or(0, |layer| layer.output_bytes),
        stash_bytes: layers.iter().map(|layer| layer.stash_bytes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::{Epoch, PeerId};
    use ringtmp_core::schedule::Limits;
    use ringtmp_peer::RunFile;

    /// A device that has twice as much to do as the others keeps them waiting, whatever the layers are.
    #[test]
    fn a_plan_is_followed_with_its_cuts_and_its_limits() {
        let run = RunFile {
            steps: 10,
            ..RunFile::default()
        };
        let outline = run.check().expect("the default run").descriptor().outline;
        let cuts = vec![0, 2, 4, 5];
        let work: Vec<f64> = cuts
            .windows(2)
            .map(|pair| whole(&outline.layers[usize::from(pair[0])..usize::from(pair[1])]))
            .map(|layer| layer.flops_total())
            .collect();
        // So slow that links and updates do not count.
        let speed = |(work, times): (&f64, f64)| Emulated {
            operations_per_second: work / times,
            kind: DeviceKind::Native,
        };
        let devices: Vec<Emulated> = work.iter().zip([1.0, 2.0, 1.0]).map(speed).collect();
        let plan = |credit| Plan {
            epoch: Epoch {
                number: 1,
                incarnation: 1,
            },
            order: vec![PeerId(1), PeerId(2), PeerId(3)],
            cuts: cuts.clone(),
            limits: vec![
                Limits {
                    credit,
                    weights_pending: 4,
                    slots: credit + 4,
                };
                3
            ],
            ..Plan::default()
        };
        let idle = |credit| -> Vec<f64> {
            let shares = predicted(&outline, &plan(credit), &devices, None).expect("a sound run");
            shares.iter().map(Shares::idle).collect()
        };
        let (generous, frugal) = (idle(4), idle(1));
        assert!(generous[1] < 0.35, "{generous:?}");
        assert!(generous[0] > 0.4 && generous[2] > 0.4, "{generous:?}");
        assert!(frugal[1] > generous[1] + 0.1, "{frugal:?} {generous:?}");
    }
}
