//! A service behind TLS in both directions: a client with its certificate is served, one without is not.

#[path = "../../../tests/certificates.rs"]
mod certificates;

use certificates::{Authority, Identity};
use model::{Batch, Kind, TenantId};
use rpc::ingester::Ingester;
use rpc::testing::ScriptedIngester;
use rpc::wire::{Connector, IngesterClient, ingester_server};
use runtime::listen::{ConnectionGauges, ListenLimits, Listener};
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::tasks::Tasks;
use runtime::tls::{ClientAuth, ClientTls, MinVersion, ServerTls};
use std::sync::Arc;

#[tokio::test]
async fn only_a_client_with_a_certificate_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::default();
    let tasks = Tasks::new(&metrics);
    let reloader = Reloader::new(&tasks, &metrics);
    let (ours, strangers) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "strangers"));
    let server = ours.sign("server");
    let tls = ServerTls {
        cert_file: server.cert_file,
        key_file: server.key_file,
        client_ca_file: Some(ours.ca_file.clone()),
        client_auth: ClientAuth::RequireAndVerifyClientCert,
        min_version: MinVersion::Tls13,
    };
    let tls = tls.load("server.grpc_tls_config", &reloader).unwrap();
    let gauges = ConnectionGauges::new(&metrics);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "grpc", ListenLimits::default(), &gauges).await;
    let listener = listener.unwrap().with_tls(Some(tls));
    let port = listener.address().unwrap().port();
    let routes = ingester_server(Arc::new(ScriptedIngester::default())).into_axum_router();
    tasks.spawn("listener", listener.serve(routes, tasks.stopping()));

    let push = async |identity: Option<Identity>, address: String, name: &str| {
        let identity = identity.map(|i| (i.cert_file, i.key_file));
        let tls = ClientTls { ca_file: Some(ours.ca_file.clone()), identity, insecure_skip_verify: false };
        let connector = Connector::tls(tls.load("ingester_client", &reloader).unwrap(), name).unwrap();
        let client = IngesterClient::connect(&connector, &address).unwrap();
        client.push(&TenantId::parse("a").unwrap(), Batch::default()).await.map(drop).map_err(|e| e.kind)
    };
    let (by_name, by_number) = (format!("localhost:{port}"), format!("127.0.0.1:{port}"));
    assert_eq!(push(Some(ours.sign("good")), by_name.clone(), "").await, Ok(()));
    assert_eq!(push(Some(ours.sign("good")), by_number.clone(), "localhost").await, Ok(()));
    for (identity, address, name) in [
        (None, &by_name, ""),
        (Some(strangers.sign("stranger")), &by_name, ""),
        (Some(ours.sign_expired("expired")), &by_name, ""),
        (Some(ours.sign("good")), &by_number, ""),
        (Some(ours.sign("good")), &by_name, "elsewhere"),
    ] {
        let refused = push(identity.clone(), address.clone(), name).await;
        assert_eq!(refused, Err(Kind::Unavailable), "{identity:?} to {address} as {name:?}");
    }
    let plain = IngesterClient::connect(&Connector::default(), &by_name).unwrap();
    let refused = plain.push(&TenantId::parse("a").unwrap(), Batch::default()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Unavailable);
}
