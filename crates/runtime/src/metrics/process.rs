//! What the kernel says of this process, under the names that every Prometheus client library uses, and the build.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use std::fmt::Error;

/// Ticks per second in `/proc/*/stat`: `USER_HZ`, 100 on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the command in parentheses and may hold spaces: count from behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0) / TICKS_PER_SECOND;
        let (cpu_seconds, start_seconds) = (ticks(11) + ticks(12), ticks(19) + boot_seconds());
        let cpu = ConstCounter::new(cpu_seconds);
        let help = "Total user and system CPU time spent in seconds";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory size in bytes", status_bytes("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes", status_bytes("VmSize:")),
            ("process_open_fds", "Number of open file descriptors", open_fds()),
            ("process_max_fds", "Maximum number of open file descriptors", max_fds()),
            ("process_start_time_seconds", "Start time of the process since unix epoch in seconds", start_seconds),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// When the machine started, in seconds since the epoch.
fn boot_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
}

fn status_bytes(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

fn open_fds() -> f64 {
    std::fs::read_dir("/proc/self/fd").map_or(0.0, |entries| entries.count() as f64)
}

fn max_fds() -> f64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// `loki_build_info` for the dashboards that ask for it, `lokirs_build_info` for the truth.
#[derive(Debug)]
pub struct Build {
    info: Family<Vec<(&'static str, String)>, Gauge>,
}

impl Build {
    pub fn new(version: &str) -> Self {
        let info = Family::<Vec<(&'static str, String)>, Gauge>::default();
        let labels = [
            ("version", version),
            ("revision", ""),
            ("branch", ""),
            ("goversion", ""),
            ("goos", std::env::consts::OS),
            ("goarch", std::env::consts::ARCH),
            ("tags", ""),
        ];
        info.get_or_create(&labels.map(|(name, value)| (name, value.to_string())).to_vec()).set(1);
        Build { info }
    }
}

impl Collector for Build {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        for name in ["loki_build_info", "lokirs_build_info"] {
            let help = "The version of the running build; the value is always 1";
            self.info.encode(encoder.encode_descriptor(name, help, None, self.info.metric_type())?)?;
        }
        Ok(())
    }
}
