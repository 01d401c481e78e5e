//! Sources that are opened before anything is published, so that a wrong name costs nothing, and
//! neither does a file that is no list.

use std::io;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::entry::{Entries, ReadOptions, SitemapReader};
use crate::source::{OpenSource, Source};

/// How long to wait for the first bytes of a pipe. Somebody may be typing, or a program may have
/// nothing to say yet.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// How sources are opened and read.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) options: ReadOptions,
    pub(crate) sitemaps: SitemapReader,
}

/// A source whose beginning has been looked at.
pub(crate) struct Opened<'a> {
    pub(crate) source: &'a Source,
    beginning: Beginning<'a>,
}

enum Beginning<'a> {
    /// Nothing of it is read.
    Unread(OpenSource<'a>),
    /// Its first bytes are read, since they cannot be read twice.
    Read(io::Result<Box<Entries>>),
    /// Its first bytes have not arrived yet.
    Awaited(AbortOnDropHandle<io::Result<Entries>>),
}

impl Opener {
    /// Opens a source. One that is no list is an error, unless its first bytes arrive late.
    pub(crate) async fn open<'a>(&self, source: &'a Source) -> io::Result<Opened<'a>> {
        let beginning = match source.is_read_once() {
            true => self.begin(source).await?,
            false => Beginning::Unread(self.open_source(source).await?),
        };
        Ok(Opened { source, beginning })
    }

    async fn open_source<'a>(&self, source: &'a Source) -> io::Result<OpenSource<'a>> {
        let SitemapReader { fetcher, progress, .. } = &self.sitemaps;
        source.open(fetcher, progress.clone(), async |input| self.options.check(input).await).await
    }

    /// Starts reading a source that cannot be read twice.
    async fn begin(&self, source: &Source) -> io::Result<Beginning<'static>> {
        let (opener, source) = (self.clone(), source.clone());
        let mut reading = tokio::spawn(async move {
            let open = opener.open_source(&source).await?;
            Entries::read(open, opener.options, &opener.sitemaps).await
        });
        Ok(match tokio::time::timeout(FIRST_BYTES, &mut reading).await {
            Err(_) => Beginning::Awaited(AbortOnDropHandle::new(reading)),
            Ok(result) => match joined(result) {
                // Our own words: it is no list.
                Err(error) if error.kind() == io::ErrorKind::Other => return Err(error),
                result => Beginning::Read(result.map(Box::new)),
            },
        })
    }

    /// Starts reading an open source.
    pub(crate) async fn read(&self, opened: Opened<'_>) -> io::Result<Entries> {
        match opened.beginning {
            Beginning::Unread(open) => {
                Entries::read(open, self.options.clone(), &self.sitemaps).await
            }
            Beginning::Read(entries) => entries.map(|entries| *entries),
            Beginning::Awaited(reading) => joined(reading.await),
        }
    }
}

fn joined<T>(result: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    result.map_err(io::Error::other)?
}
