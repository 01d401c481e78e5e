//! An HTTP/1 server that answers with bytes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A request with the port that it came to.
pub(super) struct Asked {
    pub(super) port: u16,
    pub(super) text: String,
    /// How many requests came before on its connection.
    pub(super) before: usize,
}

impl Asked {
    pub(super) fn path(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }

    /// The values of a header, joined by ` & `.
    pub(super) fn header(&self, name: &str) -> String {
        let lines = self.text.split("\r\n\r\n").next().unwrap_or_default().lines().skip(1);
        let values = lines.filter_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        values.collect::<Vec<_>>().join(" & ")
    }
}

/// How a connection goes on.
pub(super) enum Reply {
    /// These bytes; the connection stays open.
    Bytes(Vec<u8>),
    /// The first bytes, and the others once the semaphore is closed.
    Halves(Vec<u8>, Vec<u8>, Arc<Semaphore>),
    /// These bytes, and the end.
    Last(Vec<u8>),
    /// The end by RST.
    Reset,
    /// No answer, on an open connection.
    Silence,
}

impl Reply {
    pub(super) fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    /// A response with this status, these lines of its header, and this body.
    pub(super) fn of(status: u16, lines: &[&str], body: &str) -> Self {
        let mut lines: Vec<_> = lines.iter().map(|line| format!("{line}\r\n")).collect();
        lines.push(format!("Content-Length: {}\r\n", body.len()));
        Self::text(&format!("HTTP/1.1 {status} X\r\n{}\r\n{body}", lines.concat()))
    }
}

/// A server that keeps what it was asked.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// Connections that were accepted and that have ended.
    connections: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Origin {
    pub(super) async fn start(
        ip: &str,
        reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, reply) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(reply));
        let log = asked.clone();
        let connections = Arc::<(AtomicUsize, AtomicUsize)>::default();
        let counts = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, reply, counts) = (log.clone(), reply.clone(), counts.clone());
                counts.0.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let _: Option<()> = serve(stream, address.port(), &log, &*reply).await;
                    counts.1.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, asked, connections }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections were accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.connections.0.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        self.accepted() - self.connections.1.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    port: u16,
    log: &Mutex<Vec<String>>,
    reply: &(impl Fn(&Asked) -> Reply + Sync),
) -> Option<()> {
    let mut unread = Vec::new();
    for before in 0.. {
        let text = read_request(&mut stream, &mut unread).await?;
        log.lock().unwrap().push(text.clone());
        match reply(&Asked { port, text, before }) {
            Reply::Bytes(bytes) => stream.write_all(&bytes).await.ok()?,
            Reply::Halves(first, second, gate) => {
                stream.write_all(&first).await.ok()?;
                _ = gate.acquire().await;
                stream.write_all(&second).await.ok()?;
            }
            Reply::Last(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return stream.shutdown().await.ok();
            }
            Reply::Silence => return std::future::pending().await,
            Reply::Reset => return stream.set_zero_linger().ok(),
        }
    }
    None
}

/// The next request with its body.
async fn read_request(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(unread).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                unread.clear();
                return Some(text);
            }
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
}
