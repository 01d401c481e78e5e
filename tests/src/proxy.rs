//! A TCP proxy between a process and a service, which can hold bytes back, delay them, and cut or
//! refuse connections.

use std::future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mode {
    /// Holds back bytes from the client to the server.
    hold_requests: bool,
    /// Holds back bytes from the server to the client.
    hold_answers: bool,
    /// Closes new connections at once, as if nothing listened.
    refuse: bool,
    /// The delay of all bytes, each way.
    delay: Duration,
    /// The number of cuts. A connection ends when the number differs from that at its start.
    cuts: u64,
    /// The same for cuts of which the server learns nothing.
    one_sided_cuts: u64,
}

/// A proxy on its own port. Dropping it closes the port and all connections.
pub struct Proxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    end: CancellationToken,
}

impl Proxy {
    /// Listens on a free port of loopback and forwards connections to `server`.
    pub async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = Arc::new(watch::Sender::new(Mode::default()));
        let end = CancellationToken::new();
        tokio::spawn(accept(listener, server, mode.clone(), end.clone()));
        Ok(Self { address, mode, end })
    }

    /// Starts a proxy in front of the service at `url`, which names its port and uses no TLS.
    /// Returns the proxy and the URL that leads through it.
    pub async fn before(url: &str) -> anyhow::Result<(Self, String)> {
        let mut url: reqwest::Url = url.parse()?;
        let server = *url.socket_addrs(|| None)?.first().context("the service has no address")?;
        let proxy = Self::start(server).await?;
        let changed = url.set_host(Some("127.0.0.1")).is_ok()
            && url.set_port(Some(proxy.address.port())).is_ok();
        anyhow::ensure!(changed, "a URL without a host cannot lead through a proxy");
        Ok((proxy, url.to_string()))
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds back what clients send, or forwards it again.
    pub fn hold_requests(&self, hold: bool) {
        self.mode.send_modify(|mode| mode.hold_requests = hold);
    }

    /// Holds back all bytes in both directions and the end of connections, or forwards them again.
    /// New connections are accepted and are as silent as the others: this is how a network that
    /// drops packets looks.
    pub fn silence(&self, silent: bool) {
        self.mode.send_modify(|mode| {
            mode.hold_requests = silent;
            mode.hold_answers = silent;
        });
    }

    /// Delays all bytes, each way, without limiting the bandwidth: a service that is far away. A
    /// call and its answer take twice the delay.
    pub fn delay(&self, each_way: Duration) {
        self.mode.send_modify(|mode| mode.delay = each_way);
    }

    /// Closes new connections at once, or forwards them again.
    pub fn refuse(&self, refuse: bool) {
        self.mode.send_modify(|mode| mode.refuse = refuse);
    }

    /// Closes every present connection to clients. The server is not told and receives nothing any
    /// more: this is how a network device looks that has forgotten the connections.
    pub fn cut_clients(&self) {
        self.mode.send_modify(|mode| mode.one_sided_cuts += 1);
    }

    /// Closes every present connection.
    pub fn cut(&self) {
        self.mode.send_modify(|mode| mode.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    end: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => return,
        };
        let Ok((client, _)) = accepted else { return };
        if mode.borrow().refuse {
            continue;
        }
        let (mode, end) = (mode.subscribe(), end.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let Mode { cuts, one_sided_cuts, .. } = *mode.borrow();
            let (mut cut, mut one_sided) = (mode.clone(), mode.clone());
            let mut server = server;
            let forwarding = async {
                tokio::select! {
                    () = forward(client, &mut server, mode) => return,
                    _ = one_sided.wait_for(|mode| mode.one_sided_cuts != one_sided_cuts) => {}
                }
                // Until the server ends the connection.
                _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
            };
            tokio::select! {
                () = forwarding => {}
                _ = cut.wait_for(|mode| mode.cuts != cuts) => {}
                () = end.cancelled() => {}
            }
        });
    }
}

/// Forwards bytes in both directions until one side has ended.
async fn forward(mut client: TcpStream, server: &mut TcpStream, mode: watch::Receiver<Mode>) {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = forward_one_way(from_client, to_server, mode.clone(), |mode| mode.hold_requests) => {}
        () = forward_one_way(from_server, to_client, mode, |mode| mode.hold_answers) => {}
    }
}

/// How many chunks may be in transit, per direction.
const CHUNKS_IN_TRANSIT: usize = 64;

async fn forward_one_way(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
    held: fn(&Mode) -> bool,
) {
    let (chunks, mut arriving) = mpsc::channel(CHUNKS_IN_TRANSIT);
    let reading = read(from, chunks);
    let writing = async {
        while let Some((read_at, chunk)) = arriving.recv().await {
            let Ok(now) = mode.wait_for(|mode| !held(mode)).await.map(|mode| *mode) else { return };
            tokio::time::sleep_until(read_at + now.delay).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // The end of the connection is held back as well.
        _ = mode.wait_for(|mode| !held(mode)).await;
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// Reads until the end of the stream, then never returns: the writer decides when the connection
/// ends.
async fn read(mut from: impl AsyncRead + Unpin, chunks: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if chunks.send((Instant::now(), buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
    drop(chunks);
    future::pending().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Starts a server that sends back what it receives.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut from, mut to) = client.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_silent_proxy_holds_all_bytes_back_and_delivers_them_later() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let mut answer = [0; 4];
        client.write_all(b"ping").await.unwrap();
        client.read_exact(&mut answer).await.unwrap();

        proxy.silence(true);
        client.write_all(b"pong").await.unwrap();
        assert!(timeout(Duration::from_millis(100), client.read_exact(&mut answer)).await.is_err());
        proxy.silence(false);
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
    }

    #[tokio::test]
    async fn a_delay_applies_each_way_and_does_not_limit_the_bandwidth() {
        const EACH_WAY: Duration = Duration::from_millis(100);
        let proxy = Proxy::start(echo().await).await.unwrap();
        proxy.delay(EACH_WAY);
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let sent = Instant::now();
        for _ in 0..10 {
            client.write_all(b"ping").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        client.read_exact(&mut [0; 40]).await.unwrap();
        assert!(
            sent.elapsed() >= 2 * EACH_WAY && sent.elapsed() < 6 * EACH_WAY,
            "{:?}",
            sent.elapsed()
        );
    }

    #[tokio::test]
    async fn a_cut_closes_present_connections_and_no_later_one() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let mut answer = [0; 4];
        client.write_all(b"ping").await.unwrap();
        client.read_exact(&mut answer).await.unwrap();
        proxy.cut();
        assert!(matches!(client.read(&mut answer).await, Ok(0) | Err(_)));

        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        client.read_exact(&mut answer).await.unwrap();
    }
}
