use std::collections::VecDeque;
use std::task::Waker;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::connection::frames::tests::{entry, frame, header, long, short};

/// A stream that arrives in pieces and is pending before each.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    waits: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.waits = !self.waits;
        if self.waits {
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(0)) };
        let read = piece.len().min(buffer.len());
        buffer[..read].copy_from_slice(&piece[..read]);
        if read < piece.len() {
            self.pieces.push_front(piece.split_off(read));
        }
        Poll::Ready(Ok(read))
    }
}

fn of_pieces(pieces: impl IntoIterator<Item = Vec<u8>>) -> RepairStream<Pieces> {
    RepairStream::new(Pieces { pieces: pieces.into_iter().collect(), waits: false }, None)
}

/// Reads to the end into buffers of these sizes, in rotation.
fn read(stream: &mut RepairStream<Pieces>, buffers: &[usize]) -> Vec<u8> {
    let (mut all, mut sizes) = (Vec::new(), buffers.iter().cycle());
    loop {
        let mut buffer = vec![0; *sizes.next().unwrap()];
        match Pin::new(&mut *stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer)
        {
            Poll::Pending => {}
            Poll::Ready(Ok(0)) => return all,
            Poll::Ready(read) => all.extend_from_slice(&buffer[..read.unwrap()]),
        }
    }
}

fn cut(mut bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let (mut pieces, mut sizes) = (Vec::new(), sizes.iter().cycle());
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at((*sizes.next().unwrap()).min(bytes.len()));
        pieces.push(piece.to_vec());
        bytes = rest;
    }
    pieces
}

/// Bytes as they are sent, and as they should arrive.
type Twice = (Vec<u8>, Vec<u8>);

fn same(bytes: Vec<u8>) -> Twice {
    (bytes.clone(), bytes)
}

fn map(twice: Twice, build: impl Fn(&[u8]) -> Vec<u8>) -> Twice {
    (build(&twice.0), build(&twice.1))
}

fn join(parts: impl IntoIterator<Item = Twice>) -> Twice {
    let (sent, arrives): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    (sent.concat(), arrives.concat())
}

fn text() -> impl Strategy<Value = Twice> {
    let bytes = prop_oneof![vec(any::<u8>(), 0..20), ".{0,20}".prop_map(String::into_bytes)];
    bytes.prop_map(|bytes| {
        let chunks = bytes.utf8_chunks();
        let arrives = chunks.flat_map(|chunk| {
            [chunk.valid().as_bytes(), &[0x1a; 3][..chunk.invalid().len()]].concat()
        });
        (short(&bytes), short(&arrives.collect::<Vec<u8>>()))
    })
}

fn value() -> impl Strategy<Value = Twice> {
    let flat = prop_oneof![
        Just(same(b"V".to_vec())),
        any::<u8>().prop_map(|value| same(vec![b't', value])),
        any::<[u8; 2]>().prop_map(|value| same([&b"s"[..], &value].concat())),
        any::<[u8; 4]>().prop_map(|value| same([&b"I"[..], &value].concat())),
        any::<[u8; 5]>().prop_map(|value| same([&b"D"[..], &value].concat())),
        any::<[u8; 8]>().prop_map(|value| same([&b"T"[..], &value].concat())),
        vec(any::<u8>(), 0..40).prop_map(|value| same([&b"S"[..], &long(&value)].concat())),
        vec(any::<u8>(), 0..40).prop_map(|value| same([&b"x"[..], &long(&value)].concat())),
    ];
    flat.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| map(join(items), |items| [
                b"A",
                &long(items)[..]
            ]
            .concat())),
            vec((text(), inner), 0..4)
                .prop_map(|entries| map(table(entries), |table| [b"F", table].concat())),
        ]
    })
}

fn table(entries: Vec<(Twice, Twice)>) -> Twice {
    map(join(entries.into_iter().flat_map(|(name, value)| [name, value])), long)
}

fn frames() -> impl Strategy<Value = Twice> {
    let content_header =
        (vec(text(), 4), vec((text(), value()), 0..5)).prop_map(|(texts, entries)| {
            let [kind, encoding, id, app] = texts.try_into().unwrap();
            let parts =
                [kind, encoding, table(entries), same(vec![2, 9]), id, same(vec![0xff; 8]), app];
            map(join(parts), |properties| header(0xf8c8, properties))
        });
    let method = |head: &'static [u8], middle: &'static [u8], tail: &'static [u8]| {
        (text(), text(), text()).prop_map(move |(first, second, third)| {
            let parts = [
                same(head.to_vec()),
                first,
                same(middle.to_vec()),
                second,
                third,
                same(tail.to_vec()),
            ];
            map(join(parts), |payload| frame(1, 1, payload))
        })
    };
    prop_oneof![
        content_header,
        method(&[0, 60, 0, 60], &[0xff; 9], &[]),
        method(&[0, 60, 0, 50, 1, 2], &[], &[]),
        (text(), text()).prop_map(|(exchange, key)| {
            let parts =
                [same(vec![0, 60, 0, 71]), same(vec![0xff; 9]), exchange, key, same(vec![0xff; 4])];
            map(join(parts), |payload| frame(1, 1, payload))
        }),
        (1u8..4, vec(any::<u8>(), 0..300)).prop_map(|(kind, bytes)| {
            // Bodies, and methods that are not parsed.
            let payload = if kind == 3 { bytes } else { [&[0, 60, 0, 80], &bytes[..]].concat() };
            same(frame(if kind == 3 { 3 } else { 1 }, 1, &payload))
        }),
        Just(same(frame(8, 0, b""))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn frames_arrive_as_they_were_sent_except_for_invalid_utf8(
        frames in vec(frames(), 0..12),
        pieces in vec(1usize..400, 1..10),
        buffers in vec(1usize..700, 1..10),
        cut_off in 0usize..30,
    ) {
        let (mut sent, mut arrives) = join(frames);
        let mut stream = of_pieces(cut(&sent, &pieces));
        prop_assert_eq!(&read(&mut stream, &buffers), &arrives);
        // Of a frame that the end of the stream truncates, all bytes arrive.
        sent.truncate(sent.len().saturating_sub(cut_off));
        arrives.truncate(sent.len());
        let read = read(&mut of_pieces(cut(&sent, &pieces)), &buffers);
        prop_assert_eq!(read.len(), sent.len());
    }

    #[test]
    fn bytes_of_any_kind_arrive_in_full(
        bytes in vec(prop_oneof![0u8..9, any::<u8>(), Just(0xce)], 0..300),
        pieces in vec(1usize..40, 1..10),
        buffers in vec(1usize..40, 1..10),
    ) {
        let read = read(&mut of_pieces(cut(&bytes, &pieces)), &buffers);
        prop_assert_eq!(read.len(), bytes.len());
    }
}

#[test]
fn a_body_is_read_without_a_copy() {
    let body = frame(3, 1, &vec![0xff; 131_064]);
    let mut stream = of_pieces(cut(&body, &[1000]));
    assert_eq!(read(&mut stream, &[64 * 1024]), body);
    assert_eq!(stream.held.capacity(), 0);
}

#[test]
fn an_incomplete_frame_is_held() {
    let bytes = header(0x2000, &long(&entry(b"\xff", b'S', &long(&[7; 100_000]))));
    let mut stream = of_pieces([bytes[..99_999].to_vec()]);
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..2 {
        let polled =
            Pin::new(&mut stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        assert!(polled.is_pending());
    }
    assert_eq!(stream.held, bytes[..99_999]);
}
