//! The clients of one tenant, and what is done to its samples before they are queued.

use super::Context;
use super::backlog::{Backlog, Place};
use super::metrics::ClientMetrics;
use super::settings::{RemoteWriteClient, RemoteWriteSettings};
use super::writer::{Ends, Writer};
use crate::http::{Endpoint, Poster};
use crate::relabel::Relabel;
use crate::sample::Sample;
use crate::seldom::Seldom;
use model::TenantId;
use runtime::settings::Secret;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const TENANT_HEADER: &str = "X-Scope-OrgID";

/// Dropping it tells its tasks to send what waits and to end.
pub(super) struct Tenant {
    id: TenantId,
    settings: Arc<RemoteWriteSettings>,
    context: Context,
    clients: BTreeMap<String, Client>,
    used: Instant,
}

struct Client {
    relabel: Relabel,
    /// Until the task has it.
    poster: Option<Poster>,
    remote_name: String,
    shown_url: String,
    /// Since the task was started.
    running: Option<(ClientMetrics, Arc<Backlog>)>,
    ends: Ends,
    full: Seldom,
}

/// What is cancelled when a task has ended, by tenant and the client's key.
pub(super) type Ended = HashMap<(TenantId, String), CancellationToken>;

impl Tenant {
    pub(super) fn new(id: &TenantId, settings: Arc<RemoteWriteSettings>, context: &Context) -> Result<Self, String> {
        settings.check()?;
        let mut clients = BTreeMap::new();
        for (key, client) in &settings.clients {
            let made = Client::new(id, key, client, &settings, context);
            clients.insert(key.clone(), made.map_err(|fault| format!("client {key:?}: {fault}"))?);
        }
        Ok(Tenant { id: id.clone(), settings, context: context.clone(), clients, used: Instant::now() })
    }

    pub(super) fn has(&self, settings: &Arc<RemoteWriteSettings>) -> bool {
        Arc::ptr_eq(&self.settings, settings) || self.settings == *settings
    }

    pub(super) fn is_busy(&self, now: Instant, idle: Duration) -> bool {
        now.duration_since(self.used) < idle || self.backlogs().any(|backlog| backlog.is_busy())
    }

    pub(super) fn backlogs(&self) -> impl Iterator<Item = &Arc<Backlog>> {
        self.clients.values().filter_map(|client| client.running.as_ref()).map(|(_, backlog)| backlog)
    }

    /// Tells tasks to end at once whose samples are on disk where `to` takes them up.
    pub(super) fn give_over(self, to: &Tenant) {
        if self.settings.wal_dir.is_none() || self.settings.wal_dir != to.settings.wal_dir {
            return;
        }
        let stay = self.clients.iter().filter(|(key, _)| to.clients.contains_key(*key));
        stay.for_each(|(_, client)| client.ends.late.cancel());
    }

    /// Starts the tasks, each after the one before it that has the same directory.
    pub(super) fn start(&mut self, ended: &mut Ended) {
        let id = self.id.as_str();
        for (key, client) in &mut self.clients {
            let Some(poster) = client.poster.take() else { continue };
            let metrics = self.context.metrics.client(id, &client.remote_name, &client.shown_url);
            let place = Place {
                tenant: id.to_string(),
                remote_name: client.remote_name.clone(),
                spool_dir: self.settings.wal_dir.as_ref().map(|dir| dir.join(id).join(directory_of(key))),
                max_age: self.settings.wal_max_age,
            };
            let config = self.settings.clients[key].queue_config.clone();
            let capacity = config.capacity.saturating_mul(config.max_shards);
            let backlog = Arc::new(Backlog::new(place, capacity, metrics.clone(), self.context.clock.clone()));
            client.running = Some((metrics.clone(), backlog.clone()));
            let (writer, ends) = (Writer::new(backlog, config, poster, metrics), client.ends.clone());
            let end = CancellationToken::new();
            let before = ended.insert((self.id.clone(), key.clone()), end.clone());
            let end = end.drop_guard();
            self.context.tasks.spawn("remote write", async move {
                writer.run(before, ends).await;
                drop(end);
            });
        }
    }

    pub(super) fn append(&mut self, samples: &[Sample]) {
        self.used = Instant::now();
        if !self.clients.is_empty() {
            self.context.metrics.recorded(self.id.as_str(), samples);
        }
        for client in self.clients.values() {
            client.append(&self.id, samples);
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        for client in self.clients.values() {
            client.ends.stop.cancel();
            client.running.iter().for_each(|(metrics, _)| metrics.forget());
        }
        self.context.metrics.forget_tenant(self.id.as_str());
    }
}

impl Client {
    fn new(
        tenant: &TenantId,
        key: &str,
        client: &RemoteWriteClient,
        settings: &RemoteWriteSettings,
        context: &Context,
    ) -> Result<Self, String> {
        let meaning = client.meaning()?;
        let mut headers = meaning.headers;
        if settings.add_org_id_header {
            // Whatever its letters: two of them would let the receiver choose.
            headers.retain(|name, _| !name.trim().eq_ignore_ascii_case(TENANT_HEADER));
            headers.insert(TENANT_HEADER.into(), Secret::new(tenant.as_str()));
        }
        let endpoint = Endpoint {
            url: client.url.clone(),
            connect_to: None,
            auth: meaning.auth,
            headers,
            tls: meaning.tls,
            timeout: client.remote_timeout,
        };
        let poster = Poster::new(&endpoint, &context.certificates, context.clock.clone())?;
        let name = if client.name.is_empty() { format!("{tenant}-rw-{key}") } else { client.name.clone() };
        let ends = Ends { stop: context.tasks.stopping().child_token(), late: CancellationToken::new() };
        Ok(Client {
            relabel: meaning.relabel,
            poster: Some(poster),
            remote_name: name,
            shown_url: meaning.shown_url,
            running: None,
            ends,
            full: Seldom::default(),
        })
    }

    fn append(&self, tenant: &TenantId, samples: &[Sample]) {
        let relabelled = samples.iter().filter_map(|sample| {
            let labels = self.relabel.apply(&sample.labels)?;
            Some(Sample { labels, ..*sample })
        });
        let relabelled: Vec<Sample> = relabelled.collect();
        if let Some((metrics, backlog)) = &self.running {
            metrics.dropped_series.inc_by((samples.len() - relabelled.len()) as u64);
            if let Some(count) = self.full.say(backlog.push(relabelled)) {
                let remote_name = &self.remote_name;
                tracing::warn!(
                    %tenant, remote_name, count,
                    "samples are lost: more wait for remote write than may (setting: queue_config.capacity)"
                );
            }
        }
    }
}

/// The key, if it is a plain name, else its bytes in hex.
fn directory_of(key: &str) -> PathBuf {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match plain && !key.is_empty() && !key.starts_with("hex-") {
        true => key.into(),
        false => key.bytes().fold("hex-".to_string(), |text, byte| format!("{text}{byte:02x}")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_has_a_directory_of_its_own_below_the_tenants() {
        for (key, dir) in
            [("default", "default"), ("..", "hex-2e2e"), ("a/b", "hex-612f62"), ("", "hex-"), ("hex-", "hex-6865782d")]
        {
            assert_eq!(directory_of(key), PathBuf::from(dir));
        }
    }
}
