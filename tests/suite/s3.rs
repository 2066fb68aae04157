//! A real S3 server of another make (moto), started by the test that needs it, and a gate before it: a relay that can
//! shut, or answer in the server's place as a store in trouble does.

use crate::ports::free_port;
use crate::process::test_data;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const BUCKET: &str = "loki";
const SERVES_WITHIN: Duration = Duration::from_secs(60);
/// Of an answer that is cut in the middle, so many bytes arrive.
const CUT_AFTER_BYTES: usize = 700;

/// What stands between the process and its object store at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Nobody answers: connections break, new ones as well.
    Outage,
    /// Each request is answered with this status and body, and never reaches the store.
    Answers(&'static str, &'static str),
    /// Requests reach the store; its answers end in the middle.
    Cut,
}

pub struct S3 {
    server: Child,
    gate: u16,
    weather: watch::Sender<Weather>,
    relay: JoinHandle<()>,
}

/// Where the Python tools of the suite are; the first test that asks has them installed.
pub fn tools() -> PathBuf {
    let output = Command::new(test_data("tools/install")).stderr(Stdio::inherit()).output().expect("bash runs");
    assert!(output.status.success(), "tests/tools/install: {}", output.status);
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

impl S3 {
    /// A server with one empty bucket.
    pub async fn start() -> S3 {
        let port = free_port();
        let moto = tokio::task::block_in_place(tools).join("bin/moto_server");
        let mut command = Command::new(moto);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("the S3 server starts");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = listener.local_addr().unwrap().port();
        let (weather, seen) = watch::channel(Weather::Fair);
        let relay = tokio::spawn(relay(listener, SocketAddr::from(([127, 0, 0, 1], port)), seen));
        let s3 = S3 { server, gate, weather, relay };
        s3.make_bucket(port).await;
        s3
    }

    async fn make_bucket(&self, port: u16) {
        let started = Instant::now();
        let url = format!("http://127.0.0.1:{port}/{BUCKET}");
        // A second installation finds the first one in place; either way there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::new();
        while !http.put(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(started.elapsed() < SERVES_WITHIN, "the S3 server does not serve");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// The block under `common.storage`, by its keys and values.
    pub fn yaml(&self) -> String {
        let port = self.gate;
        format!(
            "s3: {{endpoint: \"127.0.0.1:{port}\", bucketnames: {BUCKET}, s3forcepathstyle: true, insecure: true, \
             access_key_id: suite, secret_access_key: hunter2, region: us-east-1, \
             backoff_config: {{min_period: 50ms, max_period: 200ms, max_retries: 2}}}}"
        )
    }

    /// The bucket itself, to fill it and to look into it.
    pub fn objects(&self) -> storage::objects::Objects {
        use runtime::settings::Secret;
        use storage::objects::{ObjectSettings, Place, S3Settings, open};
        let settings = S3Settings {
            s3: Secret::new(format!("s3://suite:hunter2@127.0.0.1:{}/{BUCKET}", self.gate)),
            s3forcepathstyle: true,
            ..S3Settings::default()
        };
        open("s3", &ObjectSettings::new(Place::S3(Box::new(settings))), None).unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.relay.abort();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

async fn relay(listener: TcpListener, server: SocketAddr, weather: watch::Receiver<Weather>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let weather = weather.clone();
        tokio::spawn(async move {
            // Whoever breaks off first, the other side sees its connection end.
            let _ = connection(client, server, weather).await;
        });
    }
}

async fn connection(
    mut client: TcpStream,
    server: SocketAddr,
    mut weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let now = *weather.borrow_and_update();
    match now {
        Weather::Outage => Ok(()),
        Weather::Answers(status, body) => {
            request(&mut client).await?;
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            client.write_all((head + body).as_bytes()).await
        }
        Weather::Cut => {
            let mut server = TcpStream::connect(server).await?;
            server.write_all(&request(&mut client).await?).await?;
            let mut answer = vec![0; CUT_AFTER_BYTES];
            let mut have = 0;
            while have < answer.len() {
                match server.read(&mut answer[have..]).await? {
                    0 => break,
                    n => have += n,
                }
            }
            client.write_all(&answer[..have]).await
        }
        Weather::Fair => {
            let mut server = TcpStream::connect(server).await?;
            // A change of weather breaks the connections that stand.
            tokio::select! {
                done = tokio::io::copy_bidirectional(&mut client, &mut server) => done.map(drop),
                _ = weather.changed() => Ok(()),
            }
        }
    }
}

/// One request, head and body, with its last line telling the server to close.
async fn request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = client.read(&mut buffer).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..n]);
        let Some(head_end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
        let length =
            head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0usize);
        if bytes.len() >= head_end + 4 + length {
            return Ok(bytes);
        }
    }
}
