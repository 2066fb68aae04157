//! A network in memory for tests of clusters: datagrams arrive at once, unless the test has cut the way between two
//! addresses. It must not know what is sent.

pub mod messages;

use crate::gossip::network::{Datagrams, Network};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Datagrams that wait at one address; more are lost, as in a socket's buffer.
const QUEUE_MAX: usize = 1024;

type Datagram = (SocketAddr, Vec<u8>);

/// Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Wires>);

#[derive(Default)]
struct Wires {
    queues: Mutex<HashMap<SocketAddr, mpsc::Sender<Datagram>>>,
    cut: Mutex<HashSet<(SocketAddr, SocketAddr)>>,
    last: Mutex<Vec<u8>>,
    bytes: AtomicU64,
    datagrams: AtomicU64,
}

impl MemoryNetwork {
    /// Loses from now on what `from` sends to `to`; the other direction stays.
    pub fn cut(&self, from: SocketAddr, to: SocketAddr) {
        self.0.cut.lock().insert((from, to));
    }

    /// Undoes every cut.
    pub fn heal(&self) {
        self.0.cut.lock().clear();
    }

    /// Whether somebody listens at an address.
    pub fn is_open(&self, address: SocketAddr) -> bool {
        self.0.queues.lock().get(&address).is_some_and(|queue| !queue.is_closed())
    }

    /// The datagram that was sent last.
    pub fn last(&self) -> Vec<u8> {
        self.0.last.lock().clone()
    }

    /// Delivers a datagram as if it came from `from`.
    pub fn inject(&self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        if let Some(queue) = self.0.queues.lock().get(&to) {
            let _ = queue.try_send((from, datagram));
        }
    }

    /// Bytes and datagrams that were sent.
    pub fn sent(&self) -> (u64, u64) {
        (self.0.bytes.load(Ordering::Relaxed), self.0.datagrams.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Network for MemoryNetwork {
    async fn open(&self, bind: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let mut queues = self.0.queues.lock();
        if queues.get(&bind).is_some_and(|queue| !queue.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        queues.insert(bind, sender);
        Ok(Box::new(MemorySocket { own: bind, wires: self.0.clone(), queue: tokio::sync::Mutex::new(receiver) }))
    }
}

struct MemorySocket {
    own: SocketAddr,
    wires: Arc<Wires>,
    queue: tokio::sync::Mutex<mpsc::Receiver<Datagram>>,
}

#[async_trait]
impl Datagrams for MemorySocket {
    async fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.wires.bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        self.wires.datagrams.fetch_add(1, Ordering::Relaxed);
        *self.wires.last.lock() = datagram.to_vec();
        if self.wires.cut.lock().contains(&(self.own, to)) {
            return Ok(());
        }
        let queue = self.wires.queues.lock().get(&to).cloned();
        if let Some(queue) = queue {
            // A full queue loses it, as the network would.
            let _ = queue.try_send((self.own, datagram.to_vec()));
        }
        Ok(())
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (from, datagram) = self.queue.lock().await.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok((length, from))
    }
}
