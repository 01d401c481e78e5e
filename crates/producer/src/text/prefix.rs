//! The first bytes of a source, which show what it is.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::{BUFFER_BYTES, Text};

/// Enough to recognise an encoding and a file format.
const PREFIX_BYTES: usize = 1024;
/// The shortest prefix that is enough if it holds a whole line.
const MIN_BYTES: usize = 8;

/// Returns the first bytes, and the text from its beginning.
///
/// The prefix holds a line that is not blank, if there is one within the first buffer. One read is
/// not enough: it may return a blank line alone. It does not wait for more: somebody may be typing.
pub(crate) async fn peek(mut text: BufReader<Text>) -> io::Result<(Vec<u8>, BufReader<Text>)> {
    let mut prefix = Vec::new();
    loop {
        let buffered = text.fill_buf().await?;
        if prefix.is_empty() && (buffered.is_empty() || is_enough(buffered)) {
            return Ok((buffered.to_vec(), text));
        }
        prefix.extend_from_slice(buffered);
        let length = buffered.len();
        text.consume(length);
        if length == 0 || is_enough(&prefix) {
            let whole: Text = Box::new(io::Cursor::new(prefix.clone()).chain(text));
            return Ok((prefix, BufReader::with_capacity(BUFFER_BYTES, whole)));
        }
    }
}

fn is_enough(prefix: &[u8]) -> bool {
    // Those of a byte-order mark and of UTF-16 count as blank.
    let is_blank =
        |byte: &u8| byte.is_ascii_whitespace() || b"\0\xef\xbb\xbf\xfe\xff".contains(byte);
    let Some(start) = prefix.iter().position(|byte| !is_blank(byte)) else {
        return prefix.len() >= BUFFER_BYTES;
    };
    let rest = &prefix[start..];
    rest.len() >= PREFIX_BYTES
        || rest.len() >= MIN_BYTES && rest.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
}
