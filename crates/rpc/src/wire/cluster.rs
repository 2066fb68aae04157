//! Which cluster a call comes from. Addresses are used again, and a list of members may be wrong: a server answers no call
//! of another cluster.

use super::error::status_of;
use model::{Error, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, InterceptorLayer};
use tonic::{Request, Status};

/// The metadata that names the caller's cluster.
pub const CLUSTER_METADATA: &str = "x-lokirs-cluster";

/// The name of a cluster. The default is none: its calls are answered by every cluster.
#[derive(Clone, Default)]
pub struct ClusterId(Option<MetadataValue<Ascii>>);

impl ClusterId {
    /// `Invalid` when the name cannot be sent.
    pub fn new(name: &str) -> Result<Self> {
        let value = name.parse().map_err(|_| Error::invalid(format!("{name:?} cannot be a cluster's name")))?;
        Ok(ClusterId(Some(value)))
    }

    /// Stands before services: refuses the calls of other clusters.
    pub fn guard(self) -> InterceptorLayer<ClusterGuard> {
        InterceptorLayer::new(ClusterGuard(self))
    }
}

/// Marks calls.
impl Interceptor for ClusterId {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(name) = &self.0 {
            request.metadata_mut().insert(CLUSTER_METADATA, name.clone());
        }
        Ok(request)
    }
}

/// Checks calls. One that names no cluster comes from no node: a health check, an operator's tool.
#[derive(Clone)]
pub struct ClusterGuard(ClusterId);

impl Interceptor for ClusterGuard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match (&self.0.0, request.metadata().get(CLUSTER_METADATA)) {
            (Some(own), Some(other)) if own != other => Err(status_of(Error::unavailable(format!(
                "this node belongs to the cluster {own:?} and was called by one of {other:?} (setting: memberlist.cluster_label)"
            )))),
            _ => Ok(request),
        }
    }
}
