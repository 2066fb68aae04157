//! What ingest costs: the release binary takes a load over HTTP, every push synced before it is acknowledged, and stores
//! all of it on SIGTERM. `cargo bench -p lokirs --bench push`.
//!
//! Environment: `LOKIRS_PUSH_MB` (512), `LOKIRS_PUSH_STREAMS` (1000), `LOKIRS_PUSH_KB` a push (1000),
//! `LOKIRS_PUSH_CONNECTIONS` (4). CPU is what Linux counts for the server's process, from its start to its end.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::disallowed_methods, reason = "a client of a real process: real time")]

mod load;

use load::client::push_all;
use load::pushes::Load;
use load::server::Server;
use load::setting;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let load = Load {
        streams: setting("LOKIRS_PUSH_STREAMS", 1000) as usize,
        push_bytes: setting("LOKIRS_PUSH_KB", 1000) as usize * 1000,
        ..Load::usual(setting("LOKIRS_PUSH_MB", 512) * 1_000_000, now.as_nanos() as u64)
    };
    let connections = setting("LOKIRS_PUSH_CONNECTIONS", 4) as usize;
    let pushes = load.pushes();
    let mut server = Server::start();
    let pushed = push_all(server.http_port, &pushes, connections);
    let at_ack = server.usage();
    let at_end = server.stop();
    let gb = pushed.line_bytes as f64 / 1e9;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "load          {:.0} MB in {} lines, {} streams, {} pushes over {connections} connections",
        gb * 1e3,
        pushed.lines,
        load.streams,
        pushes.len()
    );
    println!("taken         {:.0} MB/s, {} retries", gb * 1e3 / pushed.wall.as_secs_f64(), pushed.retries);
    println!("acknowledged  p50 {:.1} ms, p99 {:.1} ms", ms(pushed.latency(0.5)), ms(pushed.latency(0.99)));
    println!(
        "server        {:.2} CPU s/GB, of it {:.2} before the stop",
        at_end.cpu_seconds / gb,
        at_ack.cpu_seconds / gb
    );
    println!("memory        peak {} MiB resident", mib(at_end.peak_bytes));
    println!("stored        {:.1} MB of chunks and index", server.stored_bytes() as f64 / 1e6);
}
