//! A TCP proxy between a process and a service, which can hold bytes back or cut connections.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mode {
    /// Bytes from the client to the server stay where they are.
    hold_requests: bool,
    /// Counts cuts: a connection that was made before the present one is closed.
    cuts: u64,
}

/// A proxy on a port of its own; dropping it closes it.
pub struct Proxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    end: CancellationToken,
}

impl Proxy {
    /// Listens on loopback and passes connections on to `server`.
    pub async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = Arc::new(watch::Sender::new(Mode::default()));
        let end = CancellationToken::new();
        tokio::spawn(accept(listener, server, mode.clone(), end.clone()));
        Ok(Self { address, mode, end })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds back what clients send, or lets it go on.
    pub fn hold_requests(&self, hold: bool) {
        self.mode.send_modify(|mode| mode.hold_requests = hold);
    }

    /// Closes every connection that there is.
    pub fn cut(&self) {
        self.mode.send_modify(|mode| mode.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, mode: Arc<watch::Sender<Mode>>, end: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => return,
        };
        let Ok((client, _)) = accepted else { return };
        let (mode, end) = (mode.subscribe(), end.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let cuts = mode.borrow().cuts;
            let mut cut = mode.clone();
            tokio::select! {
                () = pass(client, server, mode) => {}
                _ = cut.wait_for(|mode| mode.cuts != cuts) => {}
                () = end.cancelled() => {}
            }
        });
    }
}

async fn pass(client: TcpStream, server: TcpStream, mut mode: watch::Receiver<Mode>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if mode.wait_for(|mode| !mode.hold_requests).await.is_err() {
                return;
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let answers = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = requests => {}
        _ = answers => {}
    }
}
