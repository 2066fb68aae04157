//! What an operator says of Alertmanagers, under Loki's names. It must not know how alerts are sent.

use super::discovery::Group;
use crate::http::auth::{Auth, Authorization, BasicAuth};
use crate::http::tls::{Tls, TlsConfig};
use crate::relabel::{Relabel, RelabelConfig};
use runtime::settings;
use runtime::settings::{Secret, SecretUrl};
use std::collections::BTreeMap;
use std::time::Duration;

/// Alertmanagers that one list of settings may name, and that one name may stand for.
pub const ALERTMANAGERS_MAX: usize = 128;

settings! {
    /// Of `ruler`, and the whole of `ruler_alertmanager_config`.
    pub struct AlertmanagerConfig {
        /// Alertmanagers, each with a path in front of `/api/v2/alerts` if it has one. User information is sent as
        /// basic authentication. A host may be `dns+name` or `dnssrv+_service._proto.name`: each address or service
        /// behind it is an Alertmanager.
        pub alertmanager_url: Vec<SecretUrl> = vec![],
        /// Whether the host of each URL is looked up like that without a prefix: `_service._proto.name` by SRV records.
        pub enable_alertmanager_discovery: bool = false,
        /// How often names are looked up again.
        pub alertmanager_refresh_interval: Duration = Duration::from_secs(60),
        /// Version 1 is not spoken: Alertmanagers have no such API since 0.27.
        pub enable_alertmanager_v2: bool = true,
        /// Rules for the labels of alerts before they are sent; they may drop alerts.
        pub alert_relabel_configs: Vec<RelabelConfig> = vec![],
        /// Alerts that wait for one Alertmanager; of more, the oldest are dropped.
        pub notification_queue_capacity: usize = 10_000,
        /// Of a request to an Alertmanager.
        pub notification_timeout: Duration = Duration::from_secs(10),
        pub alertmanager_client: AlertmanagerClient = AlertmanagerClient::default(),
    }

    /// How Alertmanagers are called.
    pub struct AlertmanagerClient {
        pub tls_cert_path: String = String::new(),
        pub tls_key_path: String = String::new(),
        pub tls_ca_path: String = String::new(),
        /// The name that the certificate must have, if it is not the URL's host.
        pub tls_server_name: String = String::new(),
        pub tls_insecure_skip_verify: bool = false,
        pub basic_auth_username: String = String::new(),
        pub basic_auth_password: Secret = Secret::default(),
        /// The kind of `credentials`: `Bearer`.
        pub r#type: String = "Bearer".into(),
        pub credentials: Secret = Secret::default(),
        /// Read for each request.
        pub credentials_file: String = String::new(),
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NotifySettings {
    pub alertmanager: AlertmanagerConfig,
    /// `ruler.external_labels`: added to alerts that have no label of such a name, before relabelling.
    pub external_labels: BTreeMap<String, String>,
}

/// The same, proven to be usable.
pub(super) struct Meaning {
    pub groups: Vec<Group>,
    pub auth: Auth,
    pub tls: Tls,
    pub relabel: Relabel,
}

impl NotifySettings {
    /// What is wrong with the settings, before any file is read or any name is looked up.
    pub fn check(&self) -> Result<(), String> {
        self.meaning().map(drop)
    }

    pub(super) fn meaning(&self) -> Result<Meaning, String> {
        let config = &self.alertmanager;
        if !config.enable_alertmanager_v2 {
            return Err("enable_alertmanager_v2: false: version 1 of the API is not spoken".into());
        }
        if config.notification_queue_capacity == 0 {
            return Err("notification_queue_capacity must be above 0".into());
        }
        if config.notification_timeout.is_zero() || config.alertmanager_refresh_interval.is_zero() {
            return Err("notification_timeout and alertmanager_refresh_interval must be above 0".into());
        }
        if config.alertmanager_url.len() > ALERTMANAGERS_MAX {
            return Err(format!("alertmanager_url: more than {ALERTMANAGERS_MAX} Alertmanagers"));
        }
        let group = |url| Group::parse(url, config.enable_alertmanager_discovery);
        let groups = config.alertmanager_url.iter().map(group).collect::<Result<_, _>>();
        let groups = groups.map_err(|fault| format!("alertmanager_url: {fault}"))?;
        let relabel = Relabel::compile(&config.alert_relabel_configs);
        let relabel = relabel.map_err(|fault| format!("alert_relabel_configs: {fault}"))?;
        let (auth, tls) =
            config.alertmanager_client.meaning().map_err(|fault| format!("alertmanager_client: {fault}"))?;
        Ok(Meaning { groups, auth, tls, relabel })
    }
}

impl AlertmanagerClient {
    fn meaning(&self) -> Result<(Auth, Tls), String> {
        let basic = BasicAuth {
            username: self.basic_auth_username.clone(),
            password: self.basic_auth_password.clone(),
            ..BasicAuth::default()
        };
        let token = Authorization {
            r#type: self.r#type.clone(),
            credentials: self.credentials.clone(),
            credentials_file: self.credentials_file.clone(),
        };
        let tls = TlsConfig {
            ca_file: self.tls_ca_path.clone(),
            cert_file: self.tls_cert_path.clone(),
            key_file: self.tls_key_path.clone(),
            server_name: self.tls_server_name.clone(),
            insecure_skip_verify: self.tls_insecure_skip_verify,
        };
        Ok((Auth::new(&basic, &token)?, tls.tls()?))
    }
}
