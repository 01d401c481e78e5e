//! The frames that the broker sends, repaired where the client library would end the connection, or
//! the process.
//!
//! A single message must not stop every worker that receives it. Three kinds of messages would, all
//! of which the broker accepts from a publisher and passes on:
//!
//! - AMQP 0-9-1 does not say how a short string is encoded. The library decodes it as UTF-8, and
//!   one that is not ends the whole connection. So each byte that is not UTF-8 is replaced by
//!   [`SUBSTITUTE`].
//! - The library decodes tables by recursion. A few hundred of them within each other overflow its
//!   stack, which aborts the process. So what lies too deep is made a byte array, which takes the
//!   same bytes.
//! - The library refuses a frame above the negotiated size. The broker adds headers of its own to a
//!   message, and does not look at the size that comes of it. So headers that leave no room are
//!   replaced by [`TOO_LARGE`].
//!
//! All repairs happen in place, before the library sees a byte, and change no length. A message
//! that was repaired for the first or the third reason is no task: [`crate::header`] finds the
//! [`SUBSTITUTE`] in it. A table that became a byte array does not matter to any task.

use std::ops::Range;

/// Replaces a byte that is not UTF-8: the control character SUB, which ASCII has for this purpose.
pub(crate) const SUBSTITUTE: u8 = 0x1a;
/// The name of the header that stands for headers that were too large.
pub(crate) const TOO_LARGE: &str = "x-headers-too-large\u{1a}";
/// Type, channel and size.
const HEAD_BYTES: usize = 7;
/// The octet that ends a frame.
const FRAME_END: u8 = 0xce;
/// A larger frame is passed on as it is: the library's receive buffer, 32 frames of 128 KiB by
/// default, would not hold it either.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;
/// Tables and arrays within each other. In a debug build the library's stack of 2 MiB ends between
/// 100 and 1,000.
const MAX_DEPTH: usize = 32;
/// A content header may take 7/8 of the largest frame: 112 KiB by default. The rest is for what the
/// broker adds to the message, and for what this crate adds to a copy of it.
const HEADROOM: u32 = 8;
/// No peer may ask for less (AMQP 0-9-1, 4.2.3).
const MIN_FRAME_MAX: u32 = 4096;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// Where the stream of bytes from the broker stands.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes that are passed on without a look.
    passing: u64,
    /// The size of the largest frame, as far as it is negotiated; 0 for no limit.
    frame_max: u32,
}

impl Frames {
    /// The frames of a new connection. `frame_max` is what the client asks for.
    pub(crate) fn new(frame_max: Option<u32>) -> Self {
        let mut this = Self { passing: 0, frame_max: 0 };
        this.negotiate(frame_max.unwrap_or(0));
        this
    }

    /// Repairs the frames at the beginning of `bytes`, and returns how many bytes can be handed on.
    /// The rest is the beginning of a frame: it has to come again, with what follows it.
    pub(crate) fn repair(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let passed = usize::try_from(self.passing).unwrap_or(usize::MAX).min(bytes.len() - at);
            self.passing -= passed as u64;
            at += passed;
            let Some((&kind, _)) = bytes[at..].split_first() else { return at };
            if !matches!(kind, METHOD | CONTENT_HEADER | BODY | HEARTBEAT) {
                // No frame of this protocol, so nobody knows where the next one begins. The library
                // will say so.
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

    /// How many bytes are missing to the frame that begins with `held`, or to its head.
    pub(crate) fn missing(held: &[u8]) -> usize {
        let whole = frame_bytes(held).map_or(HEAD_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        whole.saturating_sub(held.len())
    }

    /// The lower limit holds, as in the library; 0 is none.
    fn negotiate(&mut self, frame_max: u32) {
        if frame_max != 0 && (self.frame_max == 0 || frame_max < self.frame_max) {
            self.frame_max = frame_max.max(MIN_FRAME_MAX);
        }
    }

    /// A frame that cannot be walked stays as it is.
    fn repair_frame(&mut self, kind: u8, frame: &mut [u8]) {
        let [payload @ .., FRAME_END] = &mut frame[HEAD_BYTES..] else { return };
        let mut walk = Walk { payload, at: 0, repairs: Vec::new(), headers: 0..0, frame_max: 0 };
        let walked = if kind == METHOD { walk.method() } else { walk.content_header() };
        if walked.is_none() {
            return;
        }
        let Walk { repairs, headers, frame_max, .. } = walk;
        for repair in repairs {
            match repair {
                Repair::Text(range) => substitute(&mut payload[range]),
                Repair::Opaque(at) => payload[at] = b'x',
            }
        }
        self.negotiate(frame_max);
        if self.frame_max != 0 && frame.len() as u64 > u64::from(self.frame_max - self.frame_max / HEADROOM) {
            let headers = HEAD_BYTES + headers.start..HEAD_BYTES + headers.end;
            drop_headers(frame, headers, self.frame_max as usize);
        }
    }
}

/// The length of the frame that begins here, where its head is there.
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

/// Replaces the table of headers by one that says that they were too large. The bytes that this
/// leaves over become heartbeats: those may come at any time, and the library does not look into
/// them.
fn drop_headers(frame: &mut [u8], headers: Range<usize>, frame_max: usize) {
    // Its length, then the one entry: the name behind its length, and no value.
    let entry = 1 + TOO_LARGE.len() + 1;
    let table = 4 + entry;
    let Some(surplus) = headers.len().checked_sub(table).filter(|surplus| *surplus > HEAD_BYTES) else { return };
    let (at, size) = (headers.start, frame.len() - surplus);
    frame[at..at + 4].copy_from_slice(&(entry as u32).to_be_bytes());
    frame[at + 4] = TOO_LARGE.len() as u8;
    frame[at + 5..at + table - 1].copy_from_slice(TOO_LARGE.as_bytes());
    frame[at + table - 1] = b'V';
    frame.copy_within(headers.end.., at + table);
    let (header, mut rest) = frame.split_at_mut(size);
    write_size(header);
    while !rest.is_empty() {
        // What is left must be enough for another frame.
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

/// What is to be changed in a frame.
#[derive(Debug)]
enum Repair {
    /// A short string that is not UTF-8.
    Text(Range<usize>),
    /// The type of a table or an array that lies too deep. As a byte array it takes the same bytes.
    Opaque(usize),
}

/// A walk over the payload of a frame. Each step is `None` where the payload does not fit it.
struct Walk<'a> {
    payload: &'a [u8],
    at: usize,
    /// Empty for nearly every frame, so it allocates nothing.
    repairs: Vec<Repair>,
    /// Where the table of headers stands, its length included.
    headers: Range<usize>,
    /// The size of the largest frame, where the broker names it here.
    frame_max: u32,
}

impl Walk<'_> {
    /// The methods that hold what a publisher wrote, or the size of a frame; all others pass.
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

    /// The length that precedes a text, table, array or byte array.
    fn long(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    /// The end of the table or array that begins here.
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

    /// The types are those that the library reads.
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

    /// A content header with these flags, and what they announce.
    pub(crate) fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
        frame(CONTENT_HEADER, 1, &[&[0, 60, 0, 0], &[0; 8][..], &flags.to_be_bytes(), properties].concat())
    }

    fn deliver(tag: &[u8], exchange: &[u8], key: &[u8]) -> Vec<u8> {
        let texts = [&short(tag), &[1; 9][..], &short(exchange), &short(key)].concat();
        frame(METHOD, 1, &[&[0, 60, 0, 60], &texts[..]].concat())
    }

    fn get_ok(exchange: &[u8], key: &[u8]) -> Vec<u8> {
        frame(METHOD, 1, &[&[0, 60, 0, 71], &[1; 9][..], &short(exchange), &short(key), &[0xff; 4]].concat())
    }

    fn returned(text: &[u8], exchange: &[u8], key: &[u8]) -> Vec<u8> {
        frame(METHOD, 1, &[&[0, 60, 0, 50, 1, 0x38], &short(text)[..], &short(exchange), &short(key)].concat())
    }

    fn tune(frame_max: u32) -> Vec<u8> {
        frame(METHOD, 0, &[&[0, 10, 0, 30, 7, 0xff], &frame_max.to_be_bytes()[..], &[0, 60]].concat())
    }

    fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
        let whole = Frames::new(None).repair(&mut bytes);
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
            // Cut off at the end.
            (b"tea\xf0\x9f\x8d", b"tea\x1a\x1a\x1a"),
            (b"\xe2\x82", b"\x1a\x1a"),
            // Cut off within.
            (b"\xe2\x82a", b"\x1a\x1aa"),
            // Overlong, a surrogate, beyond Unicode.
            (b"\xc0\xaf", b"\x1a\x1a"),
            (b"\xe0\x80\xaf", b"\x1a\x1a\x1a"),
            (b"\xed\xa0\x80", b"\x1a\x1a\x1a"),
            (b"\xf4\x90\x80\x80", b"\x1a\x1a\x1a\x1a"),
        ] {
            let [mut text, expected_frame] = [given, expected].map(|text| deliver(b"tag", b"x", text));
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
                &long(&entry(text, b'A', &long(&[b"F", &long(&entry(text, b'V', b""))[..]].concat()))),
            );
            let headers = long(&[entry(b"x", b'S', &long(b"\xff")), deep, entry(text, b't', &[1])].concat());
            let mut properties = [short(text), short(text), headers, vec![2, 9]].concat();
            for _ in 0..4 {
                properties.extend(short(text));
            }
            properties.extend([0xff; 8]);
            for _ in 0..4 {
                properties.extend(short(text));
            }
            [deliver(text, text, text), get_ok(text, text), returned(text, text, text), header(0xfffc, &properties)]
                .concat()
        };
        assert_eq!(repaired(message(bad)), message(good));
        assert_eq!(repaired(message(good)), message(good));
    }

    #[test]
    fn what_cannot_be_walked_stays_as_it_is() {
        let bad = &short(b"\xff")[..];
        let end_is_wrong = [&deliver(b"\xff", b"", b"")[..8], &[0][..]].concat();
        for frame in [
            // An unknown type, and one whose value is cut off.
            header(0xa000, &[bad, &long(&entry(b"", b'?', b""))].concat()),
            header(0xa000, &[bad, &long(&entry(b"", b'I', b"\0"))].concat()),
            // A table longer than the frame, an entry longer than its table, a byte too many, an
            // unknown property.
            header(0xa000, &[bad, &[0, 0, 0, 9]].concat()),
            header(0xa000, &[bad, &[0, 0, 0, 3], &entry(b"", b'I', &[0; 4])].concat()),
            header(0x8000, &[bad, &[0]].concat()),
            header(0x8002, bad),
            frame(METHOD, 1, &[&[0, 60, 0, 60], bad].concat()),
            frame(METHOD, 1, &[0, 60]),
            frame(CONTENT_HEADER, 1, b""),
            // Other methods, bodies, heartbeats, and what is no frame at all.
            frame(METHOD, 1, &[&[0, 60, 0, 80], bad].concat()),
            frame(BODY, 1, &deliver(b"\xff", b"", b"")),
            frame(HEARTBEAT, 0, b""),
            [b"AMQP\x00\x00\x09\x01".to_vec(), deliver(b"\xff", b"", b"")].concat(),
            end_is_wrong,
        ] {
            let whole = frame_bytes(&frame).map_or(0, |bytes| bytes as usize) == frame.len();
            let mut bytes = frame.clone();
            let handed_on = Frames::new(None).repair(&mut bytes);
            assert_eq!(bytes, frame);
            assert!(!whole || handed_on == frame.len());
        }
    }

    #[test]
    fn what_lies_too_deep_becomes_bytes() {
        // A table in a table has a name, an array in an array has none.
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
        let mut frames = Frames::new(None);
        let sent = |bytes: usize| {
            header(
                0xa080,
                &[short(b"text/plain"), long(&entry(b"big", b'S', &long(&vec![0xff; bytes]))), short(b"\xffid")]
                    .concat(),
            )
        };
        let whole = |frames: &mut Frames, mut bytes: Vec<u8>| {
            assert_eq!(frames.repair(&mut bytes), bytes.len());
            bytes
        };
        // Without a limit nothing is too large.
        assert_eq!(whole(&mut frames, sent(200_000)).len(), sent(200_000).len());
        whole(&mut frames, tune(131_072));
        assert_eq!(frames.frame_max, 131_072);
        let fits = whole(&mut frames, sent(114_000));
        assert_eq!(fits[HEAD_BYTES..fits.len() - 5], sent(114_000)[HEAD_BYTES..fits.len() - 5]);
        for size in [115_000, 131_040, 262_120, 262_130, 500_000] {
            let bytes = whole(&mut frames, sent(size));
            assert_eq!(bytes.len(), sent(size).len());
            let table = long(&entry(TOO_LARGE.as_bytes(), b'V', b""));
            let expected = header(0xa080, &[short(b"text/plain"), table, short(b"\x1aid")].concat());
            assert_eq!(bytes[..expected.len()], expected);
            let mut rest = &bytes[expected.len()..];
            while !rest.is_empty() {
                let size = frame_bytes(rest).unwrap() as usize;
                assert!(size <= 131_072 && rest[..3] == [HEARTBEAT, 0, 0] && rest[size - 1] == FRAME_END);
                rest = &rest[size..];
            }
        }
    }

    #[test]
    fn the_lower_limit_of_a_frame_holds() {
        for (asked, offered, holds) in
            [(None, 0, 0), (Some(8192), 131_072, 8192), (Some(131_072), 8192, 8192), (Some(64), 0, 4096)]
        {
            let mut frames = Frames::new(asked);
            frames.repair(&mut tune(offered));
            assert_eq!(frames.frame_max, holds);
        }
    }
}
