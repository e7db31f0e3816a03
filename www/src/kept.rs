//! What is said of a run that this device keeps.

use crate::format;
use crate::words;
use ringtmp_peer::{KeptRun, StoreError};

/// A run in a line; `now` is in seconds since 1970.
pub fn line(run: &KeptRun, now: u64) -> String {
    let [step, steps] = [run.step, run.steps].map(|number| format::count(u64::from(number)));
    words::kept_run(&run.name, &run.data, &step, &steps, &run.age(now))
}

/// Why a run could not be forgotten.
pub fn problem(error: &StoreError) -> String {
    words::kept_problem(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::RoomCode;

    #[test]
    fn a_run_is_told_with_how_far_it_is_and_how_long_ago() {
        let run = KeptRun {
            id: RoomCode::from_random([1; 10]),
            name: "mlp".to_owned(),
            data: "digits".to_owned(),
            step: 840,
            steps: 2000,
            when: 1_000_000,
        };
        let after = |seconds| line(&run, run.when + seconds);
        assert_eq!(
            after(100_000),
            "mlp on digits, step 840 of 2,000, yesterday"
        );
        assert!(after(5).ends_with("just now"));
        assert!(after(60).ends_with("1 minute ago"));
        assert!(after(3 * 3600 + 5).ends_with("3 hours ago"));
        assert!(after(3 * 86_400).ends_with("3 days ago"));
        // A clock that was set back.
        assert!(line(&run, 0).ends_with("just now"));
    }
}
