//! The states of rules over gRPC, both sides.

use super::client::{answer, of_tenant};
use super::convert::{labels_of_wire, labels_to_wire};
use super::error::status_of;
use super::proto::rules_client::RulesClient as Generated;
use super::proto::rules_server as generated;
use super::server::tenant;
use super::{Channel, Connector, MESSAGE_BYTES_MAX, proto};
use crate::rules::{AlertState, Alerting, GroupState, Health, RuleState, RuleStates};
use async_trait::async_trait;
use model::{Result, TenantId};
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The rules that another process evaluates.
#[derive(Clone)]
pub struct RuleStatesClient {
    inner: Generated<Channel>,
}

impl RuleStatesClient {
    /// To `host:port`; connects when it is first used. `Invalid` when that is no address.
    pub fn connect(connector: &Connector, address: &str) -> Result<Self> {
        let inner = Generated::new(connector.channel(address)?).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(RuleStatesClient { inner })
    }
}

#[async_trait]
impl RuleStates for RuleStatesClient {
    async fn own_states(&self, tenant: &TenantId) -> Result<Vec<GroupState>> {
        let states = answer(self.inner.clone().states(of_tenant(tenant, proto::RuleStatesOf {})?)).await?;
        Ok(states.groups.into_iter().map(group_of_wire).collect())
    }
}

/// The routes of a ruler, for a listener that may serve others too.
pub fn rule_states_server(inner: Arc<dyn RuleStates>) -> Routes {
    Routes::new(generated::RulesServer::new(Server { inner }).max_encoding_message_size(MESSAGE_BYTES_MAX))
}

struct Server {
    inner: Arc<dyn RuleStates>,
}

#[tonic::async_trait]
impl generated::Rules for Server {
    async fn states(&self, request: Request<proto::RuleStatesOf>) -> Result<Response<proto::RuleStates>, Status> {
        let states = self.inner.own_states(&tenant(request.metadata())?).await.map_err(status_of)?;
        Ok(Response::new(proto::RuleStates { groups: states.into_iter().map(group_to_wire).collect() }))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn group_to_wire(group: GroupState) -> proto::RuleGroupState {
    let GroupState { namespace, name, interval, limit, rules, evaluated_ns, evaluation_time } = group;
    proto::RuleGroupState {
        namespace,
        name,
        interval_ns: nanos(interval),
        limit,
        rules: rules.into_iter().map(rule_to_wire).collect(),
        evaluated_ns,
        evaluation_time_ns: nanos(evaluation_time),
    }
}

fn group_of_wire(group: proto::RuleGroupState) -> GroupState {
    let proto::RuleGroupState { namespace, name, interval_ns, limit, rules, evaluated_ns, evaluation_time_ns } = group;
    GroupState {
        namespace,
        name,
        interval: Duration::from_nanos(interval_ns),
        limit,
        rules: rules.into_iter().map(rule_of_wire).collect(),
        evaluated_ns,
        evaluation_time: Duration::from_nanos(evaluation_time_ns),
    }
}

fn rule_to_wire(rule: RuleState) -> proto::RuleState {
    let RuleState { name, query, labels, alerting, health, last_error, evaluated_ns, evaluation_time } = rule;
    let health = match health {
        Health::Unknown => proto::RuleHealth::Unknown,
        Health::Ok => proto::RuleHealth::Ok,
        Health::Err => proto::RuleHealth::Err,
    };
    proto::RuleState {
        name,
        query,
        labels: labels_to_wire(&labels),
        alerting: alerting.map(|alerting| proto::RuleAlerting {
            hold_ns: nanos(alerting.hold),
            keep_firing_ns: nanos(alerting.keep_firing),
            annotations: labels_to_wire(&alerting.annotations),
            alerts: alerting.alerts.into_iter().map(alert_to_wire).collect(),
        }),
        health: health.into(),
        last_error,
        evaluated_ns,
        evaluation_time_ns: nanos(evaluation_time),
    }
}

fn rule_of_wire(rule: proto::RuleState) -> RuleState {
    let health = match rule.health() {
        proto::RuleHealth::Unknown => Health::Unknown,
        proto::RuleHealth::Ok => Health::Ok,
        proto::RuleHealth::Err => Health::Err,
    };
    let proto::RuleState { name, query, labels, alerting, last_error, evaluated_ns, evaluation_time_ns, .. } = rule;
    RuleState {
        name,
        query,
        labels: labels_of_wire(labels),
        alerting: alerting.map(|alerting| Alerting {
            hold: Duration::from_nanos(alerting.hold_ns),
            keep_firing: Duration::from_nanos(alerting.keep_firing_ns),
            annotations: labels_of_wire(alerting.annotations),
            alerts: alerting.alerts.into_iter().map(alert_of_wire).collect(),
        }),
        health,
        last_error,
        evaluated_ns,
        evaluation_time: Duration::from_nanos(evaluation_time_ns),
    }
}

fn alert_to_wire(alert: AlertState) -> proto::AlertState {
    let AlertState { labels, annotations, firing, active_since_ns, value } = alert;
    let (labels, annotations) = (labels_to_wire(&labels), labels_to_wire(&annotations));
    proto::AlertState { labels, annotations, firing, active_since_ns, value: Some(value) }
}

fn alert_of_wire(alert: proto::AlertState) -> AlertState {
    let proto::AlertState { labels, annotations, firing, active_since_ns, value } = alert;
    let (labels, annotations) = (labels_of_wire(labels), labels_of_wire(annotations));
    AlertState { labels, annotations, firing, active_since_ns, value: value.unwrap_or_default() }
}
