//! Pages with a Content-Encoding, and decompression bombs.

use std::{
    io::{self, Read as _, Write as _},
    sync::LazyLock,
};

use axum::{
    extract::Path,
    http::{
        StatusCode,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use flate2::{
    Compress, Compression, Crc, FlushCompress,
    read::{GzEncoder, ZlibEncoder},
};

use super::{page, visit::Visit};

/// The size of `/bomb/gzip/…` and `/bomb/zstd/…` once decompressed: 1 GiB of spaces. On the wire it
/// is at most a thousandth of that.
pub const BOMB_BYTES: u64 = 1 << 30;
/// The size of `/bomb/br/…` once decompressed: 32 MiB, which brotli encodes in about 50 bytes.
const BROTLI_BOMB_BYTES: u64 = 32 << 20;

/// The page of a product in gzip, br, zstd or deflate, whatever the request accepts.
pub(super) async fn page(
    visit: Visit,
    Path((coding, rest)): Path<(String, String)>,
) -> Result<Response, StatusCode> {
    let text = page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0);
    let body = compress(&coding, text.as_bytes())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .ok_or(StatusCode::NOT_FOUND)?;
    Ok(html(&coding, body.into()))
}

/// The same page from an encoder with a window of 2^`log` bytes: br up to 24, zstd up to 27.
pub(super) async fn window(
    visit: Visit,
    Path((coding, log, rest)): Path<(String, u32, String)>,
) -> Result<Response, StatusCode> {
    let text = page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0);
    let body = match (coding.as_str(), log) {
        ("br", 10..=24) => brotli_with_window(text.as_bytes(), 4, log),
        ("zstd", 10..=27) => zstd_with_window(text.as_bytes(), log),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let body = body.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(html(&coding, body.into()))
}

fn brotli_with_window(text: impl io::Read, quality: u32, log: u32) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    brotli::CompressorReader::new(text, 1 << 16, quality, log).read_to_end(&mut packed)?;
    Ok(packed)
}

/// The encoder does not know the length: otherwise it would choose a window that small.
fn zstd_with_window(text: &[u8], log: u32) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1)?;
    encoder.window_log(log)?;
    encoder.write_all(text)?;
    encoder.finish()
}

/// The page without the last tenth of its compressed bytes; the transfer itself is complete.
pub(super) async fn cut(
    visit: Visit,
    Path((coding, rest)): Path<(String, String)>,
) -> Result<Response, StatusCode> {
    let text = page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0);
    let mut body = compress(&coding, text.as_bytes())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .ok_or(StatusCode::NOT_FOUND)?;
    body.truncate(body.len() * 9 / 10);
    Ok(html(&coding, body.into()))
}

/// The page, compressed by gzip and then by brotli.
pub(super) async fn twice(visit: Visit, Path(rest): Path<String>) -> Result<Response, StatusCode> {
    let text = page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0);
    let packed = compress("gzip", text.as_bytes())
        .and_then(|once| compress("br", &once.unwrap_or_default()));
    let body =
        packed.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.ok_or(StatusCode::NOT_FOUND)?;
    Ok(html("gzip, br", body.into()))
}

/// The plain page, declared with an unknown coding.
pub(super) async fn unknown(visit: Visit, Path(rest): Path<String>) -> Response {
    html("x-nothing", page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0).into())
}

/// The page in gzip with trailing bytes.
pub(super) async fn followed(
    visit: Visit,
    Path(rest): Path<String>,
) -> Result<Response, StatusCode> {
    let text = page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0);
    let body = compress("gzip", text.as_bytes())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .unwrap_or_default();
    Ok(html("gzip", [&body, &b"\0\0<!-- from the cache -->"[..]].concat().into()))
}

/// A complete body that is declared as gzip and is not gzip.
pub(super) async fn broken() -> Response {
    html("gzip", Bytes::from_static(b"\x1f\x8b\x08\0\0\0\0\0\0\xffthis is not what deflate writes"))
}

/// Compresses text; `None` for an unknown coding.
fn compress(coding: &str, text: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    match coding {
        "gzip" => GzEncoder::new(text, Compression::fast()).read_to_end(&mut body)?,
        // HTTP's deflate is in the zlib format.
        "deflate" => ZlibEncoder::new(text, Compression::fast()).read_to_end(&mut body)?,
        "br" => brotli::CompressorReader::new(text, 4096, 4, 22).read_to_end(&mut body)?,
        "zstd" => zstd::stream::read::Encoder::new(text, 0)?.read_to_end(&mut body)?,
        _ => return Ok(None),
    };
    Ok(Some(body))
}

pub(super) async fn bomb(
    Path((coding, _)): Path<(String, String)>,
) -> Result<Response, StatusCode> {
    let bomb = match coding.as_str() {
        "gzip" => &GZIP_BOMB,
        "zstd" => &ZSTD_BOMB,
        "br" => &BROTLI_BOMB,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    match &**bomb {
        Some(bomb) => Ok(html(&coding, bomb.clone())),
        None => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn html(coding: &str, body: Bytes) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_ENCODING, coding)];
    (headers, body).into_response()
}

/// Built at the first request, quickly: 1 MiB is compressed once and repeated, because a full flush
/// ends at a byte boundary and resets the encoder's state. Checksums can be combined likewise.
static GZIP_BOMB: LazyLock<Option<Bytes>> = LazyLock::new(|| {
    let mebibyte = vec![b' '; 1 << 20];
    let mut piece = Vec::with_capacity(1 << 14);
    let mut deflate = Compress::new(Compression::best(), false);
    deflate.compress_vec(&mebibyte, &mut piece, FlushCompress::Full).ok()?;
    let mut piece_crc = Crc::new();
    piece_crc.update(&mebibyte);

    let mut crc = Crc::new();
    let mut gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    for _ in 0..BOMB_BYTES >> 20 {
        gzip.extend_from_slice(&piece);
        crc.combine(&piece_crc);
    }
    gzip.extend_from_slice(b"\x03\0"); // an empty last block
    gzip.extend_from_slice(&crc.sum().to_le_bytes());
    gzip.extend_from_slice(&(BOMB_BYTES as u32).to_le_bytes());
    Some(gzip.into())
});

/// Built like [`GZIP_BOMB`]; zstd frames can be repeated as they are. Each declares a window of 8
/// MiB.
static ZSTD_BOMB: LazyLock<Option<Bytes>> = LazyLock::new(|| {
    let frame = zstd_with_window(&vec![b' '; 32 << 20], 23).ok()?;
    Some(frame.repeat((BOMB_BYTES >> 25) as usize).into())
});

static BROTLI_BOMB: LazyLock<Option<Bytes>> = LazyLock::new(|| {
    let bomb = brotli_with_window(io::repeat(b' ').take(BROTLI_BOMB_BYTES), 0, 24).ok()?;
    Some(bomb.into())
});

#[cfg(test)]
mod tests {
    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;
    use crate::shop::{Options, Product, Shop};

    fn unpack<'a>(coding: &str, packed: &'a [u8]) -> Box<dyn io::Read + 'a> {
        match coding {
            "gzip" => Box::new(GzDecoder::new(packed)),
            "deflate" => Box::new(ZlibDecoder::new(packed)),
            "br" => Box::new(brotli::Decompressor::new(packed, 1 << 16)),
            "zstd" => Box::new(zstd::stream::read::Decoder::new(packed).unwrap()),
            other => panic!("unknown coding {other}"),
        }
    }

    #[tokio::test]
    async fn a_page_is_available_in_every_coding() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let paths = ["gzip", "br", "zstd", "deflate"]
            .map(|coding| (coding, format!("/compressed/{coding}/17")));
        let windows = ["br", "zstd"].map(|coding| (coding, format!("/window/{coding}/24/17")));
        for (coding, path) in paths.into_iter().chain(windows) {
            let packed = reqwest::get(shop.url(&path)).await.unwrap();
            assert_eq!(packed.headers()[CONTENT_ENCODING], coding);
            let packed = packed.bytes().await.unwrap();
            assert!(packed.len() < 3_000, "{path}");
            let page = io::read_to_string(unpack(coding, &packed)).unwrap();
            assert!(page.contains(&Product::nth(17).sku));
            assert!(page.ends_with("</html>\n"));
        }
        let answer = reqwest::get(shop.url("/compressed/lzw/17")).await.unwrap();
        assert_eq!(answer.status(), 404);
    }

    #[test]
    fn bombs_are_small_and_decompress_to_their_declared_sizes() {
        for (coding, bomb, bytes) in [
            ("gzip", &GZIP_BOMB, BOMB_BYTES),
            ("zstd", &ZSTD_BOMB, BOMB_BYTES),
            ("br", &BROTLI_BOMB, BROTLI_BOMB_BYTES),
        ] {
            let bomb = bomb.as_ref().unwrap();
            assert!(bomb.len() < 2 << 20, "{coding}: {} bytes", bomb.len());
            assert_eq!(
                io::copy(&mut unpack(coding, bomb), &mut io::sink()).unwrap(),
                bytes,
                "{coding}"
            );
        }
    }
}
