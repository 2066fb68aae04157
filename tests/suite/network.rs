//! Hosts of their own for processes under test: a network namespace for each, on one bridge, so that any of them can be
//! kept from reaching any other, in one direction or both. The bridge has a namespace too: what it forwards is no business
//! of this machine's firewall, which may forbid it (Docker's does). Needs root and Linux.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where a process runs.
#[derive(Clone)]
pub struct Host {
    pub address: String,
    /// Its network namespace; `None`: this one.
    pub namespace: Option<String>,
}

impl Host {
    pub fn loopback() -> Host {
        Host { address: "127.0.0.1".into(), namespace: None }
    }

    /// `program`, to be run here.
    pub fn command(&self, program: &str) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        // It becomes the program, so its process is the program's.
        command.args(["netns", "exec", namespace, program]);
        command
    }
}

/// A bridge and its hosts; it goes with them.
pub struct Network {
    /// The bridge's namespace, and the device here that leads to it.
    name: String,
    /// The first three numbers of every address.
    prefix: String,
    hosts: usize,
}

impl Network {
    /// `None`, and why on the standard error, where the machine lets nobody make one.
    pub fn new(hosts: usize) -> Option<Network> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let package = crate::process::test_data("tools/package");
        Command::new(package).args(["ip", "iproute2"]).status().expect("the script runs");
        let number = std::process::id().wrapping_mul(16).wrapping_add(MADE.fetch_add(1, Ordering::Relaxed));
        let network = Network {
            name: format!("lk{:x}", number & 0xff_ffff),
            prefix: format!("10.{}.{}", 128 + (number >> 8) % 64, number % 256),
            hosts,
        };
        match network.make() {
            Ok(()) => Some(network),
            Err(why) => {
                eprintln!("no partitions of a network are tested: {why}");
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        let Network { name, prefix, hosts } = self;
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link add bridge type bridge"))?;
        ip(&format!("-n {name} link set bridge up"))?;
        ip(&format!("link add {name} type veth peer name tests netns {name}"))?;
        ip(&format!("-n {name} link set tests master bridge up"))?;
        ip(&format!("addr add {prefix}.254/24 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        for host in 0..*hosts {
            let namespace = self.namespace(host);
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {name} link add h{host} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("-n {name} link set h{host} master bridge up"))?;
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", self.address(host)))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(())
    }

    fn namespace(&self, host: usize) -> String {
        format!("{}h{host}", self.name)
    }

    fn address(&self, host: usize) -> String {
        format!("{}.{}", self.prefix, host + 1)
    }

    pub fn hosts(&self) -> Vec<Host> {
        let host = |i| Host { address: self.address(i), namespace: Some(self.namespace(i)) };
        (0..self.hosts).map(host).collect()
    }

    /// What `from` sends to `to` is lost from now on.
    pub fn cut(&self, from: usize, to: usize) {
        self.route("add", from, to);
    }

    /// What `from` sends to `to` arrives again.
    pub fn heal(&self, from: usize, to: usize) {
        self.route("del", from, to);
    }

    fn route(&self, change: &str, from: usize, to: usize) {
        let namespace = self.namespace(from);
        ip(&format!("-n {namespace} route {change} blackhole {}/32", self.address(to))).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let namespaces = (0..self.hosts).map(|host| format!("netns del {}", self.namespace(host)));
        for command in namespaces.chain([format!("link del {}", self.name), format!("netns del {}", self.name)]) {
            let _ = ip(&command);
        }
    }
}

fn ip(command: &str) -> Result<(), String> {
    let ran = Command::new("ip").args(command.split(' ')).output().map_err(|e| format!("ip: {e}"))?;
    let why = String::from_utf8_lossy(&ran.stderr);
    ran.status.success().then_some(()).ok_or_else(|| format!("ip {command}: {}", why.trim()))
}
