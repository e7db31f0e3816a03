//! Running average power limit (RAPL) counters of CPUs, as Linux shows them under `/sys/class/powercap`.
//!
//! Each zone has `name`, `energy_uj` (a counter in microjoules) and `max_energy_range_uj` (where it begins anew: after about an
//! hour at 60 W, on some CPUs after a quarter of one). Zones lie in one another, which the colons of their folders tell:
//!
//! ```text
//! intel-rapl:0      package-0   a part: cores, caches, integrated graphics
//! intel-rapl:0:0    core        within the package
//! intel-rapl:0:1    uncore      within the package
//! intel-rapl:0:2    dram        a part: memory lies outside the package
//! intel-rapl:1      psys        contains packages; what else is the vendor's choice
//! intel-rapl-mmio:0 package-0   the same package again, through another door
//! ```
//!
//! AMD's CPUs have the same folders. Source: Linux, `Documentation/power/powercap/powercap.rst` and `drivers/powercap/intel_rapl_common.c`.

use crate::{Description, Found, Meter, MeterError, Reading, Role, Unreadable};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Where Linux shows them.
pub const POWERCAP: &str = "/sys/class/powercap";

/// The most zones that are looked at: eight sockets of four dies with five zones each are 160.
pub const ZONES_MAX: usize = 256;

/// The doors to the same counters, the best first: only one is counted.
const CONTROL_TYPES: [&str; 3] = ["intel-rapl", "intel-rapl-tpmi", "intel-rapl-mmio"];

/// A counter has at most 20 digits, a name 30 characters.
const CONTENT_BYTES_MAX: u64 = 64;

const ADVICE: &str = "since Linux 5.10 only root may (its counters betray what other programs compute, CVE-2020-8694). Where nobody else uses this machine: \
    sudo chmod a+r /sys/class/powercap/*/energy_uj (until the next start), or run this as root";

/// A zone of which the counter is read.
#[derive(Debug)]
struct Zone {
    description: Description,
    energy: PathBuf,
    wraps_at: u64,
}

impl Meter for Zone {
    fn description(&self) -> &Description {
        &self.description
    }

    fn read(&mut self) -> Result<Reading, MeterError> {
        Ok(Reading::Counter {
            microjoules: number(&self.energy)?,
            wraps_at: Some(self.wraps_at),
        })
    }
}

/// The zones under a folder like [`POWERCAP`].
pub fn zones(folder: &Path) -> Found {
    let mut found = Found::default();
    let names = match names(folder) {
        Ok(names) => names,
        Err(why) => {
            found.unreadable.push(Unreadable::new("powercap", &why));
            return found;
        }
    };
    let read: Vec<_> = names
        .into_iter()
        .map(|name| {
            let zone = content(&folder.join(&name).join("name"));
            (name, zone)
        })
        .collect();
    let counted = CONTROL_TYPES.into_iter().find(|control| {
        let package = |name: &str, zone: &Result<String, MeterError>| {
            control_type(name) == *control
                && zone.as_ref().is_ok_and(|zone| zone.starts_with("package"))
        };
        read.iter().any(|(name, zone)| package(name, zone))
    });
    for (name, zone) in &read {
        let opened = zone.clone().and_then(|zone| {
            let path = folder.join(name);
            Ok(Zone {
                description: described(name, &zone, counted),
                energy: path.join("energy_uj"),
                wraps_at: number(&path.join("max_energy_range_uj"))?,
            })
        });
        match opened {
            Ok(zone) => found.add(zone),
            Err(why) => {
                let refused = Unreadable::new(format!("powercap {name}"), &why);
                found.unreadable.push(refused);
            }
        }
    }
    found
}

/// The folders of zones, in order.
fn names(folder: &Path) -> Result<Vec<String>, MeterError> {
    let absent = |why: &str| {
        let folder = folder.display();
        MeterError::Absent(format!(
            "{folder} {why}: this is a virtual machine or a container that hides it, a CPU without such counters, or a kernel that has not \
             loaded their driver (sudo modprobe intel_rapl_msr)"
        ))
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(absent("is not there")),
        Err(error) => return Err(of_io(folder, &error)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains(':') && CONTROL_TYPES.contains(&control_type(name)))
        .take(ZONES_MAX)
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(absent("has no counters of CPUs"));
    }
    Ok(names)
}

fn control_type(name: &str) -> &str {
    name.split(':').next().unwrap_or_default()
}

fn described(name: &str, zone: &str, counted: Option<&str>) -> Description {
    let top = name.matches(':').count() == 1;
    let (role, counts) = if Some(control_type(name)) != counted {
        (Role::Aside, format!("{zone} again, through another driver"))
    } else if top && zone.starts_with("package") {
        let counts = format!("CPU {zone}: cores, caches and integrated graphics");
        (Role::Part, counts)
    } else if zone == "dram" {
        (
            Role::Part,
            "memory, which lies outside the package".to_owned(),
        )
    } else if zone == "psys" {
        let counts = "the platform, packages included; what else is in it is the vendor's choice";
        (Role::Aside, counts.to_owned())
    } else {
        (Role::Aside, format!("{zone}, within the package"))
    };
    Description {
        id: format!("powercap {name}"),
        counts,
        role,
    }
}

fn number(path: &Path) -> Result<u64, MeterError> {
    let text = content(path)?;
    text.parse()
        .map_err(|_| MeterError::malformed(path.display(), &text, "number of microjoules"))
}

/// The trimmed text of a file of the kernel's.
fn content(path: &Path) -> Result<String, MeterError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(CONTENT_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| of_io(path, &error))?;
    Ok(text.trim().to_owned())
}

fn of_io(path: &Path, error: &io::Error) -> MeterError {
    /// `ENODEV`: the file is open or listed, its device is gone. Rust has no kind for it.
    const NO_DEVICE: i32 = 19;
    let what = path.display().to_string();
    match error.kind() {
        ErrorKind::PermissionDenied => MeterError::Permission {
            what,
            advice: ADVICE.to_owned(),
        },
        ErrorKind::NotFound => MeterError::Gone(what),
        _ if error.raw_os_error() == Some(NO_DEVICE) => MeterError::Gone(what),
        _ => MeterError::failed(what, error),
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    struct Recorded(tempfile::TempDir);

    impl Recorded {
        fn new(zones: &[(&str, &str, &str)]) -> Self {
            let folder = Self(tempfile::tempdir().expect("a temporary folder"));
            fs::create_dir(folder.0.path().join("intel-rapl")).expect("made");
            for (name, zone, energy) in zones {
                fs::create_dir(folder.0.path().join(name)).expect("made");
                folder.write(name, "name", &format!("{zone}\n"));
                folder.write(name, "energy_uj", &format!("{energy}\n"));
                folder.write(name, "max_energy_range_uj", "262143328850\n");
            }
            folder
        }

        fn write(&self, zone: &str, file: &str, text: &str) {
            fs::write(self.0.path().join(zone).join(file), text).expect("written");
        }

        fn zones(&self) -> Found {
            zones(self.0.path())
        }
    }

    fn laptop() -> Recorded {
        Recorded::new(&[
            ("intel-rapl:0", "package-0", "1000"),
            ("intel-rapl:0:0", "core", "500"),
            ("intel-rapl:0:1", "uncore", "0"),
            ("intel-rapl:0:2", "dram", "200"),
            ("intel-rapl:1", "psys", "3000"),
            ("intel-rapl-mmio:0", "package-0", "1001"),
        ])
    }

    #[test]
    fn nothing_is_counted_twice() {
        let found = laptop().zones();
        let roles: Vec<_> = found
            .meters
            .iter()
            .map(|meter| (meter.description().id.clone(), meter.description().role))
            .collect();
        let expected = [
            ("powercap intel-rapl-mmio:0", Role::Aside),
            ("powercap intel-rapl:0", Role::Part),
            ("powercap intel-rapl:0:0", Role::Aside),
            ("powercap intel-rapl:0:1", Role::Aside),
            ("powercap intel-rapl:0:2", Role::Part),
            ("powercap intel-rapl:1", Role::Aside),
        ];
        assert_eq!(roles, expected.map(|(id, role)| (id.to_owned(), role)));
        assert_eq!(found.unreadable, []);
    }

    #[test]
    fn the_other_door_counts_where_it_is_the_only_one() {
        let found = Recorded::new(&[
            ("intel-rapl:1", "psys", "1"),
            ("intel-rapl-mmio:0", "package-0", "2"),
        ])
        .zones();
        let parts: Vec<_> = found
            .meters
            .iter()
            .filter(|meter| meter.description().role == Role::Part)
            .map(|meter| meter.description().id.as_str())
            .collect();
        assert_eq!(parts, ["powercap intel-rapl-mmio:0"]);
    }

    #[test]
    fn a_counter_is_read_with_its_range() {
        let folder = laptop();
        let mut found = folder.zones();
        let package = &mut found.meters[1];
        let shows = |microjoules| {
            Ok(Reading::Counter {
                microjoules,
                wraps_at: Some(262_143_328_850),
            })
        };
        assert_eq!(package.read(), shows(1000));
        folder.write("intel-rapl:0", "energy_uj", "1500\n");
        assert_eq!(package.read(), shows(1500));
        folder.write("intel-rapl:0", "energy_uj", "lots\n");
        let refused = package.read().expect_err("no number").to_string();
        assert!(refused.contains("\"lots\""), "{refused}");
        fs::remove_dir_all(folder.0.path().join("intel-rapl:0")).expect("it was there");
        assert!(matches!(package.read(), Err(MeterError::Gone(_))));
    }

    #[test]
    fn a_machine_without_counters_says_what_may_be_the_reason() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let found = zones(&path);
            assert!(found.meters.is_empty());
            assert!(found.unreadable[0].why.contains("virtual machine"));
        }
        let long = Recorded::new(&[("intel-rapl:0", "package-0", &"9".repeat(100_000))]);
        assert!(long.zones().meters.is_empty());
    }

    #[test]
    fn a_missing_permission_comes_with_advice() {
        let denied = of_io(Path::new("x"), &ErrorKind::PermissionDenied.into());
        assert!(denied.to_string().contains("sudo chmod a+r"), "{denied}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let folder = laptop();
            let path = folder.0.path().join("intel-rapl:0/energy_uj");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("ours");
            if File::open(&path).is_ok() {
                eprintln!("SKIPPED: this user may read everything, so nothing is denied");
                return;
            }
            let found = folder.zones();
            assert_eq!(found.unreadable.len(), 1);
            assert!(found.unreadable[0].why.contains("sudo chmod a+r"));
        }
    }
}
