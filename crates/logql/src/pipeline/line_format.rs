//! `| line_format`: a template makes the new line.

use super::hints::Interest;
use super::labels::WorkingLabels;
use super::template::{Data, Template};
use model::{Error, Result};

pub const TEMPLATE_ERROR: &str = "TemplateFormatErr";

pub struct LineFormat(Template);

impl LineFormat {
    pub fn compile(text: &str, interest: &mut Interest) -> Result<Self> {
        let template = Template::parse("line", text, interest);
        Ok(LineFormat(template.map_err(|e| Error::invalid(format!("invalid line template: {e}")))?))
    }

    /// Appends the new line to `out`; `false` if the template fails, which leaves an error on the line.
    pub fn run(&self, ts_ns: i64, line: &[u8], labels: &mut WorkingLabels<'_>, out: &mut Vec<u8>) -> bool {
        labels.freeze();
        match self.0.execute(&Data { ts_ns, line, labels }, out) {
            Ok(()) => true,
            Err(details) => {
                labels.set_error(TEMPLATE_ERROR, &details);
                false
            }
        }
    }
}
