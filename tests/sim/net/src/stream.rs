//! A duplex stream in memory that behaves like a TCP connection.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes in one direction, as in the buffers of a socket.
const CAPACITY: usize = 256 * 1024;

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    bytes: VecDeque<u8>,
    /// The writer will write no more.
    is_finished: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct Pipe {
    /// What each side reads.
    directions: [Direction; 2],
    is_reset: bool,
}

impl Pipe {
    fn wake_all(&mut self) {
        for direction in &mut self.directions {
            direction.reader.take().into_iter().for_each(Waker::wake);
            direction.writer.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// One end of a connection. Dropping it finishes both directions.
#[derive(Debug)]
pub struct Stream {
    pipe: Arc<Mutex<Pipe>>,
    side: usize,
}

/// The two ends of a new connection.
pub fn pair() -> (Stream, Stream) {
    let pipe = Arc::new(Mutex::new(Pipe::default()));
    (Stream { pipe: pipe.clone(), side: 0 }, Stream { pipe, side: 1 })
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Stream {
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets the connection: both sides get an error, and bytes under way are lost.
    pub fn reset(&self) {
        let mut pipe = self.pipe();
        pipe.is_reset = true;
        pipe.directions.iter_mut().for_each(|direction| direction.bytes.clear());
        pipe.wake_all();
    }

    /// Reads what is there. `Ok(0)` at the end of the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, and `ConnectionReset`.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.pipe();
        if pipe.is_reset {
            return Err(reset());
        }
        let direction = &mut pipe.directions[self.side];
        let read = direction.bytes.len().min(buffer.len());
        if read == 0 && !direction.is_finished && !buffer.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (to, from) in buffer.iter_mut().zip(direction.bytes.drain(..read)) {
            *to = from;
        }
        direction.writer.take().into_iter().for_each(Waker::wake);
        Ok(read)
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `ConnectionReset`, and `BrokenPipe` if the other side is gone.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.pipe();
        if pipe.is_reset {
            return Err(reset());
        }
        let direction = &mut pipe.directions[1 - self.side];
        if direction.is_finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let written = bytes.len().min(CAPACITY - direction.bytes.len());
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        direction.bytes.extend(&bytes[..written]);
        direction.reader.take().into_iter().for_each(Waker::wake);
        Ok(written)
    }

    /// Waits until [`Self::try_read`] does not block.
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.pipe();
        let is_reset = pipe.is_reset;
        let direction = &mut pipe.directions[self.side];
        if is_reset || direction.is_finished || !direction.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        direction.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until [`Self::try_write`] does not block.
    pub fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.pipe();
        let is_reset = pipe.is_reset;
        let direction = &mut pipe.directions[1 - self.side];
        if is_reset || direction.is_finished || direction.bytes.len() < CAPACITY {
            return Poll::Ready(Ok(()));
        }
        direction.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn finish(&mut self) {
        let mut pipe = self.pipe();
        pipe.directions[1 - self.side].is_finished = true;
        pipe.directions[1 - self.side].reader.take().into_iter().for_each(Waker::wake);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.finish();
        let mut pipe = self.pipe();
        // Nobody reads what the other side writes any more.
        pipe.directions[self.side].is_finished = true;
        pipe.wake_all();
    }
}

/// Repeats an operation once it does not block.
macro_rules! when_ready {
    ($self:ident, $cx:ident, $ready:ident, $operation:expr) => {
        loop {
            match $operation {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if $self.$ready($cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                result => break Poll::Ready(result),
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read: Poll<io::Result<usize>> =
            when_ready!(self, cx, poll_read_ready, self.try_read(buffer.initialize_unfilled()));
        read.map_ok(|read| buffer.advance(read))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        when_ready!(self, cx, poll_write_ready, self.try_write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl futures_io::AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        when_ready!(self, cx, poll_read_ready, self.try_read(buffer))
    }
}

impl futures_io::AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        when_ready!(self, cx, poll_write_ready, self.try_write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
