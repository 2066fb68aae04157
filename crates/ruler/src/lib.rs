//! The ruler: rules evaluated on schedule, alerts sent to Alertmanagers, recorded samples written to Prometheus's
//! remote write. It must not know how queries run.

pub mod alert;
pub mod http;
pub mod notify;
pub mod outbound;
pub mod relabel;
pub mod remote_write;
pub mod rule;
pub mod sample;
mod seldom;
pub mod store;
pub mod template;
#[cfg(test)]
mod testing;
