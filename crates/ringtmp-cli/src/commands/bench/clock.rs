//! How long processors have worked for this process.

/// Seconds of all its threads; none where the system does not tell.
#[cfg(unix)]
pub(super) fn cpu_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// Seconds of all its threads; none where the system does not tell.
#[cfg(not(unix))]
pub(super) fn cpu_seconds() -> Option<f64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn work_of_any_thread_is_counted() {
        let clock = || super::cpu_seconds().expect("this system tells");
        let start = clock();
        let work = move || {
            while clock() - start < 0.02 {
                std::hint::black_box((0..1000).sum::<u64>());
            }
        };
        std::thread::spawn(work).join().expect("it only counts");
        assert!(clock() - start >= 0.02);
    }
}
