//! HTTP/2, frame by frame, with the habits of real servers.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const HTTP_1_1_REQUIRED: u32 = 13;

/// A frame as it was received.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// Serves one connection. `count` is called for each request that is answered, refused or reset.
pub(super) async fn serve(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    habit: &str,
    count: impl Fn(),
) -> io::Result<()> {
    let mut preface = [0; 24];
    connection.read_exact(&mut preface).await?;
    connection.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut nth, mut last) = (0, 0);
    loop {
        connection.flush().await?;
        let Frame { kind, flags, stream, payload } = read(&mut connection).await?;
        let answer = match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let payload = if kind == PING { &*payload } else { &[] };
                frame(kind, ACK, 0, payload)
            }
            HEADERS | DATA if flags & END_STREAM != 0 => {
                count();
                nth += 1;
                reply(habit, nth, stream, &mut last)
            }
            _ => continue,
        };
        connection.write_all(&answer).await?;
    }
}

/// The frames that answer the n-th request of a connection, counted from 1. `last` is the last
/// stream that was processed.
fn reply(habit: &str, nth: u32, stream: u32, last: &mut u32) -> Vec<u8> {
    let reset = |code: u32| frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    match habit {
        // As nginx with `keepalive_requests 10`.
        "h2-goaway" if nth == 11 => {
            frame(GOAWAY, 0, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat())
        }
        "h2-goaway" if nth > 11 => Vec::new(),
        "h2-refuses" if nth == 1 => reset(REFUSED_STREAM),
        "h2-refuses-all" => reset(REFUSED_STREAM),
        "h2-cancels" => reset(CANCEL),
        "h2-wants-http1" => reset(HTTP_1_1_REQUIRED),
        "h2-huge-head" => {
            // HPACK: `:status: 200`, and a `content-length` that is not indexed.
            let block = [&[0x88, 0x0f, 13, 8], &b"50000000"[..]].concat();
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
        }
        _ => {
            *last = stream;
            let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
            [head, frame(DATA, END_STREAM, stream, b"page")].concat()
        }
    }
}

async fn read(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    connection.read_exact(&mut payload).await?;
    Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}
