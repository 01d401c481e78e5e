//! Pages under a Content-Encoding, and one that means harm.

use std::{
    io::{self, Read as _},
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

/// What `/bomb/gzip/…` inflates to: 1 GiB, of spaces. On the wire it is about a thousandth of that.
pub const BOMB_BYTES: u64 = 1 << 30;

/// The page of a product under one of the codings gzip, br, zstd and deflate, without asking what the request accepts.
pub(super) async fn page(visit: Visit, Path((coding, rest)): Path<(String, String)>) -> Result<Response, StatusCode> {
    let text = page::markup(&visit.product(&rest), &visit.origin(), Some("utf-8"), 0);
    let body = compress(&coding, text.as_bytes())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .ok_or(StatusCode::NOT_FOUND)?;
    Ok(html(&coding, body.into()))
}

/// Declared as gzip, whole by its length, and no gzip.
pub(super) async fn broken() -> Response {
    html("gzip", Bytes::from_static(b"\x1f\x8b\x08\0\0\0\0\0\0\xffthis is not what deflate writes"))
}

/// `None` for a coding that the shop does not know.
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

pub(super) async fn bomb() -> Result<Response, StatusCode> {
    match &*BOMB {
        Some(bomb) => Ok(html("gzip", bomb.clone())),
        None => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn html(coding: &str, body: Bytes) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_ENCODING, coding)];
    (headers, body).into_response()
}

/// Made when it is first asked for, in a moment: a MiB is compressed once, and since a full flush ends it at a byte and
/// forgets what came before, it can be repeated. Checksums can be combined likewise.
static BOMB: LazyLock<Option<Bytes>> = LazyLock::new(|| {
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
    gzip.extend_from_slice(b"\x03\0"); // the last block, and empty
    gzip.extend_from_slice(&crc.sum().to_le_bytes());
    gzip.extend_from_slice(&(BOMB_BYTES as u32).to_le_bytes());
    Some(gzip.into())
});

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;
    use crate::shop::{Options, Product, Shop};

    #[tokio::test]
    async fn a_page_comes_in_every_coding() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let plain = reqwest::Client::builder().no_gzip().no_brotli().no_zstd().no_deflate();
        let plain = plain.build().unwrap();
        for coding in ["gzip", "br", "zstd", "deflate"] {
            let url = shop.url(&format!("/compressed/{coding}/17"));
            let packed = plain.get(&url).send().await.unwrap();
            assert_eq!(packed.headers()[CONTENT_ENCODING], coding);
            assert!(packed.bytes().await.unwrap().len() < 3_000);
            let page = reqwest::get(&url).await.unwrap().text().await.unwrap();
            assert!(page.contains(&Product::nth(17).sku));
            assert!(page.ends_with("</html>\n"));
        }
        let answer = reqwest::get(shop.url("/compressed/lzw/17")).await.unwrap();
        assert_eq!(answer.status(), 404);
    }

    #[test]
    fn the_bomb_is_small_and_inflates_to_what_it_says() {
        let bomb = BOMB.as_ref().unwrap();
        assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
        let mut inflated = GzDecoder::new(bomb.as_ref());
        let bytes = io::copy(&mut inflated, &mut io::sink()).unwrap();
        assert_eq!(bytes, BOMB_BYTES);
    }
}
