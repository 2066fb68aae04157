//! A real Alertmanager and a real Prometheus, started by the test that needs them; Debian's packages are installed when they
//! are not there. The tests of the ruler's own crate use it as well.

#![allow(dead_code, reason = "each test that includes this file uses a part of it")]

use crate::ports::free_port;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SERVES_WITHIN: Duration = Duration::from_secs(60);
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// One server on a port of the loopback, which outlives restarts; its files are in a directory of its own.
pub struct Server {
    port: u16,
    program: &'static str,
    arguments: Vec<String>,
    dir: TempDir,
    process: Option<Child>,
}

impl Server {
    pub async fn alertmanager() -> Server {
        let mut server = Server::new("prometheus-alertmanager");
        let config = "route: {receiver: nobody, group_wait: 100ms}\nreceivers: [{name: nobody}]\n";
        std::fs::write(server.dir.path().join("alertmanager.yml"), config).unwrap();
        server.arguments.extend(
            [
                "--config.file=alertmanager.yml",
                "--storage.path=data",
                "--cluster.listen-address=",
                "--web.route-prefix=/",
                &format!("--web.external-url={}/", server.url()),
            ]
            .map(String::from),
        );
        server.start().await;
        server
    }

    pub async fn prometheus() -> Server {
        let mut server = Server::new("prometheus");
        std::fs::write(server.dir.path().join("prometheus.yml"), "global: {}\n").unwrap();
        let own = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.enable-remote-write-receiver"];
        server.arguments.extend(own.map(String::from));
        server.start().await;
        server
    }

    fn new(program: &'static str) -> Server {
        let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tools/package");
        let status = Command::new(tool).args([program, program]).status().expect("bash runs");
        assert!(status.success(), "{program} cannot be installed: {status}");
        let port = free_port();
        let arguments = vec![format!("--web.listen-address=127.0.0.1:{port}")];
        Server { port, program, arguments, dir: tempfile::tempdir().unwrap(), process: None }
    }

    /// Starts it on what it had, and waits until it serves.
    pub async fn start(&mut self) {
        let mut command = Command::new(self.program);
        command.args(&self.arguments).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program)));
        let started = Instant::now();
        while self.get("/-/ready").await.is_none() {
            assert!(started.elapsed() < SERVES_WITHIN, "{} does not serve", self.program);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The body of a 200.
    pub async fn get(&self, path: &str) -> Option<String> {
        // A second installation finds the first one in place; either way there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = reqwest::Client::new().get(format!("{}{path}", self.url())).send().await.ok()?;
        if answer.status().is_success() { answer.text().await.ok() } else { None }
    }

    /// The first answer that `wanted` takes.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let body = self.get(path).await.unwrap_or_default();
            let json: Value = serde_json::from_str(&body).unwrap_or_default();
            if wanted(&json) {
                return json;
            }
            assert!(started.elapsed() < ARRIVES_WITHIN, "{path} answers {body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
