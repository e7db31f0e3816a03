//! Every kernel against the CPU function of the same name, element by element.

mod common;

use common::{Numbers, assert_near, cpu, gpu, suite};
use ringtmp_compute::layers::causal_attention::{
    BackwardSite, Heads, attention, attention_backward_keys_values, attention_backward_queries,
    attention_products,
};
use ringtmp_compute::layers::conv2d::{
    Geometry, channel_sum, conv2d, conv2d_backward_input, conv2d_backward_weights,
};
use ringtmp_compute::layers::dropout::{Draw, dropout};
use ringtmp_compute::layers::embedding::{embedding, embedding_backward};
use ringtmp_compute::layers::gelu::{gelu, gelu_backward};
use ringtmp_compute::layers::layer_norm::{
    layer_norm, layer_norm_backward, layer_norm_backward_weights,
};
use ringtmp_compute::layers::max_pool2d::{max_pool2d, max_pool2d_backward};
use ringtmp_compute::layers::relu::{relu, relu_backward};
use ringtmp_compute::loss::{LossSite, cross_entropy, squared_error};
use ringtmp_compute::operations::{MatrixProduct, add, column_sum};
use ringtmp_compute::optimizer::{UpdateSite, adam, momentum, sgd, square_sums};
use ringtmp_compute::recording::{
    Instance, Lifetime, Operation, Plan, Recording, RecordingId, View,
};
use ringtmp_compute::{AdamSettings, Executor, IGNORED_LABEL};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// Kernels and functions may round differently: drivers fuse multiplications with additions and have their own `exp`.
const TOLERANCE: f32 = 1e-5;

/// Plays one operation in the second of two slots, all of whose buffers are first filled, and gives all of them back.
async fn play(executor: &Executor, plan: &Plan, filling: &[(View, Vec<u32>)]) -> Vec<Vec<u32>> {
    let mut program = executor.prepare(plan.clone()).await.expect("a plan");
    filling
        .iter()
        .for_each(|(view, words)| program.write(*view, Instance::slot(1), words));
    let views: Vec<_> = filling.iter().map(|(view, _)| *view).collect();
    program
        .run(RecordingId(0), Instance::slot(1), &views)
        .await
        .expect("it runs")
}

/// Compares an operation on both executors. `make` gets views of the sizes asked for, each behind a view that must not
/// change.
async fn compare(
    gpu: &Executor,
    numbers: &mut Numbers,
    sizes: &[usize],
    make: impl Fn(&[View]) -> Operation,
    fill: impl Fn(&mut Numbers, usize, usize) -> Vec<u32>,
) {
    let mut plan = Plan {
        slots: 2,
        ..Plan::default()
    };
    let (mut views, mut filling) = (Vec::new(), Vec::new());
    for (i, size) in sizes.iter().enumerate() {
        // An operand may begin inside its buffer, and be a slot's or the stage's.
        let lifetime = if i.is_multiple_of(2) {
            Lifetime::Slot
        } else {
            Lifetime::Stage
        };
        let whole = plan.buffer("test", View::ALIGNMENT_WORDS + size, lifetime);
        views.push(View {
            offset: View::ALIGNMENT_WORDS,
            elements: *size,
            ..whole
        });
        let guard = View {
            elements: View::ALIGNMENT_WORDS,
            ..whole
        };
        filling.push((guard, fill(numbers, i, guard.elements)));
        filling.push((views[i], fill(numbers, i, *size)));
    }
    let operation = make(&views);
    plan.record(Recording {
        label: "test",
        operations: vec![operation.clone()],
    });
    let ours = play(&cpu().await, &plan, &filling).await;
    let switched_on = operation.kernel().constants.iter().any(|(_, on)| *on > 0);
    for variant in operation.variants() {
        // A browser's emulated GPU takes a second to compile one of these: there the plainest of a kind stands for all.
        let is_plain = variant.name == operation.name();
        if cfg!(target_arch = "wasm32") && !is_plain && switched_on {
            continue;
        }
        let gpu = gpu.preferring(variant.name);
        let theirs = play(&gpu, &plan, &filling).await;
        assert_same(&operation, variant.name, &filling, &ours, &theirs);
    }
}

/// Whether a kernel and the function have done the same to views that were filled before.
fn assert_same(
    operation: &Operation,
    kernel: &str,
    filling: &[(View, Vec<u32>)],
    ours: &[Vec<u32>],
    theirs: &[Vec<u32>],
) {
    let written = |view: &View| {
        let mut operands = operation.operands().iter();
        operands.any(|operand| operand.access.writes() && operand.view == *view)
    };
    let mut changed = false;
    for (((view, before), ours), theirs) in filling.iter().zip(ours).zip(theirs) {
        let what = format!("{kernel} of {operation:?}, {view:?}");
        if written(view) {
            assert_near(&what, &floats(theirs), &floats(ours), TOLERANCE);
            changed |= ours != before;
        } else {
            assert_eq!(theirs, before, "{what}: written by the kernel");
            assert_eq!(ours, before, "{what}: written by the function");
        }
    }
    assert!(changed, "{operation:?} has done nothing");
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|word| f32::from_bits(*word)).collect()
}

fn random(numbers: &mut Numbers, _view: usize, count: usize) -> Vec<u32> {
    numbers
        .floats(count)
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

/// Convolutions of odd sizes: with and without padding and strides, kernels of one pixel and as large as the image.
fn convolutions() -> Vec<Geometry> {
    let geometry = |[samples, inputs, outputs]: [usize; 3],
                    image: [usize; 2],
                    [kernel, stride, padding]: [usize; 3]| {
        let output = image.map(|size| (size + 2 * padding - kernel) / stride + 1);
        Geometry {
            samples,
            inputs,
            outputs,
            image,
            output,
            kernel,
            stride,
            padding,
        }
    };
    vec![
        geometry([1, 1, 1], [1, 1], [1, 1, 0]),
        geometry([2, 1, 5], [7, 9], [3, 1, 1]),
        geometry([3, 5, 3], [8, 5], [3, 2, 1]),
        geometry([2, 3, 7], [6, 7], [4, 3, 2]),
        geometry([2, 6, 4], [5, 5], [5, 1, 0]),
        geometry([1, 2, 3], [4, 6], [2, 3, 0]),
        geometry([2, 20, 19], [7, 5], [3, 1, 1]),
        geometry([2, 3, 6], [5, 4], [3, 1, 0]),
        geometry([1, 2, 5], [3, 4], [3, 1, 2]),
    ]
}

suite! {
    async fn matrix_products_of_every_kind_and_odd_sizes_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(1);
        let small = [(1, 1, 1), (3, 5, 7), (4, 8, 4), (33, 10, 130), (17, 67, 301)];
        // In fours and with edges of tiles; of several tiles of a work-group; small beside K.
        let others = [(44, 76, 132), (140, 172, 36), (70, 130, 37), (6, 9, 300)];
        for (rows, columns, inner) in small.into_iter().chain(others) {
            for kind in 0..16 {
                let (transpose_left, transpose_right) = (kind & 1 > 0, kind & 2 > 0);
                let (bias, accumulate) = (kind & 4 > 0, kind & 8 > 0);
                let make = |views: &[View]| Operation::from(MatrixProduct {
                    left: views[0],
                    right: views[1],
                    bias: bias.then_some(views[2]),
                    output: views[3],
                    rows,
                    columns,
                    inner,
                    transpose_left,
                    transpose_right,
                    accumulate,
                });
                if bias && accumulate {
                    continue; // no layer adds a bias twice
                }
                let sizes = [rows * inner, inner * columns, columns, rows * columns];
                compare(&gpu, &mut numbers, &sizes, make, random).await;
            }
        }
    }

    async fn column_sums_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(2);
        for (rows, columns) in [(1, 1), (7, 65), (130, 3), (31, 257)] {
            let make = |views: &[View]| column_sum(views[0], views[1], rows, columns);
            compare(&gpu, &mut numbers, &[rows * columns, columns], make, random).await;
        }
    }

    async fn relu_and_its_gradient_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(3);
        for size in [1, 63, 65, 1001] {
            let make = |views: &[View]| relu(views[0], views[1]);
            compare(&gpu, &mut numbers, &[size; 2], make, random).await;
            let make = |views: &[View]| relu_backward(views[0], views[1], views[2]);
            let zeros_too = |numbers: &mut Numbers, view: usize, count: usize| {
                let some = random(numbers, view, count);
                some.into_iter().map(|word| if view == 0 && word % 3 == 0 { 0 } else { word }).collect()
            };
            compare(&gpu, &mut numbers, &[size; 3], make, zeros_too).await;
        }
    }

    async fn cross_entropies_agree_for_large_logits_as_well() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(4);
        for (rows, classes, height) in [(1, 1, 1.0), (3, 2, 1.0), (67, 10, 4.0), (5, 129, 90.0)] {
            let make = |views: &[View]| {
                let [logits, labels, gradient, losses] = [views[0], views[1], views[2], views[3]];
                cross_entropy(&LossSite { logits, labels, gradient, losses }, classes, 0.25)
            };
            let fill = |numbers: &mut Numbers, view: usize, count: usize| match view {
                0 => numbers.floats(count).into_iter().map(|logit| (height * logit).to_bits()).collect(),
                1 => {
                    let labels = numbers.labels(count, classes as u32);
                    let padded = |(row, label)| if row % 5 == 3 { IGNORED_LABEL } else { label };
                    labels.into_iter().enumerate().map(padded).collect()
                }
                _ => random(numbers, view, count),
            };
            let sizes = [rows * classes, rows, rows * classes, 2 * rows];
            compare(&gpu, &mut numbers, &sizes, make, fill).await;
        }
    }

    async fn optimizers_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(5);
        let settings = AdamSettings { beta1: 0.8, beta2: 0.95, epsilon: 1e-3 };
        // Means of squares, and the root of one, are not negative.
        let fill = |numbers: &mut Numbers, view: usize, count: usize| -> Vec<u32> {
            let values = numbers.floats(count).into_iter();
            values.map(|value| if matches!(view, 0 | 4) { 0.1 + value.abs() } else { value }.to_bits()).collect()
        };
        for size in [1, 64, 1003] {
            let make = |views: &[View]| sgd(views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[8, size, size], make, fill).await;
            let site = |views: &[View]| UpdateSite {
                coefficients: views[0],
                parameters: views[1],
                gradients: views[2],
                state: views[3..].to_vec(),
            };
            for nesterov in [false, true] {
                let make = |views: &[View]| momentum(&site(views), 0.7, nesterov);
                compare(&gpu, &mut numbers, &[8, size, size, size], make, fill).await;
            }
            let make = |views: &[View]| adam(&site(views), settings);
            compare(&gpu, &mut numbers, &[8, size, size, size, size], make, fill).await;
        }
    }

    async fn sums_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(7);
        for (size, parts) in [(1, 1), (5, 64), (1003, 64), (4097, 256)] {
            let make = |views: &[View]| square_sums(views[0], views[1]);
            compare(&gpu, &mut numbers, &[size, parts], make, random).await;
        }
        for size in [1, 77] {
            let make = |views: &[View]| add(views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[size; 3], make, random).await;
        }
        for sizes in [[1, 1, 1], [3, 5, 7], [2, 65, 9]] {
            let make = |views: &[View]| channel_sum(views[0], views[1], sizes);
            compare(&gpu, &mut numbers, &[sizes.iter().product(), sizes[1]], make, random).await;
        }
    }

    async fn convolutions_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(8);
        for geometry in convolutions() {
            let Geometry { samples, inputs, outputs, image, output, kernel, .. } = geometry;
            let before = samples * inputs * image[0] * image[1];
            let after = samples * outputs * output[0] * output[1];
            let weights = outputs * inputs * kernel * kernel;
            let make = |views: &[View]| conv2d(geometry, views[0], views[1], views[2], views[3]);
            compare(&gpu, &mut numbers, &[before, weights, outputs, after], make, random).await;
            let make = |views: &[View]| conv2d_backward_input(geometry, views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[after, weights, before], make, random).await;
            let make = |views: &[View]| conv2d_backward_weights(geometry, views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[before, after, weights], make, random).await;
        }
    }

    async fn poolings_agree_and_take_the_first_of_equals() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(9);
        for (image, kernel, stride) in [([1, 1], 1, 1), ([7, 5], 2, 2), ([9, 11], 3, 2), ([6, 6], 2, 3), ([7, 10], 3, 3)] {
            let output = image.map(|size| (size - kernel) / stride + 1);
            let (samples, channels) = (2, 3);
            let geometry = Geometry {
                samples,
                inputs: channels,
                outputs: channels,
                image,
                output,
                kernel,
                stride,
                padding: 0,
            };
            let (before, after) = (6 * image[0] * image[1], 6 * output[0] * output[1]);
            let coarse = |numbers: &mut Numbers, _view: usize, count: usize| -> Vec<u32> {
                (0..count).map(|_| (numbers.below(4) as f32).to_bits()).collect()
            };
            let make = |views: &[View]| max_pool2d(geometry, views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[before, after, after], make, coarse).await;
            // A place in the window's own corner: always one that it covers.
            let corners = |numbers: &mut Numbers, view: usize, count: usize| -> Vec<u32> {
                let corner = |i: usize| {
                    let window = i % (output[0] * output[1]);
                    (window / output[1] * stride * image[1] + window % output[1] * stride) as u32
                };
                if view == 0 { (0..count).map(corner).collect() } else { random(numbers, view, count) }
            };
            let make = |views: &[View]| max_pool2d_backward(geometry, views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[after, after, before], make, corners).await;
        }
    }

    async fn gelu_and_its_gradient_agree_far_from_zero_as_well() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(10);
        for (size, height) in [(1, 1.0), (65, 3.0), (1001, 100.0)] {
            let high = |numbers: &mut Numbers, view: usize, count: usize| -> Vec<u32> {
                let height = if view == 0 { height } else { 1.0 };
                numbers.floats(count).into_iter().map(|value| (height * value).to_bits()).collect()
            };
            let make = |views: &[View]| gelu(views[0], views[1]);
            compare(&gpu, &mut numbers, &[size; 2], make, high).await;
            let make = |views: &[View]| gelu_backward(views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[size; 3], make, high).await;
        }
    }

    async fn layer_norms_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(13);
        for (rows, columns) in [(1, 1), (3, 5), (67, 17), (2, 129)] {
            let size = rows * columns;
            let make = |views: &[View]| layer_norm(views[0], views[1], views[2], views[3], views[4]);
            compare(&gpu, &mut numbers, &[size, columns, columns, size, 2 * rows], make, random).await;
            let make =
                |views: &[View]| layer_norm_backward(views[0], views[1], views[2], views[3], views[4]);
            compare(&gpu, &mut numbers, &[size, 2 * rows, columns, size, size], make, random).await;
            let make = |views: &[View]| layer_norm_backward_weights(views[0], views[1], views[2], views[3]);
            compare(&gpu, &mut numbers, &[size, 2 * rows, size, columns], make, random).await;
        }
    }

    async fn embeddings_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(14);
        for (samples, length, vocabulary, width) in [(1, 1, 1, 1), (3, 5, 7, 9), (2, 33, 65, 3)] {
            let rows = samples * length;
            let tokens = |numbers: &mut Numbers, view: usize, count: usize| match view {
                0 => numbers.labels(count, vocabulary as u32),
                _ => random(numbers, view, count),
            };
            let make = |views: &[View]| embedding(width, views[0], views[1], views[2], views[3]);
            let sizes = [rows, vocabulary * width, length * width, rows * width];
            compare(&gpu, &mut numbers, &sizes, make, tokens).await;
            let make = |views: &[View]| embedding_backward(width, views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[rows, rows * width, vocabulary * width], make, tokens).await;
        }
    }

    async fn attentions_and_their_gradients_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(15);
        for [samples, tokens, heads, head_width] in [[1, 1, 1, 1], [2, 5, 3, 7], [1, 67, 2, 32], [1, 9, 1, 128]] {
            let heads = Heads { samples, tokens, heads, head_width };
            let rows = samples * heads.heads * tokens;
            let (packed, output) = (3 * rows * head_width, rows * head_width);
            let make = |views: &[View]| attention(heads, views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[packed, output, rows], make, random).await;
            let make = |views: &[View]| attention_products(heads, views[0], views[1], views[2]);
            compare(&gpu, &mut numbers, &[output, output, rows], make, random).await;
            let site = |views: &[View]| BackwardSite {
                packed: views[0],
                output_gradient: views[1],
                log_sums: views[2],
                products: views[3],
                packed_gradient: views[4],
            };
            // Logarithms of sums as large as forward makes them, so that weights stay below one.
            let fill = |numbers: &mut Numbers, view: usize, count: usize| -> Vec<u32> {
                let raise = if view == 2 { (tokens as f32).ln() + 3.0 } else { 0.0 };
                numbers.floats(count).into_iter().map(|value| (value + raise).to_bits()).collect()
            };
            let sizes = [packed, output, rows, rows, packed];
            let make = |views: &[View]| attention_backward_queries(heads, &site(views));
            compare(&gpu, &mut numbers, &sizes, make, fill).await;
            let make = |views: &[View]| attention_backward_keys_values(heads, &site(views));
            compare(&gpu, &mut numbers, &sizes, make, fill).await;
        }
    }

    async fn squared_errors_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(18);
        for (rows, columns) in [(1, 1), (3, 7), (67, 5)] {
            let make = |views: &[View]| {
                let [logits, labels, gradient, losses] = [views[0], views[1], views[2], views[3]];
                squared_error(&LossSite { logits, labels, gradient, losses }, columns, 0.25)
            };
            let size = rows * columns;
            compare(&gpu, &mut numbers, &[size, size, size, 2 * rows], make, random).await;
        }
    }

    async fn dropouts_leave_out_the_same_numbers() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(19);
        for (samples, sample) in [(1, 1), (3, 7), (2, 501)] {
            for training in [0, 1] {
                let draw = Draw { key: 77, sample, probability: 0.3 };
                let make = |views: &[View]| dropout(draw, views[0], views[1], views[2]);
                let fill = |numbers: &mut Numbers, view: usize, count: usize| match (view, count) {
                    (0, 4) => vec![training, 12, u32::MAX, 0],
                    _ => random(numbers, view, count),
                };
                let elements = samples * sample;
                compare(&gpu, &mut numbers, &[4, elements, elements], make, fill).await;
            }
        }
    }

    async fn a_program_begins_with_zeros_although_its_kernels_were_tried() {
        let mut plan = Plan { slots: 2, ..Plan::default() };
        let mut buffer = |words| plan.buffer("test", words, Lifetime::Slot);
        let (logits, labels, gradient, losses) = (buffer(12), buffer(4), buffer(12), buffer(8));
        let operation = cross_entropy(&LossSite { logits, labels, gradient, losses }, 3, 1.0);
        plan.record(Recording { label: "test", operations: vec![operation] });
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let program = executor.prepare(plan.clone()).await.expect("a plan");
            for slot in 0..2 {
                let read = program.read(Instance::slot(slot), &[gradient, losses]).await.expect("it can be read");
                assert_eq!(read, [vec![0; 12], vec![0; 8]], "{}, slot {slot}", executor.adapter());
            }
        }
    }

    /// Beyond 65,535 work-groups a dispatch fails or is dropped unless its grid is folded.
    async fn a_grid_of_more_than_65535_work_groups_reaches_its_last_element() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(6);
        let make = |views: &[View]| relu(views[0], views[1]);
        compare(&gpu, &mut numbers, &[65_535 * 64 + 77; 2], make, random).await;
    }
}
