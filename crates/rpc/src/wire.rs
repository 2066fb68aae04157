//! The services over gRPC: for each a client, which is the service to its caller, and a server around an instance. The
//! generated types are seen here and nowhere else.

mod client;
mod cluster;
mod connect;
mod convert;
mod convert_calls;
mod convert_patterns;
mod convert_replies;
mod deletes;
mod error;
mod index;
mod kept;
mod progress;
mod queries;
mod rules;
mod scheduler;
mod server;
mod tails;

pub use client::IngesterClient;
pub use cluster::{CLUSTER_METADATA, ClusterGuard, ClusterId};
pub use connect::{Channel, Connector};
pub use deletes::{DeletesClient, deletes_server};
pub use error::{error_of, status_of};
pub use index::{IndexClient, index_server};
pub use kept::{call_bytes, reply_bytes, reply_of_bytes};
pub use queries::{QueriesClient, queries_server};
pub use rules::{RuleStatesClient, rule_states_server};
pub use scheduler::{SchedulerClient, scheduler_server};
pub use server::ingester_server;
pub use tails::{TailsClient, tails_server};

/// The metadata that names the tenant of a call.
pub const TENANT_METADATA: &str = "x-scope-orgid";
/// The largest message, in bytes: a batch as large as the distributor makes them, and what is around it. Other requests than
/// those to an ingester may have tonic's 4 MiB. Who says that so much comes makes tonic reserve it, which costs addresses
/// and no memory until it comes.
pub const MESSAGE_BYTES_MAX: usize = 144 << 20;

#[allow(clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("lokirs.v1");
}
