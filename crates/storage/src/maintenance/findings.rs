//! What a look at a bucket brings: findings, counts, and objects of unknown make.

use std::collections::{BTreeMap, BTreeSet};

/// Findings that are kept; a bucket with more is not repaired one by one.
const FINDINGS_MAX: usize = 100_000;
/// Objects of unknown make that are named.
const UNKNOWN_MAX: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// An index file lies where no reader looks, or its name and its content disagree.
    IndexName,
    /// An index file does not verify.
    IndexFile,
    /// A row is in the wrong table or file, or its series' labels and fingerprint disagree.
    IndexRow,
    /// A row lists a chunk that is not there.
    RowWithoutChunk,
    /// Rows, or a row and its chunk, say different things.
    RowDisagrees,
    /// A chunk is not listed in some table of its days.
    RowMissing,
    /// No table lists a chunk.
    ChunkUnlisted,
    /// A chunk's name is spelt as no reader asks for it.
    ChunkName,
    /// A chunk does not verify.
    ChunkDamaged,
}

impl FindingKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::IndexName => "index-name",
            Self::IndexFile => "index-file",
            Self::IndexRow => "index-row",
            Self::RowWithoutChunk => "row-without-chunk",
            Self::RowDisagrees => "row-disagrees",
            Self::RowMissing => "row-missing",
            Self::ChunkUnlisted => "chunk-unlisted",
            Self::ChunkName => "chunk-name",
            Self::ChunkDamaged => "chunk-damaged",
        }
    }
}

/// One thing that is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// The object's name in the bucket.
    pub object: String,
    /// What is wrong with it.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub tables: u64,
    pub index_files: u64,
    pub rows: u64,
    /// Rows that several files of a table list: replicas, or a compaction that is not finished.
    pub duplicate_rows: u64,
    pub chunks: u64,
    pub chunk_bytes: u64,
    /// Chunks that no table lists any more and that are marked to be deleted.
    pub expiring_chunks: u64,
    /// Objects of known make that are neither chunks nor index files.
    pub other_objects: u64,
    pub unknown_objects: u64,
}

/// What a check answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// By object and kind.
    pub findings: Vec<Finding>,
    pub counts: Counts,
    /// The first objects of unknown make.
    pub unknown: Vec<String>,
    /// Whether there were more findings than are kept.
    pub is_cut: bool,
}

/// Findings as they are made: of one kind and object there is one.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: BTreeMap<(String, FindingKind), String>,
    pub(super) counts: Counts,
    unknown: Vec<String>,
    is_cut: bool,
}

impl Findings {
    pub(super) fn add(&mut self, kind: FindingKind, object: &str, detail: impl Into<String>) {
        if self.found.len() >= FINDINGS_MAX {
            self.is_cut = true;
            return;
        }
        self.found.entry((object.to_string(), kind)).or_insert_with(|| detail.into());
    }

    pub(super) fn unknown(&mut self, object: &str) {
        self.counts.unknown_objects += 1;
        if self.unknown.len() < UNKNOWN_MAX {
            self.unknown.push(object.to_string());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn objects(&self) -> BTreeSet<String> {
        self.found.keys().map(|(object, _)| object.clone()).collect()
    }

    /// What both looks found.
    pub(super) fn confirmed_by(mut self, second: Findings) -> Findings {
        self.found.retain(|place, _| second.found.contains_key(place));
        self
    }

    pub(super) fn report(self) -> Report {
        let finding = |((object, kind), detail)| Finding { kind, object, detail };
        let findings = self.found.into_iter().map(finding).collect();
        Report { findings, counts: self.counts, unknown: self.unknown, is_cut: self.is_cut }
    }
}
