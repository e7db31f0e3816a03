//! Labels that do not count: gradients are those of the mean over the others, whatever the cut into micro-batches.

mod common;

use common::{Numbers, assert_near, config, cpu, gpu, other_models, sample, suite};
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::{
    Executor, IGNORED_LABEL, ModelSpec, OptimizerSpec, Packed, Parameter, Stage, StageConfig,
};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// A step of a text model: 6 samples of 7 tokens, of whose 42 labels 2 in 3 do not count, in other numbers in every sample.
struct Step {
    config: StageConfig,
    tokens: Vec<u32>,
    labels: Vec<u32>,
}

const SAMPLES: usize = 6;
const CONTEXT: usize = 7;

impl Step {
    fn new() -> Self {
        let (_, model) = other_models().remove(1);
        let layers = 0..model.layers.len();
        let config = StageConfig {
            micro_batch: SAMPLES,
            batch: SAMPLES,
            optimizer: OptimizerSpec::sgd(1.0),
            ..config(model, layers)
        };
        let mut numbers = Numbers::new(31);
        let (input, mut labels) = sample(&mut numbers, &config, 5);
        for label in &mut labels {
            if numbers.below(3) > 0 {
                *label = IGNORED_LABEL;
            }
        }
        // One sample has no label at all.
        labels[CONTEXT..2 * CONTEXT].fill(IGNORED_LABEL);
        let tokens = input.u32s().expect("tokens");
        Self {
            config,
            tokens,
            labels,
        }
    }

    fn counted(&self) -> u64 {
        let counted = self.labels.iter().filter(|label| **label != IGNORED_LABEL);
        counted.count() as u64
    }

    /// The sum of all losses.
    async fn forward(&self, stage: &mut Stage, trains: bool) -> f32 {
        let micro_batch = stage.config().micro_batch;
        let parts = self.tokens.chunks(micro_batch * CONTEXT);
        let mut sum = 0.0;
        for (tokens, labels) in parts.zip(self.labels.chunks(micro_batch * CONTEXT)) {
            let input = Packed::from_u32(&[micro_batch, CONTEXT], tokens).expect("tokens");
            let report = stage.forward_loss(0, &input, labels).await.expect("a loss");
            sum += report.loss_sum;
            if trains {
                stage.backward_input(0, None).await.expect("B");
                stage.backward_weights(0).await.expect("W");
            }
        }
        sum
    }

    /// All weights before and after the step.
    async fn train(&self, executor: &Executor, config: StageConfig) -> [Vec<Parameter>; 2] {
        let stage = Stage::new(config, executor.clone()).await;
        let mut stage = stage.expect("a stage");
        let before = stage.parameters().await.expect("parameters");
        self.forward(&mut stage, true).await;
        let update = stage.update_of(0, self.counted()).await;
        update.expect("an update");
        [before, stage.parameters().await.expect("parameters")]
    }
}

fn values(parameters: &[Parameter]) -> Vec<f32> {
    let values = parameters.iter().flat_map(|parameter| &parameter.values);
    values.copied().collect()
}

suite! {
    async fn a_gradient_is_that_of_the_mean_over_the_labels_that_count() {
        let model = ModelSpec::new(vec![2], vec![LayerSpec::linear(2, 2)]);
        let base = StageConfig { batch: 3, optimizer: OptimizerSpec::sgd(1.0), ..config(model, 0..1) };
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let mut stage = Stage::new(base.clone(), executor).await.expect("a stage");
            let mut zeros = stage.parameters().await.expect("parameters");
            zeros.iter_mut().for_each(|parameter| parameter.values.fill(0.0));
            stage.set_parameters(&zeros).expect("the same names");
            let input = Packed::from_f32(&[3, 2], &[1.0, 2.0, 9.0, 9.0, 3.0, -4.0]).expect("a micro-batch");
            stage.forward_loss(0, &input, &[0, IGNORED_LABEL, 1]).await.expect("a loss");
            stage.backward_input(0, None).await.expect("B");
            stage.backward_weights(0).await.expect("W");
            stage.update_of(0, 2).await.expect("an update");
            // Both classes have 1/2, so that the first one's gradient is (-1/2 (1, 2) + 1/2 (3, -4)) / 2.
            let after = values(&stage.parameters().await.expect("parameters"));
            assert_near("weights and biases", &after, &[-0.5, 1.5, 0.5, -1.5, 0.0, 0.0], 1e-6);
        }
    }

    async fn the_cut_into_micro_batches_changes_no_gradient_clipped_or_not() {
        let step = Step::new();
        for clip_norm in [None, Some(0.05)] {
            let mut twin = None;
            for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
                for micro_batch in [6, 3, 2, 1] {
                    let mut config = StageConfig { micro_batch, ..step.config.clone() };
                    config.optimizer.clip_norm = clip_norm;
                    let [before, after] = step.train(&executor, config).await.map(|all| values(&all));
                    let changes = before.iter().zip(&after).map(|(before, after)| before - after);
                    let changes: Vec<f32> = changes.collect();
                    let norm = changes.iter().map(|change| f64::from(*change).powi(2)).sum::<f64>().sqrt();
                    match clip_norm {
                        Some(limit) => assert!((norm - f64::from(limit)).abs() < 1e-5, "{norm}"),
                        None => assert!(norm > 0.1, "there is something to clip: {norm}"),
                    }
                    let what = format!("{micro_batch} of 6, clipped at {clip_norm:?}");
                    assert_near(&what, &changes, twin.get_or_insert(changes.clone()), 2e-6);
                }
            }
        }
    }

    async fn gradients_are_the_differences_of_the_mean_loss() {
        const STEP: f32 = 1e-2;
        let step = Step::new();
        let cpu = cpu().await;
        let config = StageConfig { micro_batch: 2, ..step.config.clone() };
        let [before, after] = step.train(&cpu, config.clone()).await;
        let mut stage = Stage::new(config, cpu).await.expect("a stage");
        for p in 0..before.len() {
            let most = (0..before[p].values.len()).max_by(|a, b| {
                let change = |i: usize| (before[p].values[i] - after[p].values[i]).abs();
                change(*a).total_cmp(&change(*b))
            });
            let most = most.expect("a parameter has values");
            let mut losses = Vec::new();
            for change in [STEP, -STEP] {
                let mut changed = before.clone();
                changed[p].values[most] += change;
                stage.set_parameters(&changed).expect("the same names");
                losses.push(step.forward(&mut stage, false).await / step.counted() as f32);
            }
            let difference = (losses[0] - losses[1]) / (2.0 * STEP);
            let gradient = before[p].values[most] - after[p].values[most];
            let near = (difference - gradient).abs() <= 2e-4 + 0.02 * gradient.abs();
            assert!(near, "{}[{most}]: {gradient}, by differences {difference}", before[p].name);
        }
    }

    async fn a_step_without_labels_changes_nothing_and_one_that_clips_wants_the_sum() {
        let mut step = Step::new();
        step.labels.fill(IGNORED_LABEL);
        let [before, after] = step.train(&cpu().await, step.config.clone()).await;
        assert_eq!(before, after);
        let mut config = step.config.clone();
        config.optimizer.clip_norm = Some(1.0);
        let mut stage = Stage::new(config, cpu().await).await.expect("a stage");
        let error = stage.update_with(0, 1, None).await.expect_err("no sum");
        assert!(error.to_string().contains("nobody told"), "{error}");
    }
}
