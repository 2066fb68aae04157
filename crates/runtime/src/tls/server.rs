//! The server's side: a listener's certificate, and what is asked of its clients.

use super::unverified::AnyClient;
use super::{H2, HTTP1, authorities, certificates, private_key, provider};
use crate::reload::{Reloaded, Reloader};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use std::path::PathBuf;
use std::sync::Arc;

/// Loki's `http_tls_config` and `grpc_tls_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// Who signs the certificates of clients.
    pub client_ca_file: Option<PathBuf>,
    pub client_auth: ClientAuth,
    pub min_version: MinVersion,
}

/// What clients must show. Go's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    #[default]
    NoClientCert,
    /// Asked for; any, or none, will do.
    RequestClientCert,
    /// Any will do.
    RequireAnyClientCert,
    /// One that an authority of `client_ca_file` has signed, or none.
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// `server.tls_min_version`. Versions before 1.2 are not spoken at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

impl ClientAuth {
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "" | "NoClientCert" => Ok(ClientAuth::NoClientCert),
            "RequestClientCert" => Ok(ClientAuth::RequestClientCert),
            "RequireAnyClientCert" | "RequireClientCert" => Ok(ClientAuth::RequireAnyClientCert),
            "VerifyClientCertIfGiven" => Ok(ClientAuth::VerifyClientCertIfGiven),
            "RequireAndVerifyClientCert" => Ok(ClientAuth::RequireAndVerifyClientCert),
            _ => Err(format!("invalid client_auth_type {name:?}")),
        }
    }

    fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert)
    }
}

impl MinVersion {
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "" | "VersionTLS12" => Ok(MinVersion::Tls12),
            "VersionTLS13" => Ok(MinVersion::Tls13),
            "VersionTLS10" | "VersionTLS11" => Err(format!("{name} is not spoken: VersionTLS12 is the oldest")),
            _ => Err(format!("unknown TLS version {name:?}")),
        }
    }

    fn versions(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            MinVersion::Tls12 => vec![&version::TLS13, &version::TLS12],
            MinVersion::Tls13 => vec![&version::TLS13],
        }
    }
}

impl ServerTls {
    /// What does not fit together, before any file is read.
    pub fn check(&self) -> Result<(), String> {
        if self.cert_file.as_os_str().is_empty() || self.key_file.as_os_str().is_empty() {
            return Err("cert_file and key_file are both needed".into());
        }
        match (self.client_auth, &self.client_ca_file) {
            (ClientAuth::NoClientCert, Some(_)) => {
                Err("client_ca_file is set and client_auth_type does not ask for certificates".into())
            }
            (auth, None) if auth.verifies() => Err(format!("client_auth_type {auth:?} needs client_ca_file")),
            _ => Ok(()),
        }
    }

    /// Reads the files now and again whenever they change. `name` is the setting.
    pub fn load(self, name: &str, reloader: &Reloader) -> Result<Reloaded<ServerConfig>, String> {
        self.check().map_err(|fault| format!("{name}: {fault}"))?;
        let mut files = vec![self.cert_file.clone(), self.key_file.clone()];
        files.extend(self.client_ca_file.clone());
        reloader.start(name, files, move |files| self.config(&files[0], &files[1], files.get(2).map(Vec::as_slice)))
    }

    fn config(&self, cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.min_version.versions())
            .map_err(|error| error.to_string())?;
        let builder = match self.client_verifier(client_ca)? {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder
            .with_single_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| format!("certificate and key cannot be used: {error}"))?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        Ok(config)
    }

    fn client_verifier(&self, client_ca: Option<&[u8]>) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let verified = |optional: bool| {
            let roots = Arc::new(authorities(client_ca.unwrap_or_default())?);
            let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let builder = if optional { builder.allow_unauthenticated() } else { builder };
            builder.build().map_err(|error| format!("client_ca_file: {error}"))
        };
        Ok(match self.client_auth {
            ClientAuth::NoClientCert => None,
            ClientAuth::RequestClientCert => Some(Arc::new(AnyClient::optional())),
            ClientAuth::RequireAnyClientCert => Some(Arc::new(AnyClient::mandatory())),
            ClientAuth::VerifyClientCertIfGiven => Some(verified(true)?),
            ClientAuth::RequireAndVerifyClientCert => Some(verified(false)?),
        })
    }
}
