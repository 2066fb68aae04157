//! The ports of a process, bound as the settings say: data, gRPC, and operators' own where they have one. It must not know
//! what is served.

use crate::config::Settings;
use crate::config::server::{Server, ServerTls};
use runtime::listen::{ConnectionGauges, ListenLimits, Listener};
use runtime::metrics::Metrics;
use runtime::reload::{Reloaded, Reloader};
use runtime::tls::ServerConfig;
use std::net::SocketAddr;
use std::time::Duration;

pub struct Listeners {
    pub http: Listener,
    pub grpc: Listener,
    pub admin: Option<Listener>,
}

impl Listeners {
    pub async fn bind(settings: &Settings, metrics: &Metrics, reloader: &Reloader) -> Result<Listeners, String> {
        let server = &settings.server;
        let gauges = ConnectionGauges::new(metrics);
        let http_tls = certificate(server, "http_tls_config", &server.http_tls_config, reloader)?;
        let grpc_tls = certificate(server, "grpc_tls_config", &server.grpc_tls_config, reloader)?;
        let http = bind_http(&server.http_listen_address, server.http_listen_port, server, &gauges).await?;
        let grpc = bind_grpc(server, &gauges).await?;
        let admin = match server.admin_listen_port {
            None => None,
            Some(port) => Some(bind_http(&server.admin_listen_address, port, server, &gauges).await?),
        };
        Ok(Listeners {
            http: http.with_tls(http_tls.clone()),
            grpc: grpc.with_tls(grpc_tls),
            admin: admin.map(|listener| listener.with_tls(http_tls)),
        })
    }

    /// Of data, gRPC and operators.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr, Option<SocketAddr>)> {
        let admin = self.admin.as_ref().map(Listener::address).transpose()?;
        Ok((self.http.address()?, self.grpc.address()?, admin))
    }
}

fn certificate(
    server: &Server,
    block: &str,
    tls: &ServerTls,
    reloader: &Reloader,
) -> Result<Option<Reloaded<ServerConfig>>, String> {
    let name = format!("server.{block}");
    let tls = server.tls(tls).map_err(|fault| format!("{name}: {fault}"))?;
    tls.map(|tls| tls.load(&name, reloader)).transpose()
}

async fn bind_http(host: &str, port: u16, server: &Server, gauges: &ConnectionGauges) -> Result<Listener, String> {
    let limits = ListenLimits {
        connections_max: or_default(server.http_listen_conn_limit),
        read_timeout: server.http_server_read_timeout,
        idle_timeout: server.http_server_idle_timeout,
        ..ListenLimits::default()
    };
    bind(host, port, "http", limits, gauges).await
}

async fn bind_grpc(server: &Server, gauges: &ConnectionGauges) -> Result<Listener, String> {
    let limits = ListenLimits {
        connections_max: or_default(server.grpc_listen_conn_limit),
        http2_streams_max: server.grpc_server_max_concurrent_streams,
        http2_ping: Some(Duration::from_secs(20)),
        body_must_flow: false,
        ..ListenLimits::default()
    };
    bind(&server.grpc_listen_address, server.grpc_listen_port, "grpc", limits, gauges).await
}

fn or_default(connections_max: usize) -> usize {
    if connections_max == 0 { ListenLimits::default().connections_max } else { connections_max }
}

/// An empty host is every address, of both families where the machine has them.
async fn bind(
    host: &str,
    port: u16,
    protocol: &'static str,
    limits: ListenLimits,
    gauges: &ConnectionGauges,
) -> Result<Listener, String> {
    let fault = |error: std::io::Error| format!("cannot listen for {protocol} on {host}:{port}: {error}");
    if host.is_empty() {
        let both = Listener::bind(SocketAddr::from(([0u16; 8], port)), protocol, limits.clone(), gauges).await;
        return match both {
            Ok(listener) => Ok(listener),
            Err(_) => {
                Listener::bind(SocketAddr::from(([0, 0, 0, 0], port)), protocol, limits, gauges).await.map_err(fault)
            }
        };
    }
    let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(fault)?;
    let address = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
    Listener::bind(address, protocol, limits, gauges).await.map_err(fault)
}
