//! How much memory the process holds, and whether that is too much.
//!
//! The control plane looks four times a second; workers read one flag. Beyond the mark requests get 503, so that a
//! flood costs answers and not the process; the mark lies below what the machine or the control group allows.

use std::fs;
use std::path::Path;

use crate::config::Config;
use crate::net::pressure::Pressure;

/// Asks the system for no huge pages in this process. Connections come and go one by one: a page of 2 MiB that was touched
/// once stays whole for the few that are left in it, and an idle connection seemed to hold half as much again
/// (tests/bench, idle). The processor's time for a request is the same.
pub fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}

/// Watches the memory of this process.
#[derive(Debug)]
pub struct Watch {
    pressure: Pressure,
    /// What the machine or the control group has, in bytes.
    available: Option<u64>,
}

impl Watch {
    /// A watch that raises `pressure`.
    #[must_use]
    pub fn new(pressure: Pressure) -> Self {
        Self {
            pressure,
            available: available(),
        }
    }

    /// Looks once.
    pub fn look(&self, config: &Config) {
        let set = config.limits.memory.map(|size| size.0);
        let Some(most) = set.or_else(|| self.available.map(|bytes| bytes / 5 * 4)) else {
            return;
        };
        let Some(held) = held() else {
            return;
        };
        let was = self.pressure.is_high();
        // Calm only when well below, so that the verdict does not flutter.
        let high = held > most || (was && held > most - most / 20);
        if high != was {
            self.pressure.set(high);
            let (held, most) = (held >> 20, most >> 20);
            if high {
                tracing::error!(
                    held_mib = held,
                    most_mib = most,
                    "memory runs short; requests get 503\n  hint: lower `limits.connections`, or give the process more"
                );
            } else {
                tracing::warn!(
                    held_mib = held,
                    "memory is enough again; requests are served"
                );
            }
        }
    }
}

/// Memory of this process that is neither file nor shared, in bytes.
fn held() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// A line of `/proc` that is a number of KiB.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// The least of what the machine has and what the control groups above this process allow, in bytes.
fn available() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok();
    let total = meminfo.as_deref().and_then(|text| field(text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    total
        .into_iter()
        .chain(allowed(&groups, Path::new("/sys/fs/cgroup")))
        .min()
}

/// What each control group of `/proc/self/cgroup` allows, and each one above it.
fn allowed(groups: &str, root: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (base, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = base.join(path.trim_start_matches('/'));
        let above = group
            .ancestors()
            .take_while(|group| group.starts_with(&base));
        // `max`, and absurd numbers of version 1, are no limits: the machine's memory is less.
        found.extend(above.filter_map(|group| {
            fs::read_to_string(group.join(file))
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "files of the test's own")]
    fn every_control_group_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("system.slice/portico.service");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir_all(root.path().join("memory/box")).unwrap();
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(root.path().join("system.slice/memory.max"), "1073741824\n").unwrap();
        fs::write(
            root.path().join("memory/box/memory.limit_in_bytes"),
            "4096\n",
        )
        .unwrap();
        let found = allowed("0::/system.slice/portico.service\n", root.path());
        assert_eq!(found, [1 << 30]);
        let found = allowed("7:cpu,memory:/box\n6:pids:/box\nnonsense\n", root.path());
        assert_eq!(found, [4096]);
    }

    #[test]
    fn this_process_holds_something_and_less_than_there_is() {
        let held = held().unwrap();
        assert!(held > 0 && held < available().unwrap());
    }

    #[test]
    fn pressure_rises_at_the_mark_and_falls_below_it() {
        let pressure = Pressure::default();
        let watch = Watch::new(pressure.clone());
        let mut config = Config::for_domains(Vec::new());
        config.limits.memory = Some(crate::units::ByteSize(1));
        watch.look(&config);
        assert!(pressure.is_high());
        config.limits.memory = Some(crate::units::ByteSize(1 << 40));
        watch.look(&config);
        assert!(!pressure.is_high());
    }
}
