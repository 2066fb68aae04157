//! One process of lokirs: assembled bottom up, stopped in reverse. It must not know how a role does its work.

use crate::admin::{Admin, VERSION};
use crate::auth::Guard;
use crate::config::{Config, Keys, Settings};
use crate::connect::Connectors;
use crate::debug::Debug;
use crate::http::{self, Requests};
use crate::listeners::Listeners;
use crate::log::LogLevel;
use crate::membership::{self, Cluster};
use crate::otlp::Exporter;
use crate::overrides;
use crate::roles;
use crate::services::Services;
use crate::targets;
use axum::Router;
use cluster::members::Members;
use futures::future::BoxFuture;
use runtime::clock::{SharedClock, SystemClock};
use runtime::limits::Overrides;
use runtime::listen::Listener;
use runtime::memory::Budget;
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::settings::Setting;
use runtime::tasks::Tasks;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
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
    pub cluster: Cluster,
    /// How the channels to other processes are made.
    pub connectors: Connectors,
    /// Keeps what is read from files new: certificates, credentials.
    pub reloader: Reloader,
    /// What caches are built with.
    pub caches: cache::Parts,
    pub members: Arc<dyn Members>,
    /// Our id among the members.
    pub id: String,
    /// Ends the process as a signal does.
    pub terminate: CancellationToken,
}

/// What roles add to the process.
#[derive(Default)]
pub struct Parts {
    /// Routes of tenants that stay open until the end: queries, deletes, rules.
    pub http: Router,
    /// Routes that take data: closed as soon as the process is told to stop.
    pub writes: Router,
    /// Routes that change the process or reveal how it is set up: on the admin listener where there is one, else beside
    /// the others. What changes state is a POST, PUT or DELETE.
    pub admin: Router,
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
    cluster: Cluster,
    metrics: Metrics,
    services: Services,
    shutdown_delay: Duration,
    tasks: Tasks,
    listeners: Tasks,
    stops: Vec<Stop>,
    http_address: SocketAddr,
    grpc_address: SocketAddr,
    admin_address: Option<SocketAddr>,
    terminate: CancellationToken,
}

impl Node {
    /// Builds the roles of the configuration and opens the listeners; requests are served from here on.
    /// `exporter` sends the process's traces, where there is one.
    pub async fn assemble(
        config: Config,
        keys: Arc<Keys>,
        log_level: LogLevel,
        exporter: Option<Exporter>,
    ) -> Result<Node, String> {
        let base = base(&config, keys).await?;
        let chosen = targets::roles(&config.settings.target);
        let mut parts = Parts::default();
        base.cluster.add_to(&mut parts);
        roles::add(&chosen, &base, &mut parts).await?;
        let Base { settings, metrics, services, tasks, memory, reloader, cluster, terminate, .. } = base;
        let admin = Admin {
            services: services.clone(),
            metrics: metrics.clone(),
            log_level,
            config: Arc::new(settings.write()),
            defaults: Arc::new(Settings::default().write()),
        };
        if let Some(exporter) = exporter {
            exporter.register(&metrics);
            tasks.spawn("export of traces", exporter.run(tasks.stopping()));
        }
        let guard = Guard::new(&settings.server.auth_file, &reloader, &metrics)?;
        let listeners = Listeners::bind(&settings, &metrics, &reloader).await?;
        let addresses = listeners.addresses().map_err(|error| format!("no local address: {error}"))?;
        let public = guard.public(admin.clone().public());
        let debug = Debug { tasks: tasks.clone(), memory };
        let operators = guard.operators(admin.operators().merge(debug.operators()).merge(parts.admin));
        let tenants = guard.readers(parts.http).merge(http::gated(guard.pushers(parts.writes), services.clone()));
        let mut data = public.clone().merge(tenants);
        if listeners.admin.is_none() || settings.server.admin_routes_on_data_port {
            data = data.merge(operators.clone());
        }
        let requests = Requests::new(&metrics, tasks.panics());
        let serving = tasks.child();
        let serve = |name, listener: Listener, routes| serving.spawn(name, listener.serve(routes, serving.stopping()));
        serve("http listener", listeners.http, http::server(data, requests.clone()));
        let calls = parts.grpc.into_axum_router().layer(cluster.name.clone().guard());
        let calls = http::grpc_server(calls, requests.clone());
        serve("grpc listener", listeners.grpc, calls);
        if let Some(listener) = listeners.admin {
            serve("admin listener", listener, http::server(public.merge(operators), requests));
        }
        cluster.follow(services.clone(), &tasks);
        let (http_address, grpc_address, admin_address) = addresses;
        tracing::info!(
            version = VERSION, http = %http_address, grpc = %grpc_address, admin = ?admin_address, roles = ?chosen,
            "lokirs started"
        );
        let shutdown_delay = settings.shutdown_delay;
        let stops = parts.stops;
        Ok(Node {
            cluster,
            metrics,
            services,
            shutdown_delay,
            tasks,
            listeners: serving,
            stops,
            http_address,
            grpc_address,
            admin_address,
            terminate,
        })
    }

    /// What the process measures.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where operators' routes are, when they are apart.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Serves until `signal`, or until an operator asks for the end, then stops. True when everything stopped in time.
    pub async fn run(self, signal: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = signal => {}
            () = self.terminate.cancelled() => {}
        }
        tracing::info!("stopping");
        self.services.stop();
        tokio::join!(tokio::time::sleep(self.shutdown_delay), self.cluster.told());
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
async fn base(config: &Config, keys: Arc<Keys>) -> Result<Base, String> {
    let settings = Arc::new(config.settings.clone());
    let metrics = Metrics::new(&settings.metrics_namespace);
    metrics.register_process(VERSION);
    let tasks = Tasks::new(&metrics);
    let memory = match settings.memory_limit {
        0 => Budget::of_machine(),
        bytes => Budget::new(bytes),
    };
    let limits = overrides::start(&settings, keys, &metrics, &tasks)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let cluster = membership::join(&settings, &clock, &metrics, &tasks).await?;
    let reloader = Reloader::new(&tasks, &metrics);
    let caches = cache::Parts {
        metrics: cache::Metrics::new(&metrics),
        tasks: tasks.clone(),
        reloader: reloader.clone(),
        clock: clock.clone(),
    };
    Ok(Base {
        settings,
        clock,
        metrics,
        tasks,
        memory,
        limits,
        services: Services::default(),
        connectors: Connectors::new(&config.settings, &cluster.name, &reloader)?,
        reloader,
        caches,
        id: cluster.id.clone(),
        members: cluster.members.clone(),
        cluster,
        terminate: CancellationToken::new(),
    })
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
