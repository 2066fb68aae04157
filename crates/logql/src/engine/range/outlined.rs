//! Entries that are counted, or whose bytes are, without their lines: by the outline of their frame.

use super::accumulate::{Leaf, Line, Stream};
use super::panes::Fold;
use crate::ast::{LabelFormat, Stage};
use crate::engine::grid::Pane;
use crate::engine::scan::Tally;
use model::{Outline, Result};

/// Whether a stage does the same whatever the line is, and leaves it as it is.
pub fn ignores_line(stage: &Stage) -> bool {
    match stage {
        Stage::LabelFilter(_) | Stage::Drop(_) | Stage::Keep(_) => true,
        Stage::LabelFormat(formats) => formats.iter().all(|f| matches!(f, LabelFormat::Rename { .. })),
        _ => false,
    }
}

/// What the entries of one pane come to.
struct Sum {
    pane: Pane,
    entries: u64,
    line_bytes: u64,
}

impl<F: Fold> Stream<'_, '_, F> {
    /// Takes all entries of a frame, or none and false: where more counts than their number and bytes, or where the outline
    /// does not tell the pane of an entry.
    pub fn take_outline(&mut self, tally: &mut Tally, outline: impl FnOnce() -> Option<Outline>) -> Result<bool> {
        if !self.leaf.ignores_lines || F::of_lines(0, 0).is_none() {
            return Ok(false);
        }
        let by_number = self.slot_is_fixed && self.leaf.passes_everything();
        let Some(outline) = outline() else { return Ok(false) };
        let tells_series = by_number
            || match &self.leaf.labels_read {
                Some(names) => outline.knows(names),
                None => outline.knows_metadata(),
            };
        if !tells_series || !self.leaf.tells_panes(&outline) {
            return Ok(false);
        }
        tally.stats.decompressed_bytes += outline.bytes() as u64;
        match by_number {
            true => self.take_numbers(tally, &outline)?,
            false => self.take_metadata(tally, &outline)?,
        }
        Ok(true)
    }

    /// All go to one series.
    fn take_numbers(&mut self, tally: &mut Tally, outline: &Outline) -> Result<()> {
        let mut sums: Vec<Sum> = Vec::new();
        for entry in outline.entries().into_iter().flatten().flatten() {
            match sums.last_mut().filter(|sum| sum.pane.contains(entry.newest_ns)) {
                Some(sum) => {
                    sum.entries += 1;
                    sum.line_bytes += entry.line_bytes;
                }
                None => {
                    let pane = self.leaf.windows.pane(entry.newest_ns);
                    sums.push(Sum { pane, entries: 1, line_bytes: entry.line_bytes });
                }
            }
        }
        for Sum { pane, entries, line_bytes } in sums.into_iter().filter(|sum| !sum.pane.is_outside()) {
            let Some(summary) = F::of_lines(entries, line_bytes) else { continue };
            tally.stats.lines += entries;
            tally.stats.post_filter_lines += entries;
            let slot = self.stream_slot()?;
            self.accumulator.add_summary(slot, &pane, summary)?;
        }
        Ok(())
    }

    /// Metadata say where each goes, or whether it counts.
    fn take_metadata(&mut self, tally: &mut Tally, outline: &Outline) -> Result<()> {
        for entry in outline.entries().into_iter().flatten().flatten() {
            if self.choose_pane(entry.newest_ns) {
                tally.stats.lines += 1;
                tally.stats.metadata_bytes += entry.metadata.encoded_bytes() as u64;
                self.take(tally, entry.newest_ns, Line::Bytes(entry.line_bytes), entry.metadata)?;
            }
        }
        Ok(())
    }
}

impl Leaf<'_> {
    /// Whether each entry can be read, and lies in one pane whatever its exact time is. Looked at before any is taken.
    fn tells_panes(&self, outline: &Outline) -> bool {
        let (Some(mut entries), mut pane) = (outline.entries(), Pane::NOWHERE) else { return false };
        entries.all(|entry| {
            let Some(entry) = entry else { return false };
            if !pane.contains(entry.newest_ns) {
                pane = self.windows.pane(entry.newest_ns);
            }
            pane.contains(entry.oldest_ns)
        })
    }
}
