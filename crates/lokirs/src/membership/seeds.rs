//! `memberlist.join_members`, looked up anew each time: behind a name are other processes tomorrow.

use crate::config::server::Memberlist;
use async_trait::async_trait;
use cluster::gossip;
use runtime::dns;
use std::net::SocketAddr;

pub struct Seeds {
    entries: Vec<String>,
    default_port: u16,
}

impl Seeds {
    pub fn of(settings: &Memberlist) -> Result<Self, String> {
        let entries = settings.join_members.clone();
        for entry in &entries {
            dns::check(entry).map_err(|fault| format!("memberlist.join_members: {fault}"))?;
        }
        Ok(Seeds { entries, default_port: settings.bind_port })
    }

    /// Those that can be found at this moment. A name that has no address yet is no fault.
    pub async fn look_up(&self) -> Vec<SocketAddr> {
        let mut found = vec![];
        for entry in &self.entries {
            match dns::resolve(entry, self.default_port).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => tracing::warn!(entry, error, "a seed cannot be found (setting: memberlist.join_members)"),
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[async_trait]
impl gossip::Seeds for Seeds {
    async fn addresses(&self) -> Vec<SocketAddr> {
        self.look_up().await
    }
}
