//! `| regexp`: the named groups of an expression become labels.

use super::hints::Interest;
use super::labels::{Flow, WorkingLabels, go_text};
use super::names::{NameId, sanitize};
use model::labels::is_label_name;
use model::pattern::compile_bytes;
use model::{Error, Result};
use regex::bytes::{CaptureLocations, Regex};

pub struct Regexp {
    regex: Regex,
    groups: Vec<(usize, NameId)>,
}

impl Regexp {
    pub fn compile(text: &str, interest: &mut Interest) -> Result<Self> {
        let fail = |what: String| Error::invalid(format!("invalid regexp parser: {what}"));
        let regex = compile_bytes(text).map_err(|e| e.context("invalid regexp parser"))?;
        let mut groups: Vec<(usize, NameId)> = Vec::new();
        for (i, name) in regex.capture_names().enumerate() {
            let Some(name) = name else { continue };
            if !is_label_name(name) {
                return Err(fail(format!("invalid extracted label name '{name}'")));
            }
            let id = interest.name(&sanitize(name));
            if groups.iter().any(|(_, g)| *g == id) {
                return Err(fail(format!("duplicate extracted label name '{name}'")));
            }
            groups.push((i, id));
        }
        if groups.is_empty() {
            return Err(fail("at least one named capture must be supplied".into()));
        }
        Ok(Regexp { regex, groups })
    }

    pub fn locations(&self) -> CaptureLocations {
        self.regex.capture_locations()
    }

    /// Whether the line stays.
    pub fn extract(&self, line: &[u8], labels: &mut WorkingLabels<'_>, locations: &mut CaptureLocations) -> bool {
        if labels.interest.no_labels() || self.regex.captures_read(locations, line).is_none() {
            return true;
        }
        for (group, name) in &self.groups {
            let (start, end) = locations.get(*group).unwrap_or((0, 0));
            let Some(name) = labels.target_id(*name) else { continue };
            match labels.extract(name, &go_text(&line[start..end])) {
                Flow::Continue => {}
                flow => return flow != Flow::Reject,
            }
        }
        true
    }
}
