//! zstd.

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// The largest window that is accepted: 8 MiB (RFC 9659).
const WINDOW_LOG: u32 = 23;

pub(super) struct Zstd {
    context: DCtx<'static>,
    pub(super) between_frames: bool,
}

impl Zstd {
    pub(super) fn new() -> Self {
        let mut context = DCtx::create();
        if context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).is_err() {
            unreachable!("zstd supports this window");
        }
        Self { context, between_frames: false }
    }

    pub(super) fn step(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<(), String> {
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

    /// The decoder allocates a window when a frame declares it, and writes to it later.
    pub(super) fn held(&self) -> usize {
        self.context.sizeof()
    }
}
