//! The memory of one thread's decompressed frames: kept from frame to frame, so that it stays in the processor's cache, and
//! charged to the query at its highest. It must not know what frames hold.

use super::limits::EngineLimits;
use model::{RawBlock, Result};

/// Buffers kept: a run of blocks that do not overlap needs one, two replicas' two.
const SPARE_MAX: usize = 4;

#[derive(Default)]
pub(crate) struct FrameMemory {
    spare: Vec<Vec<u8>>,
    held_bytes: usize,
    charged_bytes: usize,
}

impl FrameMemory {
    /// Memory for the next frame.
    pub fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Charges a frame that is now held, as far as there were never so many bytes held before.
    pub fn hold(&mut self, raw: &RawBlock, limits: &EngineLimits) -> Result<()> {
        self.held_bytes += raw.data.len();
        match self.held_bytes.checked_sub(self.charged_bytes) {
            None | Some(0) => Ok(()),
            Some(more) => {
                self.charged_bytes = self.held_bytes;
                limits.reserve(more)
            }
        }
    }

    /// Lets go of a frame and keeps its memory, unless somebody else holds it too.
    pub fn release(&mut self, raw: RawBlock) {
        self.held_bytes -= raw.data.len();
        if self.spare.len() < SPARE_MAX
            && let Ok(mut memory) = raw.data.try_into_mut()
        {
            // Emptied first: what becomes a `Vec` is copied to the front of its memory.
            memory.clear();
            self.spare.push(memory.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use model::Layout;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn raw(data: impl Into<Bytes>) -> RawBlock {
        RawBlock { data: data.into(), layout: Layout::Plain, symbols: Arc::default() }
    }

    #[test]
    fn memory_is_reused_and_charged_at_its_highest() {
        let charged = Arc::new(AtomicU64::new(0));
        let sum = charged.clone();
        let hook = move |bytes| {
            sum.fetch_add(bytes, Ordering::Relaxed);
            Ok(())
        };
        let limits = EngineLimits { memory: Arc::new(hook), ..EngineLimits::default() };
        let mut memory = FrameMemory::default();
        for (bytes, highest) in [(100, 100), (50, 100), (300, 300), (300, 300)] {
            let mut buffer = memory.take();
            buffer.clear();
            buffer.resize(bytes, 1);
            let place = buffer.as_ptr();
            let frame = raw(buffer);
            memory.hold(&frame, &limits).unwrap();
            memory.release(frame);
            assert_eq!(charged.load(Ordering::Relaxed), highest);
            let again = memory.take();
            assert_eq!((again.as_ptr(), again.capacity() >= bytes), (place, true));
            memory.spare.push(again);
        }
        let shared = raw(vec![1; 10]);
        memory.hold(&shared, &limits).unwrap();
        memory.hold(&shared, &limits).unwrap();
        let other = shared.clone();
        memory.release(shared);
        assert_eq!((memory.spare.len(), other.data.len()), (1, 10), "what somebody else reads is not reused");
    }
}
