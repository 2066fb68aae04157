//! Processes of the release binary, each on a directory and ports of its own, and what they cost as Linux counts it. It
//! must not know what they are asked.

use super::ports::free_port;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// A stop stores everything: longer than that is a fault.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
/// Linux's `USER_HZ`: the unit of times in `/proc/<pid>/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// No limit of a tenant stands in the way of one client at full speed.
pub const CONFIG: &str = "\
auth_enabled: false
limits_config:
  ingestion_rate_mb: 100000
  ingestion_burst_size_mb: 100000
  per_stream_rate_limit: 100GB
  per_stream_rate_limit_burst: 100GB
  max_global_streams_per_user: 0
  reject_old_samples: false
";

pub struct Server {
    pub http_port: u16,
    grpc_port: u16,
    dir: TempDir,
    child: Child,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu_seconds: f64,
    /// The most memory that was resident at a moment.
    pub peak_bytes: u64,
    /// Resident memory that no file stands behind.
    pub anonymous_bytes: u64,
}

impl Server {
    /// Starts one process that plays every role with an empty directory, and returns when it is ready.
    pub fn start() -> Server {
        let mut server = Server::spawn(free_port(), CONFIG);
        server.wait_ready();
        server
    }

    /// Starts a process with an empty directory and this configuration file. Its calls come in at `grpc_port`.
    pub fn spawn(grpc_port: u16, config: &str) -> Server {
        let dir = directory();
        std::fs::write(dir.path().join("lokirs.yaml"), config).expect("a configuration file");
        let http_port = free_port();
        let child = spawn(dir.path(), http_port, grpc_port, &[]);
        Server { http_port, grpc_port, dir, child }
    }

    /// Starts the process again on the data of one that was stopped, with these flags more.
    pub fn restart(&mut self, flags: &[&str]) {
        self.child = spawn(self.dir.path(), self.http_port, self.grpc_port, flags);
        self.wait_ready();
    }

    pub fn wait_ready(&mut self) {
        let started = Instant::now();
        while !is_ready(self.http_port) {
            let ended = self.child.try_wait().expect("a child").is_some();
            assert!(!ended && started.elapsed() < READY_WITHIN, "the server does not start:\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    pub fn usage(&self) -> Usage {
        let (cpu_seconds, _) = stat(self.child.id());
        let (peak_bytes, anonymous_bytes) = memory(self.child.id());
        Usage { cpu_seconds, peak_bytes, anonymous_bytes }
    }

    /// SIGTERM, which stores everything; answers the usage up to the end. The directory stays.
    pub fn stop(&mut self) -> Usage {
        let pid = self.child.id();
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the server has ended before:\n{}", self.log());
        let (started, mut usage) = (Instant::now(), self.usage());
        // A process that has ended and is not waited for still tells its time, but no memory any more.
        loop {
            let (cpu_seconds, ended) = stat(pid);
            usage.cpu_seconds = cpu_seconds;
            usage.peak_bytes = usage.peak_bytes.max(memory(pid).0);
            if ended {
                break;
            }
            assert!(started.elapsed() < STOPPED_WITHIN, "the server does not stop:\n{}", self.log());
            std::thread::sleep(POLL);
        }
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "the server ended with {status}:\n{}", self.log());
        usage
    }

    /// Bytes of chunks and index files.
    pub fn stored_bytes(&self) -> u64 {
        files_bytes(&self.dir.path().join("data/chunks"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("lokirs.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty directory on the disk of the build.
pub fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn spawn(dir: &Path, http_port: u16, grpc_port: u16, flags: &[&str]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("lokirs.log")).expect("a log file");
    let child = Command::new(env!("CARGO_BIN_EXE_lokirs"))
        .arg("-config.file=lokirs.yaml")
        .arg(format!("-server.http-listen-port={http_port}"))
        .arg(format!("-server.grpc-listen-port={grpc_port}"))
        .args(["-server.http-listen-address=127.0.0.1", "-server.grpc-listen-address=127.0.0.1"])
        .args(flags)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    child.expect("the binary starts")
}

fn is_ready(port: u16) -> bool {
    let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    let asked = connection.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    asked.is_ok() && connection.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

/// CPU seconds, and whether the process has ended.
fn stat(pid: u32) -> (f64, bool) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything: state, then user and system time as fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    ((ticks(11) + ticks(12)) / TICKS_PER_SECOND, fields.first() == Some(&"Z"))
}

/// Peak and anonymous resident memory.
fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    };
    (bytes("VmHWM:"), bytes("RssAnon:"))
}

pub fn files_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => files_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
