//! What a parameter server and its workers compute: backward layer by layer, weights that come in parts, updates without a model.

mod common;

use common::{
    Numbers, assert_near, config, cpu, gpu, other_models, sample, say, small_model, suite,
};
use ringtmp_compute::packing::unpack_vector;
use ringtmp_compute::{
    AdamSettings, ComputeError, OptimizerSpec, Packing, ParameterError, RangeUpdate, RangeUpdater,
    Rule, Schedule, Stage, StageConfig,
};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

fn rules() -> [Rule; 5] {
    let adam = AdamSettings::default();
    [
        Rule::Sgd {},
        Rule::Momentum { momentum: 0.9 },
        Rule::Nesterov { momentum: 0.9 },
        Rule::Adamw {
            adam,
            weight_decay: 0.1,
        },
        Rule::Nadam {
            adam,
            momentum_decay: 0.004,
        },
    ]
}

/// The gradients of all layers, first layer first, of two micro-batches, of which the last goes backward layer by layer.
async fn gradients(stage: &mut Stage, seed: u64) -> Vec<Vec<f32>> {
    let config = stage.config().clone();
    let mut numbers = Numbers::new(seed);
    let layers = config.layers.len();
    let mut all = vec![Vec::new(); layers];
    for last in [false, true] {
        let (input, labels) = sample(&mut numbers, &config, 5);
        stage
            .forward_loss(0, &input, &labels)
            .await
            .expect("a loss");
        if last {
            for layer in (0..layers).rev() {
                all[layer] = stage.backward_layer(0, layer).await.expect("its turn");
            }
        } else {
            stage.backward_input(0, None).await.expect("B");
            stage.backward_weights(0).await.expect("W");
        }
    }
    all
}

/// A step of the same two micro-batches by one process.
async fn step(stage: &mut Stage, seed: u64, step: u64) {
    let config = stage.config().clone();
    let mut numbers = Numbers::new(seed);
    for _ in 0..2 {
        let (input, labels) = sample(&mut numbers, &config, 5);
        stage
            .forward_loss(0, &input, &labels)
            .await
            .expect("a loss");
        stage.backward_input(0, None).await.expect("B");
        stage.backward_weights(0).await.expect("W");
    }
    stage.update(step).await.expect("an update");
}

/// The parameters of each layer, one after the other.
async fn parameters(stage: &Stage) -> Vec<Vec<f32>> {
    let mut layers = vec![Vec::new(); stage.config().layers.len()];
    for parameter in stage.parameters().await.expect("readable") {
        layers[parameter.layer].extend(parameter.values);
    }
    layers
}

fn whole(rule: Rule) -> StageConfig {
    let optimizer = OptimizerSpec {
        schedule: Schedule {
            warm_up_steps: 2,
            ..Schedule::default()
        },
        ..OptimizerSpec::new(rule, 0.05)
    };
    StageConfig {
        optimizer,
        ..config(small_model(), 0..5)
    }
}

suite! {
    /// Every layer in two ranges, pushed, updated and written back, beside a stage that updates itself.
    async fn ranges_that_are_updated_alone_get_the_bits_of_a_stage_that_updates_itself() {
        for rule in rules() {
            let config = whole(rule);
            let cpu = cpu().await;
            let mut alone = Stage::new(config.clone(), cpu.clone()).await.expect("a stage");
            let mut worker = Stage::layer_by_layer(config.clone(), cpu.clone()).await.expect("a stage");
            let all = worker.parameters().await.expect("readable");
            assert!(all.iter().flat_map(|it| &it.values).all(|value| *value == 0.0), "not drawn yet");
            worker.draw_all();
            let drawn: Vec<_> = (0..config.model.layers.len()).flat_map(|layer| Stage::first_parameters(&config, layer).expect("a stage could be")).collect();
            assert_eq!(worker.parameters().await.expect("readable"), drawn);
            assert_eq!(alone.parameters().await.expect("readable"), drawn);
            let mut named = drawn;
            named.iter_mut().for_each(|it| it.values.clear());
            assert_eq!(Stage::named_parameters(&config).expect("a stage could be"), named);
            let cut = |layer: Vec<f32>| {
                let (first, second) = layer.split_at(layer.len() / 3);
                [first.to_vec(), second.to_vec()]
            };
            let initial: Vec<Vec<f32>> = parameters(&worker).await.into_iter().flat_map(cut).filter(|range| !range.is_empty()).collect();
            let mut server = RangeUpdater::new(config.optimizer, &initial, &cpu).await.expect("an updater");
            for number in 0..4 {
                step(&mut alone, number, number).await;
                let mut ranges = 0..;
                for (layer, gradient) in gradients(&mut worker, number).await.into_iter().enumerate() {
                    let mut start = 0;
                    for gradient in cut(gradient).into_iter().filter(|range| !range.is_empty()) {
                        let range = ranges.next().expect("endless");
                        server.add(range, &gradient).expect("as many");
                        let update = RangeUpdate { step: number, updates: number, scale: 1.0, part: 1.0 };
                        let weights = server.update(range, update).await.expect("updated");
                        assert_eq!(weights.len(), gradient.len());
                        worker.write_parameters(layer, start, &weights).expect("as many");
                        start += weights.len();
                    }
                }
                assert_eq!(parameters(&worker).await, parameters(&alone).await, "{rule:?}");
            }
        }
    }

    async fn layer_by_layer_gives_the_gradients_of_all_at_once_for_every_kind_of_layer() {
        let executors = [Some(cpu().await), gpu().await];
        for executor in executors.into_iter().flatten() {
            for (name, model) in other_models() {
                say(name);
                let layers = model.layers.len();
                let config = StageConfig { slots: 1, ..config(model, 0..layers) };
                let mut stage = Stage::layer_by_layer(config.clone(), executor.clone()).await.expect("a stage");
                stage.draw_all();
                let mut alone = Stage::new(config, executor.clone()).await.expect("a stage");
                let before = parameters(&alone).await;
                for number in 0..2 {
                    // The second time shows whether gradients were zero in between.
                    let gradients = gradients(&mut stage, 3).await;
                    if number == 1 {
                        step(&mut alone, 3, 0).await;
                    }
                    let after = parameters(&alone).await;
                    for (layer, gradient) in gradients.iter().enumerate() {
                        let stepped = before[layer].iter().zip(gradient).map(|(weight, gradient)| weight - 0.1 * gradient);
                        let stepped: Vec<f32> = stepped.collect();
                        assert_eq!(gradient.len(), before[layer].len());
                        if number == 1 {
                            assert_near(name, &stepped, &after[layer], 1e-6);
                        }
                    }
                }
            }
        }
    }

    async fn layers_go_backward_in_their_order_and_weights_wait_for_them() {
        let config = whole(Rule::Sgd {});
        let cpu = cpu().await;
        let mut stage = Stage::layer_by_layer(config.clone(), cpu.clone()).await.expect("a stage");
        stage.draw_all();
        let (input, labels) = sample(&mut Numbers::new(1), &config, 5);
        assert!(stage.backward_layer(0, 4).await.is_err(), "nothing went forward");
        stage.forward_loss(0, &input, &labels).await.expect("a loss");
        assert!(stage.backward_layer(0, 3).await.is_err(), "layer 4 is first");
        assert!(stage.backward_layer(0, 5).await.is_err(), "there is no layer 5");
        stage.backward_layer(0, 4).await.expect("its turn");
        assert!(stage.backward_input(0, None).await.is_err(), "one way or the other");
        assert!(stage.write_parameters(0, 0, &[1.0]).is_err(), "a micro-batch is under way");
        for layer in (0..4).rev() {
            stage.backward_layer(0, layer).await.expect("its turn");
        }
        stage.write_parameters(0, 0, &[1.0]).expect("the slot is free");
        let beyond = stage.write_parameters(0, 21 * 13 + 12, &[1.0, 1.0]);
        let expected = ParameterError::Range { layer: 0, end: 21 * 13 + 14, has: 21 * 13 + 13 };
        assert!(matches!(beyond, Err(ComputeError::Parameter(error)) if error == expected));
        let mut plain = Stage::new(config.clone(), cpu.clone()).await.expect("a stage");
        plain.forward_loss(0, &input, &labels).await.expect("a loss");
        assert!(plain.backward_layer(0, 4).await.is_err(), "it was not made for that");
        let part = StageConfig { layers: 0..3, ..config };
        assert!(Stage::layer_by_layer(part, cpu).await.is_err());
    }

    async fn a_push_that_is_an_update_of_its_own_has_its_part_of_the_learning_rate() {
        let cpu = cpu().await;
        let updated = async |rule, parts: &[f64]| {
            let optimizer = OptimizerSpec::new(rule, 0.1);
            let mut server = RangeUpdater::new(optimizer, &[vec![1.0]], &cpu).await.expect("an updater");
            let mut weight = Vec::new();
            for (updates, part) in (0..).zip(parts) {
                server.add(0, &[0.5]).expect("one");
                let update = RangeUpdate { step: 0, updates, scale: 1.0, part: *part };
                weight = server.update(0, update).await.expect("updated");
            }
            weight[0]
        };
        for rule in [Rule::Sgd {}, Rule::Adam(AdamSettings::default())] {
            let (whole, parts) = (updated(rule, &[1.0]).await, updated(rule, &[0.25, 0.75]).await);
            assert!((whole - parts).abs() < 1e-6 && whole < 1.0, "{rule:?}: {whole}, {parts}");
        }
    }

    async fn what_a_server_cannot_do_is_refused() {
        let cpu = cpu().await;
        let clipped = OptimizerSpec { clip_norm: Some(1.0), ..OptimizerSpec::sgd(0.1) };
        assert!(RangeUpdater::new(clipped, &[vec![1.0]], &cpu).await.is_err());
        let mut server = RangeUpdater::new(OptimizerSpec::sgd(0.1), &[vec![1.0]], &cpu).await.expect("an updater");
        assert!(server.add(1, &[1.0]).is_err() && server.add(0, &[1.0, 1.0]).is_err());
        let update = RangeUpdate { step: 0, updates: 0, scale: f32::NAN, part: 1.0 };
        assert!(server.update(0, update).await.is_err() && server.update(1, RangeUpdate { scale: 1.0, ..update }).await.is_err());
        assert!(server.memory_bytes() >= 12);
    }

    async fn a_row_of_numbers_is_packed_whole_or_half() {
        let values = [1.5, -0.0, 65504.0, 1.0e-7, 0.333];
        let whole = Packing::F32.pack_vector(&values).expect("floats");
        assert_eq!(unpack_vector(&whole).expect("floats"), values);
        let half = Packing::F16.pack_vector(&values).expect("half floats");
        assert_eq!(half.bytes.len(), 10);
        assert_near("half", &unpack_vector(&half).expect("half floats"), &values, 1e-3);
        assert!(Packing::Int8.pack_vector(&values).is_err());
    }
}
