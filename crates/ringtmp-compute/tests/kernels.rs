//! Every kernel against the CPU function of the same name, element by element.

mod common;

use common::{Numbers, assert_near, cpu, gpu, suite};
use ringtmp_compute::recording::{
    Lifetime, MatrixProduct, Operation, Plan, Recording, RecordingId, View,
};
use ringtmp_compute::{Executor, IGNORED_LABEL};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// Kernels and functions may round differently: drivers fuse multiplications with additions and have their own `exp`.
const TOLERANCE: f32 = 1e-5;

/// Plays one operation in the second of two slots, all of whose buffers are first filled, and gives all of them back.
async fn play(executor: &Executor, plan: &Plan, filling: &[(View, Vec<u32>)]) -> Vec<Vec<u32>> {
    let mut program = executor.prepare(plan.clone()).await.expect("a plan");
    filling
        .iter()
        .for_each(|(view, words)| program.write(*view, 1, words));
    let views: Vec<_> = filling.iter().map(|(view, _)| *view).collect();
    program
        .run(RecordingId(0), 1, &views)
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
        operations: vec![operation],
    });
    let ours = play(&cpu().await, &plan, &filling).await;
    let theirs = play(gpu, &plan, &filling).await;
    let written = |view: &View| {
        let mut operands = operation.operands().into_iter();
        operands.any(|operand| operand.access.writes() && operand.view == *view)
    };
    let mut changed = false;
    for (((view, before), ours), theirs) in filling.iter().zip(&ours).zip(&theirs) {
        let what = format!("{operation:?}, {view:?}");
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

suite! {
    async fn matrix_products_of_every_kind_and_odd_sizes_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(1);
        for (rows, columns, inner) in [(1, 1, 1), (3, 5, 7), (4, 8, 4), (33, 10, 130), (17, 67, 301)] {
            for kind in 0..16 {
                let (transpose_left, transpose_right) = (kind & 1 > 0, kind & 2 > 0);
                let (bias, accumulate) = (kind & 4 > 0, kind & 8 > 0);
                let make = |views: &[View]| Operation::MatrixProduct(MatrixProduct {
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
            let make = |views: &[View]| Operation::ColumnSum { input: views[0], output: views[1], rows, columns };
            compare(&gpu, &mut numbers, &[rows * columns, columns], make, random).await;
        }
    }

    async fn relu_and_its_gradient_agree() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(3);
        for size in [1, 63, 65, 1001] {
            let make = |views: &[View]| Operation::Relu { input: views[0], output: views[1] };
            compare(&gpu, &mut numbers, &[size; 2], make, random).await;
            let make = |views: &[View]| Operation::ReluBackward {
                output: views[0],
                output_gradient: views[1],
                input_gradient: views[2],
            };
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
            let make = |views: &[View]| Operation::CrossEntropy {
                logits: views[0],
                labels: views[1],
                gradient: views[2],
                losses: views[3],
                rows,
                classes,
                scale: 0.25,
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

    async fn sgd_agrees() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(5);
        for size in [1, 64, 1003] {
            let make = |views: &[View]| Operation::Sgd {
                parameters: views[0],
                gradients: views[1],
                learning_rate: 0.05,
            };
            compare(&gpu, &mut numbers, &[size; 2], make, random).await;
        }
    }

    async fn a_program_begins_with_zeros_although_its_kernels_were_tried() {
        let mut plan = Plan { slots: 2, ..Plan::default() };
        let mut buffer = |words| plan.buffer("test", words, Lifetime::Slot);
        let (logits, labels, gradient, losses) = (buffer(12), buffer(4), buffer(12), buffer(8));
        let (rows, classes, scale) = (4, 3, 1.0);
        let operation =
            Operation::CrossEntropy { logits, labels, gradient, losses, rows, classes, scale };
        plan.record(Recording { label: "test", operations: vec![operation] });
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let program = executor.prepare(plan.clone()).await.expect("a plan");
            for slot in 0..2 {
                let read = program.read(slot, &[gradient, losses]).await.expect("it can be read");
                assert_eq!(read, [vec![0; 12], vec![0; 8]], "{}, slot {slot}", executor.adapter());
            }
        }
    }

    /// Beyond 65,535 work-groups a dispatch fails or is dropped unless its grid is folded.
    async fn a_grid_of_more_than_65535_work_groups_reaches_its_last_element() {
        let Some(gpu) = gpu().await else { return };
        let mut numbers = Numbers::new(6);
        let make = |views: &[View]| Operation::Relu { input: views[0], output: views[1] };
        compare(&gpu, &mut numbers, &[65_535 * 64 + 77; 2], make, random).await;
    }
}
