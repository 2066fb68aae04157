//! A real listener with TLS and real certificates: who is let in, who is refused, and what happens when they change.

#![allow(clippy::disallowed_methods, reason = "a test joins the tasks that it starts")]

#[path = "../../../tests/certificates.rs"]
mod certificates;

use axum::Router;
use certificates::{Authority, Identity};
use runtime::listen::{ConnectionGauges, ListenLimits, Listener};
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::tasks::Tasks;
use runtime::tls::{ClientAuth, ClientTls, MinVersion, ServerName, ServerTls};
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How an HTTP/2 client opens: the preface and empty settings. The server answers with its own.
const HTTP2_OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

struct World {
    dir: TempDir,
    metrics: Metrics,
    tasks: Tasks,
    reloader: Reloader,
    ours: Authority,
    strangers: Authority,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        let reloader = Reloader::new(&tasks, &metrics);
        let (ours, strangers) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "strangers"));
        World { dir, metrics, tasks, reloader, ours, strangers }
    }

    fn tls(&self, server: &Identity, client_auth: ClientAuth) -> ServerTls {
        let verifies = !matches!(client_auth, ClientAuth::NoClientCert);
        ServerTls {
            cert_file: server.cert_file.clone(),
            key_file: server.key_file.clone(),
            client_ca_file: verifies.then(|| self.ours.ca_file.clone()),
            client_auth,
            min_version: MinVersion::Tls12,
        }
    }

    async fn listen(&self, tls: ServerTls) -> SocketAddr {
        let config = tls.load("server.grpc_tls_config", &self.reloader).unwrap();
        let gauges = ConnectionGauges::new(&self.metrics);
        let address = "127.0.0.1:0".parse().unwrap();
        let limits = ListenLimits { read_timeout: Duration::from_secs(2), ..ListenLimits::default() };
        let listener = Listener::bind(address, "grpc", limits, &gauges).await.unwrap().with_tls(Some(config));
        let address = listener.address().unwrap();
        self.tasks.spawn("listener", listener.serve(Router::new(), self.tasks.stopping()));
        address
    }

    fn client(&self, identity: Option<&Identity>) -> ClientTls {
        ClientTls {
            ca_file: Some(self.ours.ca_file.clone()),
            identity: identity.map(|i| (i.cert_file.clone(), i.key_file.clone())),
            insecure_skip_verify: false,
        }
    }

    /// Whether the server talks to such a client.
    async fn talks(&self, address: SocketAddr, client: ClientTls, name: &'static str) -> bool {
        let config = client.load("client", &self.reloader).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(config.get());
        let Ok(mut stream) = connector.connect(ServerName::try_from(name).unwrap(), stream).await else { return false };
        let _ = stream.write_all(HTTP2_OPENING).await;
        let mut first = [0u8; 1];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut first));
        matches!(read.await.expect("the server answers or closes"), Ok(1))
    }
}

#[tokio::test]
async fn clients_are_let_in_as_client_auth_type_says() {
    let world = World::new();
    let server = world.ours.sign("server");
    let (good, stranger) = (world.ours.sign("good"), world.strangers.sign("stranger"));
    let expired = world.ours.sign_expired("expired");
    let all = [None, Some(&good), Some(&stranger), Some(&expired)];
    for (client_auth, let_in) in [
        (ClientAuth::NoClientCert, [true, true, true, true]),
        (ClientAuth::RequestClientCert, [true, true, true, true]),
        (ClientAuth::RequireAnyClientCert, [false, true, true, true]),
        (ClientAuth::VerifyClientCertIfGiven, [true, true, false, false]),
        (ClientAuth::RequireAndVerifyClientCert, [false, true, false, false]),
    ] {
        let address = world.listen(world.tls(&server, client_auth)).await;
        for (identity, expected) in all.into_iter().zip(let_in) {
            let talks = world.talks(address, world.client(identity), "localhost").await;
            assert_eq!(talks, expected, "{client_auth:?} and {identity:?}");
        }
    }
    assert!(world.metrics.print_classic().contains("loki_tls_handshake_failures_total{protocol=\"grpc\"}"));
}

#[tokio::test]
async fn servers_are_trusted_as_the_client_is_set() {
    let world = World::new();
    let (good, stranger) = (world.ours.sign("good"), world.strangers.sign("stranger"));
    let expired = world.ours.sign_expired("expired");
    for (server, name, skip_verify, expected) in [
        (&good, "localhost", false, true),
        (&good, "elsewhere", false, false),
        (&stranger, "localhost", false, false),
        (&expired, "localhost", false, false),
        (&stranger, "elsewhere", true, true),
        (&expired, "localhost", true, true),
    ] {
        let address = world.listen(world.tls(server, ClientAuth::NoClientCert)).await;
        let client = ClientTls { insecure_skip_verify: skip_verify, ..world.client(None) };
        assert_eq!(world.talks(address, client, name).await, expected, "{server:?} as {name}, {skip_verify}");
    }
}

#[tokio::test]
async fn a_changed_certificate_is_shown_without_a_restart() {
    let world = World::new();
    let server = world.strangers.sign("server");
    let address = world.listen(world.tls(&server, ClientAuth::NoClientCert)).await;
    assert!(!world.talks(address, world.client(None), "localhost").await);
    let renewed = world.ours.sign("renewed");
    std::fs::copy(&renewed.key_file, &server.key_file).unwrap();
    std::fs::copy(&renewed.cert_file, &server.cert_file).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !world.talks(address, world.client(None), "localhost").await {
        assert!(tokio::time::Instant::now() < deadline, "the new certificate is never shown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn who_speaks_no_tls_or_says_nothing_is_let_go() {
    let world = World::new();
    let address = world.listen(world.tls(&world.ours.sign("server"), ClientAuth::NoClientCert)).await;
    for said in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", ""] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = vec![];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
        let _ = read.await.expect("the server closes the connection");
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 "), "{answer:?}");
    }
}

#[tokio::test]
async fn files_that_are_no_certificates_are_refused_with_words_that_hold_no_key() {
    let world = World::new();
    let (server, other) = (world.ours.sign("server"), world.ours.sign("other"));
    let junk = world.dir.path().join("junk");
    std::fs::write(&junk, "-----BEGIN PRIVATE KEY-----\nhunter2\n").unwrap();
    let good = || world.tls(&server, ClientAuth::NoClientCert);
    for (tls, fault) in [
        (ServerTls { cert_file: junk.clone(), ..good() }, "certificate"),
        (ServerTls { key_file: junk.clone(), ..good() }, "no private key"),
        (ServerTls { key_file: other.key_file.clone(), ..good() }, "cannot be used"),
        (ServerTls { key_file: "nowhere".into(), ..good() }, "cannot read nowhere"),
        (ServerTls { key_file: "".into(), ..good() }, "both needed"),
        (ServerTls { client_ca_file: Some(junk.clone()), ..good() }, "client_auth_type"),
        (
            ServerTls { client_ca_file: None, ..world.tls(&server, ClientAuth::RequireAndVerifyClientCert) },
            "needs client_ca_file",
        ),
    ] {
        let error = tls.load("server.http_tls_config", &world.reloader).err().expect(fault);
        assert!(error.starts_with("server.http_tls_config: ") && error.contains(fault), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(ClientAuth::from_name("Maybe").is_err() && MinVersion::from_name("VersionTLS10").is_err());
}
