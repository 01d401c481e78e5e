//! Frames, written and parsed.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel};

/// The largest frame, which bounds what the client library allocates for a connection.
pub(super) const FRAME_MAX: u32 = 16 * 1024;
/// The class `basic`.
const BASIC: u16 = 60;
/// What a frame has besides its payload.
const FRAME_EXTRA: usize = 8;

/// Appends a frame.
pub(super) fn write(out: &mut Vec<u8>, frame: &AMQPFrame) {
    let written = gen_frame(frame)(std::mem::take(out).into());
    match written {
        Ok(written) => *out = written.into_inner().0,
        Err(error) => unreachable!("a frame cannot be written: {error}"),
    }
}

/// Appends a method.
pub(super) fn write_method(out: &mut Vec<u8>, channel: u16, method: AMQPClass) {
    write(out, &AMQPFrame::Method(channel, method));
}

/// Appends a method of the class `basic`.
pub(super) fn write_basic(out: &mut Vec<u8>, channel: u16, method: basic::AMQPMethod) {
    write_method(out, channel, AMQPClass::Basic(method));
}

/// Appends a method of the class `channel`.
pub(super) fn write_channel(out: &mut Vec<u8>, id: u16, method: channel::AMQPMethod) {
    write_method(out, id, AMQPClass::Channel(method));
}

/// Appends the content of a message.
pub(super) fn write_content(
    out: &mut Vec<u8>,
    channel: u16,
    properties: AMQPProperties,
    body: &[u8],
) {
    let header = AMQPContentHeader { class_id: BASIC, body_size: body.len() as u64, properties };
    write(out, &AMQPFrame::Header(channel, header));
    for part in body.chunks(FRAME_MAX as usize - FRAME_EXTRA) {
        write(out, &AMQPFrame::Body(channel, part.to_vec()));
    }
}

/// Removes the first frame, if it is complete.
pub(super) fn take(bytes: &mut Vec<u8>) -> Option<AMQPFrame> {
    let (frame, left) = match parse_frame(&bytes[..]) {
        Ok((rest, frame)) => (frame, rest.len()),
        Err(error) if error.is_incomplete() => return None,
        Err(error) => unreachable!("the client sent no frame: {error:?}"),
    };
    bytes.drain(..bytes.len() - left);
    Some(frame)
}
