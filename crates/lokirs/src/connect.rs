//! How this process reaches the others: a connector for each of Loki's blocks of gRPC client settings. It must not know
//! what is called.

use crate::config::Settings;
use crate::config::server::GrpcClient;
use rpc::wire::{ClusterId, Connector};
use runtime::reload::Reloader;

/// One connector for each block, named after it.
#[derive(Clone, Default)]
pub struct Connectors {
    /// `ingester_client.grpc_client_config`: who calls ingesters.
    pub ingester_client: Connector,
    /// `frontend.grpc_client_config`: frontends, to query-schedulers.
    pub frontend: Connector,
    /// `frontend_worker.grpc_client_config`: queriers, to query-frontends and query-schedulers.
    pub frontend_worker: Connector,
    /// `query_scheduler.grpc_client_config`: query-schedulers, to query-frontends.
    pub query_scheduler: Connector,
    /// `storage_config.tsdb_shipper.index_gateway_client.grpc_client_config`: who calls index gateways.
    pub index_gateway_client: Connector,
    /// `compactor_grpc_client`: who asks the compactor for deletes.
    pub compactor: Connector,
    /// `ruler.ruler_client`: rulers, to each other.
    pub ruler: Connector,
}

/// The blocks with their names, in the order of [`Connectors`].
pub fn blocks(settings: &Settings) -> [(&'static str, &GrpcClient); 7] {
    let gateway = &settings.storage_config.tsdb_shipper.index_gateway_client.grpc_client_config;
    [
        ("ingester_client.grpc_client_config", &settings.ingester_client.grpc_client_config),
        ("frontend.grpc_client_config", &settings.frontend.grpc_client_config),
        ("frontend_worker.grpc_client_config", &settings.frontend_worker.grpc_client_config),
        ("query_scheduler.grpc_client_config", &settings.query_scheduler.grpc_client_config),
        ("storage_config.tsdb_shipper.index_gateway_client.grpc_client_config", gateway),
        ("compactor_grpc_client", &settings.compactor_grpc_client),
        ("ruler.ruler_client", &settings.ruler.ruler_client),
    ]
}

impl Connectors {
    pub fn new(settings: &Settings, cluster: &ClusterId, reloader: &Reloader) -> Result<Self, String> {
        let made: [Result<Connector, String>; 7] =
            blocks(settings).map(|(name, client)| Ok(connector(name, client, reloader)?.of_cluster(cluster.clone())));
        let [ingester_client, frontend, frontend_worker, query_scheduler, index_gateway_client, compactor, ruler] =
            made;
        Ok(Connectors {
            ingester_client: ingester_client?,
            frontend: frontend?,
            frontend_worker: frontend_worker?,
            query_scheduler: query_scheduler?,
            index_gateway_client: index_gateway_client?,
            compactor: compactor?,
            ruler: ruler?,
        })
    }
}

fn connector(name: &str, client: &GrpcClient, reloader: &Reloader) -> Result<Connector, String> {
    let fault = |fault: String| format!("{name}: {fault}");
    match client.tls().map_err(fault)? {
        None => Ok(Connector::default()),
        Some(tls) => {
            let config = tls.load(name, reloader)?;
            Connector::tls(config, &client.tls_server_name).map_err(|e| fault(e.message))
        }
    }
}
