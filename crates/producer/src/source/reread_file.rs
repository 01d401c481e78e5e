//! A file that is read more than once from its beginning.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeek, AsyncSeekExt, ReadBuf};

use crate::text::Text;

/// Its texts share one position, and one handle: going back has to wait for a read that was begun
/// and is not awaited any more, as decoders leave it behind. It would move the position later.
#[derive(Clone)]
pub(super) struct RereadFile(Arc<Mutex<File>>);

impl RereadFile {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// The text from its beginning. Earlier ones must not be read further.
    pub(super) async fn text(&self) -> io::Result<Text> {
        let mut text = self.clone();
        text.rewind().await?;
        Ok(Box::new(text))
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for RereadFile {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.file()).poll_read(context, buffer)
    }
}

impl AsyncSeek for RereadFile {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        Pin::new(&mut *self.file()).start_seek(position)
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut *self.file()).poll_complete(context)
    }
}
