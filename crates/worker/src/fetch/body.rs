//! A body as it arrives: decoded, measured, and within the memory budget.
//!
//! Memory is charged before it is allocated: the capacity of the body, what its decoder holds, and
//! what the connection may have read ahead.

use fetchline_store::Outcome;
use http::HeaderMap;
use tokio::task::coop::consume_budget;

use super::deadline::{Deadline, PausedTooLong};
use super::decoder::{self, DecodeError, Decoder};
use crate::memory_budget::{Budget, Reservation};

/// The charge for a connection before it is known how much it reads at once.
const READ_AHEAD: usize = 48 * 1024;
/// How much a connection reads ahead at most: two buffers of 408 KiB (hyper's HTTP/1). HTTP/2 reads
/// less, see `client.rs`.
const MAX_READ_AHEAD: usize = 816 * 1024;
/// The largest initial capacity of a body, whatever its declared length.
const FIRST_CAPACITY: usize = 64 * 1024;
/// The least free capacity that a decoder writes to.
const DECODED_AT_ONCE: usize = 16 * 1024;
/// The largest capacity that is reserved on an estimate.
const EXPECTED_CAPACITY: usize = 512 * 1024;
/// How many times the decoded bytes that capacity may be, since a site may declare any length.
const EXPECTED_GROWTH: usize = 8;
/// How many times as long text may become in UTF-8: a byte of windows-1252, or an invalid one,
/// becomes three.
const TEXT_GROWTH: usize = 3;

/// How many times memory is charged. An allocator keeps about as much again of freed memory for a
/// while when large pieces come and go by the hundred (measured with three allocators).
const ALLOCATOR_OVERHEAD: usize = 2;

/// The budget for bodies, from the memory of all of them together.
pub(crate) fn budget(memory: usize, max_body: usize) -> Budget {
    Budget::new(memory / ALLOCATOR_OVERHEAD, max_needed(max_body))
}

/// The least memory with which no body waits for ever: twice the need of one fetch. With less, a
/// single large body could keep all others waiting.
pub(crate) fn least_memory(max_body: usize) -> usize {
    max_needed(max_body).saturating_mul(2 * ALLOCATOR_OVERHEAD)
}

/// The largest need of a single fetch, in bytes.
fn max_needed(max_body: usize) -> usize {
    let reading = max_body.saturating_add(decoder::MAX_HELD);
    let waiting = max_body.saturating_mul(TEXT_GROWTH);
    // The last MiB covers what the connection holds, and the one byte that shows that a body is too
    // large.
    reading.max(waiting).saturating_add(1 << 20)
}

/// Reads one body.
pub(crate) struct BodyReader<'a> {
    bytes: Vec<u8>,
    reservation: Reservation,
    decoder: Option<Decoder>,
    /// The declared length of a body without a content coding; 0 where there is none.
    declared: usize,
    /// The declared length of a body with a content coding; 0 where there is none.
    declared_encoded: usize,
    /// Bytes received so far, before decoding.
    received: usize,
    max_body: usize,
    deadline: &'a Deadline,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The body is larger than allowed.
    #[error("the body is larger than {0} bytes (--max-body)")]
    TooLarge(usize),
    /// The body cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Others used up the budget for too long.
    #[error("there was no memory for the body within --hold (--memory-budget)")]
    NoMemory(#[from] PausedTooLong),
}

impl Error {
    /// Whether the body ended before its content coding.
    pub(crate) fn is_truncation(&self) -> bool {
        matches!(self, Self::Decode(DecodeError::Truncated(_)))
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::TooLarge(_) => Outcome::TooLarge,
            Self::Decode(_) => Outcome::Decode,
            Self::NoMemory(_) => Outcome::Timeout,
        }
    }
}

impl<'a> BodyReader<'a> {
    /// A reader for the body of a response with these headers and this content length.
    pub(crate) async fn new(
        headers: &HeaderMap,
        content_length: Option<u64>,
        max_body: usize,
        reservation: Reservation,
        deadline: &'a Deadline,
    ) -> Result<Self, Error> {
        let decoder = Decoder::of(headers)?;
        let length = usize::try_from(content_length.unwrap_or(0)).unwrap_or(usize::MAX);
        // The length of an encoded body does not bound the decoded one.
        let (declared, declared_encoded) =
            if decoder.is_none() { (length, 0) } else { (0, length) };
        if declared > max_body {
            return Err(Error::TooLarge(max_body));
        }
        let bytes = Vec::new();
        let mut reader = Self {
            bytes,
            reservation,
            decoder,
            declared,
            declared_encoded,
            received: 0,
            max_body,
            deadline,
        };
        reader.charge(0).await?;
        Ok(reader)
    }

    /// Adds the next chunk.
    pub(crate) async fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.received = self.received.saturating_add(chunk.len());
        if self.decoder.is_some() {
            return self.decode(chunk).await;
        }
        // Up to the limit, also of a body that is too large.
        let room = self.max_body - self.bytes.len();
        let kept = &chunk[..chunk.len().min(room)];
        self.reserve(kept.len(), 0).await?;
        self.bytes.extend_from_slice(kept);
        if chunk.len() > room {
            return Err(Error::TooLarge(self.max_body));
        }
        // Charged before the next read, since the next chunk may be larger.
        self.charge(self.bytes.capacity()).await
    }

    async fn decode(&mut self, mut input: &[u8]) -> Result<(), Error> {
        loop {
            let is_full = self.bytes.len() == self.bytes.capacity();
            if input.is_empty() && !is_full {
                return Ok(());
            }
            if is_full {
                let expected = self.expected(input.len());
                self.reserve(DECODED_AT_ONCE, expected).await?;
            } else {
                self.charge(self.bytes.capacity()).await?;
            }
            let Some(decoder) = &mut self.decoder else { return Ok(()) };
            decoder.step(&mut input, &mut self.bytes)?;
            if self.bytes.len() > self.max_body {
                return Err(Error::TooLarge(self.max_body));
            }
            // A few bytes may decode to megabytes, so other tasks run in between.
            consume_budget().await;
        }
    }

    /// How many more bytes a body is expected to decode to, by the ratio of its beginning and its
    /// declared length. Of the received bytes, `unread` are not decoded yet.
    fn expected(&self, unread: usize) -> usize {
        let (read, decoded) = (self.received - unread, self.bytes.len());
        let whole = self.declared_encoded.saturating_mul(decoded).checked_div(read).unwrap_or(0);
        // The beginning compresses worse than the rest, so a quarter is added.
        let expected = whole.saturating_add(whole / 4);
        let limit = EXPECTED_CAPACITY.min(decoded.saturating_mul(EXPECTED_GROWTH));
        expected.min(limit).saturating_sub(decoded)
    }

    /// Makes capacity for at least `more` bytes, and for `expected` ones if that is not 0.
    async fn reserve(&mut self, more: usize, expected: usize) -> Result<(), Error> {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            // One byte above the limit shows that a body is too large.
            let limit = if self.declared > 0 { self.declared } else { self.max_body + 1 };
            let capacity = self.bytes.capacity();
            let wanted = match expected {
                0 => capacity.saturating_mul(2).max(self.declared.min(FIRST_CAPACITY)),
                // By a quarter at least, so that a wrong expectation costs few copies.
                _ => (self.bytes.len() + expected).max(capacity + capacity / 4),
            };
            let capacity = needed.max(wanted).min(limit.max(self.bytes.len() + 1));
            self.charge(capacity).await?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }

    /// Waits for the memory of a body with this capacity, its decoder and its connection.
    async fn charge(&mut self, capacity: usize) -> Result<(), Error> {
        let decoder = self.decoder.as_ref().map_or(0, Decoder::held);
        // A connection doubles its buffer each time that it was filled, so what was received bounds
        // its size. One buffer may wait to be read while the next one is filled.
        let read_ahead =
            self.received.saturating_mul(3).saturating_add(READ_AHEAD).min(MAX_READ_AHEAD);
        self.grow_reservation(capacity + decoder + read_ahead).await
    }

    async fn grow_reservation(&mut self, to: usize) -> Result<(), Error> {
        if !self.reservation.try_grow(to) {
            // Boxed: cold path.
            self.deadline.pause_during(Box::pin(self.reservation.grow(to))).await?;
        }
        Ok(())
    }

    /// The bytes that were read so far, up to the limit.
    pub(crate) fn into_partial(mut self) -> Vec<u8> {
        self.bytes.truncate(self.max_body);
        self.bytes
    }

    /// The whole body with its reservation, after the last chunk.
    pub(crate) async fn finish(mut self) -> Result<(Vec<u8>, Reservation), Error> {
        if let Some(decoder) = self.decoder.take()
            && self.received > 0
        {
            decoder.finish()?;
        }
        self.bytes.shrink_to_fit();
        let mut kept = self.bytes.capacity();
        if std::str::from_utf8(&self.bytes).is_err() {
            kept *= TEXT_GROWTH;
        }
        self.reservation.shrink(kept);
        self.grow_reservation(kept).await?;
        Ok((self.bytes, self.reservation))
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
        Budget::new(2 * max_needed(MAX_BODY), max_needed(MAX_BODY))
    }

    fn coded(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, coding.parse().unwrap())])
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(text, Compression::best()).read_to_end(&mut packed).unwrap();
        packed
    }

    async fn read(
        headers: &HeaderMap,
        declared: Option<u64>,
        body: &[u8],
    ) -> Result<(Vec<u8>, Reservation), Error> {
        let deadline = deadline();
        let mut reader =
            BodyReader::new(headers, declared, MAX_BODY, budget().reservation(), &deadline).await?;
        for chunk in body.chunks(5_000) {
            reader.push(chunk).await?;
            let held = reader.decoder.as_ref().map_or(0, Decoder::held);
            assert!(
                reader.reservation.bytes() >= reader.bytes.capacity() + held,
                "charged before it is allocated"
            );
        }
        reader.finish().await
    }

    #[tokio::test]
    async fn the_beginning_of_a_body_is_kept_to_the_byte() {
        let body: Vec<u8> = (0..=u8::MAX).cycle().take(MAX_BODY + 50_000).collect();
        let deadline = deadline();
        for (headers, sent) in [(HeaderMap::new(), body.clone()), (coded("gzip"), gzip(&body))] {
            for size in [1_000, 4_096, 300_000, usize::MAX] {
                let reservation = budget().reservation();
                let mut reader = BodyReader::new(&headers, None, MAX_BODY, reservation, &deadline)
                    .await
                    .unwrap();
                let mut ended = Ok(());
                for chunk in sent.chunks(size.min(sent.len())) {
                    ended = reader.push(chunk).await;
                    if ended.is_err() {
                        break;
                    }
                }
                assert!(matches!(ended, Err(Error::TooLarge(MAX_BODY))), "{size}: {ended:?}");
                assert!(reader.into_partial() == body[..MAX_BODY], "{size}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_may_have_exactly_the_allowed_number_of_bytes() {
        let plain = HeaderMap::new();
        let largest = vec![b' '; MAX_BODY];
        let too_large = vec![b' '; MAX_BODY + 1];
        for declared in [None, Some(largest.len() as u64)] {
            assert_eq!(read(&plain, declared, &largest).await.unwrap().0, largest);
        }
        assert_eq!(read(&coded("gzip"), Some(1_100), &gzip(&largest)).await.unwrap().0, largest);
        for (headers, declared, body) in [
            (&plain, None, &too_large),
            (&plain, Some(too_large.len() as u64), &too_large),
            (&coded("gzip"), None, &gzip(&too_large)),
        ] {
            assert!(matches!(read(headers, declared, body).await, Err(Error::TooLarge(MAX_BODY))));
        }
    }

    #[tokio::test]
    async fn a_declared_length_alone_takes_little_memory() {
        let deadline = deadline();
        let mut reader = BodyReader::new(
            &HeaderMap::new(),
            Some(MAX_BODY as u64),
            MAX_BODY,
            budget().reservation(),
            &deadline,
        )
        .await
        .unwrap();
        reader.push(b"x").await.unwrap();
        // Three times the one byte is read-ahead.
        assert!(
            reader.reservation.bytes() <= READ_AHEAD + FIRST_CAPACITY + 3
                && reader.bytes.capacity() <= FIRST_CAPACITY
        );
    }

    #[tokio::test]
    async fn the_beginning_of_a_coded_body_tells_the_capacity_of_the_whole() {
        let text: String = (0..40_000).map(|n| format!("word{} ", n * 7_919 % 4_001)).collect();
        let (deadline, sent) = (deadline(), gzip(text.as_bytes()));
        let capacity = async |length: u64| {
            let headers = coded("gzip");
            let reservation = budget().reservation();
            let mut reader =
                BodyReader::new(&headers, Some(length), MAX_BODY, reservation, &deadline)
                    .await
                    .unwrap();
            for chunk in sent.chunks(5_000) {
                reader.push(chunk).await.unwrap();
            }
            assert_eq!(reader.bytes, text.as_bytes());
            reader.bytes.capacity()
        };
        assert!((300_000..EXPECTED_CAPACITY).contains(&text.len()));
        let whole = capacity(sent.len() as u64).await;
        assert!(whole < text.len() * 4 / 3, "{whole} for {}", text.len());
        // A site may declare anything.
        assert_eq!(capacity(u64::MAX).await, EXPECTED_CAPACITY);
    }

    #[tokio::test]
    async fn the_declared_length_of_a_coded_body_alone_takes_little_memory() {
        let (deadline, sent) = (deadline(), gzip(&[b' '; 20_000]));
        let reservation = budget().reservation();
        let mut reader =
            BodyReader::new(&coded("gzip"), Some(u64::MAX), MAX_BODY, reservation, &deadline)
                .await
                .unwrap();
        reader.push(&sent[..sent.len() - 1]).await.unwrap();
        assert!(sent.len() < 100 && reader.bytes.len() >= DECODED_AT_ONCE);
        assert!(reader.bytes.capacity() <= EXPECTED_GROWTH * DECODED_AT_ONCE);
    }

    #[tokio::test]
    async fn an_empty_body_is_empty_whatever_its_coding() {
        for coding in ["gzip", "deflate", "zstd", "br"] {
            assert_eq!(read(&coded(coding), None, b"").await.unwrap().0, b"", "{coding}");
        }
    }

    #[tokio::test]
    async fn a_finished_body_keeps_the_memory_that_its_text_needs() {
        let (body, reservation) = read(&HeaderMap::new(), None, &[b'x'; 40_000]).await.unwrap();
        assert_eq!((reservation.bytes(), body.capacity()), (40_000, 40_000));
        // In windows-1252 these are euro signs.
        let (body, reservation) = read(&HeaderMap::new(), None, &[0x80; MAX_BODY]).await.unwrap();
        assert_eq!((reservation.bytes(), body.len()), (3 * MAX_BODY, MAX_BODY));
    }

    #[tokio::test]
    async fn the_deadline_pauses_while_a_body_waits_for_memory() {
        tokio::time::pause();
        let budget = budget();
        let mut largest = budget.reservation();
        largest.grow(max_needed(MAX_BODY)).await;
        let page = || {
            let mut reservation = budget.reservation();
            reservation.try_grow(READ_AHEAD).then_some(reservation)
        };
        let pages = || std::iter::from_fn(page).collect::<Vec<_>>();
        let others = pages();
        let deadline = Deadline::new(Duration::from_secs(1), Duration::from_secs(10));
        let reading = async {
            let mut reader =
                BodyReader::new(&HeaderMap::new(), None, MAX_BODY, budget.reservation(), &deadline)
                    .await?;
            reader.push(b"a body").await?;
            reader.finish().await
        };
        let freeing = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(others);
        };
        let (read, ()) = tokio::join!(deadline.limit(reading), freeing);
        assert_eq!(read.unwrap().unwrap().0, b"a body");
        assert_eq!(deadline.paused_for().as_secs(), 5);
        let _others = pages();
        let reading = async {
            let mut reader =
                BodyReader::new(&HeaderMap::new(), None, MAX_BODY, budget.reservation(), &deadline)
                    .await?;
            reader.push(b"a body").await
        };
        assert!(matches!(deadline.limit(reading).await, Some(Err(Error::NoMemory(_)))));
        assert_eq!(deadline.paused_for().as_secs(), 10);
    }
}
