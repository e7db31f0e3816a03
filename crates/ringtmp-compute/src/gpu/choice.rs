//! Which of an operation's shaders is the fastest here: measured when a plan is made ready, and kept for as long as the GPU is open.
//!
//! What suits a card depends on its caches, registers and work-group memory, about which WebGPU says nothing; a few milliseconds
//! of trying do. Where a GPU is emulated in software nothing is tried, and some shaders are for those alone ([`Suits`]).

use super::Gpu;
use super::builder::Dispatch;
use super::program::Program;
use crate::error::ComputeError;
use crate::operation::{GROUP_THREADS, Operation, Suits, Variant};
use crate::recording::Instance;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use web_time::Instant;

/// A shader is timed for so long, if one run of it is shorter.
const ENOUGH: Duration = Duration::from_millis(2);

/// The most runs that are timed at once.
const RUNS_MAX: u32 = 64;

/// Operations for which the same shader is the fastest: with the same ones to choose from, and of sizes within a factor of two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    variants: Vec<&'static str>,
    constants: Vec<(&'static str, u32)>,
    magnitudes: Vec<u32>,
}

impl Kind {
    pub(super) fn of(operation: &Operation) -> Self {
        let (kernel, variants) = (operation.kernel(), operation.variants());
        let sizes = kernel.dimensions.iter();
        Self {
            variants: variants.iter().map(|variant| variant.name).collect(),
            constants: kernel.constants.clone(),
            magnitudes: sizes
                .map(|size| size.checked_ilog2().unwrap_or(0))
                .collect(),
        }
    }

    /// The constants that are set in its shader.
    pub(super) fn constants(&self) -> &[(&'static str, u32)] {
        &self.constants
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Choices(Mutex<BTreeMap<Kind, &'static str>>);

impl Choices {
    fn fastest(&self, kind: &Kind) -> Option<&'static str> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(kind).copied()
    }

    fn note(&self, kind: &Kind, name: &'static str) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.insert(kind.clone(), name);
    }
}

impl Gpu {
    /// The shaders to try for an operation: but one, where that is known.
    pub(super) fn candidates(&self, kind: &Kind, operation: &Operation) -> Vec<Variant> {
        let mut variants = operation.variants();
        if variants.len() == 1 {
            return variants;
        }
        let wanted = self.preferred.or(self.choices.fastest(kind));
        let known = variants.iter().find(|variant| Some(variant.name) == wanted);
        if let Some(known) = known {
            return vec![*known];
        }
        if !self.is_software {
            variants.retain(|variant| variant.suits != Suits::Software);
            return variants;
        }
        variants.retain(|variant| variant.suits != Suits::Hardware);
        vec![unseen(&variants)]
    }
}

/// The shader for a GPU that is emulated, where compiling one takes seconds, and so trying several longer than a wrong choice costs: the
/// last, which loads least for what it computes, unless its threads are too few to keep two cores busy.
fn unseen(variants: &[Variant]) -> Variant {
    let is_busy = |variant: &&Variant| variant.threads >= 2 * GROUP_THREADS;
    let busy = variants.iter().rev().find(is_busy);
    *busy.unwrap_or(&variants[variants.len() - 1])
}

impl Program {
    /// Leaves each operation its fastest shader.
    pub(super) async fn choose(&mut self) -> Result<(), ComputeError> {
        let mut recordings = std::mem::take(&mut self.recordings);
        for dispatch in recordings.iter_mut().flatten() {
            if dispatch.ways.len() > 1 {
                let fastest = self.fastest(dispatch).await?;
                dispatch.ways.swap(0, fastest);
                dispatch.ways.truncate(1);
            }
        }
        self.recordings = recordings;
        Ok(())
    }

    async fn fastest(&mut self, dispatch: &Dispatch) -> Result<usize, ComputeError> {
        let position = |name| dispatch.ways.iter().position(|way| way.name == name);
        if let Some(known) = self.gpu.choices.fastest(&dispatch.kind).and_then(position) {
            return Ok(known);
        }
        let mut fastest = (0, Duration::MAX);
        for way in 0..dispatch.ways.len() {
            let takes = self.time(dispatch, way).await?;
            if takes < fastest.1 {
                fastest = (way, takes);
            }
        }
        let name = dispatch.ways[fastest.0].name;
        tracing::debug!(kind = ?dispatch.kind, name, takes = ?fastest.1, "the fastest shader");
        self.gpu.choices.note(&dispatch.kind, name);
        Ok(fastest.0)
    }

    /// What an operation takes with one of its shaders.
    async fn time(&mut self, dispatch: &Dispatch, way: usize) -> Result<Duration, ComputeError> {
        // Drivers compile a shader when it is first used.
        self.play(dispatch, way, 1).await?;
        let mut runs = 1;
        loop {
            let took = self.play(dispatch, way, runs).await?;
            if took >= ENOUGH || runs >= RUNS_MAX {
                return Ok(took / runs);
            }
            runs *= 4;
        }
    }

    async fn play(
        &mut self,
        dispatch: &Dispatch,
        way: usize,
        runs: u32,
    ) -> Result<Duration, ComputeError> {
        let start = Instant::now();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in 0..runs {
                self.encode_one(dispatch, way, Instance::default(), &mut pass);
            }
        }
        self.gpu.queue.submit([encoder.finish()]);
        self.idle().await?;
        Ok(start.elapsed())
    }
}
