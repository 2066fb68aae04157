//! Certificates for tests, made when they are needed: an authority, and what it signs.

#![allow(dead_code, reason = "each test that includes this file uses a part of it")]

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use std::path::{Path, PathBuf};

/// An authority whose files lie in a directory: `NAME.ca`, and `HOLDER.crt`, `HOLDER.key` of what it signs.
pub struct Authority {
    dir: PathBuf,
    pub ca_file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

#[derive(Clone, Debug)]
pub struct Identity {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Authority {
    pub fn new(dir: &Path, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let ca_file = dir.join(format!("{name}.ca"));
        std::fs::write(&ca_file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { dir: dir.to_path_buf(), ca_file, issuer: Issuer::new(params, key) }
    }

    /// Good for servers named `localhost` and for clients.
    pub fn sign(&self, holder: &str) -> Identity {
        self.signed(holder, 2100)
    }

    pub fn sign_expired(&self, holder: &str) -> Identity {
        self.signed(holder, 2020)
    }

    fn signed(&self, holder: &str, last_year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        params.distinguished_name.push(rcgen::DnType::CommonName, holder);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            cert_file: self.dir.join(format!("{holder}.crt")),
            key_file: self.dir.join(format!("{holder}.key")),
        };
        std::fs::write(&identity.cert_file, cert.pem()).unwrap();
        std::fs::write(&identity.key_file, key.serialize_pem()).unwrap();
        identity
    }
}
