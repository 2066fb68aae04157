//! The suite: the real binary, started as a user starts it, pushed to, queried, killed and restarted.
//! Each module is one promise.

#![allow(clippy::disallowed_methods, reason = "the suite is a client: real time, and tasks that a test joins")]

mod access;
mod alert_servers;
mod backend;
mod bucket;
mod cache;
mod cache_servers;
#[path = "../certificates.rs"]
mod certificates;
mod client;
mod cluster;
mod conformance;
mod contract;
mod crash;
mod explain;
mod fairness;
mod faults;
mod frontend;
mod fsck;
mod golden;
mod gossip;
mod hostile;
mod hostile_queries;
mod isolation;
mod ledger;
mod metrics;
mod network;
mod outage;
mod outlines;
mod partitions;
#[path = "../ports.rs"]
mod ports;
mod process;
mod query_log;
mod replicas;
mod results_cache;
mod roles;
mod ruler;
mod s3;
mod secrets;
mod stop;
mod store;
mod tail;
mod traces;
mod wal;
