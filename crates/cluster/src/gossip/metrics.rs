//! What the gossip counts, under the names of Loki's memberlist where the meaning is equal.

use runtime::metrics::{Counter, Family, Gauge, Metrics};

#[derive(Clone)]
pub struct TransportMetrics {
    pub packets_sent: Counter,
    pub bytes_sent: Counter,
    pub send_errors: Counter,
    pub packets_received: Counter,
    pub bytes_received: Counter,
    pub receive_errors: Counter,
    pub foreign: Counter,
    /// By reason.
    pub refused: Family<[(&'static str, &'static str); 1], Counter>,
}

impl TransportMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let counter = |name: &str, help: &str| metrics.counter(&format!("memberlist_udp_transport_{name}"), help);
        TransportMetrics {
            packets_sent: counter("packets_sent", "Gossip packets sent"),
            bytes_sent: counter("packets_sent_bytes", "Bytes of gossip packets sent"),
            send_errors: counter("packets_sent_errors", "Gossip packets that could not be sent"),
            packets_received: counter("packets_received", "Packets received at the gossip port"),
            bytes_received: counter("packets_received_bytes", "Bytes of packets received at the gossip port"),
            receive_errors: counter("packets_received_errors", "Packets that could not be received or understood"),
            foreign: counter("foreign_packets", "Packets of other clusters, which were refused"),
            refused: metrics.counters(
                "memberlist_udp_transport_refused_messages",
                "Messages that no member sends, or with more than may be known",
            ),
        }
    }
}

#[derive(Clone)]
pub struct ClusterMetrics {
    pub members: Gauge,
    pub duplicates: Gauge,
    pub forgotten: Counter,
    pub restarts: Counter,
}

impl ClusterMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        ClusterMetrics {
            members: metrics.gauge("memberlist_client_cluster_members_count", "Number of members in the cluster"),
            duplicates: metrics
                .gauge("memberlist_client_duplicate_members", "Living processes that use the id of this one"),
            forgotten: metrics
                .counter("memberlist_client_forgotten_members", "Members that were forgotten after they had died"),
            restarts: metrics.counter("memberlist_client_restarts", "How often the gossip had to be started again"),
        }
    }
}
