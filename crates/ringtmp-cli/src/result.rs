//! The result of a run as JSON, for other programs. Keys are added, never changed, within a version.

use crate::arguments::Transport;
use crate::output;
use anyhow::{Context, Result};
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::PeerId;
use ringtmp_core::signal::{
    Device, DeviceKind, ExecutorKind, LayerDigest, MemberView, RoomPlan, RoomState,
};
use ringtmp_peer::View;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The version of the form below.
const SCHEMA_VERSION: u32 = 1;

/// What came out of a run.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    schema_version: u32,
    preset: String,
    /// What carried the tensors.
    transport: &'static str,
    /// How tensors are written between each stage of a ring and the next, head first.
    codecs: Vec<TensorCodec>,
    /// Trained on, each as often as it was.
    samples: u64,
    steps: u32,
    loss_first: Option<f32>,
    loss_last: Option<f32>,
    /// 0 to 1.
    test_accuracy: Option<f32>,
    /// In their order; of many only every second, fourth, ...
    evaluations: Vec<Evaluation>,
    /// From room created to result.
    seconds: f64,
    /// The least that a step can take by the plan, where devices measured.
    step_seconds_bound: Option<f64>,
    /// The stages of a ring, head first; else the devices in the order of the plan.
    peers: Vec<Peer>,
    links: Vec<Link>,
    /// By layer.
    digests: Vec<LayerDigest>,
}

/// How good weights were on held-out samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluation {
    /// Updates before it.
    pub(crate) steps: u32,
    /// 0 to 1.
    pub(crate) accuracy: f32,
}

#[derive(Debug, Serialize)]
struct Peer {
    id: String,
    kind: &'static str,
    /// `stage` of a ring, `worker` on the whole model, `server` of parameters, `worker, server`, or `stand-in`, which keeps copies of what
    /// it is to serve.
    part: &'static str,
    /// With which it computes, half open; none at a server alone.
    layers: [u16; 2],
    executor: &'static str,
    adapter: String,
    name: String,
}

#[derive(Debug, Serialize)]
struct Link {
    from: String,
    to: String,
    /// Sent, with evaluations and all that is no tensor.
    bytes: u64,
    bytes_per_sample: f64,
}

impl RunReport {
    /// The report of a finished run; none before.
    pub(crate) fn of(view: &View, transport: Transport) -> Option<Self> {
        let room = view
            .room
            .as_ref()
            .filter(|room| room.state == RoomState::Finished)?;
        let (result, plan) = (room.result.as_ref()?, room.plan.as_ref()?);
        let member = |id| {
            let mut members = room.members.iter();
            members.find(|member: &&MemberView| member.peer == id)
        };
        let all = view.run.as_ref().map_or(0, |run| run.layers.len());
        let parts = parts(plan, u16::try_from(all).unwrap_or(u16::MAX));
        let peers = parts.into_iter().map(|(id, part, layers)| {
            let device = member(id).map(|member| &member.device);
            Peer::of(id, part, layers, device)
        });
        let ring = room.ring();
        let evaluations = view.points.iter().filter_map(|point| {
            Some(Evaluation {
                steps: point.step,
                accuracy: point.accuracy?,
            })
        });
        let samples = view.samples_trained();
        let links = room.members.iter().flat_map(|member| {
            member.links.iter().map(|link| Link {
                from: member.peer.to_string(),
                to: link.to.to_string(),
                bytes: link.bytes,
                bytes_per_sample: link.bytes as f64 / samples.max(1) as f64,
            })
        });
        Some(Self {
            schema_version: SCHEMA_VERSION,
            preset: view
                .run
                .as_ref()
                .map(|run| run.name.clone())
                .unwrap_or_default(),
            transport: match transport {
                Transport::Loopback => "loopback",
                Transport::Webrtc => "webrtc",
            },
            codecs: ring.map(|plan| plan.codecs.clone()).unwrap_or_default(),
            step_seconds_bound: ring.and_then(|plan| plan.step_seconds),
            samples,
            steps: result.steps,
            loss_first: result.loss_first,
            loss_last: result.loss_last,
            test_accuracy: result.test_accuracy,
            evaluations: evaluations.collect(),
            seconds: result.seconds,
            peers: peers.collect(),
            links: links.collect(),
            digests: result.digests.clone(),
        })
    }

    /// Writes it to a file, or to standard output where the file is `-`.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        write_json(self, path)
    }
}

/// Who does what by a plan, with which layers of so many.
fn parts(plan: &RoomPlan, all: u16) -> Vec<(PeerId, &'static str, [u16; 2])> {
    match plan {
        RoomPlan::Ring(plan) => {
            let stages = plan.order.iter().zip(plan.cuts.windows(2));
            let stage = |(id, cuts): (&PeerId, &[u16])| (*id, "stage", [cuts[0], cuts[1]]);
            stages.map(stage).collect()
        }
        RoomPlan::Team(plan) => {
            let part = |id: &PeerId| match (plan.works(*id), plan.serves(*id)) {
                (true, true) => (*id, "worker, server", [0, all]),
                (true, false) => (*id, "worker", [0, all]),
                (false, true) => (*id, "server", [0, 0]),
                (false, false) => (*id, "stand-in", [0, 0]),
            };
            plan.order.iter().map(part).collect()
        }
    }
}

impl Peer {
    /// A peer that has left since is still named, by its id.
    fn of(id: PeerId, part: &'static str, layers: [u16; 2], device: Option<&Device>) -> Self {
        Self {
            id: id.to_string(),
            part,
            kind: device.map_or("", |device| kind_word(device.kind)),
            layers,
            executor: device.map_or("", |device| executor_word(device.executor)),
            adapter: device
                .map(|device| device.adapter.clone())
                .unwrap_or_default(),
            name: device.map(|device| device.name.clone()).unwrap_or_default(),
        }
    }
}

/// Writes JSON to a file, or to standard output where the file is `-`.
pub(crate) fn write_json(value: &impl Serialize, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    if path.as_os_str() == "-" {
        output::bytes(text.as_bytes());
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// `tab` or `native`.
pub(crate) fn kind_word(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Tab => "tab",
        DeviceKind::Native => "native",
    }
}

/// `gpu` or `cpu`.
pub(crate) fn executor_word(executor: ExecutorKind) -> &'static str {
    match executor {
        ExecutorKind::Gpu => "gpu",
        ExecutorKind::Cpu => "cpu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::sample;
    use ringtmp_core::ids::Epoch;
    use ringtmp_core::parameter_server::{Exchange, MemberIndex, TeamPlan, TeamStart};
    use serde_json::Value;

    #[test]
    fn a_finished_run_is_reported_with_every_key() {
        let report = RunReport::of(&sample::finished(), Transport::Webrtc).expect("a finished run");
        let json: Value = serde_json::to_value(report).expect("JSON");
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["preset"], "mlp");
        assert_eq!(json["transport"], "webrtc");
        assert_eq!(json["codecs"], serde_json::json!(["int8"]));
        assert_eq!(json["samples"], 6400);
        assert_eq!(json["steps"], 100);
        assert_eq!(json["loss_first"], 2.5);
        assert_eq!(json["loss_last"], 0.25);
        assert_eq!(json["test_accuracy"], 0.9375);
        assert_eq!(json["seconds"], 12.5);
        let evaluations = serde_json::json!([{"steps": 20, "accuracy": 0.5}]);
        assert_eq!(json["evaluations"], evaluations);
        assert_eq!(
            json["peers"].as_array().map(Vec::len),
            Some(2),
            "spectators are no peers of the ring"
        );
        assert_eq!(json["peers"][0]["id"], "0000000000000001");
        assert_eq!(json["peers"][0]["kind"], "tab");
        assert_eq!(json["peers"][0]["layers"], serde_json::json!([0, 3]));
        assert_eq!(json["peers"][0]["executor"], "gpu");
        assert_eq!(json["peers"][0]["part"], "stage");
        assert_eq!(json["peers"][1]["kind"], "native");
        assert_eq!(json["peers"][1]["layers"], serde_json::json!([3, 5]));
        let link = serde_json::json!({"from": "0000000000000001", "to": "0000000000000002", "bytes": 1_500_000, "bytes_per_sample": 1_500_000.0 / 6400.0});
        assert_eq!(json["links"][0], link);
        assert_eq!(json["digests"][0]["layer"], 0);
        assert_eq!(json["digests"][0]["sha256"], "ab");
    }

    #[test]
    fn who_works_on_a_whole_model_and_who_serves_is_reported_too() {
        let mut view = sample::finished();
        let room = view.room.as_mut().expect("a room");
        room.plan = Some(RoomPlan::Team(TeamPlan {
            epoch: Epoch::default(),
            exchange: Exchange::Server,
            order: vec![PeerId(1), PeerId(2)],
            workers: vec![MemberIndex(0)],
            shares: vec![8],
            shards: vec![MemberIndex(1)],
            start: TeamStart::Beginning,
            ..TeamPlan::default()
        }));
        let report = RunReport::of(&view, Transport::Webrtc).expect("a finished run");
        let json: Value = serde_json::to_value(report).expect("JSON");
        assert_eq!(json["steps"], 100);
        assert_eq!(json["codecs"], serde_json::json!([]));
        let peers = [("worker", [0, 5]), ("server", [0, 0])];
        for (place, (part, layers)) in peers.into_iter().enumerate() {
            assert_eq!(json["peers"][place]["part"], part);
            assert_eq!(json["peers"][place]["layers"], serde_json::json!(layers));
        }
    }

    #[test]
    fn a_run_that_has_not_finished_has_no_report() {
        assert!(RunReport::of(&sample::training(), Transport::Webrtc).is_none());
        let mut stopped = sample::finished();
        let room = stopped.room.as_mut().expect("a room");
        room.state = RoomState::Stopped {
            reason: "a tab crashed".to_owned(),
        };
        assert!(RunReport::of(&stopped, Transport::Webrtc).is_none());
    }
}
