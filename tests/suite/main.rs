//! The suite: the real binary, started as a user starts it, pushed to, queried, killed and restarted.
//! Each module is one promise.

#![allow(clippy::disallowed_methods, reason = "the suite is a client: real time, and tasks that a test joins")]

mod client;
mod cluster;
mod conformance;
mod crash;
mod golden;
mod gossip;
mod hostile;
mod ledger;
mod process;
mod roles;
mod stop;
mod tail;
mod wal;
