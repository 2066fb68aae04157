//! What every process needs, whatever its roles: clock, memory budget, limits per tenant, metrics.
//! It must not know any role.

pub mod clock;
pub mod limits;
pub mod memory;
pub mod settings;
