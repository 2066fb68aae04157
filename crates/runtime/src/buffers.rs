//! Large buffers that are used again: in fresh memory the kernel clears every page first, which costs more than what a
//! push then does with it. It must not know what is in them.

use bytes::Bytes;
use parking_lot::Mutex;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// What a process keeps for later, in bytes: a few pushes of usual size.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// A larger buffer is not kept: one huge push must not fill the shelf.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// A smaller one is not worth it: the allocator has such at hand.
const BUFFER_BYTES_MIN: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Buffers {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer that goes back when it is dropped.
#[derive(Debug)]
pub struct Lent {
    data: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// A buffer with room for `bytes`, if there is one, and with whatever was in it before: who reads has written first.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Lent {
        let mut shelf = self.shelf.lock();
        // The smallest that is large enough, else the largest: it needs the least to grow.
        let all = || shelf.buffers.iter().enumerate().map(|(at, buffer)| (buffer.capacity(), at));
        let found = all().filter(|(size, _)| *size >= bytes).min().or(all().max());
        let data = found.map(|(_, at)| shelf.buffers.swap_remove(at)).unwrap_or_default();
        shelf.bytes -= data.capacity();
        drop(shelf);
        Lent { data, home: self.clone() }
    }

    fn keep(&self, data: Vec<u8>) {
        let mut shelf = self.shelf.lock();
        let (size, kept) = (data.capacity(), shelf.bytes);
        if (BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&size) && kept + size <= KEPT_BYTES_MAX {
            shelf.bytes += size;
            shelf.buffers.push(data);
        }
    }
}

impl Lent {
    /// What is in it, for as long as somebody has it.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for Lent {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.data
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.keep(std::mem::take(&mut self.data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Capacities on the shelf after buffers of `sizes` were lent at one time.
    fn kept(sizes: &[usize]) -> Vec<usize> {
        let buffers = Arc::new(Buffers::default());
        let lent: Vec<Lent> = sizes
            .iter()
            .map(|size| {
                let mut buffer = buffers.take(*size);
                buffer.reserve_exact(*size);
                buffer
            })
            .collect();
        drop(lent);
        let shelf = buffers.shelf.lock();
        assert_eq!(shelf.bytes, shelf.buffers.iter().map(Vec::capacity).sum::<usize>());
        shelf.buffers.iter().map(Vec::capacity).collect()
    }

    #[test]
    fn buffers_come_back_and_the_shelf_is_bounded() {
        const MIN: usize = BUFFER_BYTES_MIN;
        const MAX: usize = BUFFER_BYTES_MAX;
        for (sizes, expected) in [
            (vec![MIN - 1], vec![]),
            (vec![MIN, 3 * MIN], vec![MIN, 3 * MIN]),
            (vec![MAX + 1, MIN], vec![MIN]),
            (vec![MAX; 9], vec![MAX; KEPT_BYTES_MAX / MAX]),
        ] {
            assert_eq!(kept(&sizes), expected, "{sizes:?}");
        }
    }

    #[test]
    fn the_smallest_that_is_large_enough_is_taken_else_the_largest() {
        let buffers = Arc::new(Buffers::default());
        for size in [1 << 20, 1 << 17, 1 << 18] {
            buffers.keep(Vec::with_capacity(size));
        }
        for (wanted, size) in [(1, 1 << 17), (1 << 17, 1 << 17), ((1 << 17) + 1, 1 << 18), (1 << 21, 1 << 20)] {
            assert_eq!(buffers.take(wanted).capacity(), size, "{wanted}");
        }
        let frozen = buffers.take(1 << 20).freeze();
        assert!(buffers.take(1 << 20).capacity() < 1 << 20, "it is still lent");
        drop(frozen);
        assert_eq!(buffers.take(1 << 20).capacity(), 1 << 20);
    }
}
