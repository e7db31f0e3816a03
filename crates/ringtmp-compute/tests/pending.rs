//! Losses for which nobody waits: they are those that one waits for, in any order, and what is not finite is still told.

mod common;

use common::{Numbers, config, cpu, gpu, sample, small_model, suite};
use ringtmp_compute::{ComputeError, Executor, Packed, Stage, StageConfig};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

fn whole() -> StageConfig {
    config(small_model(), 0..small_model().layers.len())
}

async fn stage(executor: &Executor) -> Stage {
    let stage = Stage::new(whole(), executor.clone()).await;
    stage.expect("a stage")
}

suite! {
    /// More of them than there are slots: a slot is free again before its loss is asked for.
    async fn losses_that_are_read_when_the_step_is_over_are_those_that_are_read_at_once() {
        let (executors, mut numbers) = ([Some(cpu().await), gpu().await], Numbers::new(3));
        let samples: Vec<_> = (0..12).map(|_| sample(&mut numbers, &whole(), 5)).collect();
        for executor in executors.into_iter().flatten() {
            let (mut first, mut second) = (stage(&executor).await, stage(&executor).await);
            let mut pending = Vec::new();
            let mut at_once = Vec::new();
            for (i, (input, labels)) in samples.iter().enumerate() {
                let slot = i % 3;
                at_once.push(first.forward_loss(slot, input, labels).await.expect("a loss"));
                pending.push(second.begin_loss(slot, input, labels).await.expect("F"));
                for stage in [&mut first, &mut second] {
                    stage.backward_input(slot, None).await.expect("B");
                    stage.backward_weights(slot).await.expect("W");
                }
            }
            let mut later = Vec::new();
            for loss in pending.into_iter().rev() {
                later.push(second.finish_loss(loss).await.expect("a loss"));
            }
            later.reverse();
            assert_eq!(at_once, later, "{}", executor.adapter());
            for stage in [&mut first, &mut second] {
                stage.update(0).await.expect("an update");
            }
            let [first, second] = [first.digests().await, second.digests().await];
            assert_eq!(first.expect("digests"), second.expect("digests"));
        }
    }

    async fn a_loss_that_is_not_finite_is_told_when_it_is_finished_and_names_the_layer() {
        for executor in [Some(cpu().await), gpu().await].into_iter().flatten() {
            let mut stage = stage(&executor).await;
            let (input, labels) = sample(&mut Numbers::new(4), &whole(), 5);
            let mut values = input.f32s().expect("numbers");
            values[1] = f32::NAN;
            let input = Packed::from_f32(&input.shape, &values).expect("a micro-batch");
            let before = stage.digests().await.expect("digests");
            let pending = stage.begin_loss(0, &input, &labels).await.expect("F");
            stage.backward_input(0, None).await.expect("B");
            let told = stage.finish_loss(pending).await;
            let last = whole().layers.end - 1;
            assert!(
                matches!(told, Err(ComputeError::NonFiniteLoss { layer, .. }) if layer == last),
                "{told:?}"
            );
            assert_eq!(before, stage.digests().await.expect("digests"), "weights stay");
        }
    }
}
