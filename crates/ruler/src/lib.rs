//! The ruler: rules evaluated on schedule, alerts sent to Alertmanagers, recorded samples written to Prometheus's
//! remote write. It must not know how queries run.

mod active;
pub mod alert;
pub mod evaluate;
pub mod group;
pub mod http;
pub mod metrics;
pub mod notify;
pub mod outbound;
pub mod relabel;
pub mod remote_write;
pub mod rule;
pub mod ruler;
pub mod sample;
mod seldom;
pub mod service;
pub mod store;
pub mod template;
#[cfg(test)]
mod testing;
