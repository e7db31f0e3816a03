//! A stage does what its layers say: alone, cut anywhere, on every executor, and whatever it is given.

mod common;

use common::{Numbers, assert_near, config, cpu, gpu, say, small_model, suite};
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::{
    ComputeError, Executor, Format, IGNORED_LABEL, LossReport, ModelSpec, OptimizerSpec, Packed,
    Parameter, Stage, StageConfig,
};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// A model cut into stages that hand tensors to each other directly.
struct Ring(Vec<Stage>);

impl Ring {
    async fn new(executor: &Executor, base: &StageConfig, cuts: &[usize]) -> Self {
        let mut stages = Vec::new();
        for pair in cuts.windows(2) {
            let config = StageConfig {
                layers: pair[0]..pair[1],
                ..base.clone()
            };
            stages.push(Stage::new(config, executor.clone()).await.expect("a stage"));
        }
        Self(stages)
    }

    async fn forward(&mut self, slot: usize, input: &Packed, labels: &[u32]) -> LossReport {
        let (tail, others) = self.0.split_last_mut().expect("a stage");
        let mut tensor = input.clone();
        for stage in others {
            tensor = stage.forward(slot, &tensor).await.expect("F");
        }
        tail.forward_loss(slot, &tensor, labels)
            .await
            .expect("a loss")
    }

    async fn backward(&mut self, slot: usize) {
        let mut gradient = None;
        for stage in self.0.iter_mut().rev() {
            gradient = stage
                .backward_input(slot, gradient.as_ref())
                .await
                .expect("B");
        }
        assert_eq!(gradient, None, "the head gives no gradient");
    }

    async fn weights(&mut self, slot: usize) {
        for stage in &mut self.0 {
            stage.backward_weights(slot).await.expect("W");
        }
    }

    async fn update(&mut self) {
        for stage in &mut self.0 {
            stage.update(0).await.expect("an update");
        }
    }

    async fn digests(&self) -> Vec<(usize, String)> {
        let mut digests = Vec::new();
        for stage in &self.0 {
            digests.extend(stage.digests().await.expect("digests"));
        }
        digests
    }

    async fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        for stage in &self.0 {
            parameters.extend(stage.parameters().await.expect("parameters"));
        }
        parameters
    }
}

/// Two steps of three micro-batches: all F, then all B, then all W.
async fn train(ring: &mut Ring, config: &StageConfig, classes: u32) -> Vec<LossReport> {
    let mut numbers = Numbers::new(11);
    let mut reports = Vec::new();
    for _step in 0..2 {
        for slot in 0..3 {
            let (input, labels) = sample(&mut numbers, config, classes);
            reports.push(ring.forward(slot, &input, &labels).await);
        }
        for slot in 0..3 {
            ring.backward(slot).await;
        }
        for slot in 0..3 {
            ring.weights(slot).await;
        }
        ring.update().await;
    }
    reports
}

fn sample(numbers: &mut Numbers, config: &StageConfig, classes: u32) -> (Packed, Vec<u32>) {
    let width: usize = config.model.input.iter().product();
    let shape = [config.micro_batch, width];
    let values = numbers.floats(config.micro_batch * width);
    let input = Packed::from_f32(&shape, &values).expect("a micro-batch");
    (input, numbers.labels(config.micro_batch, classes))
}

fn bits(reports: &[LossReport]) -> Vec<(u32, u32, u32)> {
    reports
        .iter()
        .map(|r| (r.loss_sum.to_bits(), r.correct, r.samples))
        .collect()
}

suite! {
    async fn the_cut_does_not_change_a_bit() {
        let base = config(small_model(), 0..5);
        let mut whole = Ring::new(&cpu().await, &base, &[0, 5]).await;
        let reports = train(&mut whole, &base, 5).await;
        let digests = whole.digests().await;
        for inner in 1..16 {
            let cut = |layer: &usize| inner >> (layer - 1) & 1 == 1;
            let cuts: Vec<_> = [0].into_iter().chain((1..5).filter(cut)).chain([5]).collect();
            let mut ring = Ring::new(&cpu().await, &base, &cuts).await;
            assert_eq!(bits(&train(&mut ring, &base, 5).await), bits(&reports), "cut at {cuts:?}");
            assert_eq!(ring.digests().await, digests, "cut at {cuts:?}");
        }
    }

    async fn the_order_of_tasks_of_different_micro_batches_does_not_change_a_bit() {
        let base = config(small_model(), 0..5);
        let mut ring = Ring::new(&cpu().await, &base, &[0, 2, 5]).await;
        train(&mut ring, &base, 5).await;
        let mut other = Ring::new(&cpu().await, &base, &[0, 2, 5]).await;
        let mut numbers = Numbers::new(11);
        for _step in 0..2 {
            let samples: Vec<_> = (0..3).map(|_| sample(&mut numbers, &base, 5)).collect();
            other.forward(2, &samples[0].0, &samples[0].1).await;
            other.backward(2).await;
            other.forward(0, &samples[1].0, &samples[1].1).await;
            other.weights(2).await;
            other.forward(2, &samples[2].0, &samples[2].1).await;
            other.backward(2).await;
            other.backward(0).await;
            other.weights(0).await;
            other.weights(2).await;
            other.update().await;
        }
        assert_eq!(other.digests().await, ring.digests().await);
    }

    /// A rectifier does not need the gradient of its output after B, but the loss leaves it there for B.
    async fn losses_of_several_micro_batches_before_their_backwards_do_not_mix() {
        let layers = vec![LayerSpec::linear(6, 5), LayerSpec::relu()];
        let base = config(ModelSpec { input: vec![6], layers }, 0..2);
        let mut digests = Vec::new();
        for together in [false, true] {
            let mut ring = Ring::new(&cpu().await, &base, &[0, 2]).await;
            let mut numbers = Numbers::new(12);
            for slot in 0..3 {
                let (input, labels) = sample(&mut numbers, &base, 5);
                ring.forward(slot, &input, &labels).await;
                if !together {
                    ring.backward(slot).await;
                }
            }
            for slot in 0..3 {
                if together {
                    ring.backward(slot).await;
                }
                ring.weights(slot).await;
            }
            ring.update().await;
            digests.push(ring.digests().await);
        }
        assert_eq!(digests[0], digests[1]);
    }

    async fn gradients_accumulate_in_the_order_of_calls() {
        // Were the order lost, this test would hold nothing: so the sum of another order must differ in some bit.
        let base = config(small_model(), 0..5);
        let mut digests = Vec::new();
        for order in [[0, 1, 2], [2, 1, 0]] {
            let mut ring = Ring::new(&cpu().await, &base, &[0, 5]).await;
            let mut numbers = Numbers::new(11);
            for slot in 0..3 {
                let (input, labels) = sample(&mut numbers, &base, 5);
                ring.forward(slot, &input, &labels).await;
                ring.backward(slot).await;
            }
            for slot in order {
                ring.weights(slot).await;
            }
            ring.update().await;
            digests.push(ring.digests().await);
        }
        assert_ne!(digests[0], digests[1]);
    }

    /// The digests were written down once, on x86-64. A device that computes other bits cannot share a ring bit for bit.
    async fn every_device_computes_the_same_bits() {
        let base = config(small_model(), 0..5);
        let mut ring = Ring::new(&cpu().await, &base, &[0, 5]).await;
        train(&mut ring, &base, 5).await;
        let expected = [
            "b1c7dc45f892c55541b8cdc576f453a75656af3f87778814ca5cdac551602a3d",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "9c43793ef2057b5da1b95a06d3cb4a5539431b1895635123592b8d246d77e509",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "60accc1982ff7f461223b3b7a7a5345671b71d89aaa3fc18ac2b0a0630ffc202",
        ];
        let digests: Vec<_> = ring.digests().await.into_iter().map(|(_, digest)| digest).collect();
        assert_eq!(digests, expected);
    }

    async fn a_gpu_trains_as_the_cpu_does() {
        let Some(gpu) = gpu().await else { return };
        let base = config(small_model(), 0..5);
        let mut ours = Ring::new(&cpu().await, &base, &[0, 5]).await;
        let reports = train(&mut ours, &base, 5).await;
        for cuts in [vec![0, 5], vec![0, 1, 2, 3, 4, 5]] {
            let mut theirs = Ring::new(&gpu, &base, &cuts).await;
            for (a, b) in train(&mut theirs, &base, 5).await.iter().zip(&reports) {
                assert_near("losses", &[a.loss_sum], &[b.loss_sum], 1e-5);
                assert_eq!((a.correct, a.samples), (b.correct, b.samples));
            }
            for (a, b) in theirs.parameters().await.iter().zip(&ours.parameters().await) {
                assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
                assert_near(&a.name, &a.values, &b.values, 1e-5);
            }
        }
    }

    async fn weights_begin_as_pytorch_begins_and_by_the_seed() {
        let stage = |seed, layers| async move {
            let config = StageConfig { seed, ..config(small_model(), layers) };
            let stage = Stage::new(config, cpu().await).await.expect("a stage");
            stage.parameters().await.expect("parameters")
        };
        let all = stage(7, 0..5).await;
        let names: Vec<_> = all.iter().map(|p| (p.layer, p.name.as_str(), p.shape.clone())).collect();
        assert_eq!(names, [
            (0, "0.weight", vec![13, 21]),
            (0, "0.bias", vec![13]),
            (2, "2.weight", vec![11, 13]),
            (2, "2.bias", vec![11]),
            (4, "4.weight", vec![5, 11]),
            (4, "4.bias", vec![5]),
        ]);
        let bound = 1.0 / 21f32.sqrt();
        assert!(all[0].values.iter().all(|value| value.abs() <= bound));
        let mean_square = all[0].values.iter().map(|v| v * v).sum::<f32>() / (13.0 * 21.0);
        assert!((mean_square / (bound * bound / 3.0) - 1.0).abs() < 0.2, "uniform: a third of its square");
        assert_eq!(stage(7, 2..3).await[..], all[2..4], "they do not depend on the cut");
        assert_ne!(stage(8, 0..5).await[0].values, all[0].values);
        assert_ne!(all[1].values[..5], all[5].values[..5]);
    }

    async fn parameters_that_are_set_read_back_and_others_are_refused_whole() {
        let base = config(small_model(), 0..3);
        let mut stage = Stage::new(base, cpu().await).await.expect("a stage");
        let before = stage.parameters().await.expect("parameters");
        let mut given = before.clone();
        given.iter_mut().for_each(|p| p.values.iter_mut().for_each(|value| *value += 1.0));
        let mut wrong = given.clone();
        wrong[2].shape = vec![13, 11];
        assert!(matches!(stage.set_parameters(&wrong), Err(ComputeError::Parameter(_))));
        assert!(matches!(stage.set_parameters(&given[..3]), Err(ComputeError::Parameter(_))));
        assert_eq!(stage.parameters().await.expect("parameters"), before);
        given.reverse();
        stage.set_parameters(&given).expect("order does not matter");
        given.reverse();
        assert_eq!(stage.parameters().await.expect("parameters"), given);
    }

    async fn tasks_out_of_turn_are_refused_and_change_nothing() {
        let base = config(small_model(), 3..5);
        let mut stage = Stage::new(base.clone(), cpu().await).await.expect("a stage");
        let input = Packed::from_f32(&[3, 11], &[0.5; 33]).expect("a micro-batch");
        let refused = |result: Result<(), ComputeError>| {
            assert!(matches!(result, Err(ComputeError::Misuse { .. })), "{result:?}");
        };
        refused(stage.backward_input(0, None).await.map(|_| ()));
        refused(stage.backward_weights(0).await);
        refused(stage.forward(3, &input).await.map(|_| ()));
        stage.forward_loss(0, &input, &[0, 1, 2]).await.expect("a loss");
        refused(stage.backward_weights(0).await);
        refused(stage.backward_input(1, None).await.map(|_| ()));
        refused(stage.backward_input(0, Some(&input)).await.map(|_| ()));
        stage.backward_input(0, None).await.expect("B").expect("a gradient");
        refused(stage.backward_input(0, None).await.map(|_| ()));
        stage.backward_weights(0).await.expect("W");
        refused(stage.backward_weights(0).await);
        let mut middle = Stage::new(StageConfig { layers: 2..4, ..base }, cpu().await).await.expect("a stage");
        let input = Packed::from_f32(&[3, 13], &[0.5; 39]).expect("a micro-batch");
        refused(middle.forward_loss(0, &input, &[0, 1, 2]).await.map(|_| ()));
        middle.forward(0, &input).await.expect("F");
        refused(middle.backward_input(0, None).await.map(|_| ()));
    }

    async fn an_evaluation_leaves_its_slot_free_and_the_weights_as_they_were() {
        let base = config(small_model(), 0..5);
        let mut stage = Stage::new(base.clone(), cpu().await).await.expect("a stage");
        let before = stage.digests().await.expect("digests");
        let (input, labels) = sample(&mut Numbers::new(3), &base, 5);
        let report = stage.forward_loss(0, &input, &labels).await.expect("a loss");
        assert_eq!(report, stage.forward_loss(0, &input, &labels).await.expect("the same loss"));
        let logits = stage.forward(0, &input).await.expect("logits").f32s().expect("floats");
        let best = |row: &[f32]| (0..5).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("five classes");
        let right = logits.chunks(5).zip(&labels).filter(|(row, label)| best(row) as u32 == **label);
        assert_eq!(right.count() as u32, report.correct);
        stage.update(0).await.expect("an update without gradients");
        assert_eq!(stage.digests().await.expect("digests"), before);
    }

    async fn labels_that_name_no_class_are_refused() {
        let base = config(small_model(), 0..5);
        let mut stage = Stage::new(base.clone(), cpu().await).await.expect("a stage");
        let (input, _) = sample(&mut Numbers::new(4), &base, 5);
        let error = stage.forward_loss(0, &input, &[0, 5, u32::MAX]).await.expect_err("5 of 5");
        assert_eq!(error, ComputeError::Label { sample: 1, label: 5, classes: 5 });
        let error = stage.forward_loss(0, &input, &[0, 1]).await.expect_err("three samples");
        assert!(matches!(error, ComputeError::Tensor(_)), "{error}");
    }

    async fn padding_has_no_loss_no_gradient_and_is_not_counted() {
        let base = config(small_model(), 0..5);
        let (input, labels) = sample(&mut Numbers::new(6), &base, 5);
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let mut stage = Stage::new(base.clone(), executor).await.expect("a stage");
            let (mut sum, mut correct) = (0.0, 0);
            for kept in 0..3 {
                let mut alone = [IGNORED_LABEL; 3];
                alone[kept] = labels[kept];
                let report = stage.forward_loss(kept, &input, &alone).await.expect("a loss");
                assert_eq!(report.samples, 1);
                sum += report.loss_sum;
                correct += report.correct;
            }
            let all = stage.forward_loss(0, &input, &labels).await.expect("a loss");
            assert_near("losses", &[sum], &[all.loss_sum], 1e-6);
            assert_eq!((all.correct, all.samples), (correct, 3));
            let before = stage.digests().await.expect("digests");
            let report = stage.forward_loss(0, &input, &[IGNORED_LABEL; 3]).await.expect("a loss");
            assert_eq!(report, LossReport { loss_sum: 0.0, correct: 0, samples: 0 });
            stage.backward_input(0, None).await.expect("B");
            stage.backward_weights(0).await.expect("W");
            stage.update(0).await.expect("an update");
            assert_eq!(stage.digests().await.expect("digests"), before);
        }
    }

    async fn a_loss_that_is_no_number_is_an_error_that_names_the_layer() {
        let base = config(small_model(), 0..5);
        for value in [f32::NAN, f32::INFINITY] {
            for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
                let mut stage = Stage::new(base.clone(), executor).await.expect("a stage");
                let input = Packed::from_f32(&[3, 21], &[value; 63]).expect("bits are bits");
                let error = stage.forward_loss(0, &input, &[0; 3]).await.expect_err("diverged");
                let text = error.to_string();
                assert!(text.starts_with("the loss at layer 4 (linear 11 → 5) is"), "{text}");
            }
        }
    }

    async fn whatever_tensor_comes_in_the_answer_is_an_error_or_a_tensor() {
        let mut numbers = Numbers::new(5);
        let base = config(small_model(), 1..3);
        let mut stage = Stage::new(base, cpu().await).await.expect("a stage");
        let mut taken = 0;
        for _ in 0..5000 {
            let dimension = |numbers: &mut Numbers| match numbers.below(6) {
                0 => numbers.below(20) as usize,
                1 => usize::MAX >> numbers.below(usize::BITS),
                2 | 3 => 13,
                _ => 3,
            };
            let shape: Vec<_> = (0..numbers.below(4)).map(|_| dimension(&mut numbers)).collect();
            let format = if numbers.below(4) == 0 { Format::U32 } else { Format::F32 };
            let length = if numbers.below(4) == 0 { numbers.below(300) as usize } else { 4 * 39 };
            let bytes = (0..length).map(|_| numbers.below(256) as u8).collect();
            let packed = Packed { shape, format, bytes };
            let slot = numbers.below(5) as usize;
            let forward = stage.forward(slot, &packed).await;
            taken += u32::from(forward.is_ok());
            let fits = slot < 3 && packed.expect(&[3, 13], Format::F32).is_ok();
            assert_eq!(forward.is_ok(), fits, "{packed:?}");
            let _ = stage.backward_input(slot, Some(&packed)).await;
        }
        assert!(taken > 10, "only {taken} fitted: the test has become empty");
    }

    async fn settings_out_of_range_are_refused_in_words() {
        let base = config(small_model(), 0..5);
        let sgd = OptimizerSpec::sgd;
        let wrong = [
            StageConfig { layers: 3..3, ..base.clone() },
            StageConfig { layers: 4..6, ..base.clone() },
            StageConfig { layers: usize::MAX..usize::MAX, ..base.clone() },
            StageConfig { micro_batch: 0, ..base.clone() },
            StageConfig { micro_batch: usize::MAX, ..base.clone() },
            StageConfig { batch: 0, ..base.clone() },
            StageConfig { slots: 0, ..base.clone() },
            StageConfig { slots: usize::MAX, ..base.clone() },
            StageConfig { optimizer: sgd(f32::NAN), ..base.clone() },
            StageConfig { optimizer: sgd(-1.0), ..base.clone() },
        ];
        for config in wrong {
            let error = Stage::new(config.clone(), cpu().await).await.expect_err("refused");
            assert!(matches!(error, ComputeError::Config(_)), "{config:?}: {error}");
        }
    }

    async fn memory_grows_with_slots_and_counts_weights_and_gradients() {
        let bytes = |slots| async move {
            let model = ModelSpec { input: vec![64], layers: vec![LayerSpec::linear(64, 64)] };
            let config = StageConfig { slots, ..config(model, 0..1) };
            Stage::new(config, cpu().await).await.expect("a stage").memory_bytes()
        };
        let (one, two) = (bytes(1).await, bytes(2).await);
        let weights = 4 * (64 * 64 + 64) as u64;
        assert!(one >= 2 * weights, "{one}");
        assert_eq!(two - one, 2 * 4 * 3 * 64, "an input and a gradient of the output per slot");
    }
}

/// Central differences of the loss, for the weights and the input of models that have each layer in a different place.
mod differences {
    use super::*;

    const STEP: f32 = 1e-2;
    /// Gradients here are about 0.1 to 1; the loss is a sum of three, whose last bit over the step is 2e-5.
    const TOLERANCE: f32 = 1e-3;

    /// The stage without layer 0 of its model, so that it has a gradient of its input; a loss of one micro-batch.
    struct Function {
        stage: Stage,
        input: Vec<f32>,
        parameters: Vec<Parameter>,
        labels: Vec<u32>,
        batch: f32,
    }

    impl Function {
        async fn new(executor: Executor, layers: Vec<LayerSpec>, numbers: &mut Numbers) -> Self {
            let model = ModelSpec {
                input: vec![7],
                layers,
            };
            let base = config(model, 0..1);
            let layers = 1..base.model.layers.len();
            let optimizer = OptimizerSpec::sgd(1.0);
            let config = StageConfig {
                layers,
                optimizer,
                ..base
            };
            let classes = *config
                .model
                .shapes()
                .expect("a model")
                .concat()
                .last()
                .expect("classes");
            let labels = numbers.labels(config.micro_batch, classes as u32);
            // Away from zero, where a rectifier has no derivative.
            let away = |value: f32| value + 0.2f32.copysign(value);
            let input = numbers
                .floats(config.micro_batch * 7)
                .into_iter()
                .map(away)
                .collect();
            let batch = config.batch as f32;
            let mut stage = Stage::new(config, executor).await.expect("a stage");
            let mut parameters = stage.parameters().await.expect("parameters");
            // Three times the first weights, for gradients well above the noise of single precision.
            let values = parameters
                .iter_mut()
                .flat_map(|parameter| &mut parameter.values);
            values.for_each(|value| *value *= 3.0);
            stage.set_parameters(&parameters).expect("the same names");
            Self {
                stage,
                input,
                parameters,
                labels,
                batch,
            }
        }

        async fn forward(&mut self) -> f32 {
            let input = Packed::from_f32(&[3, 7], &self.input).expect("a micro-batch");
            let report = self
                .stage
                .forward_loss(0, &input, &self.labels)
                .await
                .expect("a loss");
            report.loss_sum / self.batch
        }

        /// What backward says: for the input, and for each parameter (whose step of learning rate 1 is its gradient).
        async fn gradients(&mut self) -> (Vec<f32>, Vec<Vec<f32>>) {
            self.forward().await;
            let input = self
                .stage
                .backward_input(0, None)
                .await
                .expect("B")
                .expect("a gradient");
            self.stage.backward_weights(0).await.expect("W");
            self.stage.update(0).await.expect("an update");
            let after = self.stage.parameters().await.expect("parameters");
            let step = |(before, after): (&Parameter, &Parameter)| {
                before
                    .values
                    .iter()
                    .zip(&after.values)
                    .map(|(b, a)| b - a)
                    .collect()
            };
            let weights = self.parameters.iter().zip(&after).map(step).collect();
            self.stage
                .set_parameters(&self.parameters)
                .expect("the same names");
            (input.f32s().expect("floats"), weights)
        }

        async fn loss_with_input(&mut self, i: usize, change: f32) -> f32 {
            self.input[i] += change;
            let loss = self.forward().await;
            self.input[i] -= change;
            loss
        }

        async fn loss_with_parameter(&mut self, p: usize, i: usize, change: f32) -> f32 {
            let mut changed = self.parameters.clone();
            changed[p].values[i] += change;
            self.stage.set_parameters(&changed).expect("the same names");
            let loss = self.forward().await;
            self.stage
                .set_parameters(&self.parameters)
                .expect("the same names");
            loss
        }
    }

    async fn check(executor: Executor, layers: Vec<LayerSpec>) {
        let mut numbers = Numbers::new(21);
        let mut function = Function::new(executor, layers, &mut numbers).await;
        let (input, weights) = function.gradients().await;
        assert!(
            input
                .iter()
                .any(|gradient| gradient.abs() > 50.0 * TOLERANCE),
            "gradients are not all tiny"
        );
        for (i, gradient) in input.iter().enumerate() {
            let (up, down) = (
                function.loss_with_input(i, STEP).await,
                function.loss_with_input(i, -STEP).await,
            );
            let difference = (up - down) / (2.0 * STEP);
            assert!(
                (gradient - difference).abs() <= TOLERANCE,
                "input {i}: {gradient}, {difference}"
            );
        }
        for (p, gradients) in weights.iter().enumerate() {
            for (i, gradient) in gradients.iter().enumerate() {
                let (up, down) = (
                    function.loss_with_parameter(p, i, STEP).await,
                    function.loss_with_parameter(p, i, -STEP).await,
                );
                let difference = (up - down) / (2.0 * STEP);
                let name = &function.parameters[p].name;
                assert!(
                    (gradient - difference).abs() <= TOLERANCE,
                    "{name} {i}: {gradient}, {difference}"
                );
            }
        }
    }

    async fn everywhere(layers: impl Fn() -> Vec<LayerSpec>) {
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            say(&executor.adapter());
            check(executor, layers()).await;
        }
    }

    suite! {
        async fn of_the_loss_alone_over_a_rectifier() {
            everywhere(|| vec![LayerSpec::relu(), LayerSpec::relu()]).await;
        }

        async fn of_a_linear_layer() {
            everywhere(|| vec![LayerSpec::relu(), LayerSpec::linear(7, 4)]).await;
        }

        async fn of_layers_one_after_the_other() {
            everywhere(|| vec![
                LayerSpec::relu(),
                LayerSpec::linear(7, 6),
                LayerSpec::relu(),
                LayerSpec::linear(6, 5),
            ]).await;
        }
    }
}

/// A native peer may move a stage to another thread.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn a_stage_and_its_futures_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let base = config(small_model(), 0..5);
    let executor = futures::executor::block_on(cpu());
    let made = Stage::new(base.clone(), executor);
    is_send(&made);
    let mut stage = futures::executor::block_on(made).expect("a stage");
    is_send(&stage);
    let (input, labels) = sample(&mut Numbers::new(1), &base, 5);
    is_send(&stage.forward_loss(0, &input, &labels));
    is_send(&stage.backward_input(0, None));
}
