//! Starts and stops real lokirs processes on free ports of the loopback, each with a data directory of its own.

use crate::client::Client;
use crate::network::Host;
use crate::ports::free_port;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A process that is not ready after this long has failed.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A graceful stop takes at most this long.
pub const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How to start a process; starting it twice restarts it on the same ports and data.
pub struct Node {
    pub dir: PathBuf,
    host: Host,
    pub http_port: u16,
    pub grpc_port: u16,
    args: Vec<String>,
    env: Vec<(String, String)>,
    child: Option<Child>,
}

impl Node {
    /// A node with its data under `dir` and no configuration file.
    pub fn new(dir: &Path) -> Node {
        Node {
            dir: dir.to_path_buf(),
            host: Host::loopback(),
            http_port: free_port(),
            grpc_port: free_port(),
            args: vec![],
            env: vec![],
            child: None,
        }
    }

    /// Where the process is to run, instead of on the loopback.
    pub fn on(mut self, host: &Host) -> Node {
        self.host = host.clone();
        self
    }

    /// Adds command line arguments.
    pub fn arg(mut self, arg: impl Into<String>) -> Node {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Node {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Writes `yaml` as the configuration file, `${DIR}`, `${HTTP_PORT}` and `${GRPC_PORT}` expanded from the environment.
    pub fn config(self, yaml: &str) -> Node {
        std::fs::create_dir_all(&self.dir).unwrap();
        let file = self.dir.join("lokirs.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.arg(format!("-config.file={}", file.display())).arg("-config.expand-env=true")
    }

    /// A variable of the environment that the next start has; the file refers to it.
    pub fn set_variable(&mut self, name: &str, value: String) {
        self.env.retain(|(own, _)| own != name);
        self.env.push((name.into(), value));
    }

    pub fn variable(&self, name: &str) -> String {
        self.env.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Changes the configuration file for the next start.
    pub fn rewrite_config(&self, change: impl Fn(&str) -> String) {
        let file = self.dir.join("lokirs.yaml");
        let yaml = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, change(&yaml)).unwrap();
    }

    pub fn client(&self) -> Client {
        Client::new(&format!("http://{}:{}", self.host.address, self.http_port))
    }

    /// Starts the process without waiting for it.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        std::fs::create_dir_all(&self.dir).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("lokirs.log")).unwrap();
        let mut command = self.host.command(env!("CARGO_BIN_EXE_lokirs"));
        command
            .arg(format!("-server.http-listen-port={}", self.http_port))
            .arg(format!("-server.grpc-listen-port={}", self.grpc_port))
            .arg(format!("-server.http-listen-address={}", self.host.address))
            .arg(format!("-server.grpc-listen-address={}", self.host.address))
            .args(&self.args)
            .current_dir(&self.dir)
            .env("DIR", &self.dir)
            .env("ADDRESS", &self.host.address)
            .env("HTTP_PORT", self.http_port.to_string())
            .env("GRPC_PORT", self.grpc_port.to_string())
            .envs(self.env.iter().map(|(n, v)| (n.as_str(), v.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    /// Starts the process and waits until it is ready; answers how long that took.
    pub async fn start(&mut self) -> Duration {
        let started = Instant::now();
        self.spawn();
        self.wait_ready().await;
        started.elapsed()
    }

    pub async fn wait_ready(&mut self) {
        let started = Instant::now();
        let client = self.client();
        loop {
            if client.status("/ready").await == Some(200) {
                return;
            }
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().unwrap()) {
                panic!("the process ended with {status} before it was ready:\n{}", self.log());
            }
            assert!(started.elapsed() < READY_WITHIN, "not ready in {READY_WITHIN:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a process that must end by itself; answers how it ended and what it logged last.
    pub async fn run_to_its_end(&mut self) -> (ExitStatus, String) {
        self.spawn();
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().unwrap()) {
                self.child = None;
                return (status, self.log());
            }
            assert!(started.elapsed() < READY_WITHIN, "the process does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; answers how long the process took to end, which it must do by itself with status 0.
    pub fn stop(&mut self) -> Duration {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.wait_end()
    }

    /// Waits until the process has ended, as it was told to; answers how long that took. Its status must be 0.
    pub fn wait_end(&mut self) -> Duration {
        let mut child = self.child.take().expect("the node runs");
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "the process ended with {status}:\n{}", self.log());
                return started.elapsed();
            }
            assert!(started.elapsed() < STOP_WITHIN + Duration::from_secs(5), "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops running, without ending: to the others it is as if the machine or its network hung.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap().success());
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that was resident since [`Node::forget_peak`], in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Lets the peak begin anew with what is resident now.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let kb = status.lines().find_map(|l| l.strip_prefix(field)).unwrap().trim().trim_end_matches(" kB");
        kb.trim().parse::<u64>().unwrap() * 1024
    }

    /// The end of what the process has logged.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("lokirs.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Data that the repository keeps for tests.
pub fn test_data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(path)
}

/// Time bounds are for the release build; the test build may take this many times as long.
pub fn debug_factor() -> u32 {
    if cfg!(debug_assertions) { 4 } else { 1 }
}
