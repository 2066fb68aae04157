//! The one place where channels to other processes are made: what they speak, how long they wait, which cluster and trace
//! they name.
//! Every client is built on it. It must not know any service.

use super::cluster::ClusterId;
use hyper_util::rt::TokioIo;
use model::{Error, Result};
use runtime::reload::Reloaded;
use runtime::tls::{ClientConfig, ServerName};
use runtime::trace::{self, TRACEPARENT};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

/// What every client sends its calls over: each call names the cluster and the trace that it comes from.
pub type Channel = InterceptedService<tonic::transport::Channel, Caller>;

/// How long opening a connection may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a peer is asked whether it is there while an answer is awaited, and how long it may be silent: a tail may
/// wait for hours, and must not wait for a node that is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes channels; a cheap handle. The default speaks no TLS and names no cluster.
#[derive(Clone, Default)]
pub struct Connector {
    cluster: ClusterId,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    config: Reloaded<ClientConfig>,
    /// Instead of the host in the address.
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    /// With TLS. `server_name` is what the server's certificate must be for; empty: the host that is called.
    pub fn tls(config: Reloaded<ClientConfig>, server_name: &str) -> Result<Self> {
        let server_name = if server_name.is_empty() { None } else { Some(parse_name(server_name)?) };
        Ok(Connector { cluster: ClusterId::default(), tls: Some(Tls { config, server_name }) })
    }

    /// The same, for calls that name the cluster that they come from.
    pub fn of_cluster(self, cluster: ClusterId) -> Self {
        Connector { cluster, ..self }
    }

    /// A channel to `host:port`. It connects when it is first used, and again by itself. `Invalid` when that is no address.
    pub fn channel(&self, address: &str) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| Error::invalid(format!("the gRPC address {address:?}: {e}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .tcp_nodelay(true);
        let channel = match self.tls.clone() {
            None => endpoint.connect_lazy(),
            Some(tls) => endpoint.connect_with_connector_lazy(tower::service_fn(move |uri| open(tls.clone(), uri))),
        };
        Ok(InterceptedService::new(channel, Caller(self.cluster.clone())))
    }
}

/// Tells the other side which cluster and which span it is called from.
#[derive(Clone)]
pub struct Caller(ClusterId);

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(context) = trace::current().and_then(|context| context.to_string().parse().ok()) {
            request.metadata_mut().insert(TRACEPARENT, context);
        }
        self.0.call(request)
    }
}

/// A connection that is encrypted before anything is said. Each takes the newest certificates.
async fn open(tls: Tls, uri: Uri) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
    let authority = uri.authority().ok_or_else(|| std::io::Error::other("the gRPC address names no host"))?;
    let name = match tls.server_name {
        Some(name) => name,
        None => parse_name(authority.host()).map_err(std::io::Error::other)?,
    };
    let stream = TcpStream::connect(authority.as_str()).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(tls.config.get()).connect(name, stream).await?;
    Ok(TokioIo::new(stream))
}

fn parse_name(name: &str) -> Result<ServerName<'static>> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_string()).map_err(|_| Error::invalid(format!("{name:?} is no name of a server")))
}
