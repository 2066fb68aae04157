//! Who is in the cluster, who holds a stream, and when enough of them have answered. It must not know what is being
//! called.

pub mod census;
pub mod gossip;
pub mod members;
pub mod pool;
pub mod quorum;
pub mod ring;
pub mod testing;
