//! Content codings, undone step by step into memory that was charged before.
//!
//! The client library could do it too, but neither bounds the windows that a site declares (brotli's may then have a
//! gigabyte) nor tells of them.

use std::mem::size_of;

use brotli_decompressor::{
    BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, HuffmanTreeGroup, SliceWrapper, StandardAlloc,
};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// What is asked for, in no order of preference.
pub(crate) const ACCEPTED: &str = "gzip, deflate, br, zstd";
/// The most that a decoder holds: the largest window of brotli, 16 MiB, and about 3.3 MiB of its tables.
pub(crate) const MOST_HELD: usize = 20 << 20;

/// The window of deflate is 32 KiB; this is it with all that belongs to it.
const INFLATE_HELD: usize = 48 * 1024;
/// The largest window of zstd that is taken: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;
/// What brotli holds besides its window and tables.
const BROTLI_HELD: usize = 16 * 1024;
/// How much brotli decodes at once. It needs memory that was written to before.
const BROTLI_STEP: usize = 16 * 1024;

/// Undoes one coding.
pub(crate) struct Decoder {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    Inflate(Inflate),
    Zstd(Zstd),
    Brotli(Box<Brotli>),
}

/// The body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecodable {
    /// More than one coding.
    #[error("the body is under several content codings ({0}), and only a single one is undone")]
    Several(String),
    /// Not what it was declared as.
    #[error("the body is no sound {0}: {1}")]
    Unsound(&'static str, String),
    /// The end is missing.
    #[error("the body ends within its {0} data")]
    CutOff(&'static str),
}

impl Decoder {
    /// What undoes the coding of an answer; `None` where there is none, or one that is not known: such a body is taken as
    /// it is.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Undecodable> {
        let mut codings = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(|coding| String::from_utf8_lossy(coding.trim_ascii()).to_ascii_lowercase())
            .filter(|coding| !coding.is_empty() && coding != "identity");
        let Some(coding) = codings.next() else { return Ok(None) };
        let others: Vec<String> = codings.collect();
        if !others.is_empty() {
            return Err(Undecodable::Several(format!("{coding}, {}", others.join(", "))));
        }
        let (name, kind) = match coding.as_str() {
            "gzip" | "x-gzip" => ("gzip", Kind::Inflate(Inflate::gzip())),
            "deflate" => ("deflate", Kind::Inflate(Inflate::deflate())),
            "zstd" => ("zstd", Kind::Zstd(Zstd::new())),
            "br" => ("brotli", Kind::Brotli(Box::new(Brotli::new()))),
            _ => return Ok(None),
        };
        Ok(Some(Self { name, kind }))
    }

    /// Decodes into the free capacity of `output`, and takes what it has used from `input`. Only when `input` is empty and
    /// `output` is not full is there nothing left to do.
    pub(crate) fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), Undecodable> {
        let before = (input.len(), output.len());
        let full = output.len() == output.capacity();
        let result = match &mut self.kind {
            Kind::Inflate(inflate) => inflate.step(input, output),
            Kind::Zstd(zstd) => zstd.step(input, output),
            Kind::Brotli(brotli) => brotli.step(input, output),
        };
        let stuck = !full && !input.is_empty() && before == (input.len(), output.len());
        let result = if stuck { result.and(Err("it does not go on".to_owned())) } else { result };
        result.map_err(|problem| Undecodable::Unsound(self.name, problem))
    }

    /// There is no more input: was that the end of the data?
    pub(crate) fn end(self) -> Result<(), Undecodable> {
        let whole = match &self.kind {
            Kind::Inflate(inflate) => inflate.is_whole(),
            Kind::Zstd(zstd) => zstd.between_frames,
            Kind::Brotli(brotli) => brotli.ended,
        };
        if whole { Ok(()) } else { Err(Undecodable::CutOff(self.name)) }
    }

    /// How much memory it holds, in bytes, or will hold after the next step.
    pub(crate) fn held(&self) -> usize {
        match &self.kind {
            Kind::Inflate(_) => INFLATE_HELD,
            // The window is there as soon as a frame has declared it; it is not written to before.
            Kind::Zstd(zstd) => zstd.context.sizeof(),
            Kind::Brotli(brotli) => brotli.held(),
        }
    }
}

/// gzip, and what HTTP calls deflate.
struct Inflate {
    gzip: bool,
    /// `None` before the first byte, and after the end of a gzip member.
    inflate: Option<Decompress>,
    /// The data has come to an end. More of it may follow where it is gzip.
    ended: bool,
    /// What follows the end does not belong to the body.
    ignoring: bool,
}

impl Inflate {
    fn gzip() -> Self {
        Self { gzip: true, inflate: None, ended: false, ignoring: false }
    }

    fn deflate() -> Self {
        Self { gzip: false, ..Self::gzip() }
    }

    fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        let inflate = match (&mut self.inflate, input.first()) {
            (Some(inflate), _) => inflate,
            (None, None) => return Ok(()),
            // Another member, or rubbish: it is ignored, as browsers do.
            (None, Some(first)) if self.ignoring || self.ended && !(self.gzip && *first == GZIP_ID1) => {
                self.ignoring = true;
                *input = &[];
                return Ok(());
            }
            (None, Some(first)) => self.inflate.insert(match self.gzip {
                true => Decompress::new_gzip(15),
                // It is meant to be in the zlib format, whose first byte has these low bits; some send it without.
                false => Decompress::new(first & 0x0f == 8),
            }),
        };
        let used = inflate.total_in();
        let result = inflate.decompress_vec(input, output, FlushDecompress::None);
        *input = &input[(inflate.total_in() - used) as usize..];
        match result {
            Ok(Status::StreamEnd) => {
                self.ended = true;
                self.inflate = None;
            }
            Ok(Status::Ok | Status::BufError) => {}
            // It only began like another member.
            Err(_) if self.ended && inflate.total_out() == 0 => {
                self.ignoring = true;
                self.inflate = None;
            }
            Err(error) => return Err(error.message().unwrap_or("corrupt data").to_owned()),
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.ended && self.inflate.as_ref().is_none_or(|inflate| inflate.total_out() == 0)
    }
}

/// The first byte of a gzip member.
const GZIP_ID1: u8 = 0x1f;

struct Zstd {
    context: DCtx<'static>,
    between_frames: bool,
}

impl Zstd {
    fn new() -> Self {
        let mut context = DCtx::create();
        if context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).is_err() {
            unreachable!("a window that zstd knows");
        }
        Self { context, between_frames: false }
    }

    fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        if input.is_empty() && self.between_frames {
            return Ok(());
        }
        let written = output.len();
        let mut from = InBuffer::around(input);
        let result = self.context.decompress_stream(&mut OutBuffer::around_pos(output, written), &mut from);
        let used = from.pos();
        *input = &input[used..];
        self.between_frames = result.map_err(|code| get_error_name(code).to_owned())? == 0;
        Ok(())
    }
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: no windows beyond those that HTTP knows.
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), ended: false }
    }

    fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        if self.ended {
            // Whatever follows does not belong to the body.
            *input = &[];
            return Ok(());
        }
        loop {
            // The first byte declares the window. It goes alone, so that the window is charged before it is there.
            let offered = if self.state.window_bits == 0 { input.len().min(1) } else { input.len() };
            let written = output.len();
            let step = (output.capacity() - written).min(BROTLI_STEP);
            output.resize(written + step, 0);
            let (mut left_in, mut used, mut left_out, mut decoded, mut total) = (offered, 0, step, 0, 0);
            let result = BrotliDecompressStream(
                &mut left_in,
                &mut used,
                input,
                &mut left_out,
                &mut decoded,
                &mut output[written..],
                &mut total,
                &mut self.state,
            );
            output.truncate(written + decoded);
            *input = &input[used..];
            match result {
                BrotliResult::NeedsMoreOutput if output.len() < output.capacity() => {}
                BrotliResult::NeedsMoreOutput | BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::ResultSuccess => {
                    self.ended = true;
                    return Ok(());
                }
                BrotliResult::ResultFailure => return Err(format!("{:?}", self.state.error_code)),
            }
        }
    }

    fn held(&self) -> usize {
        let window = if self.state.window_bits == 0 { 0 } else { 1 << self.state.window_bits };
        let codes = |group: &HuffmanTreeGroup<StandardAlloc, StandardAlloc>| group.codes.slice().len();
        let codes = codes(&self.state.literal_hgroup)
            + codes(&self.state.insert_copy_hgroup)
            + codes(&self.state.distance_hgroup);
        BROTLI_HELD + window + codes * size_of::<HuffmanCode>()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn headers(codings: &[&str]) -> HeaderMap {
        codings.iter().map(|coding| (CONTENT_ENCODING, coding.parse().unwrap())).collect()
    }

    /// Decodes data that comes in pieces of `piece` bytes, into capacity that grows by `free` bytes.
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
        decoder.end().map_err(|error| error.to_string())?;
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
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn brotli(text: &[u8], window_bits: u32) -> Vec<u8> {
        read_whole(brotli::CompressorReader::new(text, 4096, 1, window_bits))
    }

    /// A text that is no repetition of a short one.
    fn text() -> Vec<u8> {
        (0..20_000_u32).flat_map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)).into_bytes()).collect()
    }

    #[test]
    fn every_coding_is_undone_however_the_data_is_cut() {
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
                assert!(decoded.as_ref().is_ok_and(|decoded| *decoded == text), "{coding} {piece} {free}: {decoded:?}");
            }
        }
    }

    #[test]
    fn several_members_or_frames_are_one_body() {
        let both = |pack: &dyn Fn(&[u8]) -> Vec<u8>| [pack(b"one "), pack(b"two")].concat();
        for piece in [1, 1000] {
            assert_eq!(decode("gzip", &both(&gzip), piece, 64).unwrap(), b"one two");
            assert_eq!(decode("zstd", &both(&|text| zstd(text, 17)), piece, 64).unwrap(), b"one two");
        }
    }

    #[test]
    fn what_follows_the_end_of_gzip_is_ignored() {
        for rubbish in [&b"\0\0\0\0"[..], b"<!-- served by -->", b"\x1f", b"\x1f\x8b", b"\x1f\x8c rubbish"] {
            for piece in [1, 3, 1000] {
                let data = [&gzip(b"one"), rubbish].concat();
                assert_eq!(decode("gzip", &data, piece, 64).unwrap(), b"one", "{rubbish:?}");
            }
        }
    }

    #[test]
    fn data_that_is_cut_off_or_corrupt_is_refused() {
        let text = text();
        let deflated = read_whole(ZlibEncoder::new(&*text, Compression::fast()));
        for (coding, data) in
            [("gzip", gzip(&text)), ("deflate", deflated), ("zstd", zstd(&text, 17)), ("br", brotli(&text, 18))]
        {
            let error = decode(coding, &data[..data.len() - 1], 1000, 1000).unwrap_err();
            assert!(error.contains("ends within"), "{coding}: {error}");
            let mut corrupt = data;
            corrupt[0] ^= 0xff;
            let error = decode(coding, &corrupt, 1000, 1000).unwrap_err();
            assert!(error.contains("no sound") || error.contains("ends within"), "{coding}: {error}");
        }
        let mut wrong_sum = gzip(&text);
        let end = wrong_sum.len();
        wrong_sum[end - 8] ^= 1;
        assert!(decode("gzip", &wrong_sum, 1000, 1000).unwrap_err().contains("no sound gzip"));
        let second = [gzip(&text), gzip(&text)[..100].to_vec()].concat();
        assert!(decode("gzip", &second, 1000, 1000).unwrap_err().contains("ends within"));
    }

    #[test]
    fn a_window_is_known_before_it_is_filled() {
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
            assert!((window..window + (2 << 20)).contains(&decoder.held()), "{coding}: {}", decoder.held());
            assert!(decoder.held() <= MOST_HELD && output.len() <= 16);
        }
    }

    #[test]
    fn windows_beyond_what_http_allows_are_refused() {
        let error = decode("zstd", &zstd(&text(), 24), 1000, 1000).unwrap_err();
        assert!(error.contains("too much memory"), "{error}");
        // The first bits of a stream with a large window.
        let error = decode("br", &[0x11, 0x1e, 0, 0], 1000, 1000).unwrap_err();
        assert!(error.contains("WINDOW_BITS"), "{error}");
    }

    #[test]
    fn what_is_not_known_is_left_as_it_is_and_several_codings_are_refused() {
        for codings in [&[][..], &["identity"], &[""], &["aws-chunked"], &["identity", "lzw"]] {
            assert!(Decoder::of(&headers(codings)).is_ok_and(|decoder| decoder.is_none()), "{codings:?}");
        }
        assert!(Decoder::of(&headers(&["identity, GZIP"])).is_ok_and(|decoder| decoder.is_some()));
        for codings in [&["gzip, br"][..], &["gzip", "gzip"], &["lzw, zstd"]] {
            let error = Decoder::of(&headers(codings)).err().unwrap().to_string();
            assert!(error.contains("several"), "{error}");
        }
    }
}
