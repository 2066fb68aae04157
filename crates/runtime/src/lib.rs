//! What every process needs, whatever its roles: clock, settings, memory budget, limits per tenant,
//! metrics, tasks, listeners, TLS.
//! It must not know any role.

pub mod clock;
pub mod dns;
pub mod limits;
pub mod listen;
pub mod memory;
pub mod metrics;
pub mod reload;
pub mod settings;
pub mod tasks;
pub mod tls;
pub mod trace;
