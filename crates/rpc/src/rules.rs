//! The rules service: what tenants' rules are, and how they stand. It must not know how rules are kept or evaluated.

use async_trait::async_trait;
use model::{Labels, Result, TenantId};
use std::time::Duration;

/// Bytes of one group as YAML.
pub const GROUP_BYTES_MAX: usize = 1 << 20;

/// A tenant's rules. Groups come and go as YAML, in the form of Prometheus's rule files.
#[async_trait]
pub trait Rules: Send + Sync {
    /// All groups, or those of one namespace, as a mapping of namespaces to lists of groups. `NotFound` where there is
    /// none.
    async fn list(&self, tenant: &TenantId, namespace: Option<&str>) -> Result<String>;
    /// One group; `NotFound` where it is not.
    async fn group(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<String>;
    /// Writes a group, or replaces the one of its name; stored when it answers.
    async fn set(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()>;
    /// Removes a group; one that is not there counts as removed.
    async fn delete_group(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()>;
    /// Removes all groups of a namespace; `NotFound` where it has none.
    async fn delete_namespace(&self, tenant: &TenantId, namespace: &str) -> Result<()>;
    /// How all groups of the tenant stand, in the order of namespaces and names.
    async fn states(&self, tenant: &TenantId) -> Result<Vec<GroupState>>;
}

/// The groups that one ruler evaluates.
#[async_trait]
pub trait RuleStates: Send + Sync {
    async fn own_states(&self, tenant: &TenantId) -> Result<Vec<GroupState>>;
}

/// A group and what its last evaluation brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupState {
    pub namespace: String,
    pub name: String,
    pub interval: Duration,
    pub limit: u64,
    pub rules: Vec<RuleState>,
    /// When it was evaluated last; 0: not yet.
    pub evaluated_ns: i64,
    pub evaluation_time: Duration,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleState {
    /// Of the alert, or of the recorded metric.
    pub name: String,
    pub query: String,
    pub labels: Labels,
    /// Of recording rules: `None`.
    pub alerting: Option<Alerting>,
    pub health: Health,
    /// Why the last evaluation failed.
    pub last_error: String,
    pub evaluated_ns: i64,
    pub evaluation_time: Duration,
}

/// What alerting rules have besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerting {
    pub hold: Duration,
    pub keep_firing: Duration,
    pub annotations: Labels,
    pub alerts: Vec<AlertState>,
}

impl Alerting {
    /// `inactive`, `pending` or `firing`: that of the alert that is furthest.
    pub fn state(&self) -> &'static str {
        match (self.alerts.iter().any(|alert| alert.firing), self.alerts.is_empty()) {
            (true, _) => "firing",
            (false, false) => "pending",
            (false, true) => "inactive",
        }
    }
}

/// An alert that is pending or fires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertState {
    pub labels: Labels,
    pub annotations: Labels,
    pub firing: bool,
    pub active_since_ns: i64,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    #[default]
    Unknown,
    Ok,
    Err,
}

impl Health {
    /// Prometheus's name.
    pub fn name(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Ok => "ok",
            Health::Err => "err",
        }
    }
}
