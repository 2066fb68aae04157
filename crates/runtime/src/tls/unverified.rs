//! Peers whose certificate nobody has to vouch for: they prove that they have its key, and no more. Only what a setting
//! asks for by name (`RequestClientCert`, `RequireAnyClientCert`, `tls_insecure_skip_verify`).

use super::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

#[derive(Debug)]
pub struct AnyClient {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
}

impl AnyClient {
    pub fn optional() -> Self {
        AnyClient { provider: provider(), mandatory: false }
    }
    pub fn mandatory() -> Self {
        AnyClient { provider: provider(), mandatory: true }
    }
}

#[derive(Debug)]
pub struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl AnyServer {
    pub fn new() -> Self {
        AnyServer { provider: provider() }
    }
}

type Signature = Result<HandshakeSignatureValid, Error>;

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, m: &[u8], cert: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Signature {
        verify_tls12_signature(m, cert, s, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(&self, m: &[u8], cert: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Signature {
        verify_tls13_signature(m, cert, s, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, m: &[u8], cert: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Signature {
        verify_tls12_signature(m, cert, s, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(&self, m: &[u8], cert: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Signature {
        verify_tls13_signature(m, cert, s, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
