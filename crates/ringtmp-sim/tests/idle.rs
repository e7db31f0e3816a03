//! The idle table of docs/performance.md, held to its limits: 8 equal peers, F = B = W, 32 micro-batches, 50 steps.

use ringtmp_core::schedule::Mode;
use ringtmp_sim::Scenario;
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::report::Report;

/// The mean over ten seeds (which differ only where something jitters).
fn report(mode: Mode, hop_delay: f64, jitter: f64, memory_bytes: u64) -> Report {
    let seeds = if jitter > 0.0 { 1..=10 } else { 1..=1 };
    let one = |seed| {
        let mut scenario = Scenario::equal(8, mode, 32, 50, hop_delay);
        for device in &mut scenario.devices {
            device.memory_bytes = Some(memory_bytes);
        }
        (scenario.jitter, scenario.seed) = (jitter, seed);
        let outcome = simulate_checked(&scenario).expect("a sound run");
        Report::of(&scenario, &outcome)
    };
    let reports: Vec<Report> = seeds.map(one).collect();
    Report::mean_of(&reports).expect("at least one seed")
}

const PLENTY: u64 = 1 << 30;

#[test]
fn sync_keeps_the_bottleneck_busy_without_delay_and_with_a_hop_of_one_forward() {
    let still = report(Mode::Sync, 0.0, 0.0, PLENTY).idle_bottleneck;
    assert!(still <= 0.045, "{still}");
    let delayed = report(Mode::Sync, 1.0, 0.0, PLENTY).idle_bottleneck;
    assert!(delayed <= 0.06, "{delayed}");
}

#[test]
fn two_versions_lose_little_under_delay_and_jitter() {
    for hop_delay in [1.0, 3.0] {
        let lost = report(Mode::TwoVersions, hop_delay, 0.6, PLENTY).rate_lost;
        assert!(lost <= 0.04, "seeds 1 to 10, hop {hop_delay}: {lost}");
    }
}

#[test]
fn static_1f1b_loses_half_of_the_rate_at_a_hop_of_one_forward() {
    let lost = report(Mode::OneForwardOneBackward, 1.0, 0.0, PLENTY).rate_lost;
    assert!((lost - 0.481).abs() < 0.002, "{lost}");
}

#[test]
fn less_memory_is_kept_to_and_costs_rate() {
    let plenty = report(Mode::Sync, 1.0, 0.0, PLENTY);
    let short = report(Mode::Sync, 1.0, 0.0, 1_500_000);
    assert!(short.memory_bytes() <= 1_500_000);
    assert!(plenty.memory_bytes() > short.memory_bytes());
    assert!(plenty.rate_lost < short.rate_lost);
}
