//! Stand-in for the pipeline.
use crate::ast::*;
use model::{Labels, Result};
use model::block::Metadata;
use smol_str::SmolStr;
#[derive(Default, Clone)]
pub struct Hints { pub extract_only: Option<Vec<SmolStr>> }
impl Hints { pub fn for_samples(_: &[Stage], _: Option<&Unwrap>, _: Option<&Grouping>) -> Self { Hints::default() } }
pub struct Pipeline { filters: Vec<(LineOp, Vec<u8>)>, prefilter: Prefilter }
pub struct Prefilter(Option<memchr::memmem::Finder<'static>>);
impl Prefilter {
    pub fn may_match(&self, block: &[u8]) -> bool { self.0.as_ref().is_none_or(|f| f.find(block).is_some()) }
    pub fn find_at(&self, block: &[u8], from: usize) -> Option<usize> {
        match &self.0 { None => Some(from), Some(f) => f.find(block.get(from..)?).map(|i| i + from) }
    }
}
impl Pipeline {
    pub fn compile(stages: &[Stage], _: &Hints) -> Result<Self> {
        let mut filters = vec![];
        for s in stages { if let Stage::LineFilter(f) = s && let [LineOperand::Text(t)] = f.operands.as_slice() { filters.push((f.op, t.as_bytes().to_vec())); } }
        let pre = filters.iter().find(|f| f.0 == LineOp::Contains).map(|f| memchr::memmem::Finder::new(&f.1).into_owned());
        Ok(Pipeline { filters, prefilter: Prefilter(pre) })
    }
    pub fn prefilter(&self) -> &Prefilter { &self.prefilter }
    pub fn stream(&self, labels: &Labels) -> StreamPipeline<'_> { StreamPipeline { p: self, base: labels.clone(), line: vec![], sm: vec![] } }
}
pub struct StreamPipeline<'p> { p: &'p Pipeline, base: Labels, line: Vec<u8>, sm: Vec<(String, String)> }
impl StreamPipeline<'_> {
    pub fn process(&mut self, _ts: i64, line: &[u8], md: Metadata<'_>) -> bool {
        for (op, text) in &self.p.filters {
            let found = memchr::memmem::find(line, text).is_some();
            if found != (*op == LineOp::Contains) { return false; }
        }
        self.line.clear(); self.line.extend_from_slice(line);
        self.sm = md.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        true
    }
    pub fn line_bytes(&self) -> usize { self.line.len() }
    pub fn line(&self) -> &[u8] { &self.line }
    pub fn label(&self, name: &str) -> Option<&str> { self.base.get(name).or(self.sm.iter().find(|s| s.0 == name).map(|s| s.1.as_str())) }
    pub fn labels(&mut self) -> Labels { Labels::new(self.base.iter().map(|l| (l.name.to_string(), l.value.to_string())).chain(self.sm.iter().cloned())) }
    pub fn categorized(&mut self) -> (Labels, Labels, Labels) { (self.base.clone(), Labels::new(self.sm.iter().cloned()), Labels::default()) }
    pub fn error(&self) -> Option<(&str, &str)> { None }
    pub fn group(&mut self, g: &Grouping) -> Labels { crate::engine::vector::group(&self.labels(), g) }
    pub fn group_identity(&mut self, g: &Grouping) -> u64 { use std::hash::BuildHasher; foldhash::fast::FixedState::default().hash_one(self.group(g)) }
    pub fn identity(&self) -> u64 { use std::hash::BuildHasher; foldhash::fast::FixedState::default().hash_one(self.base.clone()) }
}
pub struct Unwrapper { label: SmolStr }
pub enum Unwrapped { Value(f64), Skip, Error }
impl Unwrapper {
    pub fn compile(u: &Unwrap) -> Result<Self> { Ok(Unwrapper { label: u.label.clone() }) }
    pub fn value(&self, s: &mut StreamPipeline<'_>) -> Unwrapped {
        match s.label(&self.label) { None | Some("") => Unwrapped::Skip, Some(v) => v.parse().map_or(Unwrapped::Error, Unwrapped::Value) }
    }
}
