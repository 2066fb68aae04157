//! One replica of a stream compresses its blocks for all of them: nothing costs an ingester more, and replicas cut blocks
//! alike ([`crate::chunk_sync`]). It offers each result to the others. A replica that has a block with the same bytes takes
//! the offer after it has decompressed and compared it, which costs a fraction. Nothing depends on an offer: who gets none
//! in time compresses by itself, and one that nobody knows is forgotten.

use crate::block::HeldBlock;
use crate::metrics::Metrics;
use format::Codec;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use rpc::ingester::{Ingester, OfferedBlock};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Who compresses the blocks of a stream.
pub enum Compressor {
    /// This replica, for these others.
    Here(Vec<Arc<dyn Ingester>>),
    /// Another replica, which will offer them.
    Elsewhere,
}

/// Finds it by the stream's token on the ring.
pub type Compressors = Arc<dyn Fn(u32) -> Compressor + Send + Sync>;

/// A block waits for an offer, and an offer for its block, for one to two times so long.
pub const WAIT: Duration = Duration::from_millis(500);
/// Raw bytes of the blocks that wait; what comes above is compressed at once.
const WAITING_BYTES_MAX: u64 = 64 << 20;
/// Compressed bytes of the offers that wait; what comes above is forgotten.
const OFFERS_BYTES_MAX: u64 = 32 << 20;
/// Offers that wait to be sent; what comes above is not offered.
pub const OUTBOX_OFFERS: usize = 1024;
/// Offers go out together that come within so long, up to so many bytes.
const GATHER: Duration = Duration::from_millis(10);
const MESSAGE_BYTES: usize = 1 << 20;
/// Calls with offers at a time, and how long one may take.
const CALLS_MAX: usize = 32;
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// An offer and whom it is for.
pub struct Outgoing {
    pub replicas: Vec<Arc<dyn Ingester>>,
    pub offer: OfferedBlock,
}

/// What waits, by digest: of this period, and of the one before.
struct Waiting<T> {
    young: HashMap<u64, T>,
    old: HashMap<u64, T>,
    bytes: u64,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Waiting { young: HashMap::new(), old: HashMap::new(), bytes: 0 }
    }
}

impl<T> Waiting<T> {
    fn take(&mut self, digest: u64, bytes_of: impl Fn(&T) -> u64) -> Option<T> {
        let found = self.young.remove(&digest).or_else(|| self.old.remove(&digest))?;
        self.bytes = self.bytes.saturating_sub(bytes_of(&found));
        Some(found)
    }

    /// Gives it back if it does not fit, or if something else of that digest waits.
    fn put(&mut self, digest: u64, item: T, bytes: u64, bytes_max: u64) -> Option<T> {
        let known = self.young.contains_key(&digest) || self.old.contains_key(&digest);
        if known || self.bytes + bytes > bytes_max {
            return Some(item);
        }
        self.bytes += bytes;
        self.young.insert(digest, item);
        None
    }

    /// Begins a period; what has waited for a whole one is given up.
    fn turn(&mut self, bytes_of: impl Fn(&T) -> u64) -> Vec<T> {
        let young = std::mem::take(&mut self.young);
        let given_up: Vec<T> = std::mem::replace(&mut self.old, young).into_values().collect();
        self.bytes = self.bytes.saturating_sub(given_up.iter().map(bytes_of).sum());
        given_up
    }
}

/// Where blocks and offers meet.
#[derive(Default)]
pub struct Share(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    blocks: Waiting<Arc<HeldBlock>>,
    offers: Waiting<OfferedBlock>,
}

/// What is to be done with a block that another replica compresses.
pub enum Met {
    /// It waits for its offer.
    Waits,
    /// Its offer was there before.
    Adopt(OfferedBlock),
    /// Too much waits already.
    SealHere,
}

fn offer_bytes(offer: &OfferedBlock) -> u64 {
    offer.payload.len() as u64
}

fn block_bytes(block: &Arc<HeldBlock>) -> u64 {
    block.raw_bytes
}

impl Share {
    /// A block has been cut that another replica compresses.
    pub fn expect(&self, digest: u64, block: &Arc<HeldBlock>) -> Met {
        let mut tables = self.0.lock();
        if let Some(offer) = tables.offers.take(digest, offer_bytes) {
            return Met::Adopt(offer);
        }
        match tables.blocks.put(digest, block.clone(), block.raw_bytes, WAITING_BYTES_MAX) {
            None => Met::Waits,
            Some(_) => Met::SealHere,
        }
    }

    /// Another replica offers a block: the one here that it may be. An early offer is kept for a while.
    pub fn offered(&self, offer: OfferedBlock) -> Option<(Arc<HeldBlock>, OfferedBlock)> {
        let mut tables = self.0.lock();
        if let Some(block) = tables.blocks.take(offer.digest, block_bytes) {
            return Some((block, offer));
        }
        let bytes = offer_bytes(&offer);
        tables.offers.put(offer.digest, offer, bytes, OFFERS_BYTES_MAX);
        None
    }

    /// To be called every [`WAIT`]: the blocks that got no offer in time.
    pub fn turn(&self) -> Vec<Arc<HeldBlock>> {
        let mut tables = self.0.lock();
        tables.offers.turn(offer_bytes);
        tables.blocks.turn(block_bytes)
    }
}

/// Takes an offer for a block, if it is of this codec and the block's own bytes. True when the block is compressed now.
pub fn adopt(block: &HeldBlock, offer: &OfferedBlock, codec: Codec, metrics: &Metrics) -> bool {
    let adopted = offer.codec == codec && block.adopt(offer);
    let counter = if adopted { &metrics.blocks_adopted } else { &metrics.block_offers_refused };
    counter.inc();
    adopted
}

/// Sends offers until the queue's senders are gone: those of a moment together, each replica in a call of its own, and
/// none to a replica that does not keep up.
pub async fn send(mut outbox: mpsc::Receiver<Outgoing>, metrics: Metrics) {
    let mut calls = FuturesUnordered::new();
    loop {
        let first = tokio::select! {
            Some(()) = calls.next() => continue,
            first = outbox.recv() => first,
        };
        let Some(first) = first else { return };
        tokio::time::sleep(GATHER).await;
        for (replica, offers) in gather(first, &mut outbox) {
            if calls.len() < CALLS_MAX {
                metrics.block_offers_sent.inc_by(offers.len() as u64);
                // Whoever does not hear of it compresses by itself.
                calls.push(async move { drop(tokio::time::timeout(CALL_TIMEOUT, replica.offer(offers)).await) });
            }
        }
    }
}

/// The offers that wait, up to a message's bytes, for each replica.
fn gather(first: Outgoing, outbox: &mut mpsc::Receiver<Outgoing>) -> Vec<(Arc<dyn Ingester>, Vec<OfferedBlock>)> {
    let mut messages: Vec<(Arc<dyn Ingester>, Vec<OfferedBlock>)> = vec![];
    let (mut next, mut bytes) = (Some(first), 0);
    while let Some(Outgoing { replicas, offer }) = next {
        bytes += offer.payload.len();
        for replica in replicas {
            match messages.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &replica)) {
                Some((_, offers)) => offers.push(offer.clone()),
                None => messages.push((replica, vec![offer.clone()])),
            }
        }
        next = if bytes < MESSAGE_BYTES { outbox.try_recv().ok() } else { None };
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::RawEntries;
    use bytes::Bytes;
    use model::{BlockBuilder, Layout, SymbolsBuilder};
    use runtime::metrics::Registry;

    fn block(lines: &[(i64, &str)]) -> Arc<HeldBlock> {
        let mut builder = BlockBuilder::new(Layout::Metadata);
        for (ts_ns, line) in lines {
            builder.push(*ts_ns, line.as_bytes(), [].into_iter(), &mut SymbolsBuilder::default());
        }
        let ordered = !builder.unordered;
        Arc::new(HeldBlock::new(RawEntries { block: Arc::new(builder), ordered }, None))
    }

    fn offer(block: &HeldBlock) -> OfferedBlock {
        let digest = block.digest().unwrap().unwrap();
        OfferedBlock { digest, codec: Codec::Zstd, payload: block.seal(Codec::Zstd).unwrap().payload }
    }

    #[test]
    fn an_offer_is_taken_if_it_is_the_block_and_only_then() {
        let metrics = Metrics::new(&mut Registry::default());
        let lines = [(1, "one"), (3, "three"), (2, "two")];
        let right = offer(&block(&lines));
        let junk = |payload: &'static [u8]| OfferedBlock { payload: Bytes::from_static(payload), ..right.clone() };
        let other = offer(&block(&lines[..2]));
        for (offer, codec, taken) in [
            (right.clone(), Codec::Zstd, true),
            (right.clone(), Codec::Snappy, false),
            (OfferedBlock { payload: other.payload, ..right.clone() }, Codec::Zstd, false),
            (junk(b""), Codec::Zstd, false),
            (junk(b"no compression at all"), Codec::Zstd, false),
            (OfferedBlock { codec: Codec::None, ..junk(b"raw") }, Codec::None, false),
        ] {
            let held = block(&lines);
            assert_eq!(adopt(&held, &offer, codec, &metrics), taken, "{offer:?}");
            assert_eq!(held.sealed_bytes().is_some(), taken);
            let sealed = held.seal(codec).unwrap();
            let raw = codec.decompress(&sealed.payload, 99, 99).unwrap();
            assert_eq!(
                (raw.len() as u64, sealed.entries, sealed.min_ts_ns, sealed.max_ts_ns),
                (sealed.raw_bytes, 3, 1, 3)
            );
        }
        assert_eq!((metrics.blocks_adopted.get(), metrics.block_offers_refused.get()), (1, 5));
    }

    #[test]
    fn blocks_and_offers_meet_whichever_comes_first_and_wait_for_a_while() {
        let share = Share::default();
        let (first, second) = (block(&[(1, "one")]), block(&[(2, "two")]));
        let digest = |block: &HeldBlock| block.digest().unwrap().unwrap();
        assert!(matches!(share.expect(digest(&first), &first), Met::Waits));
        assert!(matches!(share.expect(digest(&first), &block(&[(1, "one")])), Met::SealHere), "a second one alike");
        let (met, _) = share.offered(offer(&block(&[(1, "one")]))).expect("it waits");
        assert!(Arc::ptr_eq(&met, &first));
        assert!(share.offered(offer(&block(&[(2, "two")]))).is_none());
        assert!(matches!(share.expect(digest(&second), &second), Met::Adopt(_)));
        assert!(matches!(share.expect(digest(&second), &second), Met::Waits), "an offer is taken once");
        assert_eq!(share.turn().len(), 0);
        assert_eq!(share.turn().len(), 1, "given up after the second turn");
        assert!(share.offered(offer(&block(&[(2, "two")]))).is_none());
        assert_eq!((share.turn().len(), share.turn().len()), (0, 0));
        assert!(matches!(share.expect(digest(&second), &second), Met::Waits), "an early offer is forgotten too");
        assert_eq!(share.0.lock().offers.bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.put(1, "a", 60, 100), None);
        assert_eq!(waiting.put(2, "b", 60, 100), Some("b"));
        assert_eq!(waiting.put(3, "c", 40, 100), None);
        assert_eq!(waiting.take(1, |_| 60), Some("a"));
        assert_eq!(waiting.put(2, "b", 60, 100), None);
    }
}
