//! Settings as data: the YAML tree, the units, and the blocks that read and print themselves.
//! It must not know any key.

mod block;
mod secret;
mod setting;
mod tree;
pub mod units;

pub use block::Block;
pub use secret::{MASK, Secret, SecretUrl};
pub use setting::{Described, NoReference, Reader, Reference, Setting, below, key, nearest};
pub use tree::{Tree, Value};
