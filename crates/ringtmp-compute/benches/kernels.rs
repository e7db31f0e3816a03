//! What single operations take, at the sizes of the presets: on the CPU with either arithmetic, and with each shader on the GPU.
//!
//! `cargo bench -p ringtmp-compute --bench kernels -- matrix_product` compares with the run before.

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use criterion::{Criterion, Throughput};
    use futures::executor::block_on;
    use ringtmp_compute::layers::causal_attention::{Heads, attention};
    use ringtmp_compute::layers::conv2d::{
        Geometry, conv2d, conv2d_backward_input, conv2d_backward_weights,
    };
    use ringtmp_compute::layers::gelu::gelu;
    use ringtmp_compute::layers::max_pool2d::max_pool2d;
    use ringtmp_compute::operations::MatrixProduct;
    use ringtmp_compute::recording::{
        Instance, Lifetime, Operation, Plan, Recording, RecordingId, View,
    };
    use ringtmp_compute::{Arithmetic, Executor, ExecutorChoice};
    use std::hint::black_box;

    /// An operation over views that were made for it.
    struct Case {
        name: String,
        /// Floating-point operations; 0 where there is nothing to count.
        flops: u64,
        plan: Plan,
    }

    fn case(
        name: impl Into<String>,
        flops: usize,
        sizes: &[usize],
        make: impl Fn(&[View]) -> Operation,
    ) -> Case {
        let mut plan = Plan::default();
        let sizes = sizes.iter();
        let views: Vec<View> = sizes
            .map(|words| plan.buffer("benchmark", *words, Lifetime::Stage))
            .collect();
        plan.record(Recording {
            label: "benchmark",
            operations: vec![make(&views)],
        });
        Case {
            name: name.into(),
            flops: flops as u64,
            plan,
        }
    }

    /// A linear layer of `inner` inputs and `columns` outputs, forward: both operands are read along K.
    fn product([rows, columns, inner]: [usize; 3]) -> Case {
        let name = format!("matrix_product {rows} x {columns} x {inner}");
        let sizes = [rows * inner, columns * inner, rows * columns];
        case(name, 2 * rows * columns * inner, &sizes, |views| {
            Operation::from(MatrixProduct {
                left: views[0],
                right: views[1],
                bias: None,
                output: views[2],
                rows,
                columns,
                inner,
                transpose_left: false,
                transpose_right: true,
                accumulate: false,
            })
        })
    }

    /// The second convolution of `cnn`, and what goes with it.
    fn images() -> Vec<Case> {
        let geometry = Geometry {
            samples: 32,
            inputs: 16,
            outputs: 32,
            image: [14, 14],
            output: [14, 14],
            kernel: 3,
            stride: 1,
            padding: 1,
        };
        let (before, after, weights) = (32 * 16 * 196, 32 * 32 * 196, 32 * 16 * 9);
        let flops = 2 * 32 * 196 * weights;
        let pooled = Geometry {
            inputs: 32,
            output: [7, 7],
            kernel: 2,
            stride: 2,
            padding: 0,
            ..geometry
        };
        vec![
            case("conv2d", flops, &[before, weights, 32, after], |views| {
                conv2d(geometry, views[0], views[1], views[2], views[3])
            }),
            case(
                "conv2d_backward_input",
                flops,
                &[after, weights, before],
                |views| conv2d_backward_input(geometry, views[0], views[1], views[2]),
            ),
            case(
                "conv2d_backward_weights",
                flops,
                &[before, after, weights],
                |views| conv2d_backward_weights(geometry, views[0], views[1], views[2]),
            ),
            case("max_pool2d", 0, &[after, after / 4, after / 4], |views| {
                max_pool2d(pooled, views[0], views[1], views[2])
            }),
        ]
    }

    /// Of `gpt-nano` with its usual batch.
    fn texts() -> Vec<Case> {
        let heads = Heads {
            samples: 8,
            tokens: 64,
            heads: 4,
            head_width: 32,
        };
        let (rows, width) = (512, 128);
        vec![
            case(
                "attention",
                4 * 8 * 64 * 64 * width,
                &[3 * rows * width, rows * width, 4 * rows],
                |views| attention(heads, views[0], views[1], views[2]),
            ),
            case("gelu", 0, &[4 * rows * width; 2], |views| {
                gelu(views[0], views[1])
            }),
        ]
    }

    fn executors() -> Vec<(String, Executor, Arithmetic)> {
        let mut all: Vec<_> = [Arithmetic::Fused, Arithmetic::Portable]
            .map(|arithmetic| (format!("cpu {arithmetic:?}"), Executor::cpu(), arithmetic))
            .into();
        match block_on(Executor::open(ExecutorChoice::Gpu)) {
            Ok(gpu) => all.push((gpu.adapter(), gpu, Arithmetic::default())),
            Err(error) => eprintln!("SKIP: {error}"),
        }
        all
    }

    pub(super) fn run(criterion: &mut Criterion) {
        let mut cases = vec![product([512; 3]), product([512, 384, 128])];
        cases.push(product([64, 256, 784]));
        cases.extend(images());
        cases.extend(texts());
        for case in cases {
            let mut group = criterion.benchmark_group(&case.name);
            if case.flops > 0 {
                group.throughput(Throughput::Elements(case.flops));
            }
            let operation = case.plan.recordings[0].operations[0].clone();
            let output = operation.operands()[operation.operands().len() - 1].view;
            // One number back, so that a GPU is waited for.
            let views = [View {
                elements: 1,
                ..output
            }];
            for (name, executor, arithmetic) in executors() {
                let mut measure = |name: &str, executor: &Executor| {
                    let plan = Plan {
                        arithmetic,
                        ..case.plan.clone()
                    };
                    let program = block_on(executor.prepare(plan));
                    let mut program = program.expect("an operation of a preset");
                    group.bench_function(name, |bencher| {
                        bencher.iter(|| {
                            let run = program.run(RecordingId(0), Instance::default(), &views);
                            black_box(block_on(run)).expect("computed")
                        });
                    });
                };
                if name.starts_with("cpu") {
                    measure(&name, &executor);
                    continue;
                }
                for variant in operation.variants() {
                    let name = format!("{name}, {}", variant.name);
                    measure(&name, &executor.preferring(variant.name));
                }
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    let mut criterion = criterion::Criterion::default()
        .sample_size(10)
        .configure_from_args();
    native::run(&mut criterion);
    criterion.final_summary();
}

#[cfg(target_arch = "wasm32")]
fn main() {}
