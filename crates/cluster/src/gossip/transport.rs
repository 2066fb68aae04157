//! How chitchat's messages travel: each in an envelope that names the cluster. What is not ours, or not fit for chitchat, is
//! refused, counted and named in the log. A network that fails for a while ends nothing. It must not know members.

use super::envelope::{DATAGRAM_BYTES_MAX, Refused, open, seal};
use super::metrics::TransportMetrics;
use super::network::{Datagrams, Network};
use super::screen::{Refusal, Screen};
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A cause of refusals is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How long to wait after the network has failed to receive.
const RETRY_AFTER: Duration = Duration::from_millis(200);

pub struct Enveloped {
    pub network: Arc<dyn Network>,
    pub screen: Screen,
    pub metrics: TransportMetrics,
}

#[async_trait]
impl Transport for Enveloped {
    async fn open(&self, bind: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let datagrams = self.network.open(bind).await?;
        Ok(Box::new(EnvelopedSocket {
            datagrams,
            screen: self.screen.clone(),
            metrics: self.metrics.clone(),
            sent: vec![],
            received: vec![0; DATAGRAM_BYTES_MAX],
            last_logged: None,
        }))
    }
}

struct EnvelopedSocket {
    datagrams: Box<dyn Datagrams>,
    screen: Screen,
    metrics: TransportMetrics,
    sent: Vec<u8>,
    received: Vec<u8>,
    last_logged: Option<Instant>,
}

#[async_trait]
impl Socket for EnvelopedSocket {
    /// An address that cannot be reached is no error: the failure detector decides who is there.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        seal(&self.screen.cluster, &message.serialize_to_vec(), &mut self.sent);
        let sent = self.datagrams.send(to, &self.sent).await;
        match sent {
            Ok(()) => {
                self.metrics.packets_sent.inc();
                self.metrics.bytes_sent.inc_by(self.sent.len() as u64);
            }
            Err(error) => {
                self.metrics.send_errors.inc();
                if self.may_log() {
                    tracing::warn!(%to, %error, bytes = self.sent.len(), "gossip cannot be sent");
                }
            }
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            match self.datagrams.receive(&mut self.received).await {
                Ok((length, from)) => {
                    if let Some(message) = self.message(length, from) {
                        return Ok((from, message));
                    }
                }
                Err(error) => {
                    self.metrics.receive_errors.inc();
                    if self.may_log() {
                        tracing::warn!(%error, "gossip cannot be received");
                    }
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

impl EnvelopedSocket {
    fn message(&mut self, length: usize, from: SocketAddr) -> Option<ChitchatMessage> {
        self.metrics.packets_received.inc();
        self.metrics.bytes_received.inc_by(length as u64);
        let payload = match open(&self.screen.cluster, &self.received[..length]) {
            Ok(payload) => payload,
            Err(refused) => {
                self.refuse_envelope(refused, length, from);
                return None;
            }
        };
        let admitted = self.screen.admit(&payload).and_then(|admitted| {
            let message = ChitchatMessage::deserialize(&mut admitted.message.as_slice());
            Ok((message.map_err(|_| Refusal::Malformed)?, admitted.left_out))
        });
        match admitted {
            Ok((message, left_out)) => {
                if left_out > 0 {
                    self.refuse(Refusal::Full, from);
                }
                Some(message)
            }
            Err(refusal) => {
                self.refuse(refusal, from);
                None
            }
        }
    }

    fn refuse_envelope(&mut self, refused: Refused, length: usize, from: SocketAddr) {
        match &refused {
            Refused::Foreign(_) => self.metrics.foreign.inc(),
            Refused::Junk | Refused::Version(_) => self.metrics.receive_errors.inc(),
        };
        if self.may_log() {
            let own = &self.screen.cluster;
            match refused {
                Refused::Foreign(cluster) => tracing::warn!(
                    %from, cluster, own, "gossip of another cluster is refused (setting: memberlist.cluster_label)"
                ),
                Refused::Version(version) => tracing::warn!(%from, version, "gossip of an unknown version is refused"),
                Refused::Junk => tracing::warn!(%from, length, "a datagram that is no gossip is refused"),
            }
        }
    }

    /// A message, or what of it would be too much.
    fn refuse(&mut self, refusal: Refusal, from: SocketAddr) {
        let reason = refusal.reason();
        self.metrics.refused.get_or_create(&[("reason", reason)]).inc();
        if self.may_log() {
            tracing::warn!(%from, reason, "gossip that no member sends is refused");
        }
    }

    /// Whether enough time has passed since the last line.
    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        let may = self.last_logged.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if may {
            self.last_logged = Some(now);
        }
        may
    }
}
