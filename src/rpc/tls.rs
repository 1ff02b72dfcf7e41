//! Mutual TLS with the host that started this process, and with nobody else.
//!
//! The host hands over its certificate in the environment. It is a self-signed CA on P-521, which web PKI rules
//! refuse as a client's certificate: it is compared byte for byte instead, and the key behind it is still proven.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};

/// Why there can be no TLS. The process then ends; it never falls back to plain text.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("PLUGIN_CLIENT_CERT does not hold exactly one certificate in PEM form")]
    ClientCertificate,
    #[error("failed to make a certificate: {0}")]
    OwnCertificate(#[from] rcgen::Error),
    #[error("failed to set up TLS: {0}")]
    Config(#[from] rustls::Error),
}

/// What a server needs to speak TLS with one host.
pub struct Tls {
    /// The configuration of the acceptor.
    pub config: Arc<ServerConfig>,
    /// This process's certificate, for the handshake line.
    pub certificate: CertificateDer<'static>,
}

impl Tls {
    /// Trusts only the certificate in `client_pem`, and shows a new one whose key never leaves this process.
    pub fn with_client(client_pem: &str) -> Result<Tls, TlsError> {
        let client = certificate(client_pem).ok_or(TlsError::ClientCertificate)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let own = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        let certificate = own.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));

        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(Pinned {
            client,
            provider: provider.clone(),
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], key)?;
        // Cores since Terraform 1.12 insist on ALPN.
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Tls {
            config: Arc::new(config),
            certificate,
        })
    }
}

/// The DER of the only block of a PEM text.
fn certificate(pem: &str) -> Option<CertificateDer<'static>> {
    let body = pem
        .trim()
        .strip_prefix("-----BEGIN CERTIFICATE-----")?
        .strip_suffix("-----END CERTIFICATE-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    (!der.is_empty()).then(|| der.into())
}

#[derive(Debug)]
struct Pinned {
    client: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug, thiserror::Error)]
#[error("not the certificate of the process that started this provider")]
struct NotTheHost;

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if *end_entity == self.client && intermediates.is_empty() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(NotTheHost))).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(pem: &str) {
        assert!(
            matches!(Tls::with_client(pem), Err(TlsError::ClientCertificate)),
            "{pem}"
        );
    }

    #[test]
    fn only_a_single_certificate_is_taken() {
        let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Tls::with_client(block).is_ok());
        refused("");
        refused("nonsense");
        refused(&block.repeat(2));
        refused(&block.replace("CERTIFICATE", "PRIVATE KEY"));
        refused("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
        refused("-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n");
    }
}
