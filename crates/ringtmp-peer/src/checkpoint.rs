//! Checkpoints: a run, how far it has come, its weights and its optimizer's memory, as bytes that show when they have been cut
//! or changed.
//!
//! ```text
//!   8 bytes       32 bytes                  to the end
//!   RINGTMP, 2    SHA-256 of what follows   safetensors; run file and step as its metadata
//!                                             0.weight               the newest weights
//!                                             older.1.0.weight       those one update before, where the schedule needs them
//!                                             optimizer.0.0.weight   the first tensor that the optimizer remembers
//! ```

use crate::run_file::{Run, RunFile, RunFileError};
use crate::weights::{self, WeightsError};
use ringtmp_compute::{Parameter, Snapshot};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A name, and the version of the form.
const MARK: [u8; 8] = *b"RINGTMP\x02";

/// Bytes of a SHA-256.
const DIGEST_BYTES: usize = 32;

const RUN: &str = "run";
const STEP: &str = "step";

/// How far a run has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The run.
    pub run: Run,
    /// Updates made.
    pub step: u32,
    /// All weights, in the order of layers.
    pub weights: Vec<Parameter>,
    /// Older weights that the next steps use: those one update before, those two updates before, and so on.
    pub older: Vec<Vec<Parameter>>,
    /// What the optimizer remembers, tensor by tensor.
    pub optimizer: Vec<Vec<Parameter>>,
}

/// Why a checkpoint is refused. The file is at fault; nothing of it is used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another kind of file, or one of another version.
    #[error("this is no checkpoint, or one of another version of RingTMP")]
    Mark,
    /// Not what was written.
    #[error(
        "the checkpoint is damaged: it was cut short or altered after it was written; use an older one, or begin anew"
    )]
    Damaged,
    /// Whole, but not as this program writes checkpoints.
    #[error("the checkpoint says nothing of its {0}, so it was not written by RingTMP")]
    Lacks(&'static str),
    /// The run in it cannot be run.
    #[error("the run in the checkpoint: {0}")]
    Run(#[from] RunFileError),
    /// The weights in it are not the run's.
    #[error("the weights in the checkpoint: {0}")]
    Weights(#[from] WeightsError),
    /// The run that is to go on is another one.
    #[error(
        "the checkpoint is of another run: its {field} is {theirs}, not {ours}; repeat what the run was started with, or begin anew in another folder"
    )]
    OtherRun {
        /// The field of the run file.
        field: String,
        /// In the checkpoint.
        theirs: String,
        /// As asked for.
        ours: String,
    },
}

impl Checkpoint {
    /// What a stage that holds the whole model has learnt of the run.
    pub(crate) fn of(run: Run, snapshot: Snapshot) -> Self {
        let mut versions = snapshot.versions.into_iter().rev();
        Self {
            run,
            step: u32::try_from(snapshot.updates).unwrap_or(u32::MAX),
            weights: versions.next().unwrap_or_default(),
            older: versions.collect(),
            optimizer: snapshot.optimizer,
        }
    }

    /// What a stage goes on from.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let older = self.older.iter().rev().cloned();
        Snapshot {
            updates: u64::from(self.step),
            versions: older.chain([self.weights.clone()]).collect(),
            optimizer: self.optimizer.clone(),
        }
    }

    /// All its tensors, with the group whose name stands before theirs.
    fn groups(&self) -> impl Iterator<Item = (String, &[Parameter])> {
        let weights = std::iter::once((String::new(), &self.weights[..]));
        let older = (1..).zip(&self.older);
        let older = older.map(|(age, weights)| (older_group(age), &weights[..]));
        let optimizer = self.optimizer.iter().enumerate();
        let optimizer = optimizer.map(|(tensor, state)| (optimizer_group(tensor), &state[..]));
        weights.chain(older).chain(optimizer)
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let remarks = [
            (RUN, self.run.file.to_toml()),
            (STEP, self.step.to_string()),
        ];
        let groups: Vec<(String, &[Parameter])> = self.groups().collect();
        let groups = groups
            .iter()
            .map(|(name, tensors)| (name.as_str(), *tensors));
        let content = weights::encode(&groups.collect::<Vec<_>>(), remarks);
        let digest = Sha256::digest(&content);
        [&MARK[..], &digest[..], &content].concat()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// Whatever was cut or altered, and whatever does not belong together.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let rest = bytes.strip_prefix(&MARK).ok_or(CheckpointError::Mark)?;
        let (digest, content) = rest
            .split_at_checked(DIGEST_BYTES)
            .ok_or(CheckpointError::Damaged)?;
        if digest != &Sha256::digest(content)[..] {
            return Err(CheckpointError::Damaged);
        }
        let (_, header) = safetensors::SafeTensors::read_metadata(content)
            .map_err(|error| WeightsError::Format(error.to_string()))?;
        let remark = |name| {
            let remarks = header.metadata().as_ref();
            let remark = remarks.and_then(|remarks| remarks.get(name));
            remark.ok_or(CheckpointError::Lacks(name))
        };
        let run = RunFile::parse(remark(RUN)?)?.check()?;
        let step = remark(STEP)?
            .parse()
            .map_err(|_| CheckpointError::Lacks(STEP))?;
        let tensors = weights::tensors(content)?;
        let group = |name: &str| weights::find(&tensors, &run.model, name);
        let weights = group("")?;
        let optimizer = (0..run.optimizer.state_tensors()).map(optimizer_group);
        let optimizer: Vec<_> = optimizer
            .map(|name| group(&name))
            .collect::<Result<_, _>>()?;
        // As many as are left, and no more than there can be.
        let groups = tensors.len() / weights.len().max(1);
        let older = 1..(groups.saturating_sub(optimizer.len())).min(step as usize + 1);
        let older: Vec<_> = older
            .map(|age| group(&older_group(age)))
            .collect::<Result<_, _>>()?;
        let checkpoint = Self {
            run,
            step,
            weights,
            older,
            optimizer,
        };
        let known = checkpoint.groups().flat_map(|(group, parameters)| {
            let named = move |own: &Parameter| format!("{group}{}", own.name);
            parameters.iter().map(named)
        });
        weights::refuse_others(&tensors, known)?;
        Ok(checkpoint)
    }

    /// Whether all weights, and all that the optimizer remembers, are finite numbers, so that training can go on from here.
    pub fn is_finite(&self) -> bool {
        let mut values = self
            .groups()
            .flat_map(|(_, tensors)| tensors.iter().flat_map(|tensor| &tensor.values));
        values.all(|value| value.is_finite())
    }

    /// Whether this run may go on from here: all that shapes the weights has to be the same. It may last longer, and be
    /// evaluated otherwise.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::OtherRun`] with the first field that differs.
    pub fn check_run(&self, run: &Run) -> Result<(), CheckpointError> {
        let theirs = self.run.file.shaping().to_toml();
        match first_difference(&theirs, &run.file.shaping().to_toml()) {
            None => Ok(()),
            Some((field, [theirs, ours])) => Err(CheckpointError::OtherRun {
                field,
                theirs,
                ours,
            }),
        }
    }
}

/// The first field that two run files do not agree on, and what each of them says.
fn first_difference(theirs: &str, ours: &str) -> Option<(String, [String; 2])> {
    let (theirs, ours) = (fields(theirs), fields(ours));
    let mut names = theirs.keys().chain(ours.keys());
    let field = names.find(|name| theirs.get(*name) != ours.get(*name))?;
    let says = |fields: &BTreeMap<String, String>| {
        let value = fields.get(field).cloned();
        value.unwrap_or_else(|| "not given".to_owned())
    };
    Some((field.clone(), [says(&theirs), says(&ours)]))
}

/// The fields of a run file by name, those of a table as `table.field`.
fn fields(toml: &str) -> BTreeMap<String, String> {
    let table: toml::Table = toml
        .parse()
        .expect("a run file that was written can be read");
    let mut fields = BTreeMap::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => fields.extend(
                inner
                    .into_iter()
                    .map(|(field, value)| (format!("{name}.{field}"), value.to_string())),
            ),
            value => {
                fields.insert(name, value.to_string());
            }
        }
    }
    fields
}

/// Before the names of weights that are so many updates older than the newest.
fn older_group(age: usize) -> String {
    format!("older.{age}.")
}

/// Before the names of a tensor that the optimizer remembers.
fn optimizer_group(tensor: usize) -> String {
    format!("optimizer.{tensor}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use ringtmp_compute::{Executor, ExecutorChoice};
    use ringtmp_data::Dataset;

    fn run(file: RunFile) -> Run {
        file.check().expect("a sound run")
    }

    /// The first weights of the default run, as if some steps had been made.
    fn checkpoint() -> Checkpoint {
        let solo = block_on(async {
            let executor = Executor::open(ExecutorChoice::Cpu).await?;
            crate::Solo::new(run(RunFile::default()), Dataset::digits(1), executor).await
        });
        let solo = solo.expect("the CPU holds a perceptron");
        let checkpoint = block_on(solo.checkpoint()).expect("the CPU is read");
        Checkpoint {
            step: 7,
            ..checkpoint
        }
    }

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let checkpoint = checkpoint();
        let read = Checkpoint::decode(&checkpoint.encode()).expect("our own");
        assert_eq!(read, checkpoint);
    }

    #[test]
    fn a_checkpoint_that_was_cut_or_altered_anywhere_is_refused() {
        let whole = checkpoint().encode();
        for length in (0..whole.len())
            .step_by(9_973)
            .chain([7, 8, 39, 40, whole.len() - 1])
        {
            assert!(Checkpoint::decode(&whole[..length]).is_err(), "{length}");
        }
        let mut altered = whole.clone();
        for place in (0..whole.len())
            .step_by(9_973)
            .chain([7, 8, 40, whole.len() - 1])
        {
            altered[place] ^= 1;
            assert!(Checkpoint::decode(&altered).is_err(), "{place}");
            altered[place] ^= 1;
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(matches!(
            Checkpoint::decode(&longer),
            Err(CheckpointError::Damaged)
        ));
        assert!(Checkpoint::decode(&whole).is_ok());
    }

    #[test]
    fn a_checkpoint_with_the_right_digest_is_still_read_with_care() {
        let seal = |content: &[u8]| [&MARK[..], &Sha256::digest(content)[..], content].concat();
        let content = weights::encode(&[], [(RUN, RunFile::default().to_toml())]);
        let refused = |content: &[u8]| Checkpoint::decode(&seal(content)).expect_err("not ours");
        assert!(matches!(refused(&content), CheckpointError::Lacks(STEP)));
        assert!(matches!(refused(b"x"), CheckpointError::Weights(_)));
        let remarks = [(RUN, "steps = 0".to_owned()), (STEP, "1".to_owned())];
        let unsound = weights::encode(&[], remarks);
        assert!(matches!(refused(&unsound), CheckpointError::Run(_)));
        let remarks = [(RUN, String::new()), (STEP, "1".to_owned())];
        let empty = weights::encode(&[], remarks);
        assert!(matches!(
            refused(&empty),
            CheckpointError::Weights(WeightsError::Missing { .. })
        ));
    }

    #[test]
    fn only_the_same_run_goes_on_but_it_may_last_longer() {
        let checkpoint = checkpoint();
        let mut file = RunFile {
            steps: 9,
            evaluate_every: 1,
            ..RunFile::default()
        };
        assert!(checkpoint.check_run(&run(file.clone())).is_ok());
        file.optimizer.learning_rate = Some(0.5);
        let refused = checkpoint.check_run(&run(file)).expect_err("another run");
        let words = refused.to_string();
        assert!(
            words.contains("optimizer.learning_rate is not given") && words.contains("0.5"),
            "{words}"
        );
    }
}
