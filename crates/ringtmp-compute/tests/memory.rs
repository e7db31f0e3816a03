//! A stage takes all its memory when it is made: ten thousand steps later it has no more.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::{Numbers, config, cpu, gpu, sample};
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::{Executor, ModelSpec, Stage, StageConfig};

/// Steps before memory is first looked at, in which drivers and allocators fill their own stores, and steps after.
const STEPS: [u64; 2] = [500, 10_000];

/// What a driver may keep and give back as it likes; a leak of one staging buffer or bind group a step is far more.
const GROWTH_MAX: u64 = 4 << 20;

/// Bytes of this process in memory, where the system tells.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(4096 * pages)
}

async fn train(executor: &Executor) {
    let model = ModelSpec::new(vec![7], vec![LayerSpec::linear(7, 5)]);
    let base = StageConfig {
        micro_batch: 3,
        batch: 3,
        ..config(model, 0..1)
    };
    let (input, labels) = sample(&mut Numbers::new(5), &base, 5);
    let mut stage = Stage::new(base, executor.clone()).await.expect("a stage");
    let mut seen = Vec::new();
    let mut step = 0;
    for until in [STEPS[0], STEPS[0] + STEPS[1]] {
        while step < until {
            let loss = stage.begin_loss(0, &input, &labels).await.expect("F");
            stage.backward_input(0, None).await.expect("B");
            stage.backward_weights(0).await.expect("W");
            stage.finish_loss(loss).await.expect("a loss");
            stage.update(step).await.expect("an update");
            step += 1;
        }
        seen.push((stage.memory_bytes(), resident()));
    }
    let [(planned, before), (planned_after, after)] = [seen[0], seen[1]];
    assert_eq!(planned, planned_after, "{}", executor.adapter());
    let (Some(before), Some(after)) = (before, after) else {
        return eprintln!("SKIP: this system does not tell how large a process is");
    };
    let adapter = executor.adapter();
    eprintln!("{adapter}: {planned} bytes planned; {before} resident, then {after}");
    assert!(
        after <= before + GROWTH_MAX,
        "{adapter}: {before}, then {after}"
    );
}

#[test]
fn memory_does_not_grow_over_ten_thousand_steps() {
    futures::executor::block_on(async {
        train(&cpu().await).await;
        if let Some(gpu) = gpu().await {
            train(&gpu).await;
        }
    });
}
