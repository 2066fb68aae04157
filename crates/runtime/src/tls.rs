//! TLS of listeners and of clients: files become rustls configurations, under the rules that Go's names stand for. One
//! provider of cryptography: ring. It must not know what is served or called.

mod client;
mod server;
mod unverified;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

pub use client::ClientTls;
pub use rustls::pki_types::ServerName;
pub use rustls::{ClientConfig, ServerConfig};
pub use server::{ClientAuth, MinVersion, ServerTls};

/// HTTP/2 and HTTP/1.1, as they are named in a handshake.
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate and what leads to its authority, in PEM.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(chain) if chain.is_empty() => Err("there is no certificate in the file".into()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("the certificate is no PEM: {error}")),
    }
}

/// The error never holds the key.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "there is no private key in PEM in the file".to_string())
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| format!("an authority cannot be used: {error}"))?;
    }
    Ok(roots)
}
