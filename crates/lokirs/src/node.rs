//! One process of lokirs: assembled bottom up, stopped in reverse. It must not know how a role does its work.

use crate::admin::{Admin, VERSION};
use crate::config::{Config, Keys, Settings};
use crate::http::{self, Requests};
use crate::log::LogLevel;
use crate::overrides;
use crate::roles;
use crate::services::Services;
use crate::targets;
use axum::Router;
use cluster::members::{Members, StaticMembers};
use futures::future::BoxFuture;
use runtime::clock::{SharedClock, SystemClock};
use runtime::limits::Overrides;
use runtime::listen::{ConnectionGauges, ListenLimits, Listener};
use runtime::memory::Budget;
use runtime::metrics::Metrics;
use runtime::settings::Setting;
use runtime::tasks::Tasks;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;

/// From the signal to the end of the process: what orchestrators grant before they kill.
pub const STOP_WITHIN: Duration = Duration::from_secs(28);

/// The part of [`STOP_WITHIN`] that is left to running requests when the roles have stopped.
const REQUESTS_WITHIN: Duration = Duration::from_secs(5);

/// What every role is built from.
pub struct Base {
    pub settings: Arc<Settings>,
    pub clock: SharedClock,
    pub metrics: Metrics,
    pub tasks: Tasks,
    pub memory: Arc<Budget>,
    pub limits: Arc<Overrides>,
    pub services: Services,
    pub members: Arc<dyn Members>,
    /// Our id among the members.
    pub id: String,
}

/// What roles add to the process.
#[derive(Default)]
pub struct Parts {
    /// Routes that stay open until the end: queries, administration.
    pub http: Router,
    /// Routes that take data: closed as soon as the process is told to stop.
    pub writes: Router,
    grpc: Routes,
    stops: Vec<Stop>,
}

struct Stop {
    name: &'static str,
    stop: BoxFuture<'static, ()>,
}

impl Parts {
    /// Adds a service to those that other nodes call.
    pub fn serve_grpc(&mut self, service: Routes) {
        let others = std::mem::take(&mut self.grpc).into_axum_router();
        self.grpc = service.into_axum_router().merge(others.reset_fallback()).into();
    }

    /// What a role does to stop; it runs after everything that was added later has stopped.
    pub fn on_stop(&mut self, name: &'static str, stop: impl Future<Output = ()> + Send + 'static) {
        self.stops.push(Stop { name, stop: Box::pin(stop) });
    }
}

/// A process that is ready to run.
pub struct Node {
    services: Services,
    shutdown_delay: Duration,
    tasks: Tasks,
    listeners: Tasks,
    stops: Vec<Stop>,
    http_address: SocketAddr,
    grpc_address: SocketAddr,
}

impl Node {
    /// Builds the roles of the configuration and opens both listeners; requests are served from here on.
    pub async fn assemble(config: Config, keys: Arc<Keys>, log_level: LogLevel) -> Result<Node, String> {
        let base = base(&config, keys)?;
        let chosen = targets::roles(&config.settings.target);
        let mut parts = Parts::default();
        roles::add(&chosen, &base, &mut parts).await?;
        let Base { settings, metrics, services, tasks, .. } = base;
        let admin = Admin {
            services: services.clone(),
            metrics: metrics.clone(),
            log_level,
            config: Arc::new(settings.write()),
            defaults: Arc::new(Settings::default().write()),
        };
        let routes = admin.router().merge(parts.http).merge(http::gated(parts.writes, services.clone()));
        let routes = http::server(routes, Requests::new(&metrics, tasks.panics()));
        let listeners = tasks.child();
        let gauges = ConnectionGauges::new(&metrics);
        let (http, grpc) = (bind_http(&settings, &gauges).await?, bind_grpc(&settings, &gauges).await?);
        let address = |listener: &Listener| listener.address().map_err(|error| format!("no local address: {error}"));
        let (http_address, grpc_address) = (address(&http)?, address(&grpc)?);
        listeners.spawn("http listener", http.serve(routes, listeners.stopping()));
        listeners.spawn("grpc listener", grpc.serve(parts.grpc.into_axum_router(), listeners.stopping()));
        tracing::info!(version = VERSION, http = %http_address, grpc = %grpc_address, roles = ?chosen, "lokirs started");
        let shutdown_delay = settings.shutdown_delay;
        Ok(Node { services, shutdown_delay, tasks, listeners, stops: parts.stops, http_address, grpc_address })
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Serves until `signal`, then stops. True when everything stopped in time.
    pub async fn run(self, signal: impl Future<Output = ()>) -> bool {
        signal.await;
        tracing::info!("stopping");
        self.services.stop();
        tokio::time::sleep(self.shutdown_delay).await;
        match tokio::time::timeout(STOP_WITHIN, self.stop()).await {
            Ok(late) if late.is_empty() => {
                tracing::info!("stopped");
                true
            }
            Ok(late) => {
                tracing::warn!(?late, "stopped; some tasks were cut off");
                true
            }
            Err(_) => {
                tracing::error!(within = ?STOP_WITHIN, "a role did not stop in time");
                false
            }
        }
    }

    /// Roles in reverse of their start, then the listeners, then what runs in the background. What is still running
    /// is named.
    async fn stop(self) -> Vec<&'static str> {
        for Stop { name, stop } in self.stops.into_iter().rev() {
            tracing::info!(role = name, "stopping");
            stop.await;
        }
        let mut late = self.listeners.stop(REQUESTS_WITHIN).await;
        late.extend(self.tasks.stop(REQUESTS_WITHIN).await);
        late
    }
}

/// What roles share, bottom up.
fn base(config: &Config, keys: Arc<Keys>) -> Result<Base, String> {
    let settings = Arc::new(config.settings.clone());
    let metrics = Metrics::new(&settings.metrics_namespace);
    metrics.register_process(VERSION);
    let tasks = Tasks::new(&metrics);
    let memory = match settings.memory_limit {
        0 => Budget::of_machine(),
        bytes => Budget::new(bytes),
    };
    let limits = overrides::start(&settings, keys, &metrics, &tasks)?;
    let members = Arc::new(StaticMembers::new(crate::members::members(&settings)));
    Ok(Base {
        settings,
        clock: Arc::new(SystemClock),
        metrics,
        tasks,
        memory,
        limits,
        services: Services::default(),
        id: crate::members::own_id(&config.settings),
        members,
    })
}

async fn bind_http(settings: &Settings, gauges: &ConnectionGauges) -> Result<Listener, String> {
    let server = &settings.server;
    let limits = ListenLimits {
        connections_max: or_default(server.http_listen_conn_limit),
        read_timeout: server.http_server_read_timeout,
        idle_timeout: server.http_server_idle_timeout,
        ..ListenLimits::default()
    };
    bind(&server.http_listen_address, server.http_listen_port, "http", limits, gauges).await
}

async fn bind_grpc(settings: &Settings, gauges: &ConnectionGauges) -> Result<Listener, String> {
    let server = &settings.server;
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

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
