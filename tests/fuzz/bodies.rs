//! Compressed bodies. Each decoded body is compared with that of the coding's own library.

use std::io::Read;

use fetchline_worker::bench::decode;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use proptest::prelude::*;

use crate::input;

/// More than this is not decoded, in bytes.
const MOST: usize = 4 * 1024 * 1024;
const PIECES: &[&str] = &["\0", "\u{1f}\u{8b}", "(\u{b5}/", "x", "<html>", "\0\0\0\0", "Pasta"];

/// All that a decoder returns before its first error.
fn all(from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // An error ends it.
    _ = from.take(MOST as u64).read_to_end(&mut bytes);
    bytes
}

fn check(coding: &str, references: fn(&[u8]) -> Vec<Vec<u8>>) -> anyhow::Result<()> {
    input::check(&format!("tests/fuzz/corpus/{coding}"), PIECES, |input| {
        let whole = decode(coding, input, input.len().max(1), MOST);
        let in_pieces = decode(coding, input, 3, MOST);
        prop_assert_eq!(whole.is_ok(), in_pieces.is_ok());
        let Ok(whole) = whole else { return Ok(()) };
        prop_assert!(in_pieces.is_ok_and(|bytes| bytes == whole));
        // A body that is not compressed at all is kept as it is.
        let is_plain = whole == input;
        let is_right = references(input).contains(&whole);
        prop_assert!(is_plain || is_right, "{} bytes decoded differently", whole.len());
        Ok(())
    })
}

#[test]
fn gzip_is_decoded_as_by_its_library_whatever_the_pieces() -> anyhow::Result<()> {
    check("gzip", |input| vec![all(MultiGzDecoder::new(input))])
}

#[test]
fn deflate_is_decoded_as_by_its_library_whatever_the_pieces() -> anyhow::Result<()> {
    check("deflate", |input| vec![all(ZlibDecoder::new(input)), all(DeflateDecoder::new(input))])
}

#[test]
fn brotli_is_decoded_as_by_its_library_whatever_the_pieces() -> anyhow::Result<()> {
    check("br", |input| vec![all(brotli::Decompressor::new(input, 4096))])
}

#[test]
fn zstd_is_decoded_as_by_its_library_whatever_the_pieces() -> anyhow::Result<()> {
    check("zstd", |input| {
        vec![zstd::stream::read::Decoder::new(input).map(all).unwrap_or_default()]
    })
}
