//! Real gradients for experiments: rings learn what one process does, teams while they are simulated.

use super::super::sim::RealTeam;
use super::costs::Costs;
use anyhow::Result;
use futures::executor::block_on;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::RunOutline;
use ringtmp_experiment::{Held, Learner, Lesson, Model, Spread};
use ringtmp_peer::{
    DataPlace, DataSource, DataTable, Executor, ExecutorChoice, ModelTable, Run, RunFile, Solo,
    Split, open_data,
};
use ringtmp_sim::Scenario;
use ringtmp_sim::team::{TeamChoice, TeamOutcome, simulate_team, team_job};

/// Held-out samples of an evaluation.
const HELD_OUT: u32 = 300;

/// On this machine's CPU.
#[derive(Debug, Default)]
pub(super) struct Gradients {
    costs: Costs,
}

impl Gradients {
    /// By devices for which models cost so much.
    pub(super) const fn costing(costs: Costs) -> Self {
        Self { costs }
    }
}

impl Learner for Gradients {
    fn outline(&self, lesson: &Lesson) -> Result<RunOutline, String> {
        let outline = run(lesson, Mode::Sync)?.descriptor().outline;
        let model = Model::preset(&lesson.preset);
        Ok(RunOutline {
            layers: self.costs.applied(&model, outline.layers),
            ..outline
        })
    }

    fn ring(&self, lesson: &Lesson, mode: Mode) -> Result<Vec<Held>, String> {
        block_on(Box::pin(alone(lesson, mode))).map_err(|error| format!("{error:#}"))
    }

    fn team(
        &self,
        lesson: &Lesson,
        scenario: &Scenario,
        choice: TeamChoice,
    ) -> Result<TeamOutcome, String> {
        let run = run(lesson, Mode::Sync)?;
        let job = team_job(scenario, choice).map_err(|error| error.to_string())?;
        let mut compute = RealTeam::new(&run, &job).map_err(|error| format!("{error:#}"))?;
        let outcome = simulate_team(scenario, choice, &mut compute);
        outcome.map_err(|error| error.to_string())
    }
}

fn run(lesson: &Lesson, schedule: Mode) -> Result<Run, String> {
    let checked = run_file(lesson, schedule).check();
    checked.map_err(|error| error.to_string())
}

pub(super) fn run_file(lesson: &Lesson, schedule: Mode) -> RunFile {
    RunFile {
        model: ModelTable::preset(&lesson.preset),
        data: DataTable {
            set: Some("digits".to_owned()),
            source: match lesson.spread {
                Spread::Shared => DataSource::One,
                Spread::ByLabel => DataSource::Every,
            },
            split: match lesson.spread {
                Spread::Shared => Split::Even,
                Spread::ByLabel => Split::ByLabel,
            },
            ..DataTable::default()
        },
        steps: lesson.steps,
        batch: lesson.batch,
        micro_batch: lesson.micro_batch,
        evaluate_every: lesson.evaluate_every,
        evaluation_samples: HELD_OUT,
        codec: CodecChoice::F16,
        seed: lesson.seed,
        schedule,
        ..RunFile::default()
    }
}

/// In one process.
async fn alone(lesson: &Lesson, mode: Mode) -> Result<Vec<Held>> {
    let run = run(lesson, mode).map_err(anyhow::Error::msg)?;
    let data = open_data(&run, &DataPlace::Disk).await?;
    let executor = Executor::open(ExecutorChoice::Cpu).await?;
    let mut solo = Box::pin(Solo::new(run, data, executor)).await?;
    if lesson.spread == Spread::ByLabel {
        solo.divide(lesson.devices)?;
    }
    let mut held = Vec::new();
    for steps in 1..=lesson.steps {
        Box::pin(solo.step()).await?;
        if !steps.is_multiple_of(lesson.evaluate_every) && steps < lesson.steps {
            continue;
        }
        if let Some(score) = Box::pin(solo.evaluate()).await? {
            held.push(Held {
                steps,
                loss: score.loss.into(),
                accuracy: score.accuracy.into(),
            });
        }
    }
    Ok(held)
}
