//! What the ruler's block says of Alertmanagers and of remote write, as the ruler takes it. It must not know how either
//! is spoken to.

use super::roles::Ruler;
use ruler::notify::{AlertmanagerConfig, NotifySettings};
use ruler::remote_write::RemoteWriteSettings;

/// The key of the client in Loki's older form.
const OLD_CLIENT: &str = "default";

impl Ruler {
    /// Of every tenant that has no `ruler_alertmanager_config`.
    pub fn notify_settings(&self) -> NotifySettings {
        let alertmanager = AlertmanagerConfig {
            alertmanager_url: self.alertmanager_url.clone(),
            enable_alertmanager_discovery: self.enable_alertmanager_discovery,
            alertmanager_refresh_interval: self.alertmanager_refresh_interval,
            enable_alertmanager_v2: self.enable_alertmanager_v2,
            alert_relabel_configs: self.alert_relabel_configs.clone(),
            notification_queue_capacity: self.notification_queue_capacity,
            notification_timeout: self.notification_timeout,
            alertmanager_client: self.alertmanager_client.clone(),
        };
        NotifySettings { alertmanager, external_labels: self.external_labels.clone() }
    }

    /// Of every tenant without overrides.
    pub fn remote_write_settings(&self) -> RemoteWriteSettings {
        let remote_write = &self.remote_write;
        let mut clients = remote_write.clients.clone();
        if let Some(client) = &remote_write.client {
            clients.entry(OLD_CLIENT.into()).or_insert_with(|| client.clone());
        }
        if !remote_write.enabled {
            clients.clear();
        }
        RemoteWriteSettings {
            clients,
            add_org_id_header: remote_write.add_org_id_header,
            wal_dir: (!self.wal.dir.is_empty()).then(|| self.wal.dir.clone().into()),
            wal_max_age: self.wal.max_age,
        }
    }

    /// What is wrong with either.
    pub(super) fn outbound_faults(&self) -> Vec<String> {
        let remote_write = self.remote_write_settings();
        let mut faults = vec![];
        faults.extend(self.notify_settings().check().err().map(|fault| format!("ruler: {fault}")));
        faults.extend(remote_write.check().err().map(|fault| format!("ruler.remote_write: {fault}")));
        if self.remote_write.enabled && remote_write.clients.is_empty() {
            faults.push("ruler.remote_write: it is enabled, and no client is configured".into());
        }
        faults
    }
}
