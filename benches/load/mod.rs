//! The load that benches put on a real process: log lines of many streams in pushes as agents send them, the process
//! itself, and a client that counts. Same settings, same bytes, whatever the machine. It must not know what is measured.
//!
//! The lines come from `samples/`: the 2,000-line samples of loghub (github.com/logpai/loghub; Zhu et al., ISSRE 2023),
//! compressed as they are, under the terms in `samples/LICENSE`.

#![allow(dead_code, reason = "every bench that has this module uses a part of it")]

pub mod client;
pub mod lines;
#[path = "../../tests/ports.rs"]
pub mod ports;
pub mod pushes;
pub mod server;

/// A setting of the environment, or its default.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name}={text:?}: {e}")),
        Err(_) => default,
    }
}
