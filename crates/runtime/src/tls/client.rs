//! The client's side: whom it trusts, and what it shows.

use super::unverified::AnyServer;
use super::{H2, authorities, certificates, private_key, provider};
use crate::reload::{Reloaded, Reloader};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// Loki's `tls_*` keys of its gRPC clients. The name that is expected of the server is the caller's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Without it, the machine's authorities are trusted.
    pub ca_file: Option<PathBuf>,
    /// What is shown to servers that ask: certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub insecure_skip_verify: bool,
}

impl ClientTls {
    /// From the values of `tls_ca_path`, `tls_cert_path` and `tls_key_path`, of which an empty one is none.
    pub fn of_paths(ca: &str, cert: &str, key: &str, insecure_skip_verify: bool) -> Result<Self, String> {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let identity = match (path(cert), path(key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err("tls_cert_path and tls_key_path are only of use together".into()),
        };
        Ok(ClientTls { ca_file: path(ca), identity, insecure_skip_verify })
    }

    /// Reads the files now and again whenever they change. `name` is the setting.
    pub fn load(self, name: &str, reloader: &Reloader) -> Result<Reloaded<ClientConfig>, String> {
        reloader.start(name, self.files(), move |files| self.config(files))
    }

    /// Reads the files once.
    pub fn read(&self) -> Result<ClientConfig, String> {
        let fault = |path: &PathBuf, error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let files = self.files().into_iter();
        let files = files.map(|path| std::fs::read(&path).map_err(|error| fault(&path, error)));
        self.config(&files.collect::<Result<Vec<_>, _>>()?)
    }

    /// Certificate and key, where there is an identity, then the authorities.
    fn files(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert.clone(), key.clone()]);
        identity.chain(self.ca_file.clone()).collect()
    }

    /// `files` as [`ClientTls::files`] names them.
    fn config(&self, files: &[Vec<u8>]) -> Result<ClientConfig, String> {
        let (identity, ca) = if self.identity.is_some() { files.split_at(2) } else { files.split_at(0) };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer::new()))
        } else {
            builder.with_root_certificates(match ca {
                [pem, ..] => authorities(pem)?,
                [] => machine_authorities()?,
            })
        };
        let mut config = match identity {
            [cert, key] => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| format!("certificate and key cannot be used: {error}"))?,
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![H2.to_vec()];
        Ok(config)
    }
}

fn machine_authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if good == 0 {
        return Err("the machine trusts no authority; name one (tls_ca_path)".into());
    }
    Ok(roots)
}
