//! One memory budget per process, from which pushes and queries reserve before they allocate.

use model::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The part of the machine's or the cgroup's memory that a process plans with.
const SHARE_OF_LIMIT: f64 = 0.7;

#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl Budget {
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Budget { limit_bytes, used_bytes: AtomicU64::new(0) })
    }

    /// 70 % of the cgroup's limit, or of the machine's memory where there is none.
    pub fn of_machine() -> Arc<Self> {
        let total = machine_bytes().unwrap_or(4 << 30);
        let limit = cgroup_bytes().map_or(total, |c| c.min(total));
        Self::new((limit as f64 * SHARE_OF_LIMIT) as u64)
    }

    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` for `what` until the reservation is dropped.
    pub fn reserve(self: &Arc<Self>, bytes: u64, what: &str) -> Result<Reservation> {
        let taken = self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes)
        });
        match taken {
            Ok(_) => Ok(Reservation { budget: self.clone(), bytes }),
            Err(used) => Err(Error::unavailable(format!(
                "{what} needs {bytes} bytes of memory; {used} of the process's {} are in use (setting: memory_limit)",
                self.limit_bytes
            ))),
        }
    }
}

/// Reserved memory, given back on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    /// Reserves `more` bytes on top.
    pub fn grow(&mut self, more: u64, what: &str) -> Result<()> {
        self.merge(self.budget.reserve(more, what)?);
        Ok(())
    }
    /// Takes `bytes` (at most what is there) out of this reservation into one of their own.
    pub fn split(&mut self, bytes: u64) -> Reservation {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Reservation { budget: self.budget.clone(), bytes }
    }
    /// Adds another reservation of the same budget to this one.
    pub fn merge(&mut self, mut other: Reservation) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn cgroup_bytes() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    read("/sys/fs/cgroup/memory.max").or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
}

fn machine_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kb = info.lines().find_map(|l| l.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?.trim();
    Some(kb.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_and_given_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(60, "a push").unwrap();
        assert!(budget.reserve(41, "a query").is_err());
        first.grow(40, "a push").unwrap();
        assert_eq!(budget.used_bytes(), 100);
        assert!(first.grow(1, "a push").unwrap_err().message.contains("memory_limit"));
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
    }
}
