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
    frame(METHOD, 0, &[&[0, 10, 0, 30, 7, 0xff], &frame_max.to_be_bytes()[..], &[0, 60]].concat())
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
        let expected = header(0xa080, &[short(b"text/plain"), table, short(b"\x1aid")].concat());
        assert_eq!(bytes[..expected.len()], expected);
        let mut rest = &bytes[expected.len()..];
        while !rest.is_empty() {
            let size = frame_bytes(rest).unwrap() as usize;
            assert!(
                size <= 131_072 && rest[..3] == [HEARTBEAT, 0, 0] && rest[size - 1] == FRAME_END
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
