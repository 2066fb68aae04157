//! Log patterns: lines that differ in a few words are one pattern with `<_>` in their place, and each pattern is counted
//! over time. A prefix tree over the words finds the few patterns that a line may belong to. It must not know where lines
//! come from, nor clocks: time is an argument.

mod counts;
mod line;
mod miner;
mod settings;
mod tree;
mod words;

pub use counts::Sample;
pub use miner::{Learned, Miner, Pattern, Scratch};
pub use settings::Settings;
