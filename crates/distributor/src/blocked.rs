//! What a blocked push would have brought: counted, not kept.

use crate::metadata;
use model::Result;
use rpc::pusher::{Pairs, Sink};

#[derive(Debug, Default)]
pub struct Counted {
    pub lines: u64,
    pub bytes: u64,
}

impl Sink for Counted {
    fn stream(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn entry(&mut self, _: i64, line: &[u8], metadata: &mut Pairs<'_>) -> Result<()> {
        self.lines += 1;
        self.bytes += (line.len() + metadata::size_bytes(metadata)) as u64;
        Ok(())
    }
    fn end_stream(&mut self) {}
}
