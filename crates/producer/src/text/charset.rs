//! The encoding of a source.

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};

use encoding_rs::{Decoder, UTF_8, UTF_16BE, UTF_16LE};
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::{BUFFER_BYTES, Text};

/// Decoded bytes that wait to be read.
const DECODED_BYTES: usize = 64 * 1024;

/// A character encoding of the Encoding Standard (<https://encoding.spec.whatwg.org/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

/// A text is not the name of an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no encoding has this name; examples are utf-8, windows-1252, utf-16le and shift_jis")]
pub struct UnknownEncoding;

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    /// Parses one of the labels of the standard, such as `windows-1252` or `latin1`.
    fn from_str(label: &str) -> Result<Self, UnknownEncoding> {
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes())
            .map(Self)
            .ok_or(UnknownEncoding)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_name(self.0))
    }
}

/// `Windows-1252` for `windows-1252`, as vendors write it.
pub(crate) fn display_name(encoding: &'static encoding_rs::Encoding) -> String {
    encoding.name().replace("windows", "Windows")
}

/// Whether a text that was decoded from an encoding of one byte per character seems to be UTF-8:
/// its bytes are. Like `Ã¼` for `ü`, each character of UTF-8 becomes several that no word has.
pub(crate) fn may_be_utf_8(text: &str, encoding: &'static encoding_rs::Encoding) -> bool {
    let is_utf_8 = || {
        let (bytes, _, is_lossy) = encoding.encode(text);
        !is_lossy && std::str::from_utf8(&bytes).is_ok()
    };
    encoding.is_single_byte() && !text.is_ascii() && is_utf_8()
}

/// What is known about the encoding of a source from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charset {
    pub(crate) encoding: &'static encoding_rs::Encoding,
    /// Whether the source or the user names the encoding. Otherwise the text is taken for UTF-8
    /// until a line shows that it is not.
    pub(crate) is_certain: bool,
}

impl Charset {
    /// A byte-order mark is the best evidence (Encoding Standard, "BOM sniff"). `Err` says what the
    /// text is if it cannot be read.
    pub(crate) fn recognise(
        prefix: &[u8],
        declared: Option<Encoding>,
    ) -> Result<Self, &'static str> {
        let utf_32_marks: [&[u8]; 2] = [b"\xff\xfe\0\0", b"\0\0\xfe\xff"];
        if utf_32_marks.iter().any(|mark| prefix.starts_with(mark)) {
            return Err("the list is UTF-32; save it as UTF-8");
        }
        let certain = |encoding| Ok(Self { encoding, is_certain: true });
        if let Some((encoding, _)) = encoding_rs::Encoding::for_bom(prefix) {
            return certain(encoding);
        }
        if let Some(Encoding(encoding)) = declared {
            return certain(encoding);
        }
        match utf_16_without_mark(prefix) {
            Some(encoding) => certain(encoding),
            None => Ok(Self { encoding: UTF_8, is_certain: false }),
        }
    }

    /// The text of the first bytes.
    pub(crate) fn decode_prefix(&self, prefix: &[u8]) -> String {
        let (text, _) = self.encoding.decode_with_bom_removal(prefix);
        text.into_owned()
    }

    /// The text as UTF-8. Bytes that are not of the encoding become U+FFFD. UTF-8 itself is left as
    /// it is, so that its lines can be checked one by one.
    pub(crate) fn decode(&self, text: BufReader<Text>) -> BufReader<Text> {
        if self.encoding == UTF_8 { text } else { decode(text, self.encoding) }
    }
}

/// The text as UTF-8, without a byte-order mark. Bytes that are not of the encoding become U+FFFD.
pub(crate) fn decode(
    text: BufReader<Text>,
    encoding: &'static encoding_rs::Encoding,
) -> BufReader<Text> {
    let decoded: Text = Box::new(DecodedText {
        input: text,
        decoder: encoding.new_decoder_with_bom_removal(),
        decoded: vec![0; DECODED_BYTES].into(),
        unread: 0..0,
        is_finished: false,
    });
    BufReader::with_capacity(BUFFER_BYTES, decoded)
}

/// Recognises UTF-16 by its zeros: a list of URLs consists mostly of ASCII, of which every second
/// byte is zero. No other text has a zero.
fn utf_16_without_mark(prefix: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let zeros = |offset: usize| prefix.iter().skip(offset).step_by(2).filter(|&&b| b == 0).count();
    match (zeros(0), zeros(1)) {
        (0, odd) if odd > prefix.len() / 8 => Some(UTF_16LE),
        (even, 0) if even > prefix.len() / 8 => Some(UTF_16BE),
        _ => None,
    }
}

/// Decodes as it is read.
struct DecodedText {
    input: BufReader<Text>,
    decoder: Decoder,
    decoded: Box<[u8]>,
    /// The bytes of `decoded` that are not read yet.
    unread: Range<usize>,
    is_finished: bool,
}

impl AsyncRead for DecodedText {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() && !this.is_finished {
            let bytes = ready!(Pin::new(&mut this.input).poll_fill_buf(context))?;
            let is_last = bytes.is_empty();
            let (result, read, written, _) =
                this.decoder.decode_to_utf8(bytes, &mut this.decoded, is_last);
            this.unread = 0..written;
            this.is_finished = is_last && result == encoding_rs::CoderResult::InputEmpty;
            Pin::new(&mut this.input).consume(read);
        }
        let rest = &this.decoded[this.unread.clone()];
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        this.unread.start += length;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn decode(bytes: &[u8], declared: Option<&str>) -> String {
        let declared = declared.map(|label| label.parse().unwrap());
        let charset = Charset::recognise(bytes, declared).unwrap();
        let input: Text = Box::new(io::Cursor::new(bytes.to_vec()));
        // A buffer of three bytes divides characters.
        let mut text = Vec::new();
        charset.decode(BufReader::with_capacity(3, input)).read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    fn utf_16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[tokio::test]
    async fn utf_16_is_recognised_with_and_without_a_mark() {
        let text = "url\tname\r\nhttps://a.example/1\tgrün 🫖\r\n";
        for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(decode(&utf_16(text, to_bytes), None).await, text);
            let marked = utf_16(&format!("\u{feff}{text}"), to_bytes);
            assert_eq!(decode(&marked, None).await, text);
            // The mark is better evidence than a flag.
            assert_eq!(decode(&marked, Some("windows-1252")).await, text);
        }
        let long: String = (0..50_000).map(|n| format!("https://a.example/{n}\n")).collect();
        assert_eq!(decode(&utf_16(&long, u16::to_be_bytes), None).await, long);
    }

    #[tokio::test]
    async fn a_declared_encoding_is_used() {
        assert_eq!(decode(b"Caf\xe9 \x80", Some("latin1")).await, "Café €");
        assert_eq!(decode(b"\x83e\x83B\x81[", Some("Shift_JIS")).await, "ティー");
        assert_eq!(decode(b"a\x81", Some("gbk")).await, "a\u{fffd}");
        assert_eq!("klingon".parse::<Encoding>(), Err(UnknownEncoding));
    }

    #[test]
    fn other_text_is_taken_for_utf_8() {
        for prefix in ["", "h", "https://a.example/", "Чай;https://a.example/", "茶"] {
            let charset = Charset::recognise(prefix.as_bytes(), None).unwrap();
            assert_eq!((charset.encoding, charset.is_certain), (UTF_8, false), "{prefix}");
        }
        let marked = Charset::recognise(b"\xef\xbb\xbfhttps://a.example/", None).unwrap();
        assert!(marked.is_certain && marked.encoding == UTF_8);
        assert!(Charset::recognise(b"\xff\xfe\0\0h\0\0\0", None).is_err());
    }
}
