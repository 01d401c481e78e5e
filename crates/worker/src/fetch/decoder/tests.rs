//! Every coding, whole and broken, in pieces of every size.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

fn headers(codings: &[&str]) -> HeaderMap {
    codings.iter().map(|coding| (CONTENT_ENCODING, coding.parse().unwrap())).collect()
}

/// Decodes data in pieces of `piece` bytes, into capacity that grows by `free` bytes.
fn decode(coding: &str, data: &[u8], piece: usize, free: usize) -> Result<Vec<u8>, String> {
    let mut decoder = Decoder::of(&headers(&[coding])).unwrap().unwrap();
    let mut output = Vec::new();
    for mut input in data.chunks(piece) {
        while !input.is_empty() || output.len() == output.capacity() {
            if output.len() == output.capacity() {
                output.reserve_exact(free);
            }
            decoder.step(&mut input, &mut output).map_err(|error| error.to_string())?;
        }
    }
    decoder.finish().map_err(|error| error.to_string())?;
    Ok(output)
}

fn read_whole(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

fn gzip(text: &[u8]) -> Vec<u8> {
    read_whole(GzEncoder::new(text, Compression::fast()))
}

fn zstd(text: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &[u8], window_bits: u32) -> Vec<u8> {
    read_whole(::brotli::CompressorReader::new(text, 4096, 1, window_bits))
}

/// A text that compresses badly.
fn text() -> Vec<u8> {
    (0..20_000_u32)
        .flat_map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

#[test]
fn every_coding_is_decoded_whatever_the_size_of_the_pieces() {
    let text = text();
    for (coding, data) in [
        ("gzip", gzip(&text)),
        ("X-GZip", gzip(&text)),
        ("deflate", read_whole(ZlibEncoder::new(&*text, Compression::best()))),
        ("deflate", read_whole(ZlibEncoder::new(&*text, Compression::none()))),
        ("deflate", read_whole(DeflateEncoder::new(&*text, Compression::best()))),
        ("deflate", read_whole(DeflateEncoder::new(&*text, Compression::none()))),
        ("zstd", zstd(&text, 17)),
        ("br", brotli(&text, 18)),
    ] {
        for (piece, free) in [(1, 1), (7, 100), (1000, 65_536), (1 << 20, 3), (1 << 20, 1 << 20)] {
            let decoded = decode(coding, &data, piece, free);
            assert!(
                decoded.as_ref().is_ok_and(|decoded| *decoded == text),
                "{coding} {piece} {free}: {decoded:?}"
            );
        }
    }
}

#[test]
fn zlib_that_is_called_gzip_is_decoded() {
    let text = text();
    for level in [Compression::none(), Compression::fast(), Compression::best()] {
        let data = read_whole(ZlibEncoder::new(&*text, level));
        for (piece, free) in [(1, 1), (1000, 65_536), (1 << 20, 1 << 20)] {
            assert!(decode("gzip", &data, piece, free).is_ok_and(|decoded| decoded == text));
        }
        let error = decode("gzip", &data[..data.len() - 1], 1000, 1000).unwrap_err();
        assert!(error.contains("ends within"), "{error}");
    }
}

#[test]
fn two_codings_are_removed_in_turn() {
    let text = &text()[..20_000];
    let zlib = |data: &[u8]| read_whole(ZlibEncoder::new(data, Compression::fast()));
    for (codings, data) in [
        ("gzip, br", brotli(&gzip(text), 18)),
        ("br, gzip", gzip(&brotli(text, 18))),
        ("gzip, gzip", gzip(&gzip(text))),
        ("zstd,gzip", gzip(&zstd(text, 17))),
        ("deflate, zstd", zstd(&zlib(text), 17)),
        ("br, br", brotli(&brotli(text, 18), 18)),
        ("identity, gzip, identity, br", brotli(&gzip(text), 18)),
        // Named twice, applied once.
        ("gzip, x-gzip", gzip(text)),
    ] {
        for (piece, free) in [(1, 1), (7, 100), (1000, 65_536), (1 << 20, 1 << 20)] {
            let decoded = decode(codings, &data, piece, free);
            assert!(
                decoded.as_ref().is_ok_and(|decoded| decoded == text),
                "{codings} {piece} {free}: {:?}",
                decoded.err()
            );
        }
        assert!(decode(codings, &data[..data.len() - 1], 1000, 1000).is_err(), "{codings}");
    }
    // An unknown coding hides those before it.
    assert!(Decoder::of(&headers(&["gzip, x-nothing"])).unwrap().is_none());
    assert_eq!(decode("x-nothing, gzip", &gzip(b"one"), 1, 64).unwrap(), b"one");
}

#[test]
fn two_large_windows_are_too_much() {
    let text = text();
    let data = zstd(&brotli(&text, 24), 23);
    assert!(decode("br, zstd", &data, 1000, 1000).unwrap_err().contains("memory"));
}

#[test]
fn several_members_or_frames_make_one_body() {
    let both = |pack: &dyn Fn(&[u8]) -> Vec<u8>| [pack(b"one "), pack(b"two")].concat();
    for piece in [1, 1000] {
        assert_eq!(decode("gzip", &both(&gzip), piece, 64).unwrap(), b"one two");
        assert_eq!(decode("zstd", &both(&|text| zstd(text, 17)), piece, 64).unwrap(), b"one two");
    }
}

#[test]
fn what_follows_the_end_of_gzip_is_ignored() {
    for garbage in
        [&b"\0\0\0\0"[..], b"<!-- served by -->", b"\x1f", b"\x1f\x8b", b"\x1f\x8c garbage"]
    {
        for piece in [1, 3, 1000] {
            let data = [&gzip(b"one"), garbage].concat();
            assert_eq!(decode("gzip", &data, piece, 64).unwrap(), b"one", "{garbage:?}");
        }
    }
}

#[test]
fn truncated_or_corrupt_data_is_an_error() {
    let text = text();
    let deflated = read_whole(ZlibEncoder::new(&*text, Compression::fast()));
    for (coding, data) in [
        ("gzip", gzip(&text)),
        ("deflate", deflated),
        ("zstd", zstd(&text, 17)),
        ("br", brotli(&text, 18)),
    ] {
        let error = decode(coding, &data[..data.len() - 1], 1000, 1000).unwrap_err();
        assert!(error.contains("ends within"), "{coding}: {error}");
        let mut corrupt = data;
        corrupt[0] ^= 0xff;
        let error = decode(coding, &corrupt, 1000, 1000).unwrap_err();
        assert!(error.contains("not valid") || error.contains("ends within"), "{coding}: {error}");
    }
    let mut wrong_sum = gzip(&text);
    let end = wrong_sum.len();
    wrong_sum[end - 8] ^= 1;
    assert!(decode("gzip", &wrong_sum, 1000, 1000).unwrap_err().contains("not valid gzip"));
    let second = [gzip(&text), gzip(&text)[..100].to_vec()].concat();
    assert!(decode("gzip", &second, 1000, 1000).unwrap_err().contains("ends within"));
}

#[test]
fn a_window_is_charged_before_it_is_filled() {
    let text = text();
    for (coding, data, window) in [
        ("zstd", zstd(&text, 20), 1 << 20),
        ("zstd", zstd(&text, 23), 8 << 20),
        ("br", brotli(&text, 22), 4 << 20),
        ("br", brotli(&text, 24), 16 << 20),
    ] {
        let mut decoder = Decoder::of(&headers(&[coding])).unwrap().unwrap();
        let mut output = Vec::with_capacity(16);
        let mut input = &data[..];
        decoder.step(&mut input, &mut output).unwrap();
        assert!(
            (window..window + (2 << 20)).contains(&decoder.held()),
            "{coding}: {}",
            decoder.held()
        );
        assert!(decoder.held() <= MAX_HELD && output.len() <= 16);
    }
}

#[test]
fn windows_larger_than_http_allows_are_refused() {
    let error = decode("zstd", &zstd(&text(), 24), 1000, 1000).unwrap_err();
    assert!(error.contains("too much memory"), "{error}");
    // The beginning of a stream with a large window.
    let error = decode("br", &[0x11, 0x1e, 0, 0], 1000, 1000).unwrap_err();
    assert!(error.contains("WINDOW_BITS"), "{error}");
}

#[test]
fn unknown_codings_are_kept_as_they_are_and_more_than_two_codings_are_refused() {
    for codings in [&[][..], &["identity"], &[""], &["aws-chunked"], &["identity", "lzw"]] {
        assert!(
            Decoder::of(&headers(codings)).is_ok_and(|decoder| decoder.is_none()),
            "{codings:?}"
        );
    }
    assert!(Decoder::of(&headers(&["identity, GZIP"])).is_ok_and(|decoder| decoder.is_some()));
    for codings in [&["gzip, br, gzip"][..], &["br"; 3], &["zstd"; 1_000]] {
        let error = Decoder::of(&headers(codings)).err().unwrap().to_string();
        assert!(error.contains("at most two"), "{error}");
    }
}
