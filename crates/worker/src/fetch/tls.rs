//! TLS: which authorities are trusted, which sessions are resumed, and what its errors mean.

mod session_cache;
mod session_store;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, PeerIncompatible};
use rustls_platform_verifier::Verifier;

use self::session_store::{OwnVerifier, SessionStore};

/// The memory for sessions, as a part of the memory budget and in addition to it. A session takes
/// about 5 kB, most of it for the certificates of its site.
const SESSION_SHARE: usize = 4;

/// Certificate authorities that are trusted besides those of the system.
#[derive(Clone, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// Why a file contains no authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read, or a certificate in it is damaged.
    #[error("it cannot be read as PEM")]
    Pem(#[source] PemError),
    /// It contains no certificate.
    #[error("it contains no certificate: it has to be a PEM file with `BEGIN CERTIFICATE`")]
    Empty,
}

impl Authorities {
    /// Reads a PEM file with at least one certificate.
    pub fn read(file: &Path) -> Result<Self, AuthoritiesError> {
        let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        let certificates: Vec<_> = certificates.map_err(AuthoritiesError::Pem)?;
        if certificates.is_empty() { Err(AuthoritiesError::Empty) } else { Ok(Self(certificates)) }
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

/// The client's side of TLS, as the HTTP client itself would set it up, but with these authorities
/// and a session cache for many hosts: the library's own has room for 32.
pub(crate) fn client_config(
    authorities: &Authorities,
    memory_budget: usize,
) -> Result<ClientConfig, Error> {
    with_sessions(authorities, Arc::new(SessionStore::new(memory_budget / SESSION_SHARE)))
}

fn with_sessions(
    authorities: &Authorities,
    sessions: Arc<SessionStore>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let extra = authorities.0.iter().cloned();
    let verifier = Arc::new(Verifier::new_with_extra_roots(extra, provider.clone())?);
    let authorities = authorities.0.clone();
    let verifier = Arc::new(OwnVerifier { verifier, authorities, sessions: sessions.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::store(sessions);
    Ok(config)
}

/// How a site refuses a client without a certificate. In TLS 1.3 it says so only after the client
/// has finished the handshake, and has read no request until then. The older versions, and some
/// servers, call the missing certificate a bad one.
pub(crate) const CERTIFICATE_ALERTS: [AlertDescription; 2] =
    [AlertDescription::CertificateRequired, AlertDescription::BadCertificate];

/// What an error means for the site and its fetch.
pub(crate) fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => describe_certificate(error),
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "the site speaks only versions of TLS older than 1.2".to_owned(),
        Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        )
        | Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
        ) => format!("the site and this worker have no way of encryption in common: {error}"),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the site does not know this host name".to_owned()
        }
        Error::AlertReceived(alert) if CERTIFICATE_ALERTS.contains(alert) => {
            format!("the site asks for a certificate of the client: {error}")
        }
        Error::InvalidMessage(_) => format!("the site does not speak TLS at this port: {error}"),
        error => format!("TLS failed: {error}"),
    }
}

const NOT_FOR_SERVERS: &str = "the site's certificate is not for servers: its extended key usage \
     does not name server authentication";

fn describe_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the site's certificate has expired: {error}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the site's certificate is not valid yet, or this clock is wrong: {error}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the site's certificate is for another host: for {}, not for {}",
            names(presented),
            expected.to_str()
        ),
        CertificateError::NotValidForName => "the site's certificate is for another host".into(),
        CertificateError::UnknownIssuer => "the issuer of the site's certificate is unknown: the \
             site has signed it itself, or its authority is not one of the system's (--ca adds one)"
            .to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the site's certificate is signed by a method that is not accepted, such as SHA-1"
                .to_owned()
        }
        // For the verifier, an RSA key of less than 2048 bits signs nothing.
        CertificateError::BadSignature => "a signature of the site's certificates is not valid: \
             it is wrong, or by an RSA key of less than 2048 bits"
            .to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            NOT_FOR_SERVERS.to_owned()
        }
        // The verifier of the platform has errors of its own.
        CertificateError::Other(error) if error.to_string().contains("invalid extensions") => {
            NOT_FOR_SERVERS.to_owned()
        }
        error if is_of_authority(error) => "the site has signed its certificate itself, as an \
             authority: it needs one for its host (--ca with this very certificate accepts it)"
            .to_owned(),
        error => format!("the site's certificate is not valid: {error}"),
    }
}

/// Whether the site shows the certificate of an authority. The verifier has no case for it.
fn is_of_authority(error: &CertificateError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

/// The first names of a certificate.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = presented.iter().take(SHOWN).map(|name| certificate_name(name));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if presented.is_empty() {
        text.push_str("no host");
    }
    if presented.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

/// The name in a text such as `DnsName("shop.example")`.
fn certificate_name(text: &str) -> &str {
    text.split('"').nth(1).unwrap_or(text)
}

#[cfg(test)]
mod tests;
