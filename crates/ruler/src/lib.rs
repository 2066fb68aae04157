//! The ruler: rules evaluated on schedule, alerts sent to Alertmanagers, recorded samples written to Prometheus's remote
//! write. It must not know how queries run.

pub mod alerts;
pub mod backoff;
pub mod group;
pub mod metrics;
pub mod notify;
pub mod remote_write;
pub mod rule;
pub mod ruler;
pub mod store;
pub mod template;
