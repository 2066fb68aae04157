//! The limits of every tenant at this moment: the defaults and the tenants that differ.
//! It must not know where they were read.

use super::Limits;
use arc_swap::ArcSwap;
use model::TenantId;
use std::collections::HashMap;
use std::sync::Arc;

/// The limits of every tenant; the set is replaced as a whole when the overrides file changes.
pub struct Overrides {
    current: ArcSwap<LimitSet>,
}

pub struct LimitSet {
    pub defaults: Arc<Limits>,
    pub tenants: HashMap<String, Arc<Limits>>,
}

impl Overrides {
    pub fn new(defaults: Limits) -> Self {
        Self::with_tenants(defaults, HashMap::new())
    }

    pub fn with_tenants(defaults: Limits, tenants: HashMap<String, Arc<Limits>>) -> Self {
        Overrides { current: ArcSwap::from_pointee(LimitSet { defaults: Arc::new(defaults), tenants }) }
    }

    pub fn tenant(&self, tenant: &TenantId) -> Arc<Limits> {
        let set = self.current.load();
        set.tenants.get(tenant.as_str()).unwrap_or(&set.defaults).clone()
    }

    pub fn defaults(&self) -> Arc<Limits> {
        self.current.load().defaults.clone()
    }

    pub fn replace(&self, set: LimitSet) {
        self.current.store(Arc::new(set));
    }
}
