//! The patterns of one stream: each line is counted for the pattern that it is most like, or is the first of a new one.
//! It must not know the stream.

use crate::counts::{Counts, INTERVAL_BYTES, Sample};
use crate::line::{Form, Line, NOTHING};
use crate::settings::Settings;
use crate::tree::{Shape, Tree};
use crate::words::{ANY, PLACEHOLDER, Words};
use model::TimeRange;
use std::time::Duration;

/// Words that a line must have: shorter ones would all be alike.
const WORDS_MIN: usize = 4;
/// The part of the words that a line must share with a pattern.
const LIKENESS_MIN: f64 = 0.3;
/// The part of the patterns that gives way when there is no room.
const GIVE_WAY: usize = 4;
/// How long no patterns are added to a stream whose lines have none.
const PAUSE_NS: i64 = 600 * 1_000_000_000;

/// A pattern and its lines over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub text: String,
    pub samples: Vec<Sample>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    Counted,
    New,
    /// Too short, too long, or there is no room for a new pattern.
    Skipped,
}

#[derive(Debug, Default)]
pub struct Miner {
    words: Words,
    tree: Tree,
    clusters: Vec<Cluster>,
    /// Lines, and new patterns among them, since patterns last gave way.
    lines: u64,
    added: u64,
    paused_until_ns: i64,
    cluster_bytes: usize,
}

#[derive(Debug)]
struct Cluster {
    shape: Shape,
    words: Box<[u32]>,
    counts: Counts,
    seen_ns: i64,
}

/// Memory of a cluster beside its lists, in bytes.
const CLUSTER_BYTES: usize = size_of::<Cluster>();

/// Buffers that mining uses again for every line.
#[derive(Debug, Default)]
pub struct Scratch {
    line: Line,
    numbers: Vec<u32>,
}

impl Miner {
    /// Counts a line that stands for `lines` of its kind. `now_ns` orders what was seen when.
    pub fn learn(
        &mut self,
        scratch: &mut Scratch,
        settings: &Settings,
        message_fields: &[String],
        (ts_ns, line, lines): (i64, &[u8], u64),
        now_ns: i64,
    ) -> Learned {
        if line.len() > settings.max_allowed_line_length {
            return Learned::Skipped;
        }
        let Some(form) = scratch.line.read(line, message_fields) else { return Learned::Skipped };
        let found = &scratch.line;
        if found.words.len() < WORDS_MIN {
            return Learned::Skipped;
        }
        self.lines += 1;
        scratch.numbers.clear();
        scratch.numbers.extend(found.words.iter().map(|w| self.words.number(&line[w.clone()])));
        if let Some(at) = self.most_alike(form, &found.joints, &scratch.numbers) {
            let cluster = &mut self.clusters[at];
            cluster.seen_ns = now_ns;
            for (word, number) in cluster.words.iter_mut().zip(&scratch.numbers) {
                if *word != *number {
                    *word = ANY;
                }
            }
            if cluster.counts.add(ts_ns, lines, settings.sample_interval) {
                self.cluster_bytes += INTERVAL_BYTES;
            }
            return Learned::Counted;
        }
        if now_ns < self.paused_until_ns || !self.has_room(settings, now_ns) {
            return Learned::Skipped;
        }
        self.add(form, found, line, (ts_ns, lines), settings.sample_interval, now_ns);
        Learned::New
    }

    fn most_alike(&self, form: Form, joints: &[u8], numbers: &[u32]) -> Option<usize> {
        let needed = (numbers.len() as f64 * LIKENESS_MIN).ceil() as usize;
        let alike = self.tree.candidates(form, joints, numbers).map(|at| {
            let words = &self.clusters[at].words;
            let equal = words.iter().zip(numbers).filter(|(word, number)| word == number && **word != ANY).count();
            let any = words.iter().filter(|word| **word == ANY).count();
            (equal, any, at)
        });
        alike.filter(|(equal, ..)| *equal >= needed).max_by_key(|(equal, any, _)| (*equal, *any)).map(|(.., at)| at)
    }

    /// Makes room for one more pattern; false when this stream's lines are not worth it.
    fn has_room(&mut self, settings: &Settings, now_ns: i64) -> bool {
        if self.clusters.len() < settings.max_clusters {
            return true;
        }
        let wild = self.added as f64 > self.lines as f64 * settings.max_eviction_ratio;
        (self.lines, self.added) = (0, 0);
        if wild {
            self.paused_until_ns = now_ns.saturating_add(PAUSE_NS);
            return false;
        }
        let mut clusters = std::mem::take(&mut self.clusters);
        clusters.sort_by_key(|c| std::cmp::Reverse(c.seen_ns));
        clusters.truncate(settings.max_clusters - settings.max_clusters.div_ceil(GIVE_WAY));
        self.rebuild(clusters);
        true
    }

    fn add(
        &mut self,
        form: Form,
        found: &Line,
        line: &[u8],
        (ts_ns, lines): (i64, u64),
        interval: Duration,
        now_ns: i64,
    ) {
        let words: Box<[u32]> = found.words.iter().map(|w| self.words.keep(&line[w.clone()])).collect();
        let shape = Shape { form, joints: found.joints.as_slice().into() };
        let mut cluster = Cluster { shape, words, counts: Counts::default(), seen_ns: now_ns };
        cluster.counts.add(ts_ns, lines, interval);
        self.added += 1;
        self.insert(cluster);
    }

    fn insert(&mut self, cluster: Cluster) {
        let words = &self.words;
        self.tree.insert(cluster.shape.clone(), &cluster.words, |i| varies(words.text(cluster.words[i])));
        self.cluster_bytes += CLUSTER_BYTES
            + cluster.words.len() * size_of::<u32>()
            + cluster.shape.joints.len()
            + cluster.counts.len() * INTERVAL_BYTES;
        self.clusters.push(cluster);
    }

    /// Everything anew from `clusters`: words and branches that only others had are gone.
    fn rebuild(&mut self, clusters: Vec<Cluster>) {
        let old = std::mem::take(&mut self.words);
        (self.tree, self.cluster_bytes) = (Tree::default(), 0);
        for mut cluster in clusters {
            for word in cluster.words.iter_mut().filter(|word| **word != ANY) {
                *word = self.words.keep(old.text(*word));
            }
            self.insert(cluster);
        }
    }

    /// Forgets samples older than `oldest_ns`, and patterns without any.
    pub fn forget_before(&mut self, oldest_ns: i64, interval: Duration) {
        for cluster in &mut self.clusters {
            self.cluster_bytes -= INTERVAL_BYTES * cluster.counts.forget_before(oldest_ns, interval);
        }
        if self.clusters.iter().any(|c| c.counts.is_empty()) {
            let mut clusters = std::mem::take(&mut self.clusters);
            clusters.retain(|c| !c.counts.is_empty());
            self.rebuild(clusters);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.words.bytes() + self.tree.bytes() + self.cluster_bytes
    }

    /// The patterns with lines in the range, one sample a step.
    pub fn patterns(&self, range: TimeRange, interval: Duration, step: Duration) -> Vec<Pattern> {
        let patterns = self.clusters.iter().map(|cluster| Pattern {
            samples: cluster.counts.samples(range, interval, step),
            text: self.text(cluster),
        });
        patterns.filter(|p| !p.samples.is_empty()).collect()
    }

    fn text(&self, cluster: &Cluster) -> String {
        let mut text = Vec::new();
        let open = cluster.shape.form == Form::Json;
        if open {
            push_placeholder(&mut text);
        }
        for (word, joint) in cluster.words.iter().zip(&cluster.shape.joints) {
            match *word {
                ANY => push_placeholder(&mut text),
                word => text.extend_from_slice(self.words.text(word)),
            }
            if *joint != NOTHING {
                text.push(*joint);
            }
        }
        if open {
            push_placeholder(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Placeholders with nothing or a space between them are one.
fn push_placeholder(text: &mut Vec<u8>) {
    let before = text.strip_suffix(b" ").unwrap_or(text);
    match before.ends_with(PLACEHOLDER.as_bytes()) {
        true => text.truncate(before.len()),
        false => text.extend_from_slice(PLACEHOLDER.as_bytes()),
    }
}

/// Whether a word is likely another in the next line: it has a digit, or is a gap between columns.
fn varies(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_digit) || word.first().is_some_and(u8::is_ascii_whitespace)
}
