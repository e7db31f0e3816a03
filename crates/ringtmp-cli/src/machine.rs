//! What figures that were measured here stand on: this machine, in words.

/// Its cores, with their model where it tells.
pub(crate) fn cores() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| Some(model(&text)?.to_owned()));
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{cores} cores of {model}")
}

/// Out of what Linux tells of CPUs. Arm's have no name there.
fn model(told: &str) -> Option<&str> {
    let line = told.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// The version of its kernel.
#[cfg(unix)]
pub(crate) fn kernel() -> Option<String> {
    let told = rustix::system::uname();
    Some(told.release().to_string_lossy().into_owned())
}

/// The version of its kernel.
#[cfg(not(unix))]
pub(crate) fn kernel() -> Option<String> {
    None
}

/// How many threads wanted to compute, the mean of the last minute.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn load() -> Option<f64> {
    /// The kernel tells it as a fixed-point number of so many parts.
    const PARTS: f64 = 65_536.0;
    Some(rustix::system::sysinfo().loads[0] as f64 / PARTS)
}

/// How many threads wanted to compute, the mean of the last minute.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(crate) fn load() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_told_by_its_name() {
        let told = "processor\t: 0\nvendor_id\t: X\nmodel name\t: X Y @ 2 GHz\n\nprocessor\t: 1\n";
        assert_eq!(model(told), Some("X Y @ 2 GHz"));
        assert_eq!(model("processor\t: 0\nBogoMIPS\t: 108.00\n"), None);
        assert!(cores().contains(" cores of "), "{}", cores());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_load_is_what_linux_tells_as_text() {
        let text = std::fs::read_to_string("/proc/loadavg").expect("a load");
        let told: f64 = text
            .split(' ')
            .next()
            .and_then(|one| one.parse().ok())
            .expect("a number");
        let read = load().expect("a load");
        // Between the two it may be told anew.
        assert!((read - told).abs() < 0.5, "{read} {told}");
    }
}
