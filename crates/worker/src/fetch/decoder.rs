//! Decoders of content codings, which write into memory that was charged before.
//!
//! The client library has decoders too. They neither limit the window that a site declares (up to a
//! gigabyte for brotli) nor report its size.

use std::mem::size_of;

use brotli_decompressor::{
    BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, HuffmanTreeGroup, SliceWrapper,
    StandardAlloc,
};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// The value of `Accept-Encoding`.
pub(crate) const ACCEPTED: &str = "gzip, deflate, br, zstd";
/// The largest memory of a decoder: brotli's window of 16 MiB, and about 3.3 MiB of its tables.
pub(crate) const MAX_HELD: usize = 20 << 20;

/// The memory of an inflate decoder: its window of 32 KiB and its state.
const INFLATE_HELD: usize = 48 * 1024;
/// The largest window of zstd that is accepted: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;
/// The memory of a brotli decoder besides its window and tables.
const BROTLI_HELD: usize = 16 * 1024;
/// How many bytes brotli decodes at once. It needs initialised memory.
const BROTLI_STEP: usize = 16 * 1024;

/// The bytes between two codings.
const BETWEEN: usize = 16 * 1024;
/// The most bytes that pass between two codings. What follows the end of the inner one is dropped, so
/// the limit of the body does not bound them; a page has far fewer.
const MAX_BETWEEN: usize = 64 << 20;

/// Decodes a body with one content coding, or with two.
pub(crate) struct Decoder {
    stage: Stage,
    /// The coding that was applied last, and is removed first.
    outer: Option<Box<Outer>>,
}

/// The decoder of one coding.
struct Stage {
    name: &'static str,
    kind: Kind,
}

/// The first of two decoders, with what the second one has yet to read.
struct Outer {
    stage: Stage,
    bytes: Vec<u8>,
    read: usize,
    /// The data has begun, so that it has an end.
    has_begun: bool,
    /// How many bytes have passed between the codings.
    passed: usize,
}

enum Kind {
    Inflate(Inflate),
    Zstd(Zstd),
    Brotli(Box<Brotli>),
}

/// The body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// There are more than two codings.
    #[error("the body has the content codings {0}, and at most two are supported")]
    Multiple(String),
    /// The decoders of two codings together need too much memory.
    #[error("the two content codings of the body need more memory than one may")]
    TooLarge,
    /// The data is not in the declared coding.
    #[error("the body is not valid {0}: {1}")]
    Invalid(&'static str, String),
    /// The data ends too early.
    #[error("the body ends within its {0} data")]
    Truncated(&'static str),
}

impl Decoder {
    /// The decoder for a response with these headers. `None` where there is no coding, or an
    /// unknown one: the body is then kept as it is.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, DecodeError> {
        let codings = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(|coding| String::from_utf8_lossy(coding.trim_ascii()).to_ascii_lowercase())
            .filter(|coding| !coding.is_empty() && coding != "identity");
        let codings: Vec<String> = codings.collect();
        // An unknown coding hides the ones before it.
        let known = codings.iter().rev().map_while(|coding| Stage::of(coding));
        let mut known: Vec<Stage> = known.take(3).collect();
        if known.len() > 2 {
            return Err(DecodeError::Multiple(codings.join(", ")));
        }
        let Some(mut stage) = known.pop() else { return Ok(None) };
        let outer = known.pop();
        if let (Some(outer), Kind::Inflate(inflate)) = (&outer, &mut stage.kind) {
            // Some servers name the coding twice that they applied once.
            inflate.is_optional = outer.name == stage.name;
        }
        let outer = outer.map(|stage| {
            let bytes = Vec::with_capacity(BETWEEN);
            Box::new(Outer { stage, bytes, read: 0, passed: 0, has_begun: false })
        });
        Ok(Some(Self { stage, outer }))
    }

    /// Decodes into the free capacity of `output`, and removes from `input` what was decoded. All
    /// is decoded when `input` is empty and `output` is not full.
    pub(crate) fn step(
        &mut self,
        input: &mut &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let Some(outer) = &mut self.outer else { return self.stage.step(input, output) };
        loop {
            let mut between = &outer.bytes[outer.read..];
            // Also without input: it may hold output for which there was no room.
            self.stage.step(&mut between, output)?;
            outer.read = outer.bytes.len() - between.len();
            if output.len() == output.capacity() {
                return Ok(());
            }
            if outer.read < outer.bytes.len() {
                continue;
            }
            let was_full = outer.bytes.len() == outer.bytes.capacity();
            outer.bytes.clear();
            outer.read = 0;
            if input.is_empty() && !was_full {
                return Ok(());
            }
            outer.stage.step(input, &mut outer.bytes)?;
            outer.has_begun |= !outer.bytes.is_empty();
            outer.passed += outer.bytes.len();
            if outer.passed > MAX_BETWEEN || self.stage.held() + outer.held() > MAX_HELD {
                return Err(DecodeError::TooLarge);
            }
        }
    }

    /// Checks, after the last input, that the data is complete.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.outer {
            None => self.stage.finish(),
            Some(outer) => {
                outer.stage.finish()?;
                if outer.has_begun { self.stage.finish() } else { Ok(()) }
            }
        }
    }

    /// The memory that it holds now, or will hold after the next step, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.stage.held() + self.outer.as_ref().map_or(0, |outer| outer.held())
    }
}

impl Outer {
    fn held(&self) -> usize {
        self.stage.held() + BETWEEN
    }
}

impl Stage {
    /// The decoder of a coding; `None` for one that is unknown.
    fn of(coding: &str) -> Option<Self> {
        let (name, kind) = match coding {
            "gzip" | "x-gzip" => ("gzip", Kind::Inflate(Inflate::gzip())),
            "deflate" => ("deflate", Kind::Inflate(Inflate::deflate())),
            "zstd" => ("zstd", Kind::Zstd(Zstd::new())),
            "br" => ("brotli", Kind::Brotli(Box::new(Brotli::new()))),
            _ => return None,
        };
        Some(Self { name, kind })
    }

    fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), DecodeError> {
        let before = (input.len(), output.len());
        let is_full = output.len() == output.capacity();
        let result = match &mut self.kind {
            Kind::Inflate(inflate) => inflate.step(input, output),
            Kind::Zstd(zstd) => zstd.step(input, output),
            Kind::Brotli(brotli) => brotli.step(input, output),
        };
        let is_stuck = !is_full && !input.is_empty() && before == (input.len(), output.len());
        let result = if is_stuck { result.and(Err("no progress".to_owned())) } else { result };
        result.map_err(|problem| DecodeError::Invalid(self.name, problem))
    }

    fn finish(self) -> Result<(), DecodeError> {
        let is_complete = match &self.kind {
            Kind::Inflate(inflate) => inflate.is_complete(),
            Kind::Zstd(zstd) => zstd.between_frames,
            Kind::Brotli(brotli) => brotli.ended,
        };
        if is_complete { Ok(()) } else { Err(DecodeError::Truncated(self.name)) }
    }

    fn held(&self) -> usize {
        match &self.kind {
            Kind::Inflate(_) => INFLATE_HELD,
            // zstd allocates a window when a frame declares it, and writes to it later.
            Kind::Zstd(zstd) => zstd.context.sizeof(),
            Kind::Brotli(brotli) => brotli.held(),
        }
    }
}

/// The decoder of gzip, and of what HTTP calls deflate.
struct Inflate {
    gzip: bool,
    /// `None` before the first byte, and after the end of a gzip member.
    inflate: Option<Decompress>,
    /// The data has ended. Another member may follow in gzip.
    ended: bool,
    /// What follows the end is not part of the body.
    ignores_rest: bool,
    /// The data may not be in this coding at all.
    is_optional: bool,
    /// The data is not in this coding.
    is_plain: bool,
}

impl Inflate {
    fn gzip() -> Self {
        Self {
            gzip: true,
            inflate: None,
            ended: false,
            ignores_rest: false,
            is_optional: false,
            is_plain: false,
        }
    }

    fn deflate() -> Self {
        Self { gzip: false, ..Self::gzip() }
    }

    fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        let has_begun = self.inflate.is_some() || self.ended;
        self.is_plain |= self.is_optional
            && !has_begun
            && input.first().is_some_and(|byte| self.gzip && *byte != GZIP_ID1);
        if self.is_plain {
            let (now, later) = input.split_at(input.len().min(output.capacity() - output.len()));
            output.extend_from_slice(now);
            *input = later;
            self.ended = true;
            return Ok(());
        }
        let inflate = match (&mut self.inflate, input.first()) {
            (Some(inflate), _) => inflate,
            (None, None) => return Ok(()),
            // Not another member: ignored, as browsers do.
            (None, Some(first))
                if self.ignores_rest || self.ended && !(self.gzip && *first == GZIP_ID1) =>
            {
                self.ignores_rest = true;
                *input = &[];
                return Ok(());
            }
            (None, Some(first)) => self.inflate.insert(match self.gzip {
                true => Decompress::new_gzip(15),
                // By the standard it has a zlib header, whose first byte has these low bits. Some
                // servers leave the header out.
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
            // It only looked like another member.
            Err(_) if self.ended && inflate.total_out() == 0 => {
                self.ignores_rest = true;
                self.inflate = None;
            }
            Err(error) => return Err(error.message().unwrap_or("corrupt data").to_owned()),
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
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
            unreachable!("zstd supports this window");
        }
        Self { context, between_frames: false }
    }

    fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        if input.is_empty() && self.between_frames {
            return Ok(());
        }
        let written = output.len();
        let mut from = InBuffer::around(input);
        let result =
            self.context.decompress_stream(&mut OutBuffer::around_pos(output, written), &mut from);
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
        // Strict: no windows larger than HTTP allows.
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), ended: false }
    }

    fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        if self.ended {
            // What follows is not part of the body.
            *input = &[];
            return Ok(());
        }
        loop {
            // The first byte declares the window. It is decoded alone, so that the window is
            // charged before it is allocated.
            let offered =
                if self.state.window_bits == 0 { input.len().min(1) } else { input.len() };
            let written = output.len();
            let step = (output.capacity() - written).min(BROTLI_STEP);
            output.resize(written + step, 0);
            let (mut left_in, mut used, mut left_out, mut decoded, mut total) =
                (offered, 0, step, 0, 0);
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
        let codes =
            |group: &HuffmanTreeGroup<StandardAlloc, StandardAlloc>| group.codes.slice().len();
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
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn brotli(text: &[u8], window_bits: u32) -> Vec<u8> {
        read_whole(brotli::CompressorReader::new(text, 4096, 1, window_bits))
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
            for (piece, free) in
                [(1, 1), (7, 100), (1000, 65_536), (1 << 20, 3), (1 << 20, 1 << 20)]
            {
                let decoded = decode(coding, &data, piece, free);
                assert!(
                    decoded.as_ref().is_ok_and(|decoded| *decoded == text),
                    "{coding} {piece} {free}: {decoded:?}"
                );
            }
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
            assert_eq!(
                decode("zstd", &both(&|text| zstd(text, 17)), piece, 64).unwrap(),
                b"one two"
            );
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
            assert!(
                error.contains("not valid") || error.contains("ends within"),
                "{coding}: {error}"
            );
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
}
