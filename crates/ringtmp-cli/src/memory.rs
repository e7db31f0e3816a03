//! How much memory devices give, and how fast a medium is that they share.

use std::str::FromStr;

/// Of this machine's memory, what a peer gives unless told otherwise: the system, a browser and the process itself need theirs.
const PLEDGE_SHARE: u64 = 4;

/// Bytes that a peer's stage may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) u64);

impl Memory {
    /// What each of so many peers of this machine gives, where the system tells how much there is.
    pub(crate) fn of_this_machine(peers: u16) -> Option<u64> {
        Some(total_bytes()? / PLEDGE_SHARE / u64::from(peers.max(1)))
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn total_bytes() -> Option<u64> {
    let told = rustix::system::sysinfo();
    told.totalram.checked_mul(u64::from(told.mem_unit))
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn total_bytes() -> Option<u64> {
    None
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9)];
        let bytes = units.iter().find_map(|(unit, factor)| {
            let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            Some(number * factor)
        });
        match bytes.filter(|bytes| (1.0..1e18).contains(bytes)) {
            Some(bytes) => Ok(Self(bytes as u64)),
            None => Err(format!("{text:?} is no memory: say 500MB or 2GB")),
        }
    }
}

/// Bytes per second of a medium that devices share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Medium(pub(crate) f64);

impl FromStr for Medium {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = text
            .strip_suffix("mbit")
            .and_then(|rate| rate.trim().parse().ok())
            .filter(|rate| (0.01..=100_000.0).contains(rate));
        match rate {
            Some(rate) => Ok(Self(rate * 125_000.0)),
            None => Err(format!("{text:?} is no rate: say 54mbit")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_rates_have_units() {
        assert_eq!("500MB".parse(), Ok(Memory(500_000_000)));
        assert_eq!("1.5 GB".parse(), Ok(Memory(1_500_000_000)));
        assert_eq!("54mbit".parse(), Ok(Medium(6_750_000.0)));
        for wrong in ["", "500", "-1MB", "nanMB", "0MB", "infGB", "1e30GB"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
        for wrong in ["", "54", "0mbit", "-1mbit", "nanmbit"] {
            assert!(wrong.parse::<Medium>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn peers_of_one_machine_share_what_it_gives() {
        let one = Memory::of_this_machine(1);
        assert_eq!(Memory::of_this_machine(4), one.map(|bytes| bytes / 4));
    }
}
