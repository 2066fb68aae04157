//! How the attributes of OTLP log records become labels and structured metadata (`otlp_config`), per tenant.
//! It must not know the OTLP wire format.

use crate::{choice, settings};

/// The resource attributes that become labels unless `ignore_defaults` is set; dots become underscores.
pub const DEFAULT_RESOURCE_ATTRIBUTES: [&str; 18] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];

settings! {
    /// The rules of one tenant; a rule that comes first wins.
    pub struct OtlpConfig {
        pub resource_attributes: ResourceAttributes = ResourceAttributes::default(),
        pub scope_attributes: Vec<AttributesConfig> = vec![],
        pub log_attributes: Vec<AttributesConfig> = vec![],
        /// Store `severity_text` as a label, not as structured metadata.
        pub severity_text_as_label: bool = false,
    }

    pub struct ResourceAttributes {
        /// Leave [`DEFAULT_RESOURCE_ATTRIBUTES`] out.
        pub ignore_defaults: bool = false,
        pub attributes_config: Vec<AttributesConfig> = vec![],
    }

    /// What happens to the attributes that are named, or whose name the regex matches as a whole.
    pub struct AttributesConfig {
        pub action: OtlpAction = OtlpAction::StructuredMetadata,
        pub attributes: Vec<String> = vec![],
        pub regex: Option<String> = None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpAction {
    /// A label of the stream. Only resource attributes may have it.
    IndexLabel,
    StructuredMetadata,
    Drop,
}

choice!(OtlpAction { "index_label" => IndexLabel, "structured_metadata" => StructuredMetadata, "drop" => Drop });
