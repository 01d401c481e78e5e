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
mod tests;
