//! Real servers of memcached and Redis, started by the test that needs them; Debian's packages are installed when they are
//! not there. The tests of the cache's own crate use it as well.

#![allow(dead_code, reason = "each test that includes this file uses a part of it")]

use crate::ports::free_port;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// One server on a port of the loopback, which outlives restarts.
pub struct Server {
    pub port: u16,
    program: &'static str,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// `arguments` are further ones: `["-I", "8m"]`.
pub fn memcached(arguments: &[&str]) -> Server {
    install("memcached", "memcached");
    let port = free_port();
    let own = ["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0", "-u", "root"].map(String::from);
    Server::start("memcached", port, own.into_iter().chain(arguments.iter().map(|a| a.to_string())).collect())
}

/// Its files are in `dir`; `arguments` are further ones: `["--requirepass", "x"]`.
pub fn redis(dir: &Path, arguments: &[&str]) -> Server {
    install("redis-server", "redis-server");
    // A node of a cluster listens 10000 ports higher as well.
    let port = free_port();
    let dir = dir.join(port.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    let own = ["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir", &dir.display().to_string()]
        .map(String::from);
    Server::start("redis-server", port, own.into_iter().chain(arguments.iter().map(|a| a.to_string())).collect())
}

/// The same, which speaks TLS only. Clients need no certificate.
pub fn redis_tls(dir: &Path, cert_file: &Path, key_file: &Path) -> Server {
    let mut server = redis(dir, &["--tls-auth-clients", "no"]);
    let tls = ["--port", "0", "--tls-port", &server.port.to_string()].map(String::from);
    server.arguments.extend(tls);
    for (name, file) in
        [("--tls-cert-file", cert_file), ("--tls-key-file", key_file), ("--tls-ca-cert-file", cert_file)]
    {
        server.arguments.extend([name.to_string(), file.display().to_string()]);
    }
    server.restart();
    server
}

/// A cluster of three masters.
pub fn redis_cluster(dir: &Path) -> Vec<Server> {
    let nodes: Vec<Server> = (0..3).map(|_| redis(dir, &["--cluster-enabled", "yes"])).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(nodes.iter().map(Server::address)).arg("--cluster-yes");
    let output = create.stdin(Stdio::null()).output().expect("redis-cli runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    nodes
}

/// A sentinel that watches `master` under the name `cache`.
pub fn redis_sentinel(dir: &Path, master: &Server) -> Server {
    let port = free_port();
    let file = dir.join(format!("sentinel-{port}.conf"));
    let text = format!("bind 127.0.0.1\nport {port}\nsentinel monitor cache 127.0.0.1 {} 1\n", master.port);
    std::fs::write(&file, text).unwrap();
    Server::start("redis-server", port, vec![file.display().to_string(), "--sentinel".into()])
}

impl Server {
    fn start(program: &'static str, port: u16, arguments: Vec<String>) -> Server {
        let mut server = Server { port, program, arguments, child: None };
        server.restart();
        server
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, empty, on the same port, and waits until it serves.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program)));
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(started.elapsed() < SERVES_WITHIN, "{} does not serve", self.program);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It neither runs nor ends: connections stand, and nobody answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("the server runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn install(program: &str, package: &str) {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tools/package");
    let status = Command::new(tool).args([program, package]).status().expect("bash runs");
    assert!(status.success(), "{package} cannot be installed: {status}");
}
