//! Decoders of content codings, which write into memory that was charged before.
//!
//! The client library has decoders too. They neither limit the window that a site declares (up to a
//! gigabyte for brotli) nor report its size.

mod brotli;
mod coding;
mod error;
mod inflate;
mod zstd;

use http::header::{CONTENT_ENCODING, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};

use self::coding::{CodingDecoder, Kind};
pub(crate) use self::error::DecodeError;

/// The value of `Accept-Encoding`.
pub(crate) const ACCEPTED: &str = "gzip, deflate, br, zstd";
/// The largest memory of a decoder: brotli's window of 16 MiB, and about 3.3 MiB of its tables.
pub(crate) const MAX_HELD: usize = 20 << 20;

/// The bytes between two codings.
const BETWEEN: usize = 16 * 1024;
/// The most bytes that pass between two codings. What follows the end of the inner one is dropped,
/// so the limit of the body does not bound them; a page has far fewer.
const MAX_BETWEEN: usize = 64 << 20;

/// Decodes a body with one content coding, or with two.
pub(crate) struct Decoder {
    decoder: CodingDecoder,
    /// The coding that was applied last, and is removed first.
    outer: Option<Box<Outer>>,
}

/// The first of two decoders, with what the second one has yet to read.
struct Outer {
    decoder: CodingDecoder,
    bytes: Vec<u8>,
    read: usize,
    /// Whether the inner coding has any data, which then has to be complete.
    has_begun: bool,
    /// How many bytes have passed between the codings.
    passed: usize,
}

impl Decoder {
    /// The decoder for a response with these headers. `None` where there is no coding, or an
    /// unknown one: the body is then kept as it is.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, DecodeError> {
        let mut codings = names(headers, CONTENT_ENCODING);
        codings.extend(transfer_codings(headers)?);
        codings.retain(|coding| !coding.is_empty() && coding != "identity");
        // An unknown coding hides the ones before it.
        let known = codings.iter().rev().map_while(|coding| CodingDecoder::of(coding));
        let mut known: Vec<CodingDecoder> = known.take(3).collect();
        if known.len() > 2 {
            return Err(DecodeError::Multiple(codings.join(", ")));
        }
        let Some(mut decoder) = known.pop() else { return Ok(None) };
        let outer = known.pop();
        if let (Some(outer), Kind::Inflate(inflate)) = (&outer, &mut decoder.kind) {
            // Some servers name the coding twice that they applied once.
            inflate.is_optional = outer.name == decoder.name;
        }
        let outer = outer.map(|decoder| {
            let bytes = Vec::with_capacity(BETWEEN);
            Box::new(Outer { decoder, bytes, read: 0, passed: 0, has_begun: false })
        });
        Ok(Some(Self { decoder, outer }))
    }

    /// Decodes into the free capacity of `output`, and removes from `input` what was decoded. All
    /// is decoded when `input` is empty and `output` is not full.
    pub(crate) fn step(
        &mut self,
        input: &mut &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let Some(outer) = &mut self.outer else { return self.decoder.step(input, output) };
        loop {
            let mut between = &outer.bytes[outer.read..];
            // Also without input: it may hold output for which there was no room.
            self.decoder.step(&mut between, output)?;
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
            outer.decoder.step(input, &mut outer.bytes)?;
            outer.has_begun |= !outer.bytes.is_empty();
            outer.passed += outer.bytes.len();
            if outer.passed > MAX_BETWEEN || self.decoder.held() + outer.held() > MAX_HELD {
                return Err(DecodeError::TooLarge);
            }
        }
    }

    /// Checks, after the last input, that the data is complete.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.outer {
            None => self.decoder.finish(),
            Some(outer) => {
                outer.decoder.finish()?;
                if outer.has_begun { self.decoder.finish() } else { Ok(()) }
            }
        }
    }

    /// The memory that it holds now, or will hold after the next step, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.decoder.held() + self.outer.as_ref().map_or(0, |outer| outer.held())
    }
}

/// The names in a list of codings, in lower case.
fn names(headers: &HeaderMap, field: HeaderName) -> Vec<String> {
    let values = headers.get_all(field).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|coding| String::from_utf8_lossy(coding.trim_ascii()).to_ascii_lowercase())
        .collect()
}

/// The transfer codings besides the chunks, which the client has removed if they come last. They
/// were applied after the content codings. What is left of any other coding would be taken for the
/// page, so it is an error.
fn transfer_codings(headers: &HeaderMap) -> Result<Vec<String>, DecodeError> {
    let all = names(headers, TRANSFER_ENCODING);
    let mut codings = all.clone();
    while codings.last().is_some_and(|coding| coding == "chunked") {
        codings.pop();
    }
    codings.retain(|coding| !coding.is_empty() && coding != "identity");
    match codings.iter().all(|coding| CodingDecoder::of(coding).is_some()) {
        true => Ok(codings),
        false => Err(DecodeError::Transfer(all.join(", "))),
    }
}

impl Outer {
    fn held(&self) -> usize {
        self.decoder.held() + BETWEEN
    }
}

#[cfg(test)]
mod tests;
