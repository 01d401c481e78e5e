//! A site that speaks HTTPS, and closes each connection after its answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\
                      connection: close\r\n\r\npage";

/// A site on 127.0.0.1. It ends with its runtime.
pub struct TlsSite {
    address: SocketAddr,
    handshakes: Arc<Handshakes>,
}

#[derive(Default)]
struct Handshakes {
    full: AtomicUsize,
    resumed: AtomicUsize,
}

impl TlsSite {
    /// Starts a site with the files `cert.pem` and `key.pem` of a folder.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let certificates = CertificateDer::pem_file_iter(folder.join("cert.pem"))?;
        let certificates = certificates.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"))?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        config.ticketer = ring::Ticketer::new()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, handshakes) = (listener.local_addr()?, Arc::new(Handshakes::default()));
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), handshakes.clone()));
        Ok(Self { address, handshakes })
    }

    /// The port of the site.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of handshakes: full ones, and those that resumed a session.
    pub fn handshakes(&self) -> (usize, usize) {
        let Handshakes { full, resumed } = &*self.handshakes;
        (full.load(Ordering::SeqCst), resumed.load(Ordering::SeqCst))
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, handshakes: Arc<Handshakes>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, handshakes) = (acceptor.clone(), handshakes.clone());
        tokio::spawn(async move { answer(stream, &acceptor, &handshakes).await });
    }
}

async fn answer(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    handshakes: &Handshakes,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let counter = match stream.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => &handshakes.resumed,
        _ => &handshakes.full,
    };
    counter.fetch_add(1, Ordering::SeqCst);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(PAGE).await?;
    stream.shutdown().await
}
