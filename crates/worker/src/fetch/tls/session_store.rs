//! Keeps TLS sessions for the library, and measures them.
//!
//! A site decides how large a session is: a ticket may have 64 KiB, and each session holds a copy
//! of the site's certificates. The library reports neither size. The verifier sees the
//! certificates; the ticket is measured by its text for debugging, which ends early if it is too
//! long.

use std::fmt::{self, Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue, verify_server_name,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, NamedGroup, SignatureScheme};

use super::is_of_authority;
use super::session_cache::SessionCache;

/// Sessions with a longer ticket, or with more bytes of certificates, are not kept. Few sites have
/// tickets of more than 2 KiB, or certificates of more than 8 KiB.
const MAX_TICKET: usize = 8 * 1024;
const MAX_CERTIFICATES: usize = 32 * 1024;

/// The sessions of all hosts, within a number of bytes.
pub(super) struct SessionStore(Mutex<SessionCache<Facts, Session>>);

/// What is known of a host besides its sessions.
#[derive(Clone, Copy, Default)]
struct Facts {
    group: Option<NamedGroup>,
    /// The size of its certificates when they were verified last.
    certificates: Option<usize>,
}

enum Session {
    Tls12(Tls12ClientSessionValue),
    Tls13(Tls13ClientSessionValue),
}

impl SessionStore {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self(Mutex::new(SessionCache::new(max_bytes)))
    }

    fn cache(&self) -> MutexGuard<'_, SessionCache<Facts, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.cache().bytes()
    }

    /// How many bytes a session takes; `None` for one that is not kept.
    fn size(&self, host: &str, session: &dyn Debug) -> Option<usize> {
        let certificates = self.cache().facts(host)?.certificates?;
        let ticket = ticket_size(session)?;
        (certificates <= MAX_CERTIFICATES).then_some(certificates + ticket)
    }

    fn note_certificates(&self, host: &str, bytes: usize) {
        self.cache().edit_facts(host, |facts| facts.certificates = Some(bytes));
    }
}

impl ClientSessionStore for SessionStore {
    fn set_kx_hint(&self, host: ServerName<'static>, group: NamedGroup) {
        self.cache().edit_facts(&host.to_str(), |facts| facts.group = Some(group));
    }

    fn kx_hint(&self, host: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache().facts(&host.to_str())?.group
    }

    fn set_tls12_session(&self, host: ServerName<'static>, session: Tls12ClientSessionValue) {
        let host = host.to_str();
        let Some(bytes) = self.size(&host, &session) else { return };
        let mut cache = self.cache();
        // There is one at a time, and it resumes any number of connections.
        while cache.take_newest(&host).is_some() {}
        cache.insert(&host, Session::Tls12(session), bytes);
    }

    fn tls12_session(&self, host: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        match self.cache().newest(&host.to_str())? {
            Session::Tls12(session) => Some(session.clone()),
            Session::Tls13(_) => None,
        }
    }

    fn remove_tls12_session(&self, host: &ServerName<'static>) {
        let (host, mut cache) = (host.to_str(), self.cache());
        if let Some(Session::Tls12(_)) = cache.newest(&host) {
            cache.take_newest(&host);
        }
    }

    fn insert_tls13_ticket(&self, host: ServerName<'static>, session: Tls13ClientSessionValue) {
        let host = host.to_str();
        if let Some(bytes) = self.size(&host, &session) {
            self.cache().insert(&host, Session::Tls13(session), bytes);
        }
    }

    fn take_tls13_ticket(&self, host: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let (host, mut cache) = (host.to_str(), self.cache());
        if !matches!(cache.newest(&host)?, Session::Tls13(_)) {
            return None;
        }
        match cache.take_newest(&host)? {
            Session::Tls13(session) => Some(session),
            Session::Tls12(_) => None,
        }
    }
}

impl Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionStore")
    }
}

/// The length of the ticket in a session, or a little more; `None` if it is too long.
fn ticket_size(session: &dyn Debug) -> Option<usize> {
    let mut meter = TicketMeter { digits: 0, is_past: false };
    let has_ended = write!(meter, "{session:?}").is_ok();
    (has_ended || meter.is_past).then_some(meter.digits / 2)
}

/// Counts the text of a session up to the field that follows its ticket, whose bytes have two
/// digits each.
struct TicketMeter {
    digits: usize,
    is_past: bool,
}

impl Write for TicketMeter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.is_past = text == "epoch";
        self.digits += text.len();
        if self.is_past || self.digits > 2 * MAX_TICKET { Err(fmt::Error) } else { Ok(()) }
    }
}

/// A verifier that also accepts sites whose certificate is itself one of the authorities that were
/// added, and that reports the size of the certificates that it accepts.
#[derive(Debug)]
pub(super) struct OwnVerifier {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) sessions: Arc<SessionStore>,
}

impl OwnVerifier {
    /// Accepts a certificate that was added by itself, as curl does. The verifier has checked that
    /// it has not expired before it refuses it as that of an authority.
    fn accept_added(
        &self,
        error: Error,
        end_entity: &CertificateDer<'_>,
        host: &ServerName<'_>,
    ) -> Result<ServerCertVerified, Error> {
        let is_added = || self.authorities.iter().any(|own| own.as_ref() == end_entity.as_ref());
        match &error {
            Error::InvalidCertificate(refusal) if is_of_authority(refusal) && is_added() => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, host)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(error),
        }
    }
}

impl ServerCertVerifier for OwnVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .verifier
            .verify_server_cert(end_entity, intermediates, host, ocsp, now)
            .or_else(|error| self.accept_added(error, end_entity, host))?;
        let others: usize = intermediates.iter().map(|certificate| certificate.len()).sum();
        self.sessions.note_certificates(&host.to_str(), end_entity.len() + others);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.verifier.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}
