//! Loki's Azure settings become a client: account key, connection string, service principal, or the identity of the
//! machine or of its workload.

use super::open::{client_options, finish, retry};
use super::settings::HttpSettings;
use super::{AzureSettings, Backoff, ChunkNames, Objects};
use model::{Error, Result};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use runtime::settings::Secret;

/// What Azure puts before a connection string's `EndpointSuffix`.
const BLOB_SERVICE: &str = "blob";

pub(super) fn open(s: &AzureSettings, prefix: &str) -> Result<Objects> {
    let account = account(s)?;
    // The environment brings a workload's federated token (`AZURE_FEDERATED_TOKEN_FILE` and its companions).
    let mut builder =
        MicrosoftAzureBuilder::from_env().with_account(&account.name).with_container_name(&s.container_name);
    if !account.key.is_empty() {
        builder = builder.with_access_key(account.key.expose());
    }
    if s.use_service_principal {
        builder = builder.with_client_secret_authorization(&s.client_id, s.client_secret.expose(), &s.tenant_id);
    }
    if s.use_managed_identity && !s.user_assigned_id.is_empty() {
        builder = builder.with_config(AzureConfigKey::ClientId, &s.user_assigned_id);
    }
    let plain = account.endpoint.as_ref().is_some_and(|e| e.starts_with("http://"));
    if let Some(endpoint) = account.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let options = client_options(&HttpSettings::default())?.with_allow_http(plain);
    let store = builder.with_retry(retry(&Backoff::default())).with_client_options(options).build();
    let delimiter = s.chunk_delimiter.chars().next().unwrap_or('-');
    let store = store.map_err(|e| Error::invalid(format!("azure container {:?}: {e}", s.container_name)))?;
    finish(store, prefix, ChunkNames::Delimited(delimiter))
}

/// Whose container it is and where.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    name: String,
    key: Secret,
    endpoint: Option<String>,
}

fn account(s: &AzureSettings) -> Result<Account> {
    let at = |name: &str, suffix: &str| format!("https://{name}.{}", suffix.trim_start_matches('.'));
    let mut account = Account { name: s.account_name.clone(), key: s.account_key.clone(), endpoint: None };
    if !s.endpoint_suffix.is_empty() {
        account.endpoint = Some(at(&s.account_name, &s.endpoint_suffix));
    }
    let (mut suffix, mut endpoint) = (None, None);
    for part in s.connection_string.expose().split(';').filter(|part| !part.trim().is_empty()) {
        // The text is a secret: the error does not hold it.
        let (name, value) = part.split_once('=').ok_or_else(|| {
            Error::invalid("azure: connection_string must be NAME=VALUE pairs with semicolons between them")
        })?;
        match name.trim() {
            "AccountName" => account.name = value.to_string(),
            "AccountKey" => account.key = Secret::new(value),
            "EndpointSuffix" => suffix = Some(value),
            "BlobEndpoint" => endpoint = Some(value.trim_end_matches('/').to_string()),
            "DefaultEndpointsProtocol" | "QueueEndpoint" | "TableEndpoint" | "FileEndpoint" => {}
            other => {
                return Err(Error::invalid(format!(
                    "azure: connection_string has {other}: want AccountName, AccountKey, EndpointSuffix, BlobEndpoint"
                )));
            }
        }
    }
    let of_suffix = suffix.map(|suffix| at(&account.name, &format!("{BLOB_SERVICE}.{suffix}")));
    account.endpoint = endpoint.or(of_suffix).or(account.endpoint);
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_says_account_key_and_endpoint() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let check = |text: &str, suffix: &str, expected: (&str, &str, Option<&str>)| {
            let settings = AzureSettings {
                account_name: "own".into(),
                account_key: Secret::new("b3du"),
                endpoint_suffix: suffix.into(),
                connection_string: Secret::new(text),
                container_name: "loki".into(),
                ..Default::default()
            };
            let (name, key, endpoint) = expected;
            let expected = Account { name: name.into(), key: Secret::new(key), endpoint: endpoint.map(str::to_string) };
            assert_eq!(account(&settings).unwrap(), expected, "{text}");
            open(&settings, "").unwrap();
        };
        check("", "", ("own", "b3du", None));
        check("", ".blob.example.org", ("own", "b3du", Some("https://own.blob.example.org")));
        check(
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net",
            "",
            ("a", "a2V5PT0=", Some("https://a.blob.core.windows.net")),
        );
        check(
            "AccountName=dev;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:10000/dev/;",
            "",
            ("dev", "a2V5", Some("http://127.0.0.1:10000/dev")),
        );
    }

    #[test]
    fn a_bad_connection_string_is_refused_without_being_shown() {
        for bad in ["hunter2", "AccountName=a;SharedAccessSignature=hunter2"] {
            let settings = AzureSettings { connection_string: Secret::new(bad), ..Default::default() };
            let e = account(&settings).unwrap_err();
            assert!(e.message.contains("connection_string") && !e.message.contains("hunter2"), "{e}");
        }
    }
}
