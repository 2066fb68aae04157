//! What replicas cost: a distributor and three ingesters, each a process of its own, take the load of the bench `push`
//! with a replication factor of 3, every push synced by two of them before it is acknowledged, and store all of it on
//! SIGTERM. `cargo bench -p lokirs --bench cluster`.
//!
//! Environment: as of the bench `push`, and `LOKIRS_PUSH_REPLICAS` (3). CPU is what Linux counts for the servers'
//! processes, from their start to their end. Bytes on the wire are those of the loopback, so nothing else must use it.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::disallowed_methods, reason = "a client of a real process: real time")]

mod load;

use load::client::push_all;
use load::ports::free_port;
use load::pushes::Load;
use load::server::{CONFIG, Server, Usage, directory, files_bytes};
use load::setting;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INGESTERS: usize = 3;

fn main() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let load = Load {
        streams: setting("LOKIRS_PUSH_STREAMS", 1000) as usize,
        push_bytes: setting("LOKIRS_PUSH_KB", 1000) as usize * 1000,
        ..Load::usual(setting("LOKIRS_PUSH_MB", 512) * 1_000_000, now.as_nanos() as u64)
    };
    let (connections, replicas) = (setting("LOKIRS_PUSH_CONNECTIONS", 4) as usize, setting("LOKIRS_PUSH_REPLICAS", 3));
    let pushes = load.pushes();
    let sent: u64 = pushes.iter().map(|push| push.body.len() as u64).sum();
    let bucket = directory();
    let ports: Vec<u16> = (0..=INGESTERS).map(|_| free_port()).collect();
    let config = |node: usize| config(node, &ports, replicas, &bucket.path().display().to_string());
    let mut servers: Vec<Server> = (0..=INGESTERS).map(|node| Server::spawn(ports[node], &config(node))).collect();
    servers.iter_mut().for_each(Server::wait_ready);
    let wire_before = loopback_bytes();
    let pushed = push_all(servers[0].http_port, &pushes, connections);
    let wire = loopback_bytes() - wire_before;
    let usage: Vec<Usage> = servers.iter_mut().map(Server::stop).collect();

    let gb = pushed.line_bytes as f64 / 1e9;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let cpu = |usage: &[Usage]| usage.iter().map(|usage| usage.cpu_seconds).sum::<f64>() / gb;
    let peak = usage[1..].iter().map(|usage| usage.peak_bytes >> 20).max().unwrap_or_default();
    println!(
        "load          {:.0} MB in {} lines, {} streams, {} pushes over {connections} connections, {replicas} replicas",
        gb * 1e3,
        pushed.lines,
        load.streams,
        pushes.len()
    );
    println!("taken         {:.0} MB/s, {} retries", gb * 1e3 / pushed.wall.as_secs_f64(), pushed.retries);
    println!("acknowledged  p50 {:.1} ms, p99 {:.1} ms", ms(pushed.latency(0.5)), ms(pushed.latency(0.99)));
    println!(
        "servers       {:.2} CPU s/GB, of it {:.2} the distributor and {:.2} the ingesters",
        cpu(&usage),
        cpu(&usage[..1]),
        cpu(&usage[1..])
    );
    println!("memory        peak {} MiB the distributor, {peak} MiB an ingester", usage[0].peak_bytes >> 20);
    println!(
        "wire          {:.2} bytes a byte of lines: {:.2} from the client, {:.2} between the processes",
        wire as f64 / pushed.line_bytes as f64,
        sent as f64 / pushed.line_bytes as f64,
        (wire.saturating_sub(sent)) as f64 / pushed.line_bytes as f64
    );
    println!("stored        {:.1} MB of chunks and index", files_bytes(bucket.path()) as f64 / 1e6);
}

/// Node 0 is the distributor.
fn config(node: usize, ports: &[u16], replicas: u64, bucket: &str) -> String {
    let target = |node: usize| if node == 0 { "distributor" } else { "ingester" };
    let member = |(i, port): (usize, &u16)| {
        format!("      - {{id: node-{i}, address: '127.0.0.1:{port}', roles: [{}]}}\n", target(i))
    };
    let members: String = ports.iter().enumerate().map(member).collect();
    format!(
        "{CONFIG}target: {}\ncommon:\n  path_prefix: data\n  replication_factor: {replicas}\n  storage:\n    filesystem: \
         {{chunks_directory: '{bucket}'}}\n  ring:\n    static_members:\n{members}ingester:\n  lifecycler: {{id: node-{node}}}\n",
        target(node)
    )
}

/// What the loopback has carried: each byte once.
fn loopback_bytes() -> u64 {
    let table = std::fs::read_to_string("/proc/net/dev").expect("a table of network devices");
    let row = table.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let received = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
    received.expect("a loopback")
}
