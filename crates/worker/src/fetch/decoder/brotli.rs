//! Brotli.

use std::mem::size_of;

use brotli_decompressor::{
    BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, HuffmanTreeGroup, SliceWrapper,
    StandardAlloc,
};

/// The memory of a decoder besides its window and tables.
const HELD: usize = 16 * 1024;
/// How many bytes are decoded at once. The library needs initialised memory.
const STEP: usize = 16 * 1024;

pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    pub(super) ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: no windows larger than HTTP allows.
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), ended: false }
    }

    pub(super) fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
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
            let step = (output.capacity() - written).min(STEP);
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

    pub(super) fn held(&self) -> usize {
        let window = if self.state.window_bits == 0 { 0 } else { 1 << self.state.window_bits };
        let codes =
            |group: &HuffmanTreeGroup<StandardAlloc, StandardAlloc>| group.codes.slice().len();
        let codes = codes(&self.state.literal_hgroup)
            + codes(&self.state.insert_copy_hgroup)
            + codes(&self.state.distance_hgroup);
        HELD + window + codes * size_of::<HuffmanCode>()
    }
}
