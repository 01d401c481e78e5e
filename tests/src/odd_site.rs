//! A site whose hosts have the habits of real servers. The first label of a host names its habit.

mod http2;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::rustls::{self, ServerConfig};

/// The first byte of a connection that speaks TLS: a handshake record.
const HANDSHAKE: u8 = 22;
/// A TLS record: the fatal alert `protocol_version`.
const PROTOCOL_VERSION: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// A site on 127.0.0.1 that speaks HTTP and HTTPS at one port. It ends with its runtime.
pub struct OddSite {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// TLS 1.2 and 1.3, and TLS 1.2 alone.
    tls: [ServerConfig; 2],
    /// How many requests each habit has got.
    requests: Mutex<HashMap<String, usize>>,
}

/// How a connection over HTTP/1 goes on.
enum Reply {
    /// These bytes; the connection stays open.
    Kept(String),
    /// These bytes, and the end. TLS is closed, too.
    Last(String),
    /// These bytes, and the end of the connection without that of TLS.
    Abrupt(String),
}

/// A request.
struct Asked<'a> {
    text: &'a str,
    /// How many requests came before on its connection.
    before: usize,
}

impl OddSite {
    /// The name that its certificate has to have.
    pub const HOSTS: &str = "*.site.example";

    /// Starts a site with the files `cert.pem` and `key.pem` of a folder.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let tls = [rustls::ALL_VERSIONS, &[&rustls::version::TLS12]];
        let [all, tls12] = tls.map(|versions| tls_config(folder, versions));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { tls: [all?, tls12?], requests: Mutex::default() });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = serving.clone();
                // An error ends the connection.
                tokio::spawn(async move { state.serve(stream).await });
            }
        });
        Ok(Self { address, state })
    }

    /// The URL of a page at the host with a habit.
    pub fn url(&self, scheme: &str, habit: &str, path: &str) -> String {
        format!("{scheme}://{habit}.site.example:{}/{path}", self.address.port())
    }

    /// How many requests the host with a habit has got.
    pub fn requests(&self, habit: &str) -> usize {
        let requests = self.state.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.get(habit).copied().unwrap_or_default()
    }
}

fn tls_config(
    folder: &Path,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> anyhow::Result<ServerConfig> {
    let certificates = CertificateDer::pem_file_iter(folder.join("cert.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(certificates.collect::<Result<_, _>>()?, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn habit_of(host: &str) -> String {
    host.split('.').next().unwrap_or_default().to_owned()
}

impl State {
    fn count(&self, habit: &str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(habit.to_owned()).or_default() += 1;
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut first = [0];
        stream.peek(&mut first).await?;
        if first[0] != HANDSHAKE {
            return self.serve_http1(stream).await;
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), &mut stream).await?;
        let habit = habit_of(start.client_hello().server_name().unwrap_or_default());
        if habit == "old-tls" {
            drop(start);
            self.count(&habit);
            stream.write_all(&PROTOCOL_VERSION).await?;
            return stream.shutdown().await;
        }
        let mut config = self.tls[usize::from(habit == "tls12")].clone();
        if habit.starts_with("h2-") {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        let stream = start.into_stream(Arc::new(config)).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => http2::serve(stream, &habit, || self.count(&habit)).await,
            _ => self.serve_http1(stream).await,
        }
    }

    async fn serve_http1(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> std::io::Result<()> {
        for before in 0.. {
            let text = read_request(&mut stream).await?;
            let habit = habit_of(header(&text, "host"));
            self.count(&habit);
            match reply(&habit, &Asked { text: &text, before }) {
                Reply::Kept(bytes) => {
                    stream.write_all(bytes.as_bytes()).await?;
                    stream.flush().await?;
                }
                Reply::Last(bytes) => {
                    stream.write_all(bytes.as_bytes()).await?;
                    return stream.shutdown().await;
                }
                Reply::Abrupt(bytes) => {
                    stream.write_all(bytes.as_bytes()).await?;
                    return stream.flush().await;
                }
            }
        }
        Ok(())
    }
}

/// The next request, without a body.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let mut fields = text.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

/// A page with these lines of its header, each with its end.
fn page(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 4\r\n\r\npage")
}

/// A redirect to the same page.
fn again(asked: &Asked<'_>, lines: &str) -> Reply {
    let path = asked.text.split(' ').nth(1).unwrap_or_default();
    let head = format!("HTTP/1.1 302 Found\r\n{lines}Location: {path}\r\n");
    Reply::Kept(format!("{head}Content-Length: 0\r\n\r\n"))
}

/// What a host with a habit does with a request over HTTP/1.
fn reply(habit: &str, asked: &Asked<'_>) -> Reply {
    let is_first = asked.before == 0;
    match habit {
        // Connections end as the next request comes: in silence, or with a farewell.
        "closes" if !is_first => Reply::Last(String::new()),
        "farewell" if !is_first => {
            let head = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n";
            Reply::Last(format!("{head}Content-Length: 0\r\n\r\n"))
        }
        // Cookies.
        "consent" if header(asked.text, "cookie") != "seen=1" => {
            again(asked, "Set-Cookie: seen=1; Path=/\r\n")
        }
        "circle" => again(asked, "Set-Cookie: a=1; Path=/\r\n"),
        // Heads.
        "identity" => Reply::Kept(page("Transfer-Encoding: identity\r\n")),
        "folded" => Reply::Kept(page("X: a\r\n\tb\r\nno field\r\nY : c\r\n")),
        "bare-lf" => Reply::Kept(page("").replace("\r\n", "\n")),
        "hints" => {
            Reply::Kept(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", page("")))
        }
        "cookies" => Reply::Kept(page(&"Set-Cookie: a=b\r\n".repeat(900))),
        "too-many" => Reply::Kept(page(&"Set-Cookie: a=b\r\n".repeat(2_100))),
        "huge-head" => {
            Reply::Kept("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n".to_owned())
        }
        "two-lengths" => Reply::Last(page("Content-Length: 3\r\n")),
        "version" => Reply::Last(page("").replace("HTTP/1.1", "HTTP/1.2")),
        "cut" => Reply::Last(page("").replace(": 4", ": 5")),
        // TLS.
        "abrupt" => Reply::Abrupt(page("Connection: close\r\n")),
        _ => Reply::Kept(page("")),
    }
}
