//! An HTTP/2 server without TLS that behaves as a test says, frame by frame.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// What the server does with a stream.
#[derive(Clone, Debug)]
pub(super) enum Frames {
    /// Answers with this header block in HPACK, and a body unless it is empty.
    Answer(Vec<u8>, &'static str),
    /// Refuses or resets the stream with this error code.
    Reset(u32),
    /// Says that this and all later streams are not processed, with this error code.
    GoAway(u32),
    /// Nothing more: this stream came after a GOAWAY.
    Ignore,
}

/// HPACK for `:status: 200` and a `content-type`.
pub(super) fn ok() -> Frames {
    let mut block = vec![0x88];
    block.extend(field(31, "text/html"));
    Frames::Answer(block, "page")
}

/// A field with a name of HPACK's static table, not indexed.
pub(super) fn field(name: u8, value: &str) -> Vec<u8> {
    assert!(name >= 15 && value.len() < 127);
    [&[0x0f, name - 15, value.len() as u8], value.as_bytes()].concat()
}

/// A server that counts the streams that it has answered.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) streams: Arc<Mutex<Counts>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) connections: u32,
    pub(super) answered: u32,
    pub(super) others: u32,
    pub(super) over_http1: u32,
}

impl Origin {
    /// `frames`: what to do with the n-th stream of the m-th connection.
    pub(super) async fn start(frames: impl Fn(u32, u32) -> Frames + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (streams, frames) = (Arc::<Mutex<Counts>>::default(), Arc::new(frames));
        let counts = streams.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = {
                    let mut counts = counts.lock().unwrap();
                    counts.connections += 1;
                    counts.connections - 1
                };
                let (counts, frames) = (counts.clone(), frames.clone());
                tokio::spawn(async move {
                    _ = serve(stream, &counts, |nth| frames(connection, nth)).await;
                });
            }
        });
        Self { address, streams }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn counts(&self) -> Counts {
        self.streams.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    counts: &Mutex<Counts>,
    frames: impl Fn(u32) -> Frames,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    if !preface.starts_with(b"PRI ") {
        return serve_http1(stream, counts).await;
    }
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut nth, mut last, mut open) = (0, 0, Vec::new());
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        let (kind, flags) = (head[3], head[4]);
        match kind {
            SETTINGS if flags & ACK == 0 => {
                stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
            }
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).await?,
            HEADERS => {
                open.push((id, frames(nth)));
                nth += 1;
            }
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            let found = open.iter().position(|(own, _)| *own == id);
            let Some(what) = found.map(|at| open.remove(at).1) else { continue };
            let answered = matches!(what, Frames::Answer(..));
            {
                let mut counts = counts.lock().unwrap();
                counts.answered += u32::from(answered);
                counts.others += u32::from(!answered);
            }
            last = if answered { id } else { last };
            stream.write_all(&reply(what, id, last)).await?;
        }
    }
}

/// Answers one request without a body over HTTP/1.1.
async fn serve_http1(mut stream: TcpStream, counts: &Mutex<Counts>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    counts.lock().unwrap().over_http1 += 1;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage").await?;
    stream.shutdown().await
}

fn reply(what: Frames, id: u32, last: u32) -> Vec<u8> {
    match what {
        Frames::Answer(block, "") => frame(HEADERS, END_HEADERS | END_STREAM, id, &block),
        Frames::Answer(block, body) => {
            [frame(HEADERS, END_HEADERS, id, &block), frame(DATA, END_STREAM, id, body.as_bytes())]
                .concat()
        }
        Frames::Reset(code) => frame(RST_STREAM, 0, id, &code.to_be_bytes()),
        Frames::GoAway(code) => {
            frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
        }
        Frames::Ignore => Vec::new(),
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}
