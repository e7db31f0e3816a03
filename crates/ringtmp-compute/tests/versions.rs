//! Versions of the weights: which one a task uses, which one an update makes, and what goes from stage to stage with them.

mod common;

use common::{Numbers, assert_near, config, cpu, gpu, sample, small_model, suite};
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::recording::VERSIONS_MAX;
use ringtmp_compute::{
    AdamSettings, ComputeError, Executor, LossSpec, ModelSpec, OptimizerSpec, Packed, Rule,
    Snapshot, Stage, StageConfig,
};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

const ADAM: AdamSettings = AdamSettings {
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
};

/// The weights that a step uses in `2bw`.
fn late(step: u64) -> Option<u64> {
    Some(step.saturating_sub(1))
}

/// The whole small model, with room for two versions.
async fn two_versions(executor: &Executor, rule: Rule) -> (StageConfig, Stage) {
    let config = StageConfig {
        versions: 2,
        optimizer: OptimizerSpec::new(rule, 0.05),
        ..config(small_model(), 0..5)
    };
    let stage = Stage::new(config.clone(), executor.clone()).await;
    (config, stage.expect("a stage"))
}

/// A step of three micro-batches with late weights, one after the other.
async fn late_step(stage: &mut Stage, config: &StageConfig, numbers: &mut Numbers, step: u64) {
    for slot in 0..3 {
        let (input, labels) = sample(numbers, config, 5);
        stage.set_version(slot, late(step)).expect("a slot");
        stage
            .forward_loss(slot, &input, &labels)
            .await
            .expect("a loss");
        stage.backward_input(slot, None).await.expect("B");
        stage.backward_weights(slot).await.expect("W");
    }
    stage.update(step).await.expect("an update");
}

/// An optimizer as its formula says, in double precision: from the gradient and the update's number the step.
type Formula = fn(&mut [f64; 2], f64, i32) -> f64;

suite! {
    /// w(t+1) = w(t) - rate * step(g(w(t-1))), where g is the slope of (2 w - 3)² and the first two steps see w(0).
    async fn the_gradient_is_that_of_the_weights_before_the_last_update() {
        let cases: [(Rule, Formula); 3] = [
            (Rule::Sgd {}, |_, gradient, _| gradient),
            (Rule::Nesterov { momentum: 0.5 }, |memory, gradient, _| {
                memory[0] = 0.5 * memory[0] + gradient;
                gradient + 0.5 * memory[0]
            }),
            (Rule::Adam(ADAM), |memory, gradient, count| {
                memory[0] = 0.9 * memory[0] + 0.1 * gradient;
                memory[1] = 0.99 * memory[1] + 0.01 * gradient * gradient;
                let (mean, square) = (memory[0] / (1.0 - 0.9f64.powi(count)), memory[1] / (1.0 - 0.99f64.powi(count)));
                mean / (square.sqrt() + 1e-8)
            }),
        ];
        let slope = |weight: f64| 2.0 * 2.0 * (2.0 * weight - 3.0);
        for (rule, formula) in cases {
            let mut model = ModelSpec::new(vec![1], vec![LayerSpec::linear(1, 1)]);
            model.loss = LossSpec::MeanSquaredError;
            let base = StageConfig {
                micro_batch: 1,
                batch: 1,
                versions: 2,
                optimizer: OptimizerSpec::new(rule, 0.05),
                ..config(model, 0..1)
            };
            let input = Packed::from_f32(&[1, 1], &[2.0]).expect("a sample");
            for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
                let mut stage = Stage::new(base.clone(), executor).await.expect("a stage");
                let mut parameters = stage.parameters().await.expect("parameters");
                parameters[0].values = vec![1.0];
                stage.set_parameters(&parameters).expect("the same names");
                let (mut weights, mut memory) = (vec![1.0], [0.0; 2]);
                for step in 0..6u64 {
                    // The bias learns as well: its part is taken out of the target, so that the weight alone is seen.
                    let used = &stage.snapshot().await.expect("a snapshot").versions[0];
                    let target = [3.0 + used[1].values[0]];
                    let target = Packed::from_f32(&[1, 1], &target).expect("a target");
                    stage.set_version(0, late(step)).expect("a slot");
                    stage.forward_error(0, &input, &target).await.expect("a loss");
                    stage.backward_input(0, None).await.expect("B");
                    stage.backward_weights(0).await.expect("W");
                    stage.update(step).await.expect("an update");
                    let seen = weights[step.saturating_sub(1) as usize];
                    let change = formula(&mut memory, slope(seen), step as i32 + 1);
                    weights.push(weights[step as usize] - 0.05 * change);
                    let actual = stage.parameters().await.expect("parameters")[0].values[0];
                    let expected = weights[step as usize + 1];
                    assert!((f64::from(actual) - expected).abs() < 1e-4, "{rule:?}, step {step}: {actual}, by hand {expected}");
                }
                assert!((weights[6] - weights[5]).abs() > 1e-3, "{rule:?}: the weights stand still: {weights:?}");
            }
        }
    }

    /// F of the next step before the last W of this one: what a ring does, and what tells the versions apart.
    async fn steps_that_overlap_give_the_same_bits_and_a_gpu_stays_near() {
        let rule = Rule::Momentum { momentum: 0.9 };
        let (config, mut plain) = two_versions(&cpu().await, rule).await;
        let mut numbers = Numbers::new(21);
        for step in 0..4 {
            late_step(&mut plain, &config, &mut numbers, step).await;
        }
        let expected = plain.parameters().await.expect("parameters");
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let (_, mut stage) = two_versions(&executor, rule).await;
            let mut numbers = Numbers::new(21);
            // Micro-batch n of all goes through slot n modulo 3; its F comes before the W of the one two before it.
            for n in 0..14u64 {
                let slot = (n % 3) as usize;
                if n < 12 {
                    let (input, labels) = sample(&mut numbers, &config, 5);
                    stage.set_version(slot, late(n / 3)).expect("a slot");
                    stage.forward_loss(slot, &input, &labels).await.expect("a loss");
                    stage.backward_input(slot, None).await.expect("B");
                }
                if let Some(done) = n.checked_sub(2) {
                    stage.backward_weights((done % 3) as usize).await.expect("W");
                    if done % 3 == 2 {
                        stage.update(done / 3).await.expect("an update");
                    }
                }
            }
            let actual = stage.parameters().await.expect("parameters");
            if executor.kind() == ringtmp_compute::ExecutorKind::Cpu {
                assert_eq!(actual, expected);
            }
            for (a, b) in actual.iter().zip(&expected) {
                assert_near(&a.name, &a.values, &b.values, 1e-5);
            }
        }
    }

    async fn weights_that_are_gone_or_not_yet_made_are_an_error_that_changes_nothing() {
        let (config, mut stage) = two_versions(&cpu().await, Rule::Sgd {}).await;
        let mut numbers = Numbers::new(22);
        let (input, labels) = sample(&mut numbers, &config, 5);
        let gone = |task, version, [oldest, newest]: [u64; 2]| ComputeError::Version { task, version, oldest, newest };
        stage.set_version(0, Some(1)).expect("a slot");
        let error = stage.forward_loss(0, &input, &labels).await.expect_err("there is one version");
        assert_eq!(error, gone("loss", 1, [0, 0]));
        // A micro-batch under way while its weights are overwritten.
        stage.set_version(0, Some(0)).expect("a slot");
        stage.forward_loss(0, &input, &labels).await.expect("a loss");
        stage.update(0).await.expect("an update");
        stage.backward_input(0, None).await.expect("the first version is still there");
        stage.update(1).await.expect("an update");
        let before = stage.snapshot().await.expect("a snapshot");
        assert_eq!(stage.backward_weights(0).await, Err(gone("W", 0, [1, 2])));
        for step in [1, 3] {
            let error = ComputeError::UpdateOutOfTurn { step, updates: 2 };
            assert_eq!(stage.update(step).await, Err(error));
        }
        assert_eq!(stage.snapshot().await.expect("a snapshot"), before);
        assert_eq!((before.updates, before.versions.len()), (2, 2));
        for versions in [0, VERSIONS_MAX + 1] {
            let config = StageConfig { versions, ..config.clone() };
            let error = Stage::new(config, cpu().await).await.expect_err("out of range");
            assert!(matches!(error, ComputeError::Config(_)), "{error}");
        }
    }

    async fn a_stage_goes_on_from_a_snapshot_bit_for_bit() {
        let nadam = Rule::Nadam { adam: ADAM, momentum_decay: 0.004 };
        for rule in [Rule::Sgd {}, Rule::Momentum { momentum: 0.9 }, Rule::Adam(ADAM), nadam] {
            for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
                let (config, mut whole) = two_versions(&executor, rule).await;
                let mut numbers = Numbers::new(23);
                for step in 0..3 {
                    late_step(&mut whole, &config, &mut numbers, step).await;
                }
                let snapshot = whole.snapshot().await.expect("a snapshot");
                let (_, mut other) = two_versions(&executor, rule).await;
                other.restore(&snapshot).expect("of such a stage");
                assert_eq!(other.snapshot().await.expect("a snapshot"), snapshot);
                for stage in [&mut whole, &mut other] {
                    let mut numbers = Numbers::new(24);
                    for step in 3..5 {
                        late_step(stage, &config, &mut numbers, step).await;
                    }
                }
                let (whole, other) = (whole.snapshot().await, other.snapshot().await);
                assert_eq!(whole, other, "{rule:?}");
                assert_ne!(whole.expect("a snapshot").versions[1], snapshot.versions[1]);
            }
        }
    }

    async fn a_snapshot_of_another_stage_is_refused_whole() {
        let (_, mut stage) = two_versions(&cpu().await, Rule::Adam(ADAM)).await;
        let before = stage.snapshot().await.expect("a snapshot");
        let (config, mut other) = two_versions(&cpu().await, Rule::Adam(ADAM)).await;
        let mut numbers = Numbers::new(25);
        for step in 0..2 {
            late_step(&mut other, &config, &mut numbers, step).await;
        }
        let good = other.snapshot().await.expect("a snapshot");
        let changes: [fn(&mut Snapshot); 6] = [
            |snapshot| snapshot.versions.clear(),
            |snapshot| snapshot.updates = 0,
            |snapshot| drop(snapshot.optimizer.pop()),
            |snapshot| drop(snapshot.versions[0].pop()),
            |snapshot| drop(snapshot.optimizer[1].pop()),
            |snapshot| snapshot.versions[1][0].shape = vec![1],
        ];
        for change in changes {
            let mut snapshot = good.clone();
            change(&mut snapshot);
            let refused = stage.restore(&snapshot);
            assert!(matches!(refused, Err(ComputeError::Parameter(_))), "{refused:?}");
            assert_eq!(stage.snapshot().await.expect("a snapshot"), before);
        }
        // Room for one version: the older one is left out.
        let config = StageConfig { versions: 1, ..config };
        let mut small = Stage::new(config, cpu().await).await.expect("a stage");
        small.restore(&good).expect("of such a stage");
        let kept = small.snapshot().await.expect("a snapshot");
        assert_eq!((kept.updates, &kept.versions[..]), (2, &good.versions[1..]));
    }

    async fn a_version_takes_the_memory_of_the_weights_and_the_optimizers_memory_exists_once() {
        let bytes = |versions, rule| async move {
            let model = ModelSpec::new(vec![64], vec![LayerSpec::linear(64, 63)]);
            let optimizer = OptimizerSpec::new(rule, 0.1);
            let config = StageConfig { versions, optimizer, ..config(model, 0..1) };
            Stage::new(config, cpu().await).await.expect("a stage").memory_bytes()
        };
        let weights = 4 * (64 * 63 + 63);
        for rule in [Rule::Sgd {}, Rule::Adam(ADAM)] {
            let (one, four) = (bytes(1, rule).await, bytes(4, rule).await);
            assert_eq!(four - one, 3 * weights, "{rule:?}");
        }
        assert_eq!(bytes(2, Rule::Adam(ADAM)).await - bytes(2, Rule::Sgd {}).await, 2 * weights);
    }
}
