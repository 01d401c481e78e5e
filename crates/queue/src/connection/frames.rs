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
pub(crate) mod tests {
    use super::*;

    pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap();
        [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[FRAME_END]].concat()
    }

    pub(crate) fn short(text: &[u8]) -> Vec<u8> {
        [&[u8::try_from(text.len()).unwrap()], text].concat()
    }

    pub(crate) fn long(data: &[u8]) -> Vec<u8> {
        [&u32::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
    }

    pub(crate) fn entry(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
        [&short(name), &[kind][..], value].concat()
    }

    /// A content header with these flags and the properties that they announce.
    pub(crate) fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
        frame(
            CONTENT_HEADER,
            1,
            &[&[0, 60, 0, 0], &[0; 8][..], &flags.to_be_bytes(), properties].concat(),
        )
    }

    fn deliver(tag: &[u8], exchange: &[u8], key: &[u8]) -> Vec<u8> {
        let texts = [&short(tag), &[1; 9][..], &short(exchange), &short(key)].concat();
        frame(METHOD, 1, &[&[0, 60, 0, 60], &texts[..]].concat())
    }

    fn get_ok(exchange: &[u8], key: &[u8]) -> Vec<u8> {
        frame(
            METHOD,
            1,
            &[&[0, 60, 0, 71], &[1; 9][..], &short(exchange), &short(key), &[0xff; 4]].concat(),
        )
    }

    fn returned(text: &[u8], exchange: &[u8], key: &[u8]) -> Vec<u8> {
        frame(
            METHOD,
            1,
            &[&[0, 60, 0, 50, 1, 0x38], &short(text)[..], &short(exchange), &short(key)].concat(),
        )
    }

    fn tune(frame_max: u32) -> Vec<u8> {
        frame(
            METHOD,
            0,
            &[&[0, 10, 0, 30, 7, 0xff], &frame_max.to_be_bytes()[..], &[0, 60]].concat(),
        )
    }

    fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
        let whole = FrameRepair::new(None).repair(&mut bytes);
        assert_eq!(whole, bytes.len());
        bytes
    }

    #[test]
    fn each_byte_that_is_not_utf8_is_replaced_and_no_other() {
        for (given, expected) in [
            (&b"plain"[..], &b"plain"[..]),
            ("\u{e4}\u{20ac}\u{1f375}".as_bytes(), "\u{e4}\u{20ac}\u{1f375}".as_bytes()),
            (b"\xff", b"\x1a"),
            (b"\xff\xfe", b"\x1a\x1a"),
            // Latin-1.
            (b"caf\xe9/x", b"caf\x1a/x"),
            // Truncated at the end.
            (b"tea\xf0\x9f\x8d", b"tea\x1a\x1a\x1a"),
            (b"\xe2\x82", b"\x1a\x1a"),
            // Truncated inside.
            (b"\xe2\x82a", b"\x1a\x1aa"),
            // Overlong, a surrogate, beyond Unicode.
            (b"\xc0\xaf", b"\x1a\x1a"),
            (b"\xe0\x80\xaf", b"\x1a\x1a\x1a"),
            (b"\xed\xa0\x80", b"\x1a\x1a\x1a"),
            (b"\xf4\x90\x80\x80", b"\x1a\x1a\x1a\x1a"),
        ] {
            let [mut text, expected_frame] =
                [given, expected].map(|text| deliver(b"tag", b"x", text));
            assert_eq!(repaired(text.clone()), expected_frame, "{given:?}");
            text = given.to_vec();
            substitute(&mut text);
            assert!(std::str::from_utf8(&text).is_ok());
        }
    }

    #[test]
    fn every_short_string_of_a_message_is_repaired() {
        let bad = &b"a\xff"[..];
        let good = &b"a\x1a"[..];
        let message = |text: &[u8]| {
            let deep = entry(
                text,
                b'F',
                &long(&entry(
                    text,
                    b'A',
                    &long(&[b"F", &long(&entry(text, b'V', b""))[..]].concat()),
                )),
            );
            let headers =
                long(&[entry(b"x", b'S', &long(b"\xff")), deep, entry(text, b't', &[1])].concat());
            let mut properties = [short(text), short(text), headers, vec![2, 9]].concat();
            for _ in 0..4 {
                properties.extend(short(text));
            }
            properties.extend([0xff; 8]);
            for _ in 0..4 {
                properties.extend(short(text));
            }
            [
                deliver(text, text, text),
                get_ok(text, text),
                returned(text, text, text),
                header(0xfffc, &properties),
            ]
            .concat()
        };
        assert_eq!(repaired(message(bad)), message(good));
        assert_eq!(repaired(message(good)), message(good));
    }

    #[test]
    fn a_frame_that_cannot_be_parsed_stays_unchanged() {
        let bad = &short(b"\xff")[..];
        let wrong_end = [&deliver(b"\xff", b"", b"")[..8], &[0][..]].concat();
        for frame in [
            // An unknown type, and a truncated value.
            header(0xa000, &[bad, &long(&entry(b"", b'?', b""))].concat()),
            header(0xa000, &[bad, &long(&entry(b"", b'I', b"\0"))].concat()),
            // A table longer than the frame, an entry longer than its table, a trailing byte, an
            // unknown property.
            header(0xa000, &[bad, &[0, 0, 0, 9]].concat()),
            header(0xa000, &[bad, &[0, 0, 0, 3], &entry(b"", b'I', &[0; 4])].concat()),
            header(0x8000, &[bad, &[0]].concat()),
            header(0x8002, bad),
            frame(METHOD, 1, &[&[0, 60, 0, 60], bad].concat()),
            frame(METHOD, 1, &[0, 60]),
            frame(CONTENT_HEADER, 1, b""),
            // Other methods, bodies, heartbeats, and bytes that are not a frame.
            frame(METHOD, 1, &[&[0, 60, 0, 80], bad].concat()),
            frame(BODY, 1, &deliver(b"\xff", b"", b"")),
            frame(HEARTBEAT, 0, b""),
            [b"AMQP\x00\x00\x09\x01".to_vec(), deliver(b"\xff", b"", b"")].concat(),
            wrong_end,
        ] {
            let whole = frame_bytes(&frame).map_or(0, |bytes| bytes as usize) == frame.len();
            let mut bytes = frame.clone();
            let repaired = FrameRepair::new(None).repair(&mut bytes);
            assert_eq!(bytes, frame);
            assert!(!whole || repaired == frame.len());
        }
    }

    #[test]
    fn a_table_that_is_nested_too_deeply_becomes_bytes() {
        // A nested table has a name; a nested array has none.
        for (kind, name) in [(b'F', &short(b"a")[..]), (b'A', b"")] {
            let mut headers = Vec::new();
            for _ in 0..2_000 {
                headers = [name, &[kind], &long(&headers)].concat();
            }
            let outer = if name.is_empty() { short(b"a") } else { Vec::new() };
            let sent = header(0x2000, &long(&[&outer[..], &headers].concat()));
            let mut expected = sent.clone();
            let first = HEAD_BYTES + 14 + 4 + outer.len() + name.len();
            expected[first + MAX_DEPTH * (name.len() + 1 + 4)] = b'x';
            assert_eq!(repaired(sent), expected);
        }
    }

    #[test]
    fn headers_that_leave_no_room_are_dropped_and_the_stream_keeps_its_length() {
        let mut frames = FrameRepair::new(None);
        let sent = |bytes: usize| {
            header(
                0xa080,
                &[
                    short(b"text/plain"),
                    long(&entry(b"big", b'S', &long(&vec![0xff; bytes]))),
                    short(b"\xffid"),
                ]
                .concat(),
            )
        };
        let whole = |frames: &mut FrameRepair, mut bytes: Vec<u8>| {
            assert_eq!(frames.repair(&mut bytes), bytes.len());
            bytes
        };
        // Without a limit, nothing is too large.
        assert_eq!(whole(&mut frames, sent(200_000)).len(), sent(200_000).len());
        whole(&mut frames, tune(131_072));
        assert_eq!(frames.frame_max, 131_072);
        let fits = whole(&mut frames, sent(114_000));
        assert_eq!(fits[HEAD_BYTES..fits.len() - 5], sent(114_000)[HEAD_BYTES..fits.len() - 5]);
        for size in [115_000, 131_040, 262_120, 262_130, 500_000] {
            let bytes = whole(&mut frames, sent(size));
            assert_eq!(bytes.len(), sent(size).len());
            let table = long(&entry(HEADERS_TOO_LARGE.as_bytes(), b'V', b""));
            let expected =
                header(0xa080, &[short(b"text/plain"), table, short(b"\x1aid")].concat());
            assert_eq!(bytes[..expected.len()], expected);
            let mut rest = &bytes[expected.len()..];
            while !rest.is_empty() {
                let size = frame_bytes(rest).unwrap() as usize;
                assert!(
                    size <= 131_072
                        && rest[..3] == [HEARTBEAT, 0, 0]
                        && rest[size - 1] == FRAME_END
                );
                rest = &rest[size..];
            }
        }
    }

    #[test]
    fn the_lower_limit_of_the_frame_size_applies() {
        for (asked, offered, applies) in [
            (None, 0, 0),
            (Some(8192), 131_072, 8192),
            (Some(131_072), 8192, 8192),
            (Some(64), 0, 4096),
        ] {
            let mut frames = FrameRepair::new(asked);
            frames.repair(&mut tune(offered));
            assert_eq!(frames.frame_max, applies);
        }
    }
}
