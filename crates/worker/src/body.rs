//! A body as it comes in: decoded, counted, and in a room of the budget.
//!
//! What is held for it is charged before it is allocated: its capacity, what its decoder holds, and what the connection
//! may have read ahead.

use fetchline_store::Outcome;
use http::HeaderMap;
use tokio::task::coop::consume_budget;

use crate::budget::{Budget, Room};
use crate::deadline::{Deadline, HeldTooLong};
use crate::decode::{self, Decoder, Undecodable};

/// What is charged for a connection before it is known how much it reads at once.
const READ_AHEAD: usize = 48 * 1024;
/// The most that a connection reads ahead: two buffers of 408 KiB (hyper's HTTP/1; of HTTP/2 less, see `fetch.rs`).
const MOST_READ_AHEAD: usize = 816 * 1024;
/// The capacity that a body begins with, at most, however long it is said to be.
const FIRST_CAPACITY: usize = 64 * 1024;
/// The free capacity that a decoder is given, at least.
const DECODED_AT_ONCE: usize = 16 * 1024;
/// Text in another charset than UTF-8 may become so many times as long in UTF-8: a byte of windows-1252, or a wrong one,
/// is three.
const TEXT_GROWTH: usize = 3;

/// Memory is charged so many times: an allocator keeps about as much again of what was given back to it, for a while, when
/// large pieces come and go by the hundred (seen with three of them).
const ALLOCATORS_SHARE: usize = 2;

/// The budget for bodies, out of the memory that all of them may take.
pub(crate) fn budget(memory: usize, max_body: usize) -> Budget {
    Budget::new(memory / ALLOCATORS_SHARE, most_needed(max_body))
}

/// The least memory with which a body does not wait for ever: twice what one fetch can need.
pub(crate) fn least_memory(max_body: usize) -> usize {
    most_needed(max_body).saturating_mul(2 * ALLOCATORS_SHARE)
}

/// The most that a single fetch can need, in bytes.
fn most_needed(max_body: usize) -> usize {
    let reading = max_body.saturating_add(decode::MOST_HELD);
    let waiting = max_body.saturating_mul(TEXT_GROWTH);
    // What the connection holds, and the one byte that shows that a body is too large, are less than this.
    reading.max(waiting).saturating_add(1 << 20)
}

/// A body that is being read.
pub(crate) struct Intake<'a> {
    bytes: Vec<u8>,
    room: Room,
    decoder: Option<Decoder>,
    /// The length of the body, where it is known; else 0.
    announced: usize,
    /// What has come in so far, encoded, in bytes.
    received: usize,
    max_body: usize,
    deadline: &'a Deadline,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is too large.
    #[error("the body is larger than {0} bytes (--max-body)")]
    TooLarge(usize),
    /// It cannot be decoded.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// The budget was used up by others for too long.
    #[error("there was no room for the body within --hold (--memory-budget)")]
    NoRoom(#[from] HeldTooLong),
}

impl Error {
    /// The outcome that it stands for.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::TooLarge(_) => Outcome::TooLarge,
            Self::Undecodable(_) => Outcome::Decode,
            Self::NoRoom(_) => Outcome::Timeout,
        }
    }
}

impl<'a> Intake<'a> {
    /// Begins to read the body of an answer with these headers. `announced` is what it has on the way, in bytes.
    pub(crate) async fn begin(
        headers: &HeaderMap,
        announced: Option<u64>,
        max_body: usize,
        room: Room,
        deadline: &'a Deadline,
    ) -> Result<Self, Error> {
        let decoder = Decoder::of(headers)?;
        // Of an encoded body it says nothing.
        let announced = if decoder.is_none() { announced.unwrap_or(0) } else { 0 };
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > max_body {
            return Err(Error::TooLarge(max_body));
        }
        let mut intake = Self { bytes: Vec::new(), room, decoder, announced, received: 0, max_body, deadline };
        intake.cover(0).await?;
        Ok(intake)
    }

    /// Takes the next piece.
    pub(crate) async fn take(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.received = self.received.saturating_add(chunk.len());
        if self.decoder.is_some() {
            return self.decode(chunk).await;
        }
        if self.bytes.len() + chunk.len() > self.max_body {
            return Err(Error::TooLarge(self.max_body));
        }
        self.make_room(chunk.len()).await?;
        self.bytes.extend_from_slice(chunk);
        // Before more is asked for: what comes next may be larger.
        self.cover(self.bytes.capacity()).await
    }

    async fn decode(&mut self, mut input: &[u8]) -> Result<(), Error> {
        loop {
            let full = self.bytes.len() == self.bytes.capacity();
            if input.is_empty() && !full {
                return Ok(());
            }
            if full {
                self.make_room(DECODED_AT_ONCE).await?;
            } else {
                self.cover(self.bytes.capacity()).await?;
            }
            let Some(decoder) = &mut self.decoder else { return Ok(()) };
            decoder.step(&mut input, &mut self.bytes)?;
            if self.bytes.len() > self.max_body {
                return Err(Error::TooLarge(self.max_body));
            }
            // A few bytes may hold megabytes: others are let in between.
            consume_budget().await;
        }
    }

    /// Makes the capacity for so many more bytes, at least.
    async fn make_room(&mut self, more: usize) -> Result<(), Error> {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            // One byte too many shows that a body is too large.
            let most = if self.announced > 0 { self.announced } else { self.max_body + 1 };
            let wanted = self.bytes.capacity().saturating_mul(2).max(self.announced.min(FIRST_CAPACITY));
            let capacity = needed.max(wanted).min(most.max(self.bytes.len() + 1));
            self.cover(capacity).await?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }

    /// Waits until there is room for a body of this capacity, and all that belongs to it.
    async fn cover(&mut self, capacity: usize) -> Result<(), Error> {
        let decoder = self.decoder.as_ref().map_or(0, Decoder::held);
        // A connection doubles its buffer each time that it was filled, so its size is known by what has come in. One
        // buffer may wait to be taken while the next one is filled.
        let read_ahead = self.received.saturating_mul(3).saturating_add(READ_AHEAD).min(MOST_READ_AHEAD);
        self.grow(capacity + decoder + read_ahead).await
    }

    async fn grow(&mut self, to: usize) -> Result<(), Error> {
        if !self.room.try_grow(to) {
            // Boxed, since it is rare.
            self.deadline.stand_still(Box::pin(self.room.grow(to))).await?;
        }
        Ok(())
    }

    /// What has come in so far.
    pub(crate) fn so_far(self) -> Vec<u8> {
        self.bytes
    }

    /// The whole body and the room that belongs to it, once there is nothing more to come.
    pub(crate) async fn end(mut self) -> Result<(Vec<u8>, Room), Error> {
        if let Some(decoder) = self.decoder.take()
            && self.received > 0
        {
            decoder.end()?;
        }
        self.bytes.shrink_to_fit();
        let mut kept = self.bytes.capacity();
        if std::str::from_utf8(&self.bytes).is_err() {
            kept *= TEXT_GROWTH;
        }
        self.room.shrink(kept);
        self.grow(kept).await?;
        Ok((self.bytes, self.room))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::read::GzEncoder;
    use http::header::CONTENT_ENCODING;

    use super::*;

    const MAX_BODY: usize = 1 << 20;

    fn deadline() -> Deadline {
        Deadline::new(Duration::from_secs(60), Duration::from_secs(60))
    }

    fn budget() -> Budget {
        Budget::new(2 * most_needed(MAX_BODY), most_needed(MAX_BODY))
    }

    fn coded(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, coding.parse().unwrap())])
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(text, Compression::best()).read_to_end(&mut packed).unwrap();
        packed
    }

    async fn read(headers: &HeaderMap, announced: Option<u64>, body: &[u8]) -> Result<(Vec<u8>, Room), Error> {
        let deadline = deadline();
        let mut intake = Intake::begin(headers, announced, MAX_BODY, budget().room(), &deadline).await?;
        for chunk in body.chunks(5_000) {
            intake.take(chunk).await?;
            let held = intake.decoder.as_ref().map_or(0, Decoder::held);
            assert!(intake.room.bytes() >= intake.bytes.capacity() + held, "what is held is charged");
        }
        intake.end().await
    }

    #[tokio::test]
    async fn a_body_may_have_as_many_bytes_as_allowed_and_not_one_more() {
        let plain = HeaderMap::new();
        let most = vec![b' '; MAX_BODY];
        let more = vec![b' '; MAX_BODY + 1];
        for announced in [None, Some(most.len() as u64)] {
            assert_eq!(read(&plain, announced, &most).await.unwrap().0, most);
        }
        assert_eq!(read(&coded("gzip"), Some(1_100), &gzip(&most)).await.unwrap().0, most);
        for (headers, announced, body) in
            [(&plain, None, &more), (&plain, Some(more.len() as u64), &more), (&coded("gzip"), None, &gzip(&more))]
        {
            assert!(matches!(read(headers, announced, body).await, Err(Error::TooLarge(MAX_BODY))));
        }
    }

    #[tokio::test]
    async fn a_length_that_is_only_claimed_takes_little_room() {
        let deadline = deadline();
        let mut intake = Intake::begin(&HeaderMap::new(), Some(MAX_BODY as u64), MAX_BODY, budget().room(), &deadline)
            .await
            .unwrap();
        intake.take(b"x").await.unwrap();
        // And three times the one byte.
        assert!(intake.room.bytes() <= READ_AHEAD + FIRST_CAPACITY + 3 && intake.bytes.capacity() <= FIRST_CAPACITY);
    }

    #[tokio::test]
    async fn an_empty_body_is_empty_whatever_its_coding() {
        for coding in ["gzip", "deflate", "zstd", "br"] {
            assert_eq!(read(&coded(coding), None, b"").await.unwrap().0, b"", "{coding}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_whole_keeps_the_room_that_its_text_needs() {
        let (body, room) = read(&HeaderMap::new(), None, &[b'x'; 40_000]).await.unwrap();
        assert_eq!((room.bytes(), body.capacity()), (40_000, 40_000));
        // In windows-1252 these are euro signs.
        let (body, room) = read(&HeaderMap::new(), None, &[0x80; MAX_BODY]).await.unwrap();
        assert_eq!((room.bytes(), body.len()), (3 * MAX_BODY, MAX_BODY));
    }

    #[tokio::test]
    async fn a_body_waits_for_room_and_its_deadline_with_it() {
        tokio::time::pause();
        let budget = budget();
        let mut reserve = budget.room();
        reserve.grow(most_needed(MAX_BODY)).await;
        let page = || {
            let mut room = budget.room();
            room.try_grow(READ_AHEAD).then_some(room)
        };
        let pages = || std::iter::from_fn(page).collect::<Vec<_>>();
        let others = pages();
        let deadline = Deadline::new(Duration::from_secs(1), Duration::from_secs(10));
        let reading = async {
            let mut intake = Intake::begin(&HeaderMap::new(), None, MAX_BODY, budget.room(), &deadline).await?;
            intake.take(b"a body").await?;
            intake.end().await
        };
        let giving_back = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(others);
        };
        let (read, ()) = tokio::join!(deadline.bound(reading), giving_back);
        assert_eq!(read.unwrap().unwrap().0, b"a body");
        assert_eq!(deadline.stood_still().as_secs(), 5);
        let _others = pages();
        let reading = async {
            let mut intake = Intake::begin(&HeaderMap::new(), None, MAX_BODY, budget.room(), &deadline).await?;
            intake.take(b"a body").await
        };
        assert!(matches!(deadline.bound(reading).await, Some(Err(Error::NoRoom(_)))));
        assert_eq!(deadline.stood_still().as_secs(), 10);
    }
}
