//! What the suites share. A suite runs natively and, the same, in a browser.

#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each suite uses a part of it"
)]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::layers::conv2d::Conv2d;
use ringtmp_compute::layers::flatten::Flatten;
use ringtmp_compute::layers::gelu::Gelu;
use ringtmp_compute::layers::max_pool2d::MaxPool2d;
use ringtmp_compute::{
    Arithmetic, Executor, ExecutorChoice, GptSizes, ModelSpec, OptimizerSpec, Packed, Packing,
    StageConfig,
};

/// Makes tests of async functions: natively they are blocked on, in a browser its event loop runs them.
macro_rules! suite {
    ($($(#[doc = $doc:literal])* async fn $name:ident() $body:block)*) => {$(
        $(#[doc = $doc])*
        #[cfg(not(target_arch = "wasm32"))]
        #[test]
        fn $name() {
            futures::executor::block_on(async $body);
        }

        $(#[doc = $doc])*
        #[cfg(target_arch = "wasm32")]
        #[wasm_bindgen_test::wasm_bindgen_test]
        async fn $name() $body
    )*};
}
pub(crate) use suite;

/// Says something where a tester sees it.
pub(crate) fn say(text: &str) {
    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::console_log!("{text}");
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{text}");
}

/// A GPU, an emulated one too; or nothing, aloud.
pub(crate) async fn gpu() -> Option<Executor> {
    match Executor::open(ExecutorChoice::Gpu).await {
        Ok(gpu) => {
            say(&format!("GPU: {}", gpu.adapter()));
            Some(gpu)
        }
        Err(error) => {
            say(&format!("SKIP: {error}"));
            None
        }
    }
}

/// The CPU, which is always there.
pub(crate) async fn cpu() -> Executor {
    Executor::open(ExecutorChoice::Cpu)
        .await
        .expect("a CPU is there")
}

/// Numbers for tests, by a seed that is printed.
pub(crate) struct Numbers(ChaCha8Rng);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        say(&format!("seed {seed}"));
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0.next_u32() % limit
    }

    /// Evenly over -1 to 1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    pub(crate) fn labels(&mut self, count: usize, classes: u32) -> Vec<u32> {
        (0..count).map(|_| self.below(classes)).collect()
    }
}

/// A small model of every kind of layer, at odd sizes.
pub(crate) fn small_model() -> ModelSpec {
    ModelSpec::new(
        vec![21],
        vec![
            LayerSpec::linear(21, 13),
            LayerSpec::relu(),
            LayerSpec::linear(13, 11),
            LayerSpec::relu(),
            LayerSpec::linear(11, 5),
        ],
    )
}

/// Models of the other kinds of layers, at odd sizes, each with a name.
pub(crate) fn other_models() -> Vec<(&'static str, ModelSpec)> {
    let convolution = |inputs, outputs, stride| Conv2d {
        inputs,
        outputs,
        kernel: 3,
        stride,
        padding: 1,
    };
    let pooling = MaxPool2d {
        kernel: 2,
        stride: None,
    };
    let images = ModelSpec::new(
        vec![2, 9, 7],
        vec![
            convolution(2, 5, 1).into(),
            LayerSpec::relu(),
            pooling.into(),
            convolution(5, 3, 2).into(),
            Gelu {}.into(),
            Flatten {}.into(),
            LayerSpec::linear(12, 5),
        ],
    );
    let sizes = GptSizes {
        vocabulary: 5,
        blocks: 2,
        width: 12,
        heads: 3,
        context: 7,
    };
    vec![("images", images), ("text", ModelSpec::gpt(&sizes))]
}

/// A stage of it.
pub(crate) fn config(model: ModelSpec, layers: std::ops::Range<usize>) -> StageConfig {
    let optimizer = OptimizerSpec::sgd(0.1);
    StageConfig {
        model,
        layers,
        micro_batch: 3,
        batch: 9,
        slots: 3,
        versions: 1,
        seed: 7,
        optimizer,
        input_packing: Packing::F32,
        output_packing: Packing::F32,
        arithmetic: Arithmetic::default(),
    }
}

/// A micro-batch for a model, tokens or numbers as its first layer takes, and a label for each row of its logits.
pub(crate) fn sample(
    numbers: &mut Numbers,
    config: &StageConfig,
    classes: u32,
) -> (Packed, Vec<u32>) {
    let model = &config.model;
    let shapes = model.shapes().expect("a model");
    let shape: Vec<_> = [config.micro_batch]
        .into_iter()
        .chain(shapes[0].iter().copied())
        .collect();
    let count = shape.iter().product();
    let input = match model.layers[0].layer().tokens() {
        Some(limit) => Packed::from_u32(&shape, &numbers.labels(count, limit as u32)),
        None => Packed::from_f32(&shape, &numbers.floats(count)),
    };
    let output = shapes.last().expect("an output");
    let rows = config.micro_batch * output[..output.len() - 1].iter().product::<usize>();
    (input.expect("a micro-batch"), numbers.labels(rows, classes))
}

/// Fails unless each number is as near to its twin as `tolerance` relative to 1 + |twin| says; no NaN is near anything.
pub(crate) fn assert_near(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let near = (a - e).abs() <= tolerance * (1.0 + e.abs());
        assert!(near, "{what}: element {i} is {a}, its twin {e}");
    }
}
