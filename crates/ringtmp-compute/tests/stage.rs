//! A stage does what its layers say: alone, cut anywhere, on every executor, and whatever it is given.

mod common;

use common::{
    Numbers, assert_near, config, cpu, gpu, other_models, sample, say, small_model, suite,
};
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::layers::causal_attention::CausalAttention;
use ringtmp_compute::layers::conv2d::Conv2d;
use ringtmp_compute::layers::dropout::Dropout;
use ringtmp_compute::layers::flatten::Flatten;
use ringtmp_compute::layers::gelu::Gelu;
use ringtmp_compute::layers::layer_norm::LayerNorm;
use ringtmp_compute::layers::max_pool2d::MaxPool2d;
use ringtmp_compute::layers::transformer::{TransformerAttention, TransformerMlp};
use ringtmp_compute::{
    AdamSettings, Arithmetic, ComputeError, Executor, Format, IGNORED_LABEL, LossReport, LossSpec,
    ModelSpec, OptimizerSpec, Packed, Parameter, Position, Rule, Stage, StageConfig,
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

    async fn update(&mut self, step: u64) {
        for stage in &mut self.0 {
            stage.update(step).await.expect("an update");
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
    for step in 0..2 {
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
        ring.update(step).await;
    }
    reports
}

/// A configuration with an optimizer that has a memory.
fn with_adam(model: ModelSpec) -> StageConfig {
    let layers = 0..model.layers.len();
    StageConfig {
        optimizer: OptimizerSpec::new(Rule::Adam(AdamSettings::default()), 0.01),
        ..config(model, layers)
    }
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

    async fn the_cut_does_not_change_a_bit_of_models_with_the_other_layers() {
        for (name, model) in other_models() {
            let base = with_adam(model);
            let layers = base.layers.end;
            let mut whole = Ring::new(&cpu().await, &base, &[0, layers]).await;
            let reports = train(&mut whole, &base, 5).await;
            let digests = whole.digests().await;
            for inner in 1..1 << (layers - 1) {
                let cut = |layer: &usize| inner >> (layer - 1) & 1 == 1;
                let cuts: Vec<_> = [0].into_iter().chain((1..layers).filter(cut)).chain([layers]).collect();
                let mut ring = Ring::new(&cpu().await, &base, &cuts).await;
                assert_eq!(bits(&train(&mut ring, &base, 5).await), bits(&reports), "{name} cut at {cuts:?}");
                assert_eq!(ring.digests().await, digests, "{name} cut at {cuts:?}");
            }
        }
    }

    async fn a_gpu_trains_models_with_the_other_layers_as_the_cpu_does() {
        let Some(gpu) = gpu().await else { return };
        for (name, model) in other_models() {
            // No Adam here: it makes steps of one size from gradients of any, so from noise where a gradient is zero.
            let base = config(model.clone(), 0..model.layers.len());
            let mut ours = Ring::new(&cpu().await, &base, &[0, base.layers.end]).await;
            let reports = train(&mut ours, &base, 5).await;
            for cuts in [vec![0, base.layers.end], (0..=base.layers.end).collect()] {
                let mut theirs = Ring::new(&gpu, &base, &cuts).await;
                for (a, b) in train(&mut theirs, &base, 5).await.iter().zip(&reports) {
                    assert_near(name, &[a.loss_sum], &[b.loss_sum], 1e-5);
                }
                for (a, b) in theirs.parameters().await.iter().zip(&ours.parameters().await) {
                    assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
                    assert_near(&a.name, &a.values, &b.values, 1e-5);
                }
            }
        }
    }

    async fn a_block_has_pytorchs_names_whole_or_cut() {
        let (_, model) = other_models().remove(1);
        let base = config(model.clone(), 0..model.layers.len());
        let names = |cuts: Vec<usize>| {
            let base = base.clone();
            async move {
                let ring = Ring::new(&cpu().await, &base, &cuts).await;
                ring.parameters().await.into_iter().map(|p| (p.name, p.shape)).collect::<Vec<_>>()
            }
        };
        let whole = names(vec![0, 7]).await;
        assert_eq!(whole, names(vec![0, 2, 7]).await, "cut between attention and MLP");
        let named = |name: &str| whole.iter().find(|(own, _)| own == name).map(|(_, shape)| shape.clone());
        assert_eq!(named("0.wte.weight"), Some(vec![5, 12]));
        assert_eq!(named("0.wpe.weight"), Some(vec![7, 12]));
        assert_eq!(named("1.ln_1.weight"), Some(vec![12]));
        assert_eq!(named("1.attn.c_attn.weight"), Some(vec![36, 12]));
        assert_eq!(named("2.mlp.c_proj.bias"), Some(vec![12]));
        assert_eq!(named("3.bias"), Some(vec![12]));
        assert_eq!(named("4.weight"), Some(vec![5, 12]));
        assert_eq!(whole.len(), 2 + 2 * 12 + 2 + 1);
    }

    async fn tokens_that_are_not_in_the_vocabulary_are_refused() {
        let (_, model) = other_models().remove(1);
        let mut stage = Stage::new(config(model, 0..2), cpu().await).await.expect("a stage");
        let mut tokens = [4; 21];
        let input = Packed::from_u32(&[3, 7], &tokens).expect("a micro-batch");
        stage.forward(0, &input).await.expect("F");
        tokens[9] = 5;
        let input = Packed::from_u32(&[3, 7], &tokens).expect("a micro-batch");
        let error = stage.forward(0, &input).await.expect_err("5 of 5");
        assert_eq!(error, ComputeError::Token { place: 9, token: 5, vocabulary: 5 });
        let floats = Packed::from_f32(&[3, 7], &[1.0; 21]).expect("a micro-batch");
        assert!(matches!(stage.forward(0, &floats).await, Err(ComputeError::Tensor(_))));
    }

    async fn gradients_are_clipped_by_the_norm_over_all_stages() {
        let (_, model) = other_models().remove(0);
        let mut base = config(model, 0..7);
        let mut free = Ring::new(&cpu().await, &base, &[0, 7]).await;
        base.optimizer.clip_norm = Some(0.01);
        let mut whole = Ring::new(&cpu().await, &base, &[0, 7]).await;
        let mut cut = Ring::new(&cpu().await, &base, &[0, 3, 7]).await;
        let before = whole.parameters().await;
        for ring in [&mut free, &mut whole, &mut cut] {
            let (input, labels) = sample(&mut Numbers::new(17), &base, 5);
            ring.forward(0, &input, &labels).await;
            ring.backward(0).await;
            ring.weights(0).await;
        }
        let mut sum = 0.0;
        for stage in cut.0.iter_mut().rev() {
            let squares = stage.gradient_squares().await.expect("squares");
            sum = squares.iter().rev().fold(sum, |sum, squares| sum + squares.sum);
        }
        assert!(sum.sqrt() > 0.02, "there is something to clip: {sum}");
        assert!(matches!(cut.0[0].update(0).await, Err(ComputeError::Config(_))));
        for stage in &mut cut.0 {
            stage.update_with(0, stage.labels_max(), Some(sum)).await.expect("an update");
        }
        whole.update(0).await;
        free.update(0).await;
        assert_eq!(whole.digests().await, cut.digests().await);
        let change = |after: Vec<Parameter>| {
            let pairs = before.iter().zip(&after).flat_map(|(b, a)| b.values.iter().zip(&a.values));
            pairs.map(|(b, a)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() / 0.1
        };
        let (free, clipped) = (change(free.parameters().await), change(whole.parameters().await));
        assert!((free - sum.sqrt()).abs() < 1e-3 * free, "{free}, {sum}");
        assert!((clipped - 0.01).abs() < 1e-5, "{clipped}");
        let before = cut.digests().await;
        let refused = cut.0[0].update_with(1, 1, Some(f64::NAN)).await;
        assert_eq!(refused, Err(ComputeError::NonFiniteGradients));
        assert_eq!(cut.digests().await, before, "the last good weights are kept");
    }

    async fn dropout_leaves_out_by_seed_step_and_sample_and_nothing_in_an_evaluation() {
        let layers = vec![Dropout { probability: 0.25 }.into(), Dropout { probability: 0.25 }.into()];
        let base = config(ModelSpec::new(vec![400], layers), 0..1);
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let mut stage = Stage::new(base.clone(), executor.clone()).await.expect("a stage");
            let input = Packed::from_f32(&[3, 400], &[3.0; 1200]).expect("a micro-batch");
            assert_eq!(stage.forward(1, &input).await, Ok(input.clone()), "an evaluation");
            let mut masks = Vec::new();
            for (step, first_sample) in [(0, 0), (0, 1), (1, 0), (0, 0)] {
                let position = Position { step, first_sample };
                stage.set_position(1, Some(position)).expect("a slot");
                let output = stage.forward(1, &input).await.expect("F").f32s().expect("floats");
                assert!(output.iter().all(|value| *value == 0.0 || (*value - 4.0).abs() < 1e-6));
                let left_out = output.iter().filter(|value| **value == 0.0).count();
                assert!((240..360).contains(&left_out), "{left_out} of 1200, a quarter is 300");
                masks.push(output);
            }
            assert_eq!(masks[0], masks[3], "a replay");
            assert_eq!(masks[0][400..], masks[1][..800], "the same samples, otherwise divided");
            assert_ne!(masks[0][..400], masks[0][400..800], "another sample");
            assert_ne!(masks[0], masks[2], "another step");
            let gradient = stage.backward_input(1, Some(&input)).await.expect("B");
            assert_eq!(gradient, None, "it is the head");
            // The gradient goes where the numbers went: of a stage that is not the head.
            let whole = StageConfig { layers: 1..2, ..base.clone() };
            let mut tail = Stage::new(whole, executor).await.expect("a stage");
            tail.set_position(0, Some(Position { step: 0, first_sample: 0 })).expect("a slot");
            let output = tail.forward(0, &input).await.expect("F").f32s().expect("floats");
            let zero = |values: &[f32]| values.iter().map(|value| *value == 0.0).collect::<Vec<_>>();
            tail.forward_loss(0, &input, &[1, 2, 3]).await.expect("a loss");
            let back = tail.backward_input(0, None).await.expect("B").expect("a gradient");
            assert_eq!(zero(&output), zero(&back.f32s().expect("floats")));
            assert_ne!(zero(&output), zero(&masks[0]), "another layer");
        }
    }

    async fn a_mean_squared_error_is_that_of_pytorch() {
        let mut model = ModelSpec::new(vec![2], vec![LayerSpec::relu(), LayerSpec::relu()]);
        model.loss = LossSpec::MeanSquaredError;
        let base = StageConfig { micro_batch: 2, batch: 2, ..config(model, 1..2) };
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let mut stage = Stage::new(base.clone(), executor).await.expect("a stage");
            let input = Packed::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).expect("a micro-batch");
            let targets = Packed::from_f32(&[2, 2], &[1.0, 4.0, 2.0, 4.5]).expect("targets");
            let report = stage.forward_error(0, &input, &targets).await.expect("a loss");
            // Squares 0, 4, 1, 0.25: their mean is half of the sum of the means of rows.
            assert_eq!((report.loss_sum, report.samples), (2.0 + 0.625, 2));
            let gradient = stage.backward_input(0, None).await.expect("B").expect("a gradient");
            assert_eq!(gradient.f32s().expect("floats"), [0.0, -1.0, 0.5, -0.25]);
            let refused = stage.forward_loss(0, &input, &[0, 1]).await;
            assert!(matches!(refused, Err(ComputeError::Misuse { .. })), "{refused:?}");
        }
    }

    /// Two steps of one weight along gradients 0.5 and -0.25, as PyTorch's formulas give them when worked out by hand.
    async fn optimizers_step_as_their_formulas_say() {
        let adam = AdamSettings { beta1: 0.9, beta2: 0.99, epsilon: 1e-12 };
        // Adam: mean 0.05, then 0.02; square 0.0025, then 0.0031; corrected by 0.1, 0.19 and 0.01, 0.0199.
        let second = (0.02 / 0.19) / (0.0031f64 / 0.0199).sqrt();
        // NAdam: the momenta of steps 1, 2 and 3 without decay are half of beta1.
        let nadam_1 = 1.0 + 0.45 * 0.1 / (1.0 - 0.45 * 0.45);
        let root = (0.0031f64 / 0.0199).sqrt();
        let product = 0.45f64 * 0.45;
        let nadam_2 = 0.55 * -0.25 / (1.0 - product) / root + 0.45 * 0.02 / (1.0 - product * 0.45) / root;
        let cases = [
            (Rule::Sgd {}, [0.5, -0.25]),
            (Rule::Momentum { momentum: 0.8 }, [0.5, 0.4 - 0.25]),
            (Rule::Nesterov { momentum: 0.8 }, [0.5 + 0.4, -0.25 + 0.8 * 0.15]),
            (Rule::Adam(adam), [1.0, second]),
            // The weight is 1, then 0.889.
            (Rule::Adamw { adam, weight_decay: 0.1 }, [1.0 + 0.1, second + 0.1 * 0.89]),
            (Rule::Nadam { adam, momentum_decay: 0.0 }, [nadam_1, nadam_2]),
        ];
        for (rule, steps) in cases {
            let mut model = ModelSpec::new(vec![1], vec![LayerSpec::linear(1, 1)]);
            model.loss = LossSpec::MeanSquaredError;
            let base = StageConfig {
                micro_batch: 1,
                batch: 1,
                optimizer: OptimizerSpec::new(rule, 0.1),
                ..config(model, 0..1)
            };
            for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
                let mut stage = Stage::new(base.clone(), executor).await.expect("a stage");
                let mut parameters = stage.parameters().await.expect("parameters");
                parameters[0].values = vec![1.0];
                stage.set_parameters(&parameters).expect("the same names");
                let mut weight = 1.0;
                for (step, (gradient, expected)) in [0.5, -0.25].into_iter().zip(steps).enumerate() {
                    let (weights, bias) = (stage.parameters().await.expect("parameters"), 1);
                    let output = weights[0].values[0] + weights[bias].values[0];
                    let input = Packed::from_f32(&[1, 1], &[1.0]).expect("a sample");
                    let target = [output - gradient / 2.0];
                    let target = Packed::from_f32(&[1, 1], &target).expect("a target");
                    stage.forward_error(0, &input, &target).await.expect("a loss");
                    stage.backward_input(0, None).await.expect("B");
                    stage.backward_weights(0).await.expect("W");
                    stage.update(step as u64).await.expect("an update");
                    weight -= 0.1 * expected;
                    let actual = stage.parameters().await.expect("parameters")[0].values[0];
                    let near = (f64::from(actual) - weight).abs() < 1e-6;
                    assert!(near, "{rule:?}, step {step}: {actual}, by hand {weight}");
                }
            }
        }
    }

    async fn the_order_of_tasks_of_different_micro_batches_does_not_change_a_bit() {
        let base = config(small_model(), 0..5);
        let mut ring = Ring::new(&cpu().await, &base, &[0, 2, 5]).await;
        train(&mut ring, &base, 5).await;
        let mut other = Ring::new(&cpu().await, &base, &[0, 2, 5]).await;
        let mut numbers = Numbers::new(11);
        for step in 0..2 {
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
            other.update(step).await;
        }
        assert_eq!(other.digests().await, ring.digests().await);
    }

    /// A rectifier does not need the gradient of its output after B, but the loss leaves it there for B.
    async fn losses_of_several_micro_batches_before_their_backwards_do_not_mix() {
        let layers = vec![LayerSpec::linear(6, 5), LayerSpec::relu()];
        let base = config(ModelSpec::new(vec![6], layers), 0..2);
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
            ring.update(0).await;
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
            ring.update(0).await;
            digests.push(ring.digests().await);
        }
        assert_ne!(digests[0], digests[1]);
    }

    /// The digests were written down once, on x86-64. A device that computes other bits cannot share a ring bit for bit.
    async fn every_device_computes_the_same_bits() {
        let base = StageConfig { arithmetic: Arithmetic::Portable, ..config(small_model(), 0..5) };
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

    /// As above; the digest of the digests of each model.
    async fn every_device_computes_the_same_bits_of_the_other_layers() {
        let expected = ["58324cb9e3b0c442e3b0c44283e7d4c5e3b0c442e3b0c442ecc3498e", "cc27ad89feaa2008a644a86ce9686b7552274230159a1515504567dc"];
        for ((name, model), expected) in other_models().into_iter().zip(expected) {
            let base = StageConfig { arithmetic: Arithmetic::Portable, ..with_adam(model) };
            let mut ring = Ring::new(&cpu().await, &base, &[0, base.layers.end]).await;
            train(&mut ring, &base, 5).await;
            let mut all = String::new();
            ring.digests().await.into_iter().for_each(|(_, digest)| all.push_str(&digest[..8]));
            assert_eq!(all, expected, "{name}");
        }
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
            assert_eq!(report, LossReport { loss_sum: 0.0, correct: 0, samples: 0, exact: 0, answered: 0 });
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
            let model = ModelSpec::new(vec![64], vec![LayerSpec::linear(64, 64)]);
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
        shape: Vec<usize>,
        parameters: Vec<Parameter>,
        labels: Vec<u32>,
        batch: f32,
    }

    impl Function {
        async fn new(executor: Executor, model: ModelSpec, numbers: &mut Numbers) -> Self {
            let base = config(model, 0..1);
            let layers = 1..base.model.layers.len();
            let optimizer = OptimizerSpec::sgd(1.0);
            let config = StageConfig {
                layers,
                optimizer,
                ..base
            };
            let shapes = config.model.shapes().expect("a model");
            let (classes, rows) = shapes
                .last()
                .and_then(|shape| shape.split_last())
                .expect("classes");
            let rows = config.micro_batch * rows.iter().product::<usize>();
            let labels = numbers.labels(rows, *classes as u32);
            // All different, and away from zero: where two are equal or one is zero, some layers have no derivative.
            let count = config.micro_batch * shapes[1].iter().product::<usize>();
            let each = |i: usize| 1.4 * ((i * 17 % count) as f32 + 0.5) / count as f32 - 0.7;
            let away = |value: f32| value + 0.2f32.copysign(value);
            let input = (0..count).map(each).map(away).collect();
            let shape = [config.micro_batch]
                .into_iter()
                .chain(shapes[1].iter().copied())
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
                shape,
                parameters,
                labels,
                batch,
            }
        }

        async fn forward(&mut self) -> f32 {
            let input = Packed::from_f32(&self.shape, &self.input).expect("a micro-batch");
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
            // Those of a mean over all rows; here the loss is one over samples.
            let rows = self.labels.len() as f32 / 3.0;
            let step = |(before, after): (&Parameter, &Parameter)| {
                let pairs = before.values.iter().zip(&after.values);
                pairs.map(|(b, a)| rows * (b - a)).collect()
            };
            let weights = self.parameters.iter().zip(&after).map(step).collect();
            self.stage
                .set_parameters(&self.parameters)
                .expect("the same names");
            let input = input.f32s().expect("floats").into_iter();
            (input.map(|gradient| rows * gradient).collect(), weights)
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

    async fn check(executor: Executor, model: ModelSpec) {
        let mut numbers = Numbers::new(21);
        let mut function = Function::new(executor, model, &mut numbers).await;
        let (input, weights) = function.gradients().await;
        assert!(
            input
                .iter()
                .any(|gradient| gradient.abs() > 10.0 * TOLERANCE),
            "gradients are not all tiny"
        );
        for (i, gradient) in input.iter().enumerate() {
            let mut slopes = [0.0; 2];
            for (slope, step) in slopes.iter_mut().zip([STEP, STEP / 2.0]) {
                let up = function.loss_with_input(i, step).await;
                *slope = (up - function.loss_with_input(i, -step).await) / (2.0 * step);
            }
            assert_slope(&format!("input {i}"), *gradient, slopes);
        }
        for (p, gradients) in weights.iter().enumerate() {
            for (i, gradient) in gradients.iter().enumerate() {
                let mut slopes = [0.0; 2];
                for (slope, step) in slopes.iter_mut().zip([STEP, STEP / 2.0]) {
                    let up = function.loss_with_parameter(p, i, step).await;
                    *slope = (up - function.loss_with_parameter(p, i, -step).await) / (2.0 * step);
                }
                let name = format!("{} {i}", function.parameters[p].name);
                assert_slope(&name, *gradient, slopes);
            }
        }
    }

    /// Central differences of a step and of half of it cancel each other's error of the second order (Richardson, 1911).
    fn assert_slope(what: &str, gradient: f32, [whole, half]: [f32; 2]) {
        let difference = (4.0 * half - whole) / 3.0;
        let near = (gradient - difference).abs() <= TOLERANCE * (1.0 + gradient.abs());
        assert!(near, "{what}: {gradient}, {difference}");
    }

    /// Checks a stage of these layers, behind a layer of another stage.
    async fn everywhere(input: &[usize], layers: Vec<LayerSpec>) {
        let layers = [LayerSpec::relu()].into_iter().chain(layers).collect();
        let model = ModelSpec::new(input.to_vec(), layers);
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            say(&executor.adapter());
            check(executor, model.clone()).await;
        }
    }

    suite! {
        async fn of_the_loss_alone_over_a_rectifier() {
            everywhere(&[7], vec![LayerSpec::relu()]).await;
        }

        async fn of_a_linear_layer() {
            everywhere(&[7], vec![LayerSpec::linear(7, 4)]).await;
        }

        async fn of_layers_one_after_the_other() {
            everywhere(&[7], vec![
                LayerSpec::linear(7, 6),
                LayerSpec::relu(),
                LayerSpec::linear(6, 5),
            ]).await;
        }

        async fn of_a_convolution() {
            for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (2, 1, 0)] {
                let convolution = Conv2d { inputs: 2, outputs: 3, kernel, stride, padding };
                let side = (4 + 2 * padding - kernel) / stride + 1;
                let size = 3 * side * ((5 + 2 * padding - kernel) / stride + 1);
                let layers = vec![convolution.into(), Flatten {}.into(), LayerSpec::linear(size, 4)];
                everywhere(&[2, 4, 5], layers).await;
            }
        }

        async fn of_a_pooling_whose_windows_overlap_or_not() {
            for stride in [1, 2] {
                let pooling = MaxPool2d { kernel: 2, stride: Some(stride) };
                everywhere(&[1, 4, 4], vec![pooling.into(), Flatten {}.into()]).await;
            }
        }

        async fn of_a_gelu() {
            everywhere(&[7], vec![Gelu {}.into()]).await;
        }

        async fn of_a_layer_norm() {
            everywhere(&[2, 5], vec![LayerNorm { width: 5 }.into()]).await;
        }

        async fn of_an_attention() {
            everywhere(&[4, 12], vec![CausalAttention { width: 4, heads: 2 }.into()]).await;
        }

        async fn of_the_halves_of_a_block() {
            let attention = TransformerAttention { width: 8, heads: 2 };
            let both = vec![attention.into(), TransformerMlp { width: 8 }.into()];
            everywhere(&[3, 8], both).await;
        }

        /// It is the first layer and has no gradient of its input; the slope along one number is that of many stages apart.
        async fn of_an_embedding() {
            let (_, model) = other_models().remove(1);
            let base = StageConfig {
                optimizer: OptimizerSpec::sgd(1.0),
                ..config(model.clone(), 0..model.layers.len())
            };
            let (input, labels) = sample(&mut Numbers::new(22), &base, 5);
            for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
                let mut stage = Stage::new(base.clone(), executor).await.expect("a stage");
                let before = stage.parameters().await.expect("parameters");
                stage.forward_loss(0, &input, &labels).await.expect("a loss");
                stage.backward_input(0, None).await.expect("B");
                stage.backward_weights(0).await.expect("W");
                stage.update(0).await.expect("an update");
                let after = stage.parameters().await.expect("parameters");
                let rows = (base.batch * 7) as f32;
                for p in 0..2 {
                    for i in 0..before[p].values.len() {
                        let mut losses = [0.0; 2];
                        for (loss, step) in losses.iter_mut().zip([STEP, -STEP]) {
                            let mut changed = before.clone();
                            changed[p].values[i] += step;
                            stage.set_parameters(&changed).expect("the same names");
                            let report = stage.forward_loss(0, &input, &labels).await;
                            *loss = report.expect("a loss").loss_sum / rows;
                        }
                        let difference = (losses[0] - losses[1]) / (2.0 * STEP);
                        let gradient = before[p].values[i] - after[p].values[i];
                        let near = (gradient - difference).abs() <= TOLERANCE;
                        assert!(near, "{} {i}: {gradient}, {difference}", before[p].name);
                    }
                }
            }
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
