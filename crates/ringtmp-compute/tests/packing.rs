//! Packed tensors: rounding, and the same bits from every executor.

mod common;

use common::{Numbers, config, cpu, gpu, other_models, sample, suite};
use ringtmp_compute::packing::{Dither, int8_scales, pack_f16, pack_int8, unpack_f16, unpack_int8};
use ringtmp_compute::recording::{Instance, Lifetime, Plan, Recording, RecordingId};
use ringtmp_compute::{
    Arithmetic, Executor, Format, Packed, Packing, Position, Stage, StageConfig,
};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// What a tensor of `shape` becomes: its words packed, and its numbers unpacked again.
struct Carried {
    packed: Vec<u32>,
    unpacked: Vec<f32>,
}

impl Carried {
    fn bits(&self) -> Vec<u32> {
        self.unpacked.iter().map(|value| value.to_bits()).collect()
    }
}

/// Packs numbers in rows of `row` (two to a word without) and unpacks them.
async fn carry(
    executor: &Executor,
    row: Option<usize>,
    dither: Option<(Dither, Position)>,
    values: &[f32],
) -> Carried {
    let mut plan = Plan {
        slots: 1,
        ..Plan::default()
    };
    let count = values.len();
    let format = row.map_or(Format::F16, |row| Format::I8 { row });
    let words = format.bytes(count).expect("whole rows").div_ceil(4);
    let mut buffer = |words| plan.buffer("test", words, Lifetime::Stage);
    let (input, packed, output) = (buffer(count), buffer(words), buffer(count));
    let position = buffer(4);
    let mut recording = Recording::new("test");
    match row {
        None => {
            recording.push(pack_f16(input, packed));
            recording.push(unpack_f16(packed, output));
        }
        Some(row) => {
            let drawn = dither.map(|(dither, _)| (dither, position));
            recording.push(int8_scales(input, packed, row));
            recording.push(pack_int8(drawn, input, packed, row));
            recording.push(unpack_int8(packed, output, row));
        }
    }
    plan.record(recording);
    let mut program = executor.prepare(plan).await.expect("a plan");
    let first = Instance::default();
    program.write(input, first, &bits(values));
    if let Some((_, Position { step, first_sample })) = dither {
        program.write(position, first, &[1, step, first_sample, 0]);
    }
    let views = [packed, output];
    let [packed, output] = program
        .run(RecordingId(0), first, &views)
        .await
        .expect("it runs")
        .try_into()
        .expect("two views");
    Carried {
        packed,
        unpacked: output.into_iter().map(f32::from_bits).collect(),
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

async fn executors() -> Vec<Executor> {
    [Some(cpu().await), gpu().await]
        .into_iter()
        .flatten()
        .collect()
}

/// The number that a 16-bit float means, by the standard's definition.
fn meaning(half: u16) -> f64 {
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if half >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

fn halves(words: &[u32]) -> Vec<u16> {
    words
        .iter()
        .flat_map(|word| [*word as u16, (*word >> 16) as u16])
        .collect()
}

/// Floats of every magnitude, infinities and NaN among them.
fn any_bits(numbers: &mut Numbers, count: usize) -> Vec<f32> {
    let any = |_| f32::from_bits(numbers.below(u32::MAX));
    (0..count).map(any).collect()
}

suite! {
    async fn every_16_bit_float_means_what_it_should_and_is_packed_as_itself() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let values: Vec<f32> = all.iter().map(|half| meaning(*half) as f32).collect();
        for executor in executors().await {
            let carried = carry(&executor, None, None, &values).await;
            for ((half, packed), (value, unpacked)) in
                all.iter().zip(halves(&carried.packed)).zip(values.iter().zip(&carried.unpacked))
            {
                if value.is_nan() {
                    assert!(meaning(packed).is_nan() && unpacked.is_nan(), "{half:#06x}");
                } else {
                    assert_eq!((packed, unpacked.to_bits()), (*half, value.to_bits()), "{half:#06x}");
                }
            }
        }
    }

    async fn what_lies_between_two_16_bit_floats_goes_to_the_nearer_and_from_the_middle_to_the_even() {
        let (mut values, mut expected) = (Vec::new(), Vec::new());
        for below in 0..0x7c00u16 {
            // The last step is to what would be next if it were not infinite.
            let next = if below == 0x7bff { 65536.0 } else { meaning(below + 1) };
            let middle = ((meaning(below) + next) / 2.0) as f32;
            let even = below + (below & 1);
            for (value, half) in [(middle.next_down(), below), (middle, even), (middle.next_up(), below + 1)] {
                values.extend([value, -value]);
                expected.extend([half, half | 0x8000]);
            }
        }
        // Nothing, the smallest there is, the largest there is.
        values.extend([f32::from_bits(1), f32::MAX, f32::MIN]);
        expected.extend([0, 0x7c00, 0xfc00]);
        for executor in executors().await {
            let carried = carry(&executor, None, None, &values).await;
            for ((value, half), expected) in values.iter().zip(halves(&carried.packed)).zip(&expected) {
                assert_eq!(half, *expected, "{value:e} on {}", executor.adapter());
            }
        }
    }

    async fn packed_numbers_of_every_magnitude_and_odd_count_have_the_same_bits_on_a_gpu() {
        let (Some(gpu), cpu) = (gpu().await, cpu().await) else { return };
        let mut numbers = Numbers::new(23);
        let position = Position { step: 12, first_sample: u32::MAX };
        for (rows, row) in [(1, 1), (3, 7), (5, 33), (4, 501)] {
            // All magnitudes; then such as they are in training, with some rows all zeros or not finite.
            let mut usual = numbers.floats(rows * row);
            usual[0] = f32::NAN;
            usual[(rows - 1) * row..].fill(0.0);
            for values in [any_bits(&mut numbers, rows * row), usual, numbers.floats(rows * row)] {
                let dither = Dither { key: 77, sample: row };
                for (row, dither) in [(None, None), (Some(row), None), (Some(row), Some((dither, position)))] {
                    let ours = carry(&cpu, row, dither, &values).await;
                    let theirs = carry(&gpu, row, dither, &values).await;
                    assert_eq!(ours.packed, theirs.packed, "{rows} x {row:?}, {dither:?}");
                    let finite = |bits: Vec<u32>| bits.into_iter().map(|bits| {
                        // A device may give any NaN, and a packed one is refused.
                        let value = f32::from_bits(bits);
                        (!value.is_nan()).then_some(bits)
                    }).collect::<Vec<_>>();
                    assert_eq!(finite(ours.bits()), finite(theirs.bits()), "{rows} x {row:?}, {dither:?}");
                }
            }
        }
    }

    async fn an_8_bit_integer_is_within_half_a_scale_of_its_number() {
        let executor = cpu().await;
        let mut numbers = Numbers::new(24);
        let row = 64;
        for exponent in [-95, -50, -3, 0, 9, 100, 127] {
            let largest = 2f32.powi(exponent);
            let mut values = numbers.floats(row);
            values.iter_mut().for_each(|value| *value *= largest);
            values[7] = if exponent == 127 { f32::MAX } else { -largest };
            let carried = carry(&executor, Some(row), None, &values).await;
            let scale = f32::from_bits(carried.packed[0]);
            let ideal = values[7].abs() / 127.0;
            assert!((scale - ideal).abs() <= ideal * 4e-5, "{scale} for {ideal}");
            for (value, unpacked) in values.iter().zip(&carried.unpacked) {
                let error = (value - unpacked).abs();
                assert!(error <= scale * 0.50001, "{value:e} became {unpacked:e} with {scale:e}");
            }
        }
    }

    async fn a_half_goes_away_from_zero_and_what_is_just_below_a_half_does_not() {
        // A largest number of 127 makes the scale 1.
        let below = 0.5 - 2f32.powi(-18);
        let values = [127.0, 0.5, -0.5, below, -below, 63.5, -126.5, 1.0 + below];
        let expected = [127.0, 1.0, -1.0, 0.0, 0.0, 64.0, -127.0, 1.0];
        for executor in executors().await {
            let carried = carry(&executor, Some(8), None, &values).await;
            assert_eq!(carried.unpacked, expected, "{}", executor.adapter());
        }
    }

    async fn numbers_as_near_to_a_half_as_can_be_go_the_same_way_on_a_gpu() {
        let (Some(gpu), cpu) = (gpu().await, cpu().await) else { return };
        let mut numbers = Numbers::new(28);
        let (rows, row) = (64, 127);
        let mut values = numbers.floats(rows * row);
        let scales = carry(&cpu, Some(row), None, &values).await.packed;
        for (values, scale) in values.chunks_exact_mut(row).zip(scales) {
            let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            for (count, value) in (0u16..).zip(values.iter_mut()) {
                *value = ((f32::from(count) + 0.5) * f32::from_bits(scale)).next_up();
            }
            values[row - 1] = largest;
        }
        let ours = carry(&cpu, Some(row), None, &values).await;
        let theirs = carry(&gpu, Some(row), None, &values).await;
        assert_eq!(ours.packed, theirs.packed);
    }

    async fn rows_of_zeros_stay_and_rows_with_what_is_not_finite_show_it_in_their_scale() {
        let tiny = 2f32.powi(-97);
        let values = [0.0, -0.0, tiny, -tiny, 1.0, f32::INFINITY, 2.0, f32::NAN, -3.0, 3.0];
        for executor in executors().await {
            let carried = carry(&executor, Some(2), None, &values).await;
            assert_eq!(carried.packed[..2], [0, 0], "zeros and what is as good as zero");
            assert!(carried.packed[2..4].iter().all(|scale| f32::from_bits(*scale).is_nan()));
            assert_eq!(bits(&carried.unpacked[..4]), [0; 4]);
            let last = &carried.unpacked[8..];
            assert!((last[0] + 3.0).abs() < 1e-4 && (last[1] - 3.0).abs() < 1e-4, "{last:?}");
        }
    }

    async fn rounding_at_random_has_the_right_mean_and_reaches_both_neighbours_only() {
        let executor = cpu().await;
        let (samples, row) = (4000, 8);
        // Halves, thirds and hundredths between two integers, both signs; the first sets a scale of almost exactly one.
        let sample = [127.0, 0.5, -0.5, 10.25, 99.9, -1.01, 0.0, 3.0f32];
        let values: Vec<f32> = (0..samples).flat_map(|_| sample).collect();
        let dither = Dither { key: 5, sample: row };
        let position = Position { step: 3, first_sample: 0 };
        let carried = carry(&executor, Some(row), Some((dither, position)), &values).await;
        for (i, value) in sample.iter().enumerate() {
            let all = carried.unpacked.chunks_exact(row).map(|sample| sample[i]);
            let mean = all.clone().map(f64::from).sum::<f64>() / f64::from(samples);
            assert!((mean - f64::from(*value)).abs() < 0.03, "{value}: mean {mean}");
            assert!(all.clone().all(|unpacked| (unpacked - value).abs() < 1.001), "{value}");
        }
        let again = carry(&executor, Some(row), Some((dither, Position { step: 4, first_sample: 0 })), &values).await;
        assert_ne!(again.packed, carried.packed, "another step draws other numbers");
    }

    async fn rounding_at_random_depends_on_the_sample_and_not_on_who_else_is_packed() {
        let executor = cpu().await;
        let mut numbers = Numbers::new(25);
        let (sample, row) = (66, 33);
        let values = numbers.floats(3 * sample);
        let dither = Dither { key: 9, sample };
        let at = |first_sample| Some((dither, Position { step: 1, first_sample }));
        let together = carry(&executor, Some(row), at(10), &values).await;
        for (i, values) in values.chunks_exact(sample).enumerate() {
            let alone = carry(&executor, Some(row), at(10 + i as u32), values).await;
            assert_eq!(alone.bits(), together.bits()[i * sample..(i + 1) * sample], "sample {i}");
        }
    }

    async fn stages_that_pack_equal_stages_whose_tensors_are_packed_between_them() {
        for (name, model) in other_models() {
            let layers = model.layers.len();
            let cuts = [0, 2, layers - 1, layers];
            for packing in [Packing::F32, Packing::F16, Packing::Int8] {
                let base = config(model.clone(), 0..layers);
                let ours = Pipeline::new(&cpu().await, &base, &cuts, packing).await;
                let plain = Pipeline::new(&cpu().await, &base, &cuts, Packing::F32).await;
                let [ours, plain] = [ours.train(None).await, plain.train(Some(packing)).await];
                assert_eq!(ours, plain, "{name}, {packing:?}");
                if packing != Packing::F32 {
                    let exact = Pipeline::new(&cpu().await, &base, &cuts, Packing::F32).await;
                    assert_ne!(ours, exact.train(None).await, "{name}, {packing:?} changes nothing");
                }
                let Some(gpu) = gpu().await else { continue };
                let theirs = Pipeline::new(&gpu, &base, &cuts, packing).await.train(None).await;
                for (ours, theirs) in ours.losses.iter().zip(&theirs.losses) {
                    let near = (ours - theirs).abs() <= 2e-2 * ours.abs();
                    assert!(near, "{name}, {packing:?}: {ours} and {theirs}");
                }
            }
        }
    }

    /// Native and in a browser: rings of both pack alike.
    async fn every_target_reaches_the_same_weights_whatever_the_packing() {
        let (_, model) = other_models().remove(0);
        let layers = 0..model.layers.len();
        let base = StageConfig { arithmetic: Arithmetic::Portable, ..config(model, layers) };
        let mut reached = Vec::new();
        for packing in [Packing::F16, Packing::Int8] {
            let pipeline = Pipeline::new(&cpu().await, &base, &[0, 2, 7], packing).await;
            let (_, first) = pipeline.train(None).await.digests.remove(0);
            reached.push(first[..16].to_owned());
        }
        assert_eq!(reached, ["d9074c3def02dc24", "49320d0afcb739fc"]);
    }

    async fn a_stage_takes_only_what_is_packed_as_it_was_told() {
        let (_, model) = other_models().remove(0);
        let middle = StageConfig {
            input_packing: Packing::F16,
            output_packing: Packing::Int8,
            ..config(model.clone(), 1..3)
        };
        let mut stage = Stage::new(middle, cpu().await).await.expect("a stage");
        let shape = [3, 5, 9, 7];
        let count = shape.iter().product();
        let plain = Packed::from_f32(&shape, &vec![1.0; count]).expect("numbers");
        assert!(stage.forward(0, &plain).await.is_err(), "32-bit floats");
        let short = Packed { shape: shape.to_vec(), format: Format::F16, bytes: vec![0; 2 * count - 1] };
        assert!(stage.forward(0, &short).await.is_err(), "a byte less");
        let packed = Packed::new(shape.to_vec(), Format::F16, vec![0; 2 * count]).expect("numbers");
        let output = stage.forward(0, &packed).await.expect("F");
        assert_eq!(output.format, Format::I8 { row: 60 / 5 * 5 }, "{:?}", output.shape);
        let base = config(model.clone(), 0..1);
        let head = StageConfig { input_packing: Packing::F16, ..base.clone() };
        assert!(Stage::new(head, cpu().await).await.is_err(), "data is not packed");
        let layers = model.layers.len();
        let tail = StageConfig { layers: layers - 1..layers, output_packing: Packing::F16, ..base };
        assert!(Stage::new(tail, cpu().await).await.is_err(), "logits are not packed");
    }
}

/// What packing costs, for people: `cargo test -p ringtmp-compute --test packing -- --ignored --nocapture`.
#[cfg(not(target_arch = "wasm32"))]
#[test]
#[ignore = "it measures, and asserts nothing"]
fn nanoseconds_of_a_number() {
    const COUNT: usize = 1 << 20;
    const ROUNDS: u32 = 20;
    let mut plan = Plan {
        slots: 1,
        ..Plan::default()
    };
    let row = 256;
    let mut buffer = |words| plan.buffer("test", words, Lifetime::Stage);
    let (input, output, position) = (buffer(COUNT), buffer(COUNT), buffer(4));
    let (half, quarter) = (buffer(COUNT / 2), buffer(COUNT / row + COUNT / 4));
    let dither = Dither {
        key: 1,
        sample: COUNT / 16,
    };
    let operations = [
        ("pack f16", vec![pack_f16(input, half)]),
        ("unpack f16", vec![unpack_f16(half, output)]),
        (
            "pack int8, to the nearest",
            vec![
                int8_scales(input, quarter, row),
                pack_int8(None, input, quarter, row),
            ],
        ),
        (
            "pack int8, at random",
            vec![
                int8_scales(input, quarter, row),
                pack_int8(Some((dither, position)), input, quarter, row),
            ],
        ),
        ("unpack int8", vec![unpack_int8(quarter, output, row)]),
    ];
    let recordings: Vec<_> = operations
        .into_iter()
        .map(|(name, operations)| {
            let recording = Recording {
                label: name,
                operations,
            };
            (name, plan.record(recording))
        })
        .collect();
    futures::executor::block_on(async {
        let mut program = cpu().await.prepare(plan).await.expect("a plan");
        program.write(
            input,
            Instance::default(),
            &bits(&Numbers::new(27).floats(COUNT)),
        );
        for (name, recording) in recordings {
            let mut shortest = std::time::Duration::MAX;
            for _ in 0..ROUNDS {
                let begun = std::time::Instant::now();
                program
                    .run(recording, Instance::default(), &[])
                    .await
                    .expect("it runs");
                shortest = shortest.min(begun.elapsed());
            }
            let nanoseconds = shortest.as_nanos() as f64 / COUNT as f64;
            common::say(&format!("{name}: {nanoseconds:.2} ns a number"));
        }
    });
}

/// Stages that hand tensors to each other, which may be packed and unpacked on the way by hand.
struct Pipeline {
    stages: Vec<Stage>,
    cuts: Vec<usize>,
    base: StageConfig,
}

/// What training gives.
#[derive(Debug, PartialEq)]
struct Trained {
    losses: Vec<f32>,
    digests: Vec<(usize, String)>,
}

impl Pipeline {
    async fn new(
        executor: &Executor,
        base: &StageConfig,
        cuts: &[usize],
        packing: Packing,
    ) -> Self {
        let mut stages = Vec::new();
        for pair in cuts.windows(2) {
            let at = |cut: usize| {
                let inside = cut > 0 && cut < base.model.layers.len();
                if inside { packing } else { Packing::F32 }
            };
            let config = StageConfig {
                layers: pair[0]..pair[1],
                input_packing: at(pair[0]),
                output_packing: at(pair[1]),
                ..base.clone()
            };
            stages.push(Stage::new(config, executor.clone()).await.expect("a stage"));
        }
        Self {
            stages,
            cuts: cuts.to_vec(),
            base: base.clone(),
        }
    }

    /// Three steps of three micro-batches. With `by_hand` tensors are packed and unpacked between stages.
    async fn train(mut self, by_hand: Option<Packing>) -> Trained {
        let mut numbers = Numbers::new(26);
        let mut losses = Vec::new();
        let keys = self.keys();
        for step in 0..3 {
            for micro_batch in 0..3 {
                let first_sample = micro_batch * self.base.micro_batch as u32;
                let position = Position { step, first_sample };
                let (mut tensor, labels) = sample(&mut numbers, &self.base, 5);
                let (tail, others) = self.stages.split_last_mut().expect("a stage");
                for stage in others {
                    stage.set_position(0, Some(position)).expect("a slot");
                    tensor = stage.forward(0, &tensor).await.expect("F");
                    if let Some(packing) = by_hand {
                        tensor = through(packing, &tensor, None).await;
                    }
                }
                tail.set_position(0, Some(position)).expect("a slot");
                losses.push(
                    tail.forward_loss(0, &tensor, &labels)
                        .await
                        .expect("a loss")
                        .loss_sum,
                );
                let mut gradient = None;
                for (stage, key) in self.stages.iter_mut().zip(&keys).rev() {
                    gradient = stage.backward_input(0, gradient.as_ref()).await.expect("B");
                    if let (Some(packing), Some(tensor)) = (by_hand, &gradient) {
                        gradient = Some(through(packing, tensor, Some((*key, position))).await);
                    }
                    stage.backward_weights(0).await.expect("W");
                }
            }
            for stage in &mut self.stages {
                stage.update(u64::from(step)).await.expect("an update");
            }
        }
        let mut digests = Vec::new();
        for stage in &self.stages {
            digests.extend(stage.digests().await.expect("digests"));
        }
        Trained { losses, digests }
    }

    /// What each stage's gradient is rounded with: of the seed and its first layer.
    fn keys(&self) -> Vec<u32> {
        let key = |layer: &usize| ringtmp_compute::packing::dither_key(self.base.seed, *layer);
        self.cuts.iter().map(key).collect()
    }
}

/// A tensor packed and unpacked by the operations alone.
async fn through(packing: Packing, tensor: &Packed, dither: Option<(u32, Position)>) -> Packed {
    let values = tensor.f32s().expect("floats");
    let row = match packing.format(&tensor.shape) {
        Format::I8 { row } => Some(row),
        Format::F16 => None,
        Format::F32 | Format::U32 => return tensor.clone(),
    };
    let sample = values.len() / tensor.shape[0];
    let dither = dither.map(|(key, position)| (Dither { key, sample }, position));
    let carried = carry(&cpu().await, row, dither, &values).await;
    Packed::from_f32(&tensor.shape, &carried.unpacked).expect("as many")
}
