//! Ports for the processes that tests start: below those that Linux gives to connections, so that none of these takes one
//! before its process does, and each given once by a process of tests.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;
/// Processes that run beside each other begin apart.
const APART: u32 = 331;

static GIVEN: AtomicU32 = AtomicU32::new(0);

/// Free for TCP and UDP on the loopback.
pub fn free_port() -> u16 {
    let begin = std::process::id().wrapping_mul(APART);
    for _ in 0..COUNT {
        let port = (FIRST + begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT) as u16;
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port is free from {FIRST} on");
}
