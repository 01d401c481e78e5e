//! The decoder of one content coding.

use super::brotli::Brotli;
use super::error::DecodeError;
use super::inflate::{self, Inflate};
use super::zstd::Zstd;

pub(super) enum Kind {
    Inflate(Inflate),
    Zstd(Zstd),
    Brotli(Box<Brotli>),
}

/// The decoder of one coding.
pub(super) struct CodingDecoder {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

impl CodingDecoder {
    /// The decoder of a coding; `None` for one that is unknown.
    pub(super) fn of(coding: &str) -> Option<Self> {
        let (name, kind) = match coding {
            "gzip" | "x-gzip" => ("gzip", Kind::Inflate(Inflate::gzip())),
            "deflate" => ("deflate", Kind::Inflate(Inflate::deflate())),
            "zstd" => ("zstd", Kind::Zstd(Zstd::new())),
            "br" => ("brotli", Kind::Brotli(Box::new(Brotli::new()))),
            _ => return None,
        };
        Some(Self { name, kind })
    }

    pub(super) fn step(
        &mut self,
        input: &mut &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
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

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        let is_complete = match &self.kind {
            Kind::Inflate(inflate) => inflate.is_complete(),
            Kind::Zstd(zstd) => zstd.between_frames,
            Kind::Brotli(brotli) => brotli.ended,
        };
        if is_complete { Ok(()) } else { Err(DecodeError::Truncated(self.name)) }
    }

    pub(super) fn held(&self) -> usize {
        match &self.kind {
            Kind::Inflate(_) => inflate::HELD,
            Kind::Zstd(zstd) => zstd.held(),
            Kind::Brotli(brotli) => brotli.held(),
        }
    }
}
