//! The transport to the broker: a socket, and a reader that repairs frames.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio, TokioRuntime};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::net::TcpStream;

use super::frames::FrameRepair;
use super::socket::{self, Connector, Socket};

/// How many bytes are read at once into memory of our own if a frame does not fit into the rest of
/// the library's buffer.
const ASIDE_BYTES: usize = 64 * 1024;

/// Connects as `lapin::Connection::connect_uri_with_config` does, with a socket and a reader of our
/// own.
pub(crate) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    connector: Connector,
) -> lapin::Result<Connection> {
    let reactor = RepairReactor(TokioRuntime::tokio_current());
    let runtime = Runtime::new(RuntimeParts::new(reactor.0.clone(), reactor));
    let connect = async move |uri: AMQPUri, _: RepairRuntime| {
        let socket = connector.connect(&uri).await?;
        // Plain for the library, which has no TLS of its own here.
        Ok(AsyncTcpStream::Plain(RepairStream::new(socket, uri.query.frame_max)))
    };
    Connection::connector(uri, runtime, connect, properties).await
}

type RepairRuntime = Runtime<RuntimeParts<TokioRuntime, RepairReactor>>;

/// Tokio's reactor with repaired TCP streams. The runtime determines the type of the library's
/// stream.
#[derive(Clone, Debug)]
struct RepairReactor(TokioRuntime);

impl Reactor for RepairReactor {
    type TcpStream = RepairStream<Socket>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    #[expect(clippy::manual_async_fn, reason = "the future outlives the runtime that it is from")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async move {
            let stream = TcpStream::connect(address).await?;
            Ok(RepairStream::new(socket::plain(stream), None))
        }
    }
}

/// A stream whose frames are repaired as they are read. Bytes are read into the caller's buffer and
/// repaired there; only the beginning of an incomplete frame is copied.
#[derive(Debug)]
struct RepairStream<S> {
    stream: S,
    frames: FrameRepair,
    /// Bytes that were read and not returned yet: repaired ones, or the beginning of a frame.
    held: Vec<u8>,
    /// How many bytes of `held` are repaired.
    repaired: usize,
}

impl<S: AsyncRead + Unpin> RepairStream<S> {
    fn new(stream: S, frame_max: Option<u32>) -> Self {
        Self { stream, frames: FrameRepair::new(frame_max), held: Vec::new(), repaired: 0 }
    }

    /// Reads into the caller's buffer, after the held bytes. Returns how many bytes of it are
    /// repaired.
    fn poll_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let (before, free) = buffer.split_at_mut(self.held.len());
        before.copy_from_slice(&self.held);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, free))?;
        let bytes = &mut buffer[..self.held.len() + read];
        // At the end of the stream nothing will complete a frame.
        let repaired = if read == 0 { bytes.len() } else { self.frames.repair(bytes) };
        self.held.clear();
        self.held.extend_from_slice(&bytes[repaired..]);
        Poll::Ready(Ok(repaired))
    }

    /// Reads the rest of the held frame, for which the caller's buffer has no room.
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = self.held.len();
        self.held.resize(held + FrameRepair::missing(&self.held).clamp(1, ASIDE_BYTES), 0);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut self.held[held..]);
        let read = if let Poll::Ready(Ok(read)) = polled { read } else { 0 };
        self.held.truncate(held + read);
        let read = ready!(polled)?;
        self.repaired = if read == 0 { held } else { self.frames.repair(&mut self.held) };
        Poll::Ready(Ok(()))
    }

    fn drain_into(&mut self, buffer: &mut [u8]) -> usize {
        let bytes = self.repaired.min(buffer.len());
        buffer[..bytes].copy_from_slice(&self.held[..bytes]);
        self.held.drain(..bytes);
        self.repaired -= bytes;
        bytes
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RepairStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while !buffer.is_empty() {
            if this.repaired > 0 {
                return Poll::Ready(Ok(this.drain_into(buffer)));
            }
            if this.held.len() >= buffer.len() {
                ready!(this.poll_aside(cx))?;
                continue;
            }
            let ended = this.held.is_empty();
            let read = ready!(this.poll_into(cx, buffer))?;
            if read > 0 || (ended && this.held.is_empty()) {
                return Poll::Ready(Ok(read));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RepairStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::connection::frames::tests::{entry, frame, header, long, short};

    /// A stream that arrives in pieces and is pending before each.
    struct Pieces {
        pieces: VecDeque<Vec<u8>>,
        waits: bool,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.waits = !self.waits;
            if self.waits {
                return Poll::Pending;
            }
            let Some(mut piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(0)) };
            let read = piece.len().min(buffer.len());
            buffer[..read].copy_from_slice(&piece[..read]);
            if read < piece.len() {
                self.pieces.push_front(piece.split_off(read));
            }
            Poll::Ready(Ok(read))
        }
    }

    fn of_pieces(pieces: impl IntoIterator<Item = Vec<u8>>) -> RepairStream<Pieces> {
        RepairStream::new(Pieces { pieces: pieces.into_iter().collect(), waits: false }, None)
    }

    /// Reads to the end into buffers of these sizes, in rotation.
    fn read(stream: &mut RepairStream<Pieces>, buffers: &[usize]) -> Vec<u8> {
        let (mut all, mut sizes) = (Vec::new(), buffers.iter().cycle());
        loop {
            let mut buffer = vec![0; *sizes.next().unwrap()];
            match Pin::new(&mut *stream)
                .poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer)
            {
                Poll::Pending => {}
                Poll::Ready(Ok(0)) => return all,
                Poll::Ready(read) => all.extend_from_slice(&buffer[..read.unwrap()]),
            }
        }
    }

    fn cut(mut bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
        let (mut pieces, mut sizes) = (Vec::new(), sizes.iter().cycle());
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((*sizes.next().unwrap()).min(bytes.len()));
            pieces.push(piece.to_vec());
            bytes = rest;
        }
        pieces
    }

    /// Bytes as they are sent, and as they should arrive.
    type Twice = (Vec<u8>, Vec<u8>);

    fn same(bytes: Vec<u8>) -> Twice {
        (bytes.clone(), bytes)
    }

    fn map(twice: Twice, build: impl Fn(&[u8]) -> Vec<u8>) -> Twice {
        (build(&twice.0), build(&twice.1))
    }

    fn join(parts: impl IntoIterator<Item = Twice>) -> Twice {
        let (sent, arrives): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        (sent.concat(), arrives.concat())
    }

    fn text() -> impl Strategy<Value = Twice> {
        let bytes = prop_oneof![vec(any::<u8>(), 0..20), ".{0,20}".prop_map(String::into_bytes)];
        bytes.prop_map(|bytes| {
            let chunks = bytes.utf8_chunks();
            let arrives = chunks.flat_map(|chunk| {
                [chunk.valid().as_bytes(), &[0x1a; 3][..chunk.invalid().len()]].concat()
            });
            (short(&bytes), short(&arrives.collect::<Vec<u8>>()))
        })
    }

    fn value() -> impl Strategy<Value = Twice> {
        let flat = prop_oneof![
            Just(same(b"V".to_vec())),
            any::<u8>().prop_map(|value| same(vec![b't', value])),
            any::<[u8; 2]>().prop_map(|value| same([&b"s"[..], &value].concat())),
            any::<[u8; 4]>().prop_map(|value| same([&b"I"[..], &value].concat())),
            any::<[u8; 5]>().prop_map(|value| same([&b"D"[..], &value].concat())),
            any::<[u8; 8]>().prop_map(|value| same([&b"T"[..], &value].concat())),
            vec(any::<u8>(), 0..40).prop_map(|value| same([&b"S"[..], &long(&value)].concat())),
            vec(any::<u8>(), 0..40).prop_map(|value| same([&b"x"[..], &long(&value)].concat())),
        ];
        flat.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(|items| map(join(items), |items| [
                    b"A",
                    &long(items)[..]
                ]
                .concat())),
                vec((text(), inner), 0..4)
                    .prop_map(|entries| map(table(entries), |table| [b"F", table].concat())),
            ]
        })
    }

    fn table(entries: Vec<(Twice, Twice)>) -> Twice {
        map(join(entries.into_iter().flat_map(|(name, value)| [name, value])), long)
    }

    fn frames() -> impl Strategy<Value = Twice> {
        let content_header =
            (vec(text(), 4), vec((text(), value()), 0..5)).prop_map(|(texts, entries)| {
                let [kind, encoding, id, app] = texts.try_into().unwrap();
                let parts = [
                    kind,
                    encoding,
                    table(entries),
                    same(vec![2, 9]),
                    id,
                    same(vec![0xff; 8]),
                    app,
                ];
                map(join(parts), |properties| header(0xf8c8, properties))
            });
        let method = |head: &'static [u8], middle: &'static [u8], tail: &'static [u8]| {
            (text(), text(), text()).prop_map(move |(first, second, third)| {
                let parts = [
                    same(head.to_vec()),
                    first,
                    same(middle.to_vec()),
                    second,
                    third,
                    same(tail.to_vec()),
                ];
                map(join(parts), |payload| frame(1, 1, payload))
            })
        };
        prop_oneof![
            content_header,
            method(&[0, 60, 0, 60], &[0xff; 9], &[]),
            method(&[0, 60, 0, 50, 1, 2], &[], &[]),
            (text(), text()).prop_map(|(exchange, key)| {
                let parts = [
                    same(vec![0, 60, 0, 71]),
                    same(vec![0xff; 9]),
                    exchange,
                    key,
                    same(vec![0xff; 4]),
                ];
                map(join(parts), |payload| frame(1, 1, payload))
            }),
            (1u8..4, vec(any::<u8>(), 0..300)).prop_map(|(kind, bytes)| {
                // Bodies, and methods that are not parsed.
                let payload =
                    if kind == 3 { bytes } else { [&[0, 60, 0, 80], &bytes[..]].concat() };
                same(frame(if kind == 3 { 3 } else { 1 }, 1, &payload))
            }),
            Just(same(frame(8, 0, b""))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        #[test]
        fn frames_arrive_as_they_were_sent_except_for_invalid_utf8(
            frames in vec(frames(), 0..12),
            pieces in vec(1usize..400, 1..10),
            buffers in vec(1usize..700, 1..10),
            cut_off in 0usize..30,
        ) {
            let (mut sent, mut arrives) = join(frames);
            let mut stream = of_pieces(cut(&sent, &pieces));
            prop_assert_eq!(&read(&mut stream, &buffers), &arrives);
            // Of a frame that the end of the stream truncates, all bytes arrive.
            sent.truncate(sent.len().saturating_sub(cut_off));
            arrives.truncate(sent.len());
            let read = read(&mut of_pieces(cut(&sent, &pieces)), &buffers);
            prop_assert_eq!(read.len(), sent.len());
        }

        #[test]
        fn bytes_of_any_kind_arrive_in_full(
            bytes in vec(prop_oneof![0u8..9, any::<u8>(), Just(0xce)], 0..300),
            pieces in vec(1usize..40, 1..10),
            buffers in vec(1usize..40, 1..10),
        ) {
            let read = read(&mut of_pieces(cut(&bytes, &pieces)), &buffers);
            prop_assert_eq!(read.len(), bytes.len());
        }
    }

    #[test]
    fn a_body_is_read_without_a_copy() {
        let body = frame(3, 1, &vec![0xff; 131_064]);
        let mut stream = of_pieces(cut(&body, &[1000]));
        assert_eq!(read(&mut stream, &[64 * 1024]), body);
        assert_eq!(stream.held.capacity(), 0);
    }

    #[test]
    fn an_incomplete_frame_is_held() {
        let bytes = header(0x2000, &long(&entry(b"\xff", b'S', &long(&[7; 100_000]))));
        let mut stream = of_pieces([bytes[..99_999].to_vec()]);
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..2 {
            let polled = Pin::new(&mut stream)
                .poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
            assert!(polled.is_pending());
        }
        assert_eq!(stream.held, bytes[..99_999]);
    }
}
