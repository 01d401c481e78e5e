//! The socket to the broker: TCP, and TLS if the URL asks for it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::Error;

/// A connected socket, with or without TLS.
pub(super) type Socket = Box<dyn Duplex>;

/// What the client library requires of a socket.
pub(super) trait Duplex: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Duplex for S {}

/// How to connect: with the client's side of TLS for `amqps://`.
#[derive(Clone)]
pub(super) struct Connector {
    tls: Option<TlsConnector>,
    /// The address of the host; without it the name is resolved.
    address: Option<SocketAddr>,
}

impl Connector {
    /// Reads the authorities that may sign the broker's certificate: those of the system, and those
    /// of this PEM file.
    pub(super) fn new(scheme: &AMQPScheme, ca: Option<&Path>) -> Result<Self, Error> {
        // The file is checked even if the URL asks for no TLS: it was meant to be used.
        let extra = ca.map(read).transpose()?.unwrap_or_default();
        let tls = match scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(tls(extra).map_err(Error::Tls)?),
        };
        Ok(Self { tls, address: None })
    }

    /// The same with one of the addresses of the host.
    pub(super) fn to(self, address: Option<SocketAddr>) -> Self {
        Self { address, ..self }
    }

    /// Connects to the address; without one, to the first of the host that answers.
    pub(super) async fn connect(&self, uri: &AMQPUri) -> io::Result<Socket> {
        let host = uri.authority.host.as_str();
        let stream = match self.address {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect((host, uri.authority.port)).await?,
        };
        // Small frames, such as acks, must not wait for each other.
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(plain(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?.compat()))
    }
}

/// A socket without TLS.
pub(super) fn plain(stream: TcpStream) -> Socket {
    Box::new(stream.compat())
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |source| Error::Ca { path: file.display().to_string(), source };
    let text = std::fs::read(file).map_err(failed)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| failed(io::Error::other(error)))?;
    if certificates.is_empty() {
        return Err(failed(io::Error::other("it contains no `BEGIN CERTIFICATE`")));
    }
    Ok(certificates)
}

fn tls(extra: Vec<CertificateDer<'static>>) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra, provider.clone())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
