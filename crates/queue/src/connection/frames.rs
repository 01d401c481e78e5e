//! A repair of frames that would make the client library end the connection, or the process.
//!
//! A single message must not stop every worker that receives it. Three kinds of messages would; the
//! broker accepts all of them from a publisher and passes them on:
//!
//! - AMQP 0-9-1 does not define the encoding of short strings. The library decodes them as UTF-8,
//!   and an invalid one ends the whole connection. So each byte that is not UTF-8 is replaced by
//!   [`SUBSTITUTE`].
//! - The library decodes tables by recursion. A few hundred nested tables overflow its stack, which
//!   aborts the process. So a table or an array below [`MAX_DEPTH`] becomes a byte array of the
//!   same length.
//! - The library refuses a frame above the negotiated size. The broker adds headers of its own to a
//!   message without regard to that size. So headers that leave no room are replaced by
//!   [`HEADERS_TOO_LARGE`].
//!
//! All repairs happen in place, before the library reads a byte, and keep the length. A message
//! that was repaired for the first or the third reason is not a task: `message::damage` finds the
//! [`SUBSTITUTE`] in it. A table that became a byte array does not matter to any task.

use std::ops::Range;

use crate::message::{HEADERS_TOO_LARGE, SUBSTITUTE};

/// Type, channel and size.
const HEAD_BYTES: usize = 7;
/// The octet that ends a frame.
const FRAME_END: u8 = 0xce;
/// A larger frame passes unchanged: the library's receive buffer, 32 frames of 128 KiB by default,
/// would not hold it either.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;
/// The deepest nesting of tables and arrays. In a debug build the library overflows its stack of
/// 2 MiB at a depth between 100 and 1,000.
const MAX_DEPTH: usize = 32;
/// A content header may take 7/8 of the largest frame: 112 KiB by default. The rest is reserved for
/// what the broker adds to the message, and for what this crate adds to a copy of it.
const HEADROOM: u32 = 8;
/// The smallest size of a frame that a peer may ask for (AMQP 0-9-1, 4.2.3).
const MIN_FRAME_MAX: u32 = 4096;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// The state of the byte stream from the broker.
#[derive(Debug)]
pub(crate) struct FrameRepair {
    /// Bytes that still pass unchecked.
    passing: u64,
    /// The size of the largest frame as negotiated so far; 0 for no limit.
    frame_max: u32,
}

impl FrameRepair {
    /// The state of a new connection. `frame_max` is the size that the client asks for.
    pub(crate) fn new(frame_max: Option<u32>) -> Self {
        let mut this = Self { passing: 0, frame_max: 0 };
        this.negotiate(frame_max.unwrap_or(0));
        this
    }

    /// Repairs the frames at the beginning of `bytes`, and returns how many bytes are repaired. The
    /// rest is the beginning of a frame: pass it again, followed by more bytes.
    pub(crate) fn repair(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let passed = usize::try_from(self.passing).unwrap_or(usize::MAX).min(bytes.len() - at);
            self.passing -= passed as u64;
            at += passed;
            let Some((&kind, _)) = bytes[at..].split_first() else { return at };
            if !matches!(kind, METHOD | CONTENT_HEADER | BODY | HEARTBEAT) {
                // Not a frame of this protocol, so the next one cannot be found. The library
                // reports the error.
                self.passing = u64::MAX;
                continue;
            }
            let Some(size) = frame_bytes(&bytes[at..]) else { return at };
            if !matches!(kind, METHOD | CONTENT_HEADER) || size > MAX_FRAME_BYTES as u64 {
                self.passing = size;
                continue;
            }
            let end = at + size as usize;
            let Some(frame) = bytes.get_mut(at..end) else { return at };
            self.repair_frame(kind, frame);
            at = end;
        }
    }

    /// How many bytes the frame that begins with `held`, or its head, still needs.
    pub(crate) fn missing(held: &[u8]) -> usize {
        let whole = frame_bytes(held)
            .map_or(HEAD_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        whole.saturating_sub(held.len())
    }

    /// The lower limit applies, as in the library; 0 means no limit.
    fn negotiate(&mut self, frame_max: u32) {
        if frame_max != 0 && (self.frame_max == 0 || frame_max < self.frame_max) {
            self.frame_max = frame_max.max(MIN_FRAME_MAX);
        }
    }

    /// A frame that cannot be parsed stays unchanged.
    fn repair_frame(&mut self, kind: u8, frame: &mut [u8]) {
        let [payload @ .., FRAME_END] = &mut frame[HEAD_BYTES..] else { return };
        let mut parser =
            Parser { payload, at: 0, repairs: Vec::new(), headers: 0..0, frame_max: 0 };
        let parsed = if kind == METHOD { parser.method() } else { parser.content_header() };
        if parsed.is_none() {
            return;
        }
        let Parser { repairs, headers, frame_max, .. } = parser;
        for repair in repairs {
            match repair {
                Repair::Text(range) => substitute(&mut payload[range]),
                Repair::Opaque(at) => payload[at] = b'x',
            }
        }
        self.negotiate(frame_max);
        if self.frame_max != 0
            && frame.len() as u64 > u64::from(self.frame_max - self.frame_max / HEADROOM)
        {
            let headers = HEAD_BYTES + headers.start..HEAD_BYTES + headers.end;
            drop_headers(frame, headers, self.frame_max as usize);
        }
    }
}

/// The length of the frame that begins here, if its head is complete.
fn frame_bytes(bytes: &[u8]) -> Option<u64> {
    let size: [u8; 4] = bytes.get(3..HEAD_BYTES)?.try_into().ok()?;
    Some(HEAD_BYTES as u64 + u64::from(u32::from_be_bytes(size)) + 1)
}

/// Replaces every byte that is not part of valid UTF-8.
fn substitute(text: &mut [u8]) {
    let mut at = 0;
    while let Err(error) = std::str::from_utf8(&text[at..]) {
        let start = at + error.valid_up_to();
        at = error.error_len().map_or(text.len(), |bytes| start + bytes);
        text[start..at].fill(SUBSTITUTE);
    }
}

/// Replaces the table of headers by one with the single entry [`HEADERS_TOO_LARGE`]. The bytes that
/// become free are turned into heartbeats, which may arrive at any time and which the library does
/// not parse.
fn drop_headers(frame: &mut [u8], headers: Range<usize>, frame_max: usize) {
    // The table: its length, then one entry of a name with its length and no value.
    let entry = 1 + HEADERS_TOO_LARGE.len() + 1;
    let table = 4 + entry;
    let Some(surplus) = headers.len().checked_sub(table).filter(|surplus| *surplus > HEAD_BYTES)
    else {
        return;
    };
    let (at, size) = (headers.start, frame.len() - surplus);
    frame[at..at + 4].copy_from_slice(&(entry as u32).to_be_bytes());
    frame[at + 4] = HEADERS_TOO_LARGE.len() as u8;
    frame[at + 5..at + table - 1].copy_from_slice(HEADERS_TOO_LARGE.as_bytes());
    frame[at + table - 1] = b'V';
    frame.copy_within(headers.end.., at + table);
    let (header, mut rest) = frame.split_at_mut(size);
    write_size(header);
    while !rest.is_empty() {
        // The remainder must be large enough for another frame.
        let bytes = if rest.len() <= frame_max { rest.len() } else { frame_max - HEAD_BYTES - 1 };
        let (heartbeat, after) = rest.split_at_mut(bytes);
        heartbeat.fill(0);
        heartbeat[0] = HEARTBEAT;
        heartbeat[bytes - 1] = FRAME_END;
        write_size(heartbeat);
        rest = after;
    }
}

fn write_size(frame: &mut [u8]) {
    let payload = (frame.len() - HEAD_BYTES - 1) as u32;
    frame[3..HEAD_BYTES].copy_from_slice(&payload.to_be_bytes());
}

/// A change to a frame.
#[derive(Debug)]
enum Repair {
    /// A short string that is not UTF-8.
    Text(Range<usize>),
    /// The type of a table or an array that is nested too deeply. A byte array has the same length.
    Opaque(usize),
}

/// A parser of the payload of a frame. Each step is `None` if the payload does not match it.
struct Parser<'a> {
    payload: &'a [u8],
    at: usize,
    /// Empty for nearly every frame, so it does not allocate.
    repairs: Vec<Repair>,
    /// The table of headers, including its length.
    headers: Range<usize>,
    /// The size of the largest frame, if this frame names it.
    frame_max: u32,
}

impl Parser<'_> {
    /// Methods with texts of a publisher, or with the size of a frame; all others pass.
    fn method(&mut self) -> Option<()> {
        match self.array()? {
            // connection.tune: channels, size of a frame, heartbeat.
            [0, 10, 0, 30] => {
                self.skip(2)?;
                self.frame_max = u32::from_be_bytes(self.array()?);
                self.skip(2)
            }
            // basic.return: reply code; reply text, exchange, routing key.
            [0, 60, 0, 50] => {
                self.skip(2)?;
                self.short_strings(3)
            }
            // basic.deliver: consumer tag; delivery tag, redelivered; exchange, routing key.
            [0, 60, 0, 60] => {
                self.short_strings(1)?;
                self.skip(8 + 1)?;
                self.short_strings(2)
            }
            // basic.get-ok: delivery tag, redelivered; exchange, routing key; message count.
            [0, 60, 0, 71] => {
                self.skip(8 + 1)?;
                self.short_strings(2)?;
                self.skip(4)
            }
            _ => return Some(()),
        }?;
        self.end()
    }

    fn content_header(&mut self) -> Option<()> {
        // Class, weight, size of the body.
        self.skip(2 + 2 + 8)?;
        let flags = u16::from_be_bytes(self.array()?);
        for bit in (0..16).rev().filter(|bit| flags & (1 << bit) != 0) {
            match bit {
                // Content type and encoding; correlation id, reply-to, expiration, message id;
                // type, user, app, cluster id.
                15 | 14 | 10 | 9 | 8 | 7 | 5 | 4 | 3 | 2 => self.short_strings(1)?,
                13 => {
                    let start = self.at;
                    self.table(0)?;
                    self.headers = start..self.at;
                }
                // Delivery mode, priority.
                12 | 11 => self.skip(1)?,
                // Timestamp.
                6 => self.skip(8)?,
                _ => return None,
            }
        }
        self.end()
    }

    fn end(&self) -> Option<()> {
        (self.at == self.payload.len()).then_some(())
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at = self.at.checked_add(bytes).filter(|at| *at <= self.payload.len())?;
        Some(())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let start = self.at;
        self.skip(N)?;
        self.payload[start..self.at].try_into().ok()
    }

    fn short_strings(&mut self, count: usize) -> Option<()> {
        for _ in 0..count {
            let [bytes] = self.array()?;
            let start = self.at;
            self.skip(bytes.into())?;
            if std::str::from_utf8(&self.payload[start..self.at]).is_err() {
                self.repairs.push(Repair::Text(start..self.at));
            }
        }
        Some(())
    }

    /// The length of a text, table, array or byte array.
    fn long(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    /// The end of the table or array that begins at this length.
    fn block(&mut self) -> Option<usize> {
        let bytes = self.long()?;
        self.at.checked_add(bytes).filter(|end| *end <= self.payload.len())
    }

    fn table(&mut self, depth: usize) -> Option<()> {
        let end = self.block()?;
        while self.at < end {
            self.short_strings(1)?;
            self.value(depth)?;
        }
        (self.at == end).then_some(())
    }

    fn field_array(&mut self, depth: usize) -> Option<()> {
        let end = self.block()?;
        while self.at < end {
            self.value(depth)?;
        }
        (self.at == end).then_some(())
    }

    /// Knows the types that the library knows.
    fn value(&mut self, depth: usize) -> Option<()> {
        let at = self.at;
        let [kind] = self.array()?;
        match kind {
            b'V' => Some(()),
            b't' | b'b' | b'B' => self.skip(1),
            b's' | b'U' | b'u' => self.skip(2),
            b'I' | b'i' | b'f' => self.skip(4),
            b'D' => self.skip(1 + 4),
            b'L' | b'l' | b'd' | b'T' => self.skip(8),
            b'S' | b'x' => {
                let bytes = self.long()?;
                self.skip(bytes)
            }
            b'F' | b'A' if depth >= MAX_DEPTH => {
                self.repairs.push(Repair::Opaque(at));
                let bytes = self.long()?;
                self.skip(bytes)
            }
            b'F' => self.table(depth + 1),
            b'A' => self.field_array(depth + 1),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
