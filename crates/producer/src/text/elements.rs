//! The elements of a JSON array as lines.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::Text;

/// Whether a text begins like an array of objects or strings.
pub(crate) fn begins_array(text: &str) -> bool {
    let is_blank = |c: char| c.is_whitespace() || c == '\u{feff}';
    let rest = text.trim_start_matches(is_blank).strip_prefix('[').map(str::trim_start);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', '"', ']']))
}

/// Reads a JSON array as JSON Lines: one element per line. It holds no element, so that the limit
/// of a line bounds them.
pub(crate) struct ArrayElements {
    input: BufReader<Text>,
    place: Place,
    /// Brackets and braces that are open in the element.
    depth: u64,
}

/// Where the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BeforeArray,
    Between,
    Value,
    String,
    /// After a backslash in a string.
    Escape,
    AfterArray,
    /// In text after the array, which is passed on.
    Rest,
}

impl ArrayElements {
    pub(crate) fn new(input: BufReader<Text>) -> Self {
        Self { input, place: Place::BeforeArray, depth: 0 }
    }

    /// What a byte of the array becomes.
    fn push(&mut self, byte: u8) -> Option<u8> {
        let is_blank = byte.is_ascii_whitespace();
        let (place, written) = match (self.place, byte) {
            (Place::BeforeArray, b'[') => (Place::Between, None),
            (Place::BeforeArray, _) => (Place::BeforeArray, None),
            (Place::Between, b']') => (Place::AfterArray, None),
            (Place::Between, b',') => (Place::Between, None),
            (Place::Between | Place::AfterArray, _) if is_blank => (self.place, None),
            (Place::Between | Place::Value, _) => self.push_value(byte),
            // JSON has no line end in a string, and no tab.
            (Place::String | Place::Escape, b'\n' | b'\r') => (Place::String, Some(b'\t')),
            (Place::String, b'"') => (Place::Value, Some(byte)),
            (Place::String, b'\\') => (Place::Escape, Some(byte)),
            (Place::String | Place::Escape, _) => (Place::String, Some(byte)),
            (Place::AfterArray | Place::Rest, _) => (Place::Rest, Some(byte)),
        };
        self.place = place;
        written
    }

    /// A byte of an element that is not in a string.
    fn push_value(&mut self, byte: u8) -> (Place, Option<u8>) {
        match byte {
            b'"' => return (Place::String, Some(byte)),
            b',' if self.depth == 0 => return (Place::Between, Some(b'\n')),
            b']' if self.depth == 0 => return (Place::AfterArray, Some(b'\n')),
            b'\n' | b'\r' => return (Place::Value, Some(b' ')),
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        (Place::Value, Some(byte))
    }
}

impl AsyncRead for ArrayElements {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        while buffer.filled().len() == before && buffer.remaining() > 0 {
            ready!(Pin::new(&mut this.input).poll_fill_buf(context))?;
            let read = this.input.buffer().len().min(buffer.remaining());
            if read == 0 {
                let is_closed = matches!(this.place, Place::AfterArray | Place::Rest);
                let reason = "its JSON array is never closed; the list is cut off";
                return Poll::Ready(match is_closed {
                    true => Ok(()),
                    false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason)),
                });
            }
            for index in 0..read {
                if let Some(byte) = this.push(this.input.buffer()[index]) {
                    buffer.put_slice(&[byte]);
                }
            }
            Pin::new(&mut this.input).consume(read);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn lines(array: &str) -> io::Result<String> {
        let mut all = Vec::new();
        for capacity in [1, 2, 7, 1000] {
            let input: Text = Box::new(io::Cursor::new(array.as_bytes().to_vec()));
            let mut elements = ArrayElements::new(BufReader::with_capacity(capacity, input));
            let mut text = String::new();
            elements.read_to_string(&mut text).await?;
            all.push(text);
        }
        all.dedup();
        assert_eq!(all.len(), 1, "{all:?}");
        Ok(all.remove(0))
    }

    #[tokio::test]
    async fn each_element_is_a_line() {
        for (array, expected) in [
            ("[]", ""),
            ("\u{feff} [ ]\n", ""),
            (r#"["a", "b,]" , "c\"]," ]"#, "\"a\"\n\"b,]\" \n\"c\\\"],\" \n"),
            ("[{\"a\":[1,\r\n{\"b\":\"}\"}]},\n\n{}]\n", "{\"a\":[1,  {\"b\":\"}\"}]}\n{}\n"),
            ("[{\"a\":1}{\"b\":\"\\\\\"},x,]", "{\"a\":1}{\"b\":\"\\\\\"}\nx\n"),
            ("[\"a\nb\"]", "\"a\tb\"\n"),
            ("[1] \n{\"url\":2}\n[", "1\n{\"url\":2}\n["),
        ] {
            assert_eq!(lines(array).await.unwrap(), expected, "{array}");
        }
    }

    #[tokio::test]
    async fn an_array_that_is_never_closed_is_an_error() {
        for array in ["[", "[\"a\",", "[{\"a\":1}", "[{\"a\":\"1]", "[{\"a\":1},{\"a\":[2]"] {
            assert!(lines(array).await.unwrap_err().to_string().contains("cut off"), "{array}");
        }
    }

    #[test]
    fn an_array_is_recognised_by_its_first_element() {
        for text in ["[{\"url\":1}", "\u{feff}\n[\n  \"https", "[]", "["] {
            assert!(begins_array(text), "{text}");
        }
        for text in ["[1]", "[section]", "[::1]:80", "{\"url\":[]}", "https://a.example/[", ""] {
            assert!(!begins_array(text), "{text}");
        }
    }
}
