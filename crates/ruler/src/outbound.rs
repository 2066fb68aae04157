//! What the evaluation of rules hands over to be sent. It must not know where to.

use crate::alert::Alert;
use crate::sample::Sample;
use model::TenantId;

/// Never waits: what does not fit is dropped, oldest first, and counted.
pub trait Alerts: Send + Sync {
    fn send(&self, tenant: &TenantId, alerts: Vec<Alert>);
}

/// Never waits: what does not fit is dropped, oldest first, and counted.
pub trait Samples: Send + Sync {
    fn append(&self, tenant: &TenantId, samples: Vec<Sample>);
}
