//! Which run: a run file, and flags that win over it.

use crate::files;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Placement, Staleness};
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::Replication;
use ringtmp_peer::{
    Arithmetic, DataSource, DataTable, ModelTable, OptimizerTable, Order, Paradigm, RuleName,
    RunFile, Split,
};
use std::path::{Path, PathBuf};

/// The most bytes of a run file; one has a few hundred.
const RUN_FILE_BYTES_MAX: u64 = 1 << 20;

/// What a run file says, as flags. docs/run-file.md tells more of each.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RunChoice {
    /// The run as TOML; flags win over it
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) run: Option<PathBuf>,
    /// The model: mlp, cnn, gpt-nano, gpt-small, or gpt with sizes
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// Blocks of a gpt
    #[arg(long, value_name = "BLOCKS")]
    depth: Option<usize>,
    /// Numbers of a token's vector in a gpt
    #[arg(long)]
    width: Option<usize>,
    /// Heads of a gpt's attention; they divide the width
    #[arg(long)]
    heads: Option<usize>,
    /// Tokens of a gpt's sample
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,
    /// Tokens that a gpt tells apart
    #[arg(long, value_name = "TOKENS")]
    vocabulary: Option<usize>,
    /// What to train on: digits, addition, idx:DIR, text:FILE or csv:FILE
    #[arg(long, value_name = "SPEC")]
    pub(crate) data: Option<String>,
    /// Whose samples are trained on: one device's, or every device its own
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// How the data are divided where every device has its own
    #[arg(long, value_enum)]
    split: Option<DataSplit>,
    /// The order of samples
    #[arg(long, value_enum)]
    order: Option<SampleOrder>,
    /// Updates to make
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Samples of an update
    #[arg(long)]
    batch: Option<u32>,
    /// Samples of a micro-batch; divides the batch
    #[arg(long)]
    micro_batch: Option<u32>,
    /// Makes first weights, data and their order
    #[arg(long)]
    seed: Option<u64>,
    /// The optimizer: sgd, momentum, nesterov, adam, adamw or nadam
    #[arg(long, value_name = "RULE")]
    optimizer: Option<RuleName>,
    /// The optimizer's learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f32>,
    /// How much of the last step momentum and nesterov keep
    #[arg(long)]
    momentum: Option<f32>,
    /// How much of the mean of gradients adam, adamw and nadam keep
    #[arg(long)]
    beta1: Option<f32>,
    /// How much of the mean of their squares adam, adamw and nadam keep
    #[arg(long)]
    beta2: Option<f32>,
    /// What adam, adamw and nadam add to the root of that mean
    #[arg(long)]
    epsilon: Option<f32>,
    /// The part of each weight that adamw takes away, times the learning rate
    #[arg(long)]
    weight_decay: Option<f32>,
    /// How slowly the momentum of nadam grows to beta1
    #[arg(long)]
    momentum_decay: Option<f32>,
    /// Steps over which the learning rate grows from near zero
    #[arg(long, value_name = "STEPS")]
    warm_up_steps: Option<u32>,
    /// The step at which the learning rate has fallen along half a cosine
    #[arg(long, value_name = "STEP")]
    cosine_steps: Option<u32>,
    /// The part of the learning rate that is left then
    #[arg(long, value_name = "PART")]
    final_ratio: Option<f32>,
    /// Scale gradients whose norm is larger down to it
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f32>,
    /// How devices train together: ring, parameter-server or all-reduce
    #[arg(long)]
    paradigm: Option<Paradigm>,
    /// Where the parameters of a parameter server are: single, dedicated or colocated
    #[arg(long)]
    placement: Option<Placement>,
    /// How many servers, where they are dedicated
    #[arg(long, value_name = "SERVERS")]
    shards: Option<u16>,
    /// How many steps' pushes a parameter server's worker may miss: a number, or infinite
    #[arg(long, value_name = "STEPS")]
    tau: Option<Staleness>,
    /// The schedule of a ring: sync, 2bw, async or 1f1b
    #[arg(long, value_name = "MODE")]
    schedule: Option<Mode>,
    /// How peers write tensors to each other: f32, f16, int8 or auto
    #[arg(long)]
    codec: Option<CodecChoice>,
    /// After how many updates each device of a ring copies its layers to the next: a number, auto or off
    #[arg(long, value_name = "UPDATES", value_parser = replication)]
    replicate: Option<Replication>,
    /// How layers are divided: measured, by what each device takes for them; counted, by operations, as if all were equal
    #[arg(long, value_enum)]
    planning: Option<LayerPlanning>,
    /// How a CPU rounds sums of products: fused, which is faster; portable, alike on every device
    #[arg(long)]
    arithmetic: Option<Arithmetic>,
    /// Evaluate after every so many steps, and at the end; 0 for the end only
    #[arg(long, value_name = "STEPS")]
    evaluate_every: Option<u32>,
    /// Held-out samples of an evaluation; 0 for none
    #[arg(long, value_name = "SAMPLES")]
    evaluation_samples: Option<u32>,
}

/// Whose samples are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The first device's
    One,
    /// Every device its own
    Every,
}

impl From<Source> for DataSource {
    fn from(source: Source) -> Self {
        match source {
            Source::One => Self::One,
            Source::Every => Self::Every,
        }
    }
}

/// How layers are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerPlanning {
    /// By what each device takes for them
    Measured,
    /// By operations
    Counted,
}

impl From<LayerPlanning> for Planning {
    fn from(planning: LayerPlanning) -> Self {
        match planning {
            LayerPlanning::Measured => Self::Measured,
            LayerPlanning::Counted => Self::Counted,
        }
    }
}

/// How data are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataSplit {
    /// As many of every class
    Even,
    /// Each class at one device
    ByLabel,
}

impl From<DataSplit> for Split {
    fn from(split: DataSplit) -> Self {
        match split {
            DataSplit::Even => Self::Even,
            DataSplit::ByLabel => Self::ByLabel,
        }
    }
}

/// The order of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SampleOrder {
    /// As the files have it
    Sequential,
    /// At random
    Shuffled,
}

impl From<SampleOrder> for Order {
    fn from(order: SampleOrder) -> Self {
        match order {
            SampleOrder::Sequential => Self::Sequential,
            SampleOrder::Shuffled => Self::Shuffled,
        }
    }
}

impl RunChoice {
    /// The run file, with what the flags say instead.
    pub(crate) fn file(&self) -> Result<RunFile> {
        let mut file = match &self.run {
            Some(path) => read(path)?,
            None => RunFile::default(),
        };
        // Another preset, set or rule makes the numbers of the one before it meaningless.
        if let Some(preset) = &self.preset {
            file.model = ModelTable::preset(preset);
        }
        if let Some(set) = &self.data {
            file.data = DataTable {
                set: Some(set.clone()),
                ..file.data
            };
        }
        if let Some(rule) = self.optimizer {
            file.optimizer = OptimizerTable {
                rule: Some(rule),
                ..OptimizerTable::default()
            };
        }
        set_some(&mut file.model.depth, self.depth);
        set_some(&mut file.model.width, self.width);
        set_some(&mut file.model.heads, self.heads);
        set_some(&mut file.model.context, self.context);
        set_some(&mut file.model.vocabulary, self.vocabulary);
        set(&mut file.data.source, self.source.map(Into::into));
        set(&mut file.data.split, self.split.map(Into::into));
        set(&mut file.data.order, self.order.map(Into::into));
        set(&mut file.paradigm, self.paradigm);
        set_some(&mut file.parameter_server.placement, self.placement);
        set_some(&mut file.parameter_server.shards, self.shards);
        set_some(&mut file.parameter_server.tau, self.tau);
        set(&mut file.steps, self.steps);
        set(&mut file.seed, self.seed);
        set(&mut file.schedule, self.schedule);
        set(&mut file.codec, self.codec);
        set(&mut file.replicate, self.replicate);
        set(&mut file.planning, self.planning.map(Planning::from));
        set(&mut file.arithmetic, self.arithmetic);
        set(&mut file.evaluate_every, self.evaluate_every);
        set(&mut file.evaluation_samples, self.evaluation_samples);
        self.set_optimizer(&mut file.optimizer);
        set(&mut file.batch, self.batch);
        file.micro_batch = match self.micro_batch {
            Some(samples) => samples,
            // A batch of another size than the file's: in one piece where the file's micro-batches do not fit into it.
            None if file.batch.is_multiple_of(file.micro_batch.max(1)) => file.micro_batch,
            None => file.batch,
        };
        Ok(file)
    }

    /// Whether neither a flag nor a run file decides how layers are divided.
    pub(crate) fn leaves_planning_open(&self) -> bool {
        self.planning.is_none() && self.run.is_none()
    }

    fn set_optimizer(&self, table: &mut OptimizerTable) {
        set_some(&mut table.learning_rate, self.learning_rate);
        set_some(&mut table.momentum, self.momentum);
        set_some(&mut table.beta1, self.beta1);
        set_some(&mut table.beta2, self.beta2);
        set_some(&mut table.epsilon, self.epsilon);
        set_some(&mut table.weight_decay, self.weight_decay);
        set_some(&mut table.momentum_decay, self.momentum_decay);
        set(&mut table.warm_up_steps, self.warm_up_steps);
        set_some(&mut table.cosine_steps, self.cosine_steps);
        set(&mut table.final_ratio, self.final_ratio);
        set_some(&mut table.clip_norm, self.clip_norm);
    }
}

/// As in run files.
pub(crate) fn replication(text: &str) -> Result<Replication, &'static str> {
    match text {
        "auto" => Ok(Replication::Auto),
        "off" => Ok(Replication::Off),
        number => match number.parse() {
            Ok(every @ 1..) => Ok(Replication::Every(every)),
            _ => Err("say auto, off, or after how many updates"),
        },
    }
}

fn set<T>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

fn set_some<T>(field: &mut Option<T>, flag: Option<T>) {
    if flag.is_some() {
        *field = flag;
    }
}

/// Reads a run file.
pub(crate) fn read(path: &Path) -> Result<RunFile> {
    let text = String::from_utf8(files::read(path, RUN_FILE_BYTES_MAX)?)
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    RunFile::parse(&text).with_context(|| path.display().to_string())
}
