//! TLS for SIP (RFC 3261 section 26.2, RFC 5922): what we show, and whom we believe.
//!
//! Our certificate goes with every connection, whoever made it. A carrier's is asked for always: what is shown must be of an
//! authority that we trust, and where we know the carrier's name it must be shown, and carry that name. A carrier with a name
//! is known by it, with or without an address; unless it says otherwise, what comes by UDP or TCP is not from it.

use super::uri::{Scheme, Uri};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use webpki::EndEntityCert;

/// Where certificates and keys lie, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Our certificate first, then those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities whose carriers are believed; those of the web where `None`.
    pub trust: Option<PathBuf>,
}

/// Why TLS cannot be spoken: which file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct Error {
    pub file: PathBuf,
    pub reason: String,
}

/// What a connection needs to begin, either way.
#[derive(Clone)]
pub struct Tls {
    pub(in crate::sip) server: Arc<ServerConfig>,
    pub(in crate::sip) client: Arc<ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Files {
    /// The files' bytes, one after the other: whoever kept them sees whether something has changed.
    pub fn bytes(&self) -> Result<Vec<Vec<u8>>, Error> {
        let all = [Some(&self.certificate), Some(&self.key), self.trust.as_ref()];
        all.into_iter().flatten().map(|path| std::fs::read(path).map_err(|error| told(path, &error))).collect()
    }

    /// Reads them; a key that is not the certificate's is an error.
    pub fn read(&self) -> Result<Tls, Error> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| told(&self.key, &error))?;
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &self.trust {
            roots = RootCertStore::empty();
            for (place, certificate) in (1..).zip(certificates(path)?) {
                let added = roots.add(certificate);
                added.map_err(|error| told(path, &format_args!("certificate {place}: {error}")))?;
            }
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let ours = |error: &dyn fmt::Display| told(&self.certificate, error);
        // Whoever shows none is known by the address, as over TCP; whose name is known is looked at afterwards.
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let clients = clients.allow_unauthenticated().build();
        let clients = clients.map_err(|error| told(self.trust.as_ref().unwrap_or(&self.certificate), &error))?;
        let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let server = server.map_err(|error| ours(&error))?.with_client_cert_verifier(clients);
        let server = server.with_single_cert(chain.clone(), key.clone_key()).map_err(|error| ours(&error))?;
        let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let by_dns = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let by_dns = by_dns.map_err(|error| told(self.trust.as_ref().unwrap_or(&self.certificate), &error))?;
        // All that the usual one asks for, but that names may be written in one way more.
        let client = client.map_err(|error| ours(&error))?.dangerous();
        let client = client.with_custom_certificate_verifier(Arc::new(ServerVerifier { by_dns }));
        let client = client.with_client_auth_cert(chain, key).map_err(|error| ours(&error))?;
        Ok(Tls { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn told(path: &Path, error: &dyn fmt::Display) -> Error {
    Error { file: path.to_owned(), reason: error.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| told(path, &error))?;
    let all: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| told(path, &error))?;
    match all.is_empty() {
        true => Err(told(path, &"no certificate is in it (-----BEGIN CERTIFICATE-----)")),
        false => Ok(all),
    }
}

/// Whose certificate whoever we call must show: the carrier's name, or, where none is known, its address.
pub(in crate::sip) fn expected(name: Option<&str>, peer: IpAddr) -> Result<ServerName<'static>, String> {
    match name {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|error| format!("{name}: {error}")),
        None => Ok(ServerName::from(peer)),
    }
}

/// Whether the certificates that a peer has shown, its own first, carry `name`, among the subject's alternative names (RFC 5922
/// section 7.1): as `sip:name`, or as the name of a host. Section 7.2 forbids wildcards; carriers show them, so the name of a host
/// may have one, as on the web.
pub(in crate::sip) fn carries(shown: Option<&[CertificateDer<'_>]>, name: &str) -> Result<(), String> {
    let own = shown.and_then(<[_]>::first).ok_or_else(|| format!("no certificate, expected that of {name}"))?;
    let words = |error: &dyn fmt::Display| format!("{error}, expected the certificate of {name}");
    if has_uri(own, name) {
        return Ok(());
    }
    let own = ParsedCertificate::try_from(own).map_err(|error| words(&error))?;
    let name = ServerName::try_from(name).map_err(|error| words(&error))?;
    verify_server_name(&own, &name).map_err(|error| words(&error))
}

/// Whether it carries `sip:name`. One with a user is a person's (RFC 5922 section 7.1).
fn has_uri(own: &CertificateDer<'_>, name: &str) -> bool {
    let is_it = |uri: Uri| uri.scheme() == Scheme::Sip && uri.user().is_none() && uri.host().eq_ignore_ascii_case(name);
    let Ok(own) = EndEntityCert::try_from(own) else { return false };
    own.valid_uri_names().filter_map(|uri| Uri::parse(uri).ok()).any(is_it)
}

/// Believes whom the web would believe, and whoever is named by a URI ([`carries`]).
#[derive(Debug)]
struct ServerVerifier {
    by_dns: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        // The name is what is looked at last.
        match self.by_dns.verify_server_cert(own, others, name, ocsp_response, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if has_uri(own, &name.to_str()) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.by_dns.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.by_dns.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_dns.supported_verify_schemes()
    }
}
