//! The one place where channels to other processes are made, with what they say of us and how long they wait. Every client
//! is built on it. It must not know any service.

use super::cluster::ClusterId;
use model::{Error, Result};
use std::time::Duration;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

/// What every client sends its calls over.
pub type Channel = InterceptedService<tonic::transport::Channel, ClusterId>;

/// How long opening a connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a peer is asked whether it is there while an answer is awaited, and how long it may be silent: a tail may
/// wait for hours, and must not wait for a node that is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes channels; a cheap handle. The default names no cluster.
#[derive(Clone, Default)]
pub struct Connector {
    cluster: ClusterId,
}

impl Connector {
    /// Whose calls name the cluster that they come from.
    pub fn of_cluster(cluster: ClusterId) -> Self {
        Connector { cluster }
    }

    /// A channel to `host:port`. It connects when it is first used, and again by itself. `Invalid` when that is no address.
    pub fn channel(&self, address: &str) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| Error::invalid(format!("the gRPC address {address:?}: {e}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .tcp_nodelay(true);
        Ok(InterceptedService::new(endpoint.connect_lazy(), self.cluster.clone()))
    }
}
