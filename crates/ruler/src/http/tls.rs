//! TLS of clients: each set of files is read once and kept new, however many use it. It must not know who is called.

use parking_lot::Mutex;
use runtime::reload::{Reloaded, Reloader};
use runtime::settings;
use runtime::tls::{ClientConfig, ClientTls};
use std::path::PathBuf;

/// Sets of files: what tenants have of their own comes from overrides, and each set has a task that looks at it.
const CERTIFICATES_MAX: usize = 1000;

settings! {
    /// Prometheus's `tls_config`.
    pub struct TlsConfig {
        /// Whose certificates are trusted; without it, the machine's authorities.
        pub ca_file: String = String::new(),
        pub cert_file: String = String::new(),
        pub key_file: String = String::new(),
        /// The name that the certificate must have, if it is not the URL's host.
        pub server_name: String = String::new(),
        pub insecure_skip_verify: bool = false,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub files: ClientTls,
    /// Empty: the URL's host.
    pub server_name: String,
}

impl TlsConfig {
    pub fn tls(&self) -> Result<Tls, String> {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let identity = match (path(&self.cert_file), path(&self.key_file)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err("a certificate and its key are only of use together".into()),
        };
        let files =
            ClientTls { ca_file: path(&self.ca_file), identity, insecure_skip_verify: self.insecure_skip_verify };
        Ok(Tls { files, server_name: self.server_name.clone() })
    }
}

/// What has been read.
pub struct Certificates {
    reloader: Reloader,
    read: Mutex<Vec<(ClientTls, Reloaded<ClientConfig>)>>,
}

impl Certificates {
    pub fn new(reloader: &Reloader) -> Self {
        Certificates { reloader: reloader.clone(), read: Mutex::default() }
    }

    /// `needed` is false where no TLS will be spoken: then no file is read, and nothing is trusted.
    pub(super) fn config(&self, tls: &Tls, needed: bool) -> Result<Reloaded<ClientConfig>, String> {
        // Without TLS nobody is verified; a client wants a configuration all the same.
        let unused = ClientTls { insecure_skip_verify: true, ..ClientTls::default() };
        let files = if needed { &tls.files } else { &unused };
        let mut read = self.read.lock();
        if let Some((_, config)) = read.iter().find(|(known, _)| known == files) {
            return Ok(config.clone());
        }
        if read.len() >= CERTIFICATES_MAX {
            return Err(format!("there are {CERTIFICATES_MAX} different sets of certificates already"));
        }
        let config = files.clone().load("ruler", &self.reloader)?;
        read.push((files.clone(), config.clone()));
        Ok(config)
    }
}
