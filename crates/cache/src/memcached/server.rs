//! One server of memcached: its connections, the time that a request may take, and whether it is left alone. It must not
//! know of other servers.

use super::protocol;
use crate::breaker::{Breaker, BreakerSettings};
use crate::metrics::Failed;
use bytes::Bytes;
use parking_lot::Mutex;
use runtime::reload::Reloaded;
use runtime::tls::{ClientConfig, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// Connections to one server at a time; who comes later waits, within its timeout.
const CONNECTIONS_MAX: usize = 128;

/// How every server is spoken to.
pub struct Manner {
    pub timeout: Duration,
    pub max_idle_conns: usize,
    pub value_bytes_max: usize,
    pub breaker: BreakerSettings,
    pub tls: Option<Reloaded<ClientConfig>>,
}

pub struct Server {
    pub address: SocketAddr,
    /// What its certificate must be for.
    pub name: Option<ServerName<'static>>,
    manner: Arc<Manner>,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
    breaker: Breaker,
}

/// What a server is asked.
pub enum Request<'a> {
    Get(&'a [&'a str]),
    Set { key: &'a str, value: &'a [u8], expiration: u64 },
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

type Connection = BufReader<Box<dyn Wire>>;

impl Server {
    pub fn new(address: SocketAddr, name: Option<ServerName<'static>>, manner: Arc<Manner>) -> Self {
        let breaker = Breaker::new(manner.breaker);
        Server { address, name, manner, idle: Mutex::default(), places: Semaphore::new(CONNECTIONS_MAX), breaker }
    }

    /// The values, or nothing when something was stored. Comes back within the timeout.
    pub async fn call(&self, request: Request<'_>) -> Result<Vec<Option<Bytes>>, Failed> {
        let deadline = Instant::now() + self.manner.timeout;
        // Too little room here is not the server's fault.
        let place = timeout_at(deadline, self.places.acquire()).await;
        let _place = place.map_err(|_| Failed::Timeout)?.map_err(|_| Failed::Open)?;
        let turn = self.breaker.enter().ok_or(Failed::Open)?;
        let answered = timeout_at(deadline, self.ask(&request)).await.unwrap_or(Err(Failed::Timeout));
        match answered {
            Ok(_) | Err(Failed::Refused | Failed::TooLarge) => turn.succeeded(),
            Err(_) => turn.failed(),
        }
        answered
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Vec<Option<Bytes>>, Failed> {
        let idle = self.idle.lock().pop();
        if let Some(mut connection) = idle {
            match self.ask_over(&mut connection, request).await {
                // The server was restarted since it was last asked: none of the others is of use.
                Err(Failed::Connection) => self.idle.lock().clear(),
                answered => return self.keep(connection, answered),
            }
        }
        let mut connection = self.connect().await?;
        let answered = self.ask_over(&mut connection, request).await;
        self.keep(connection, answered)
    }

    async fn ask_over(&self, over: &mut Connection, request: &Request<'_>) -> Result<Vec<Option<Bytes>>, Failed> {
        match request {
            Request::Get(keys) => protocol::get(over, keys, self.manner.value_bytes_max).await,
            Request::Set { key, value, expiration } => {
                protocol::set(over, key, value, *expiration).await.map(|()| vec![])
            }
        }
    }

    /// Keeps the connection for the next request if this one is over on it.
    fn keep<T>(&self, connection: Connection, answered: Result<T, Failed>) -> Result<T, Failed> {
        let over = matches!(answered, Ok(_) | Err(Failed::Refused)) && connection.buffer().is_empty();
        let mut idle = self.idle.lock();
        if over && idle.len() < self.manner.max_idle_conns {
            idle.push(connection);
        }
        answered
    }

    async fn connect(&self) -> Result<Connection, Failed> {
        let failed = |_| Failed::Connection;
        let stream = TcpStream::connect(self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let wire: Box<dyn Wire> = match (&self.manner.tls, &self.name) {
            (Some(tls), Some(name)) => {
                let mut config = ClientConfig::clone(&tls.get());
                // They stand for HTTP/2, which this is not.
                config.alpn_protocols.clear();
                let connected = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await;
                Box::new(connected.map_err(failed)?)
            }
            (Some(_), None) => return Err(Failed::Connection),
            (None, _) => Box::new(stream),
        };
        Ok(BufReader::new(wire))
    }
}
