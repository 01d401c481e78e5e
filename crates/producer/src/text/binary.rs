//! Sources that are no text, by their first bytes.

use super::{Charset, Encoding};

/// Bytes that show whether a source is text. Unreadable lines may follow good ones later.
const BEGINNING_BYTES: usize = 512;

/// Where a kind of file has which bytes, what it is, and what to do.
type Signature = (usize, &'static [u8], &'static str);

const IMAGE: &str = "it is an image, not a list";
const MEDIA: &str = "it is a film or a sound, not a list";
const ARCHIVE: &str = "; unpack it, and give the files in it";
const PROGRAM: &str = "it is a program, not a list";

/// The signatures of files that are mistaken for lists. No list begins like one of them.
const SIGNATURES: [Signature; 35] = [
    (0, b"SQLite format 3\0", "it is a SQLite database; export its table as CSV"),
    (0, b"\0\x01\0\0Standard ", "it is an Access database; export its table as CSV"),
    (0, b"PAR1\x15", "it is a Parquet file; export it as CSV"),
    (0, b"Obj\x01", "it is an Avro file; export it as CSV"),
    (0, b"ARROW1\0\0", "it is an Arrow file; export it as CSV"),
    (0, b"%PDF-", "it is a PDF document; save its table as CSV"),
    (0, b"{\\rtf", "it is an RTF document; save it as text"),
    (
        0,
        b"\xd0\xcf\x11\xe0",
        "it is an old Excel workbook or Word document, or one with a password; save it as .xlsx \
         without a password, or as CSV",
    ),
    (0, b"\x89PNG", "it is a PNG image, not a list"),
    (0, b"\xff\xd8\xff", "it is a JPEG image, not a list"),
    (0, b"GIF87a", "it is a GIF image, not a list"),
    (0, b"GIF89a", "it is a GIF image, not a list"),
    (8, b"WEBPVP8", "it is a WebP image, not a list"),
    (0, b"II*\0", IMAGE),
    (0, b"MM\0*", IMAGE),
    (4, b"ftyp", MEDIA),
    (8, b"WAVEfmt ", MEDIA),
    (8, b"AVI LIST", MEDIA),
    (0, b"OggS\0", MEDIA),
    (0, b"fLaC\0", MEDIA),
    (0, b"ID3\x03", MEDIA),
    (0, b"ID3\x04", MEDIA),
    (0, b"\x1a\x45\xdf\xa3", MEDIA),
    (0, b"\x7fELF", PROGRAM),
    (0, b"MZ\x90\0", PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", PROGRAM),
    (0, b"\xca\xfe\xba\xbe", PROGRAM),
    (0, b"\0asm", PROGRAM),
    (0, b"7z\xbc\xaf\x27\x1c", "it is a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "it is a RAR archive"),
    (257, b"ustar", "it is a tar archive"),
    (4, b"1AY&SY", "it is compressed by bzip2"),
    (0, b"\xfd7zXZ\0", "it is compressed by xz"),
    (0, b"\x04\x22\x4d\x18", "it is compressed by LZ4"),
    (0, b"PK\x05\x06", "it is an empty ZIP archive"),
];

/// Why a source with these first bytes cannot be a list; `None` if it can be one. A ZIP archive can
/// be a workbook.
pub(crate) fn why_not_a_list(prefix: &[u8], encoding: Option<Encoding>) -> Option<String> {
    let has = |(offset, magic, _): &&Signature| {
        prefix.get(*offset..).is_some_and(|rest| rest.starts_with(magic))
    };
    if let Some((_, _, kind)) = SIGNATURES.iter().find(has) {
        let is_packed = kind.ends_with("archive") || kind.contains("compressed");
        return Some(format!("{kind}{}", if is_packed { ARCHIVE } else { "" }));
    }
    let beginning = &prefix[..prefix.len().min(BEGINNING_BYTES)];
    // Text with another fault is reported elsewhere.
    let text = Charset::recognise(prefix, encoding).ok()?.decode_prefix(beginning);
    let controls = text.chars().filter(|&character| is_control(character)).count();
    // A list may have a line with a stray control character. Of binary data, they are a tenth.
    (!prefix.starts_with(ZIP_MAGIC) && controls > 1 && 20 * controls > text.chars().count()).then(
        || {
            "it is a binary file, not text; export the list as CSV, or as text with one URL per \
             line"
                .to_owned()
        },
    )
}

/// The first bytes of a ZIP archive.
pub(crate) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// Whether a text file has no use for a character. Some have form feeds, shifts, the escapes of
/// terminals and of ISO-2022-JP, or the end mark of DOS.
fn is_control(character: char) -> bool {
    matches!(character, '\0'..='\x08' | '\x10'..='\x19' | '\x1c'..='\x1f')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(prefix: &[u8]) -> String {
        why_not_a_list(prefix, None).unwrap_or_default()
    }

    #[test]
    fn a_file_is_named_by_its_signature_although_a_url_stands_in_it() {
        let tar = [&b"list.csv"[..], &[0; 249], b"ustar\0"].concat();
        for (prefix, name) in [
            (&b"SQLite format 3\0\x10\0\x01\x01 https://a.example/1\n"[..], "a SQLite database"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
            (b"GIF89a\nhttps://a.example/1", "a GIF image"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP image"),
            (b"%PDF-1.7\nhttps://a.example/1", "a PDF document"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
            (b"\x7fELF\x02\x01\x01", "a program"),
            (b"\0\0\0 ftypisom", "a film"),
            (b"BZh91AY&SY\x12", "compressed by bzip2; unpack it"),
            (&tar, "a tar archive; unpack it"),
        ] {
            let reason = kind(prefix);
            assert!(reason.contains(name), "{prefix:?}: {reason}");
        }
    }

    #[test]
    fn an_unknown_file_is_recognised_by_its_control_characters() {
        // A generator of Marsaglia (Xorshift RNGs, 2003) stands for compressed data.
        let mut state = 2_463_534_242_u32;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_le_bytes()[2]
            })
            .collect();
        let numbers: Vec<u8> = (0..400_u32).flat_map(u32::to_be_bytes).collect();
        let short: Vec<u8> = (0..400_u16).flat_map(u16::to_le_bytes).collect();
        let named = [&b"\x08\x01\x12\x13https://a.example/1\x18\x01\x22\0"[..]].concat();
        for prefix in [&noise, &numbers, &short, &named, &b"\0\0".to_vec()] {
            assert!(kind(prefix).contains("a binary file"), "{:?}", &prefix[..2]);
        }
    }

    #[test]
    fn text_of_any_encoding_is_no_binary_file() {
        let utf_16 = |to_bytes: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> {
            text.encode_utf16().flat_map(to_bytes).collect()
        };
        let url = "url\r\nhttps://a.example/1\r\n";
        let (shift_jis, _, _) =
            encoding_rs::SHIFT_JIS.encode("名前,url\n緑茶,https://a.example/1\n");
        let (japanese, _, _) = encoding_rs::ISO_2022_JP.encode("緑茶,https://a.example/1\n");
        for text in [
            url.as_bytes(),
            &utf_16(u16::to_le_bytes, url),
            &utf_16(u16::to_be_bytes, &format!("\u{feff}{url}")),
            &shift_jis,
            &japanese,
            b"Gr\xfcner Tee;https://a.example/1",
            b"https://a.example/\x01\nhttps://a.example/2\nhttps://a.example/3\n",
            b"https://a.example/1\r\n\x1a",
            b"\x1b[1mhttps://a.example/1\x1b[0m\n",
            b"MZ;https://a.example/1",
            b"PK\x03\x04\x14\0\0\0\x08\0",
            b"",
            b"\0",
        ] {
            assert_eq!(kind(text), "", "{text:?}");
        }
        let chinese = utf_16(u16::to_le_bytes, "绿茶一二三");
        let declared = "utf-16le".parse().ok();
        assert_eq!(why_not_a_list(&chinese, declared), None);
    }
}
