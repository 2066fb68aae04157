//! What becomes of an attribute: a label, structured metadata, or nothing; from `otlp_config`. It must not know records.

use model::Result;
use model::pattern::anchored;
use regex::Regex;
use runtime::limits::{AttributesConfig, DEFAULT_RESOURCE_ATTRIBUTES, Limits, OtlpAction};

/// Shared attributes of a record when a tenant has no limit of its own.
const SHARED_MAX_WITHOUT_LIMIT: usize = 4096;

/// The rules of one tenant, for one request.
pub struct Rules {
    resource: Vec<Rule>,
    scope: Vec<Rule>,
    record: Vec<Rule>,
    defaults: bool,
    pub severity_text_as_label: bool,
    /// How many pairs a resource and a scope may add to each of their records.
    pub shared_max: usize,
}

struct Rule {
    action: OtlpAction,
    names: Vec<String>,
    pattern: Option<Regex>,
}

impl Rules {
    pub fn new(limits: &Limits) -> Result<Self> {
        let config = &limits.otlp_config;
        let compile = |configs: &[AttributesConfig]| configs.iter().map(Rule::new).collect::<Result<Vec<_>>>();
        Ok(Rules {
            resource: compile(&config.resource_attributes.attributes_config)?,
            scope: compile(&config.scope_attributes)?,
            record: compile(&config.log_attributes)?,
            defaults: !config.resource_attributes.ignore_defaults,
            severity_text_as_label: config.severity_text_as_label,
            shared_max: match usize::try_from(limits.max_structured_metadata_entries_count) {
                Ok(0) | Err(_) => SHARED_MAX_WITHOUT_LIMIT,
                Ok(max) => max,
            },
        })
    }

    pub fn of_resource(&self, name: &str) -> OtlpAction {
        if self.defaults && DEFAULT_RESOURCE_ATTRIBUTES.contains(&name) {
            return OtlpAction::IndexLabel;
        }
        first(&self.resource, name)
    }

    pub fn of_scope(&self, name: &str) -> OtlpAction {
        first(&self.scope, name)
    }

    pub fn of_record(&self, name: &str) -> OtlpAction {
        first(&self.record, name)
    }
}

impl Rule {
    fn new(config: &AttributesConfig) -> Result<Self> {
        let pattern = config.regex.as_deref().map(anchored).transpose()?;
        Ok(Rule { action: config.action, names: config.attributes.clone(), pattern })
    }

    fn fits(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name) || self.pattern.as_ref().is_some_and(|p| p.is_match(name))
    }
}

fn first(rules: &[Rule], name: &str) -> OtlpAction {
    rules.iter().find(|r| r.fits(name)).map_or(OtlpAction::StructuredMetadata, |r| r.action)
}
