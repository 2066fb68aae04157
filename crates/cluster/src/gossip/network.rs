//! What datagrams are sent over: UDP, or a network in memory whose faults a test decides on. It must not know what they
//! hold.

use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// Opens addresses.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    async fn open(&self, bind: SocketAddr) -> io::Result<Box<dyn Datagrams>>;
}

/// An open address.
#[async_trait]
pub trait Datagrams: Send + Sync + 'static {
    async fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()>;
    /// Waits for a datagram, which it puts into `buffer`. Dropped while it waits, it has taken none.
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
}

/// The machine's network.
pub struct Udp;

#[async_trait]
impl Network for Udp {
    async fn open(&self, bind: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(UdpSocket::bind(bind).await?))
    }
}

#[async_trait]
impl Datagrams for UdpSocket {
    async fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.send_to(datagram, to).await.map(drop)
    }
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer).await
    }
}
