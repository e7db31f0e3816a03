//! Runs with real gradients: what devices cannot run is a refusal.

use super::{RING, cell, costs, server};
use crate::cell::{Cell, Kind, Model, Spread, Way};
use crate::outcome::Outcome;
use crate::{Held, Learner, Lesson, PROFILES, Profiles, Worker};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Placement, Topology};
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::{Replication, RunOutline};
use ringtmp_energy::estimate::Coefficients;
use ringtmp_sim::Scenario;
use ringtmp_sim::team::{HashTeam, TeamChoice, TeamOutcome, simulate_team, team_job};

/// Says what it is told to have learnt, of a model of such a width.
struct Claims {
    width: u32,
}

impl Learner for Claims {
    fn outline(&self, lesson: &Lesson) -> Result<RunOutline, String> {
        let costs = costs(&Model::gpt(4, self.width))?;
        Ok(RunOutline {
            name: lesson.preset.clone(),
            layers: costs.layers,
            steps: lesson.steps,
            micro_batches: (lesson.batch / lesson.micro_batch) as u16,
            evaluate_every: lesson.evaluate_every,
            evaluation_micro_batches: 1,
            start_at_peers: lesson.devices,
            schedule: ScheduleSpec::new(Mode::Sync, lesson.micro_batch),
            source: DataSource::One,
            sample_bytes: costs.sample_bytes,
            codec: CodecChoice::F16,
            planning: Planning::Measured,
            replication: Replication::Off,
            topology: Topology::Ring,
        })
    }

    fn ring(&self, lesson: &Lesson, _: Mode) -> Result<Vec<Held>, String> {
        Ok(vec![Held {
            steps: lesson.steps,
            loss: 1.0,
            accuracy: 0.5,
        }])
    }

    fn team(
        &self,
        _: &Lesson,
        scenario: &Scenario,
        choice: TeamChoice,
    ) -> Result<TeamOutcome, String> {
        let job = team_job(scenario, choice).map_err(|error| error.to_string())?;
        let outcome = simulate_team(scenario, choice, &mut HashTeam::new(&job));
        outcome.map_err(|error| error.to_string())
    }
}

fn learnt(way: Way, width: u32) -> Outcome {
    let claims = Claims { width };
    let profiles = Profiles::parse(PROFILES).expect("the table");
    let coefficients = Coefficients::embedded().expect("the coefficients");
    let mut worker = Worker::new(&costs, profiles, coefficients).with_learner(&claims);
    let cell = Cell {
        kind: Kind::Progress {
            steps: 4,
            spread: Spread::Shared,
        },
        profile: "phone-wifi".to_owned(),
        ..cell(way, 3)
    };
    worker.work(&cell).expect("a refusal is an outcome")
}

#[test]
fn what_devices_cannot_run_they_do_not_learn_for_nothing() {
    for way in [RING, server(Placement::Single), Way::AllReduce] {
        let Outcome::Learnt { points } = learnt(way, 64) else {
            panic!("{way}: a small model is learnt");
        };
        let last = points.last().expect("an evaluation");
        assert!(last.estimated_joules > 0.0, "{way}: {last:?}");
        // More than a phone holds.
        let Outcome::Refused { reason } = learnt(way, 1 << 14) else {
            panic!("{way}: no phone holds it");
        };
        assert!(reason.contains("lack"), "{way}: {reason}");
    }
}
