//! The run file: one training job as TOML.

mod data;
mod model;
mod optimizer;
mod parameter_server;
mod run;

pub use data::DataTable;
pub use model::ModelTable;
pub use optimizer::{OptimizerTable, RuleName, UnknownRule};
pub use parameter_server::{Paradigm, ParameterServerTable, UnknownParadigm};
pub use run::{Measure, Run};

use ringtmp_compute::{Arithmetic, ModelError};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{RUN_FILE_BYTES_MAX, Replication};
use ringtmp_data::DataSpecError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most samples of a step.
const BATCH_MAX: u32 = 65_536;

/// The most held-out samples of an evaluation.
const EVALUATION_SAMPLES_MAX: u32 = 1_000_000;

/// One training job, as it is written down. Every field has a default; the default job trains `mlp` on `digits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunFile {
    /// How devices train one model together: `ring`, each holds some layers; `parameter-server`, workers hold whole models and
    /// servers update the parameters; `all-reduce`, workers hold whole models and add their gradients up round a ring.
    pub paradigm: Paradigm,
    /// Optimizer updates.
    pub steps: u32,
    /// Samples of a step.
    pub batch: u32,
    /// Samples of a micro-batch; divides the batch.
    pub micro_batch: u32,
    /// Makes initial weights, data and their order.
    pub seed: u64,
    /// Evaluate after every so many steps, and at the end; 0 for the end only.
    pub evaluate_every: u32,
    /// Held-out samples of an evaluation (fewer where there are fewer); 0 for none.
    pub evaluation_samples: u32,
    /// The schedule of a ring: `sync`, `2bw`, `async` or `1f1b`.
    pub schedule: Mode,
    /// How devices write activations, gradients and weights to each other: `f32`, exactly; `f16`, half the bytes; `int8`, a quarter,
    /// with a scale per row and gradients rounded at random; `auto`, of rings alone, f16, but int8 on links that would hold up the ring. In one
    /// process nothing is written. With `paradigm = "parameter-server"` int8 is for gradients, and weights are in f16; in all-reduce there is no int8.
    pub codec: CodecChoice,
    /// How a ring's layers are divided: `measured`, by what each device takes for them and what links carry; `counted`, by operations, as if
    /// all devices were equal, so that the cuts are always the same.
    pub planning: Planning,
    /// After how many updates each device of a ring copies its layers to the next device, so that the run outlives devices:
    /// `auto`, as often as slows training by at most a twentieth, for which three hundredths are aimed at; a number; `off`, never, so that a device that is lost ends the
    /// run. In other paradigms servers, or whoever has a part of the parameters, copy that, with `auto` so often that copies add at most a twentieth to what they send, or, where devices have measured, take at most a twentieth of a step's time at 4 MB/s: on slower lines they may take more.
    pub replicate: Replication,
    /// How a CPU rounds sums of products: `fused`, with fused multiply-add where it has that, which is faster; `portable`, alike on
    /// every device. With `codec = "f32"` a ring of natives alone, or of tabs alone, ends with the weights of one of them, bit for
    /// bit; with `portable` a ring of both does too. GPUs round as they please.
    pub arithmetic: Arithmetic,
    /// Start by itself when so many devices are there; 0 to wait for somebody to press start.
    pub start_at_peers: u16,
    /// What is trained.
    pub model: ModelTable,
    /// What it is trained on.
    pub data: DataTable,
    /// How gradients change weights.
    pub optimizer: OptimizerTable,
    /// What a parameter server is like.
    pub parameter_server: ParameterServerTable,
}

impl Default for RunFile {
    fn default() -> Self {
        Self {
            paradigm: Paradigm::Ring,
            steps: 2000,
            batch: 64,
            micro_batch: 16,
            seed: 1,
            evaluate_every: 100,
            evaluation_samples: 1000,
            schedule: Mode::Sync,
            codec: CodecChoice::F16,
            planning: Planning::Measured,
            replicate: Replication::Auto,
            arithmetic: Arithmetic::default(),
            start_at_peers: 0,
            model: ModelTable::default(),
            data: DataTable::default(),
            optimizer: OptimizerTable::default(),
            parameter_server: ParameterServerTable::default(),
        }
    }
}

/// Why a run file cannot be run. The fault is its author's.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// Not TOML, or not these fields.
    #[error("the run file cannot be read: {0}")]
    Syntax(String),
    /// Its layers do not go together.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The data cannot be named so.
    #[error(transparent)]
    Data(#[from] DataSpecError),
    /// A number is out of its range.
    #[error("{field} = {value} in the run file: {rule}")]
    OutOfRange {
        /// The field.
        field: String,
        /// What it says.
        value: String,
        /// What it may say.
        rule: String,
    },
    /// It cannot be announced in a room.
    #[error(
        "the run file has {bytes} bytes; at most {RUN_FILE_BYTES_MAX} fit into a message, so use fewer layers"
    )]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// The outline that came with the run is not the run's.
    #[error(
        "the room's outline of the run is not what its run file says: the room was made by a broken or hostile device"
    )]
    Outline,
}

impl RunFileError {
    fn out_of_range(
        field: impl Into<String>,
        value: impl ToString,
        rule: impl Into<String>,
    ) -> Self {
        Self::OutOfRange {
            field: field.into(),
            value: value.to_string(),
            rule: rule.into(),
        }
    }
}

impl RunFile {
    /// All in it that shapes the weights; the rest as it is by default: how long it lasts, how it is evaluated, who takes part and
    /// what travels between them.
    pub(crate) fn shaping(&self) -> Self {
        let usual = Self::default();
        Self {
            steps: usual.steps,
            evaluate_every: usual.evaluate_every,
            evaluation_samples: usual.evaluation_samples,
            start_at_peers: usual.start_at_peers,
            codec: usual.codec,
            replicate: usual.replicate,
            ..self.clone()
        }
    }

    /// Tells runs apart whose weights are not shaped alike.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.shaping().to_toml());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A preset as one would usually train it: a model of text learns sums, any other digits.
    pub fn of_preset(name: impl Into<String>) -> Self {
        Self {
            model: ModelTable::preset(name),
            ..Self::default()
        }
    }

    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// [`RunFileError::Syntax`].
    pub fn parse(toml: &str) -> Result<Self, RunFileError> {
        toml::from_str(toml).map_err(|error| RunFileError::Syntax(error.to_string()))
    }

    /// Writes TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("tables of numbers and texts can always be written")
    }

    /// Checks everything that can be checked before there is data.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn check(self) -> Result<Run, RunFileError> {
        self.check_numbers()?;
        self.check_paradigm()?;
        let takes_text = self.model.takes_text();
        let data = self.data.spec(takes_text)?;
        let optimizer = self.optimizer.spec(takes_text)?;
        let model = self.model.spec(&data)?;
        let (layers, shapes) = (model.outline()?, model.shapes()?);
        let bytes = self.to_toml().len();
        if bytes > RUN_FILE_BYTES_MAX {
            return Err(RunFileError::Length { bytes });
        }
        Ok(Run {
            file: self,
            model,
            layers,
            shapes,
            data,
            optimizer,
        })
    }

    fn check_numbers(&self) -> Result<(), RunFileError> {
        let rule = |ok: bool, field, value: &dyn ToString, rule: &str| match ok {
            true => Ok(()),
            false => Err(RunFileError::out_of_range(field, value.to_string(), rule)),
        };
        let (batch, micro_batch) = (self.batch, self.micro_batch);
        rule(self.steps >= 1, "steps", &self.steps, "at least 1")?;
        let writable = i64::try_from(self.seed).is_ok();
        let words = "at most 9223372036854775807, the largest number of TOML";
        rule(writable, "seed", &self.seed, words)?;
        let in_bounds = (1..=BATCH_MAX).contains(&batch);
        rule(in_bounds, "batch", &batch, "1 to 65536")?;
        let divides = micro_batch >= 1 && batch.is_multiple_of(micro_batch);
        let words = "at least 1, and the batch must be a multiple of it";
        rule(divides, "micro_batch", &micro_batch, words)?;
        let countable = batch / micro_batch <= u32::from(u16::MAX);
        let words = "large enough that the batch has at most 65535 of them";
        rule(countable, "micro_batch", &micro_batch, words)?;
        let sane = self.replicate != Replication::Every(0);
        rule(sane, "replicate", &0, "at least 1, \"auto\" or \"off\"")?;
        let samples = self.evaluation_samples;
        let in_bounds = samples <= EVALUATION_SAMPLES_MAX;
        rule(in_bounds, "evaluation_samples", &samples, "at most 1000000")?;
        let countable = self.evaluation_micro_batches() <= u32::from(u16::MAX);
        let words = "at most 65535 micro-batches";
        rule(countable, "evaluation_samples", &samples, words)
    }

    fn evaluation_micro_batches(&self) -> u32 {
        self.evaluation_samples.div_ceil(self.micro_batch.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_compute::{AdamSettings, OptimizerSpec, Rule};

    #[test]
    fn the_default_run_is_what_it_was_written_as() {
        let run = RunFile::default()
            .check()
            .expect("the default run can be run");
        assert_eq!(Run::of(&run.descriptor()).expect("it reads back"), run);
        assert_eq!(run.micro_batches(), 4);
        assert_eq!(run.descriptor().outline.layers.len(), 5);
    }

    #[test]
    fn an_impossible_run_is_refused_with_the_field_and_the_rule() {
        let error = |toml: &str| {
            RunFile::parse(toml)
                .and_then(RunFile::check)
                .expect_err("impossible")
                .to_string()
        };
        assert!(error("micro_batch = 10").contains("multiple"));
        assert!(error("steps = 0").contains("steps = 0"));
        let seed = RunFile {
            seed: u64::MAX,
            ..RunFile::default()
        };
        let refused = seed.check().expect_err("TOML cannot say it");
        assert!(refused.to_string().contains("seed = 18446744073709551615"));
        assert!(error("batch = 65536\nmicro_batch = 1").contains("at most 65535"));
        assert!(error("schedule = 'gpipe'").contains("sync"));
        assert!(error("replicate = 0").contains("at least 1"));
        assert!(error("replicate = 'often'").contains("auto"));
        assert!(error("colour = 1").contains("colour"));
        assert!(error("codec = 'bf16'").contains("int8"));
        assert!(error("data.set = 'ftp'").contains("ftp"));
        assert!(error("data.order = 'sorted'").contains("sequential"));
        assert!(error("data.split = 'by-label'").contains("source is every"));
        let texts = "data = { source = 'every', split = 'by-label', set = 'text:x' }";
        assert!(error(texts).contains("one label a sample"));
        assert!(error("data.source = 'two'").contains("every"));
        assert!(
            error("evaluation_samples = 1000000\nbatch = 1\nmicro_batch = 1").contains("65535")
        );
    }

    #[test]
    fn a_room_that_misstates_its_run_is_found_out() {
        let mut descriptor = RunFile::default()
            .check()
            .expect("the default run can be run")
            .descriptor();
        descriptor.outline.steps += 1;
        assert!(matches!(Run::of(&descriptor), Err(RunFileError::Outline)));
    }

    fn check(toml: &str) -> Result<Run, RunFileError> {
        RunFile::parse(toml).and_then(RunFile::check)
    }

    fn refused(toml: &str) -> String {
        check(toml).expect_err("impossible").to_string()
    }

    #[test]
    fn a_model_is_a_preset_a_transformer_of_any_sizes_or_layers() {
        let layers = |toml: &str| check(toml).expect("a sound run").layers.len();
        assert_eq!(layers(""), 5);
        assert_eq!(layers("model.preset = 'cnn'"), 8);
        assert_eq!(layers("model.preset = 'gpt-nano'"), 11);
        let gpt =
            check("model = { preset = 'gpt', depth = 8, width = 384, heads = 6, context = 16 }")
                .expect("a sound run");
        assert_eq!((gpt.layers.len(), gpt.input_shape()), (19, &[16][..]));
        assert_eq!(
            (gpt.data.to_string(), gpt.classes()),
            ("addition".to_owned(), 13)
        );
        let composed = "
            [model]
            input = [1, 28, 28]
            [[model.layers]]
            kind = 'conv2d'
            inputs = 1
            outputs = 4
            kernel = 3
            stride = 2
            [[model.layers]]
            kind = 'flatten'
            [[model.layers]]
            kind = 'linear'
            inputs = 676
            outputs = 10";
        let run = check(composed).expect("a sound run");
        assert_eq!(
            (run.layers.len(), run.summary().name.as_str()),
            (3, "layers")
        );
        assert_eq!(Run::of(&run.descriptor()).expect("it reads back"), run);
        assert_eq!(
            refused(&composed.replace("676", "675")),
            "layer 2 (linear 675 → 10) takes samples of shape [.., 675], but gets [676]"
        );
    }

    #[test]
    fn a_model_that_cannot_be_is_refused_with_the_field_and_the_rule() {
        let lstm = refused("model.preset = 'lstm'");
        assert!(
            lstm.contains("model.preset = lstm") && lstm.contains("gpt-nano"),
            "{lstm}"
        );
        assert!(refused("model = { preset = 'cnn', width = 8 }").contains("model.width = 8"));
        assert!(refused("model = { preset = 'gpt', depth = 0 }").contains("model.depth = 0"));
        let heads = refused("model = { preset = 'gpt', width = 130 }");
        assert!(
            heads.contains("layer 1") && heads.contains("130"),
            "{heads}"
        );
        assert!(refused("model.input = [784]").contains("model.input"));
        let relu = "layers = [{ kind = 'relu' }]";
        assert!(refused(&format!("model = {{ {relu} }}")).contains("model.input"));
        let both = format!("model = {{ preset = 'mlp', {relu} }}");
        assert!(refused(&both).contains("leave one of them out"));
        let sizes = format!("model = {{ input = [784], depth = 2, {relu} }}");
        assert!(refused(&sizes).contains("model.depth"));
        let unknown = refused("model = { input = [784], layers = [{ kind = 'reluu' }] }");
        assert!(
            unknown.contains("reluu") && unknown.contains("max_pool2d"),
            "{unknown}"
        );
        let many = format!(
            "model = {{ input = [784], layers = [{}] }}",
            "{kind='relu'},".repeat(1000)
        );
        assert!(refused(&many).contains("bytes"));
    }

    #[test]
    fn every_rule_can_be_named_and_takes_only_its_own_numbers() {
        let rule = |toml: &str| check(toml).expect("a sound run").optimizer;
        assert_eq!(rule(""), OptimizerSpec::sgd(0.2));
        for name in RuleName::ALL {
            let spec = rule(&format!("optimizer.rule = '{name}'"));
            assert_eq!(spec.check(), Ok(()));
            assert_eq!(name.word().parse(), Ok(name));
        }
        let nadam = rule(
            "optimizer = { rule = 'nadam', learning_rate = 0.01, beta1 = 0.99, momentum_decay = 0.002, \
             warm_up_steps = 10, cosine_steps = 90, final_ratio = 0.1, clip_norm = 1.0 }",
        );
        let settings = AdamSettings {
            beta1: 0.99,
            ..AdamSettings::default()
        };
        let expected = Rule::Nadam {
            adam: settings,
            momentum_decay: 0.002,
        };
        assert_eq!((nadam.rule, nadam.learning_rate), (expected, 0.01));
        assert_eq!(
            (nadam.schedule.warm_up_steps, nadam.clip_norm),
            (10, Some(1.0))
        );

        let error = |table: &str| refused(&format!("optimizer = {{ {table} }}"));
        assert!(error("learning_rate = nan").contains("optimizer.learning_rate = NaN"));
        assert!(error("rule = 'rmsprop'").contains("nesterov"));
        assert!(error("momentum = 0.9").contains("the rule sgd has no such number"));
        assert!(error("rule = 'adam', weight_decay = 0.1").contains("adamw have"));
        assert!(error("rule = 'nesterov', momentum = 1.0").contains("below 1"));
        assert!(error("warm_up_steps = 9, cosine_steps = 9").contains("cosine_steps = 9"));
        assert!(error("final_ratio = 2.0").contains("0 to 1"));
    }

    #[test]
    fn a_room_is_told_that_gradients_are_clipped() {
        for (toml, clips) in [("optimizer.clip_norm = 1.0", true), ("", false)] {
            let run = check(toml).expect("a sound run");
            let descriptor = run.descriptor();
            assert_eq!(descriptor.outline.schedule.clips_gradients, clips);
            assert_eq!(Run::of(&descriptor).expect("its own"), run);
        }
    }
}
