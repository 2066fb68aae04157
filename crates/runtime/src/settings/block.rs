//! A setting that others give a meaning: kept as it was written until somebody lays it over settings of his own.

use super::secret::MASK;
use super::setting::{Described, Reader, Reference, Setting};
use super::tree::{Tree, Value};
use std::fmt;

/// It is not shown: what is secret in it is not known here.
#[derive(Clone, Default, PartialEq)]
pub struct Block(Option<Tree>);

impl Block {
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Lays it over `settings`. Keys without a meaning are passed over if `reference` knows them. The error names lines
    /// below `path`.
    pub fn read_into(&self, path: &str, settings: &mut impl Setting, reference: &dyn Reference) -> Result<(), String> {
        let mut reader = Reader::at(path, reference);
        if let Some(tree) = &self.0 {
            settings.read(tree, &mut reader);
        }
        if reader.errors.is_empty() { Ok(()) } else { Err(reader.errors.join("; ")) }
    }
}

impl Setting for Block {
    fn read(&mut self, tree: &Tree, _: &mut Reader) {
        if !tree.is_null() {
            self.0 = Some(tree.clone());
        }
    }
    fn write(&self) -> Tree {
        if self.is_set() { Tree::scalar(MASK) } else { Tree::from(Value::Null) }
    }
    fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<Described>) {
        let nothing = Tree::default();
        into.push(Described { default: String::new(), ..Described::new(path, "block", &nothing, docs) });
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { MASK } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;
    use crate::settings::NoReference;

    settings! {
        pub struct Queue {
            pub capacity: u64 = 1,
        }
    }

    #[test]
    fn a_block_is_laid_over_settings_and_not_shown() {
        let mut block = Block::default();
        let mut reader = Reader::at("", &NoReference);
        let mut value = vec!["before".to_string()];
        block.read_into("a", &mut value, &NoReference).unwrap();
        block.read(&Tree::parse("[hunter2]").unwrap(), &mut reader);
        block.read_into("a", &mut value, &NoReference).unwrap();
        assert_eq!(value, ["hunter2"]);
        assert_eq!((block.write(), format!("{block:?}")), (Tree::scalar(MASK), MASK.to_string()));
        let fault = block.read_into("a.b", &mut 5u64, &NoReference).unwrap_err();
        assert_eq!(fault, "line 1: a.b: expected a single value");
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused_with_the_nearest() {
        let mut block = Block::default();
        block.read(&Tree::parse("capacitie: 5").unwrap(), &mut Reader::at("", &NoReference));
        let fault = block.read_into("a.b", &mut Queue::default(), &NoReference).unwrap_err();
        assert_eq!(fault, "line 1: field capacitie not found in a.b; did you mean capacity?");
    }
}
