//! Every call that may cross a process: one trait per service, implemented by the role itself and by a gRPC client.
//! The caller cannot tell which. It must not know who implements a service.

pub mod call;
pub mod deletes;
pub mod index;
pub mod ingester;
pub mod pusher;
pub mod queries;
pub mod read_limits;
pub mod rules;
pub mod scheduler;
pub mod selections;
pub mod tail;
pub mod testing;
pub mod wire;
