//! The suite: the real binary, started as a user starts it, pushed to, queried, killed and restarted.
//! Each module is one promise.

mod client;
mod conformance;
mod crash;
mod golden;
mod hostile;
mod ledger;
mod process;
mod roles;
mod stop;
mod tail;
mod wal;
