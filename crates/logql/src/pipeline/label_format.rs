//! `| label_format`: renamed labels and labels made by templates.

use super::hints::{ERROR, Interest};
use super::labels::{Category, WorkingLabels, go_text};
use super::line_format::TEMPLATE_ERROR;
use super::names::NameId;
use super::template::{Data, Template};
use crate::ast;
use model::{Error, Result};

pub struct LabelFormat(Vec<Format>);

enum Format {
    Rename { to: NameId, from: NameId },
    Template { to: NameId, template: Template },
}

impl LabelFormat {
    pub fn compile(formats: &[ast::LabelFormat], interest: &mut Interest) -> Result<Self> {
        let mut seen: Vec<&str> = Vec::new();
        let mut compiled = Vec::new();
        for format in formats {
            let (ast::LabelFormat::Rename { to, .. } | ast::LabelFormat::Template { to, .. }) = format;
            if to == ERROR {
                return Err(Error::invalid(format!("{to} cannot be formatted")));
            }
            if seen.contains(&to.as_str()) {
                return Err(Error::invalid(format!(
                    "multiple label name '{to}' not allowed in a single format operation"
                )));
            }
            seen.push(to);
            compiled.push(match format {
                ast::LabelFormat::Rename { to, from } => {
                    Format::Rename { to: interest.name(to), from: interest.name(from) }
                }
                ast::LabelFormat::Template { to, template } => {
                    let template = Template::parse("label", template, interest)
                        .map_err(|e| Error::invalid(format!("invalid template for label '{to}': {e}")))?;
                    Format::Template { to: interest.name(to), template }
                }
            });
        }
        Ok(LabelFormat(compiled))
    }

    /// Formats in order; all templates see the labels as they are at the first template. `buffer` is for their output.
    pub fn run(&self, ts_ns: i64, line: &[u8], labels: &mut WorkingLabels<'_>, buffer: &mut Vec<u8>) {
        let mut is_frozen = false;
        for format in &self.0 {
            match format {
                Format::Rename { to, from } => labels.rename(*to, *from),
                Format::Template { to, template } => {
                    if !is_frozen {
                        labels.freeze();
                        is_frozen = true;
                    }
                    buffer.clear();
                    match template.execute(&Data { ts_ns, line, labels }, buffer) {
                        Ok(()) => labels.set(Category::Parsed, *to, &go_text(buffer)),
                        Err(details) => labels.set_error(TEMPLATE_ERROR, &details),
                    }
                }
            }
        }
    }
}
