//! gzip, and what HTTP calls deflate.

use flate2::{Decompress, FlushDecompress, Status};

/// The memory of a decoder: its window of 32 KiB and its state.
pub(super) const HELD: usize = 48 * 1024;
/// The first byte of a gzip member.
const GZIP_ID1: u8 = 0x1f;

/// The decoder of gzip, and of what HTTP calls deflate.
pub(super) struct Inflate {
    gzip: bool,
    /// `None` before the first byte, and after the end of a gzip member.
    inflate: Option<Decompress>,
    /// The data has ended. Another member may follow in gzip.
    ended: bool,
    /// What follows the end is not part of the body.
    ignores_rest: bool,
    /// The data may not be in this coding at all.
    pub(super) is_optional: bool,
    /// The data is not in this coding.
    is_plain: bool,
}

impl Inflate {
    pub(super) fn gzip() -> Self {
        Self {
            gzip: true,
            inflate: None,
            ended: false,
            ignores_rest: false,
            is_optional: false,
            is_plain: false,
        }
    }

    pub(super) fn deflate() -> Self {
        Self { gzip: false, ..Self::gzip() }
    }

    pub(super) fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
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
            (None, Some(first)) => {
                // The low bits of the first byte of a zlib header.
                let is_zlib = first & 0x0f == 8;
                self.inflate.insert(match self.gzip {
                    // Some servers call zlib gzip, as curl and browsers know.
                    true if !is_zlib => Decompress::new_gzip(15),
                    // By the standard it has a zlib header. Some servers leave it out.
                    _ => Decompress::new(is_zlib),
                })
            }
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

    pub(super) fn is_complete(&self) -> bool {
        self.ended && self.inflate.as_ref().is_none_or(|inflate| inflate.total_out() == 0)
    }
}
