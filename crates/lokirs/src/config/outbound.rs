//! What the ruler's block and a tenant's limits say of Alertmanagers and of remote write, as the ruler takes it. It
//! must not know how either is spoken to.

use super::roles::Ruler;
use ruler::notify::{AlertmanagerConfig, NotifySettings};
use ruler::remote_write::{RemoteWriteClient, RemoteWriteSettings};
use runtime::limits::Limits;
use runtime::settings::{NoReference, Reference};

/// A tenant's Alertmanagers.
const ALERTMANAGERS: &str = "ruler_alertmanager_config";

/// The key of the client in Loki's older form.
const OLD_CLIENT: &str = "default";

impl Ruler {
    /// Of a tenant with these limits.
    pub fn notify_settings(&self, limits: &Limits) -> Result<NotifySettings, String> {
        let alertmanager = match limits.ruler_alertmanager_config.is_set() {
            true => {
                let mut own = AlertmanagerConfig::default();
                limits.ruler_alertmanager_config.read_into(ALERTMANAGERS, &mut own, &OfLoki)?;
                own
            }
            false => AlertmanagerConfig {
                alertmanager_url: self.alertmanager_url.clone(),
                enable_alertmanager_discovery: self.enable_alertmanager_discovery,
                alertmanager_refresh_interval: self.alertmanager_refresh_interval,
                enable_alertmanager_v2: self.enable_alertmanager_v2,
                alert_relabel_configs: self.alert_relabel_configs.clone(),
                notification_queue_capacity: self.notification_queue_capacity,
                notification_timeout: self.notification_timeout,
                alertmanager_client: self.alertmanager_client.clone(),
            },
        };
        Ok(NotifySettings { alertmanager, external_labels: self.external_labels.clone() })
    }

    /// Of a tenant with these limits.
    pub fn remote_write_settings(&self, limits: &Limits) -> Result<RemoteWriteSettings, String> {
        let remote_write = &self.remote_write;
        let mut clients = remote_write.clients.clone();
        if let Some(client) = &remote_write.client {
            clients.entry(OLD_CLIENT.into()).or_insert_with(|| client.clone());
        }
        for client in clients.values_mut() {
            older_overrides(client, limits)?;
        }
        for (key, block) in &limits.ruler_remote_write_config {
            let path = format!("ruler_remote_write_config.{key}");
            block.read_into(&path, clients.entry(key.clone()).or_default(), &NoReference)?;
        }
        if !remote_write.enabled || limits.ruler_remote_write_disabled {
            clients.clear();
        }
        Ok(RemoteWriteSettings {
            clients,
            add_org_id_header: remote_write.add_org_id_header,
            wal_dir: (!self.wal.dir.is_empty()).then(|| self.wal.dir.clone().into()),
            wal_max_age: self.wal.max_age,
        })
    }

    /// What is wrong with either.
    pub fn outbound_faults(&self, limits: &Limits) -> Vec<String> {
        let notify = self.notify_settings(limits).and_then(|settings| settings.check());
        let remote_write = self.remote_write_settings(limits).and_then(|settings| {
            let nowhere = self.remote_write.enabled && settings.clients.is_empty();
            if nowhere && !limits.ruler_remote_write_disabled {
                return Err("it is enabled, and no client is configured".into());
            }
            settings.check()
        });
        let notify = notify.err().map(|fault| format!("ruler: {fault}"));
        notify.into_iter().chain(remote_write.err().map(|fault| format!("ruler.remote_write: {fault}"))).collect()
    }
}

/// What may stand in a tenant's block of Alertmanagers without a meaning here, as in `ruler`.
struct OfLoki;

impl Reference for OfLoki {
    fn knows(&self, path: &str) -> bool {
        let client = path.strip_prefix(ALERTMANAGERS).and_then(|path| path.strip_prefix(".alertmanager_client."));
        client.is_some_and(|key| matches!(key, "tls_cipher_suites" | "tls_min_version"))
    }
    fn keys_under(&self, _: &str) -> Vec<String> {
        vec![]
    }
}

/// Loki's older form of a tenant's overrides.
fn older_overrides(client: &mut RemoteWriteClient, limits: &Limits) -> Result<(), String> {
    fn lay<T: Clone>(over: &mut T, own: &Option<T>) {
        if let Some(own) = own {
            over.clone_from(own);
        }
    }
    let url = &limits.ruler_remote_write_url;
    lay(&mut client.url, &(!url.is_empty()).then(|| url.clone()));
    lay(&mut client.remote_timeout, &limits.ruler_remote_write_timeout);
    client.headers.extend(limits.ruler_remote_write_headers.clone());
    let rules = &limits.ruler_remote_write_relabel_configs;
    rules.read_into("ruler_remote_write_relabel_configs", &mut client.write_relabel_configs, &NoReference)?;
    let queue = &mut client.queue_config;
    lay(&mut queue.capacity, &limits.ruler_remote_write_queue_capacity);
    lay(&mut queue.min_shards, &limits.ruler_remote_write_queue_min_shards);
    lay(&mut queue.max_shards, &limits.ruler_remote_write_queue_max_shards);
    lay(&mut queue.max_samples_per_send, &limits.ruler_remote_write_queue_max_samples_per_send);
    lay(&mut queue.batch_send_deadline, &limits.ruler_remote_write_queue_batch_send_deadline);
    lay(&mut queue.min_backoff, &limits.ruler_remote_write_queue_min_backoff);
    lay(&mut queue.max_backoff, &limits.ruler_remote_write_queue_max_backoff);
    lay(&mut queue.retry_on_http_429, &limits.ruler_remote_write_queue_retry_on_ratelimit);
    Ok(())
}
