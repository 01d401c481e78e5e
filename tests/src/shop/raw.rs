//! Answers that are not valid HTTP, as raw bytes.

use std::{error::Error, fmt};

use axum::{
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{page, visit::Visit};

/// Raw bytes to send before the connection is closed. A route returns it inside a response; the
/// server then passes it on as hyper's error, which returns it to the owner of the connection.
#[derive(Clone, Debug)]
pub(super) struct RawAnswer {
    bytes: Bytes,
    /// Whether to close with RST instead of FIN.
    reset: bool,
}

impl RawAnswer {
    /// Sends the bytes and closes the connection.
    pub(super) async fn send(&self, mut stream: TcpStream) {
        // An error means that the visitor has gone away.
        if self.reset {
            let _ = stream.set_zero_linger();
        } else if stream.write_all(&self.bytes).await.is_ok() {
            let _ = stream.shutdown().await;
        }
    }
}

impl fmt::Display for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hyper must not send this answer")
    }
}

impl Error for RawAnswer {}

impl IntoResponse for RawAnswer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

/// The first half of a page with the Content-Length of the whole page.
pub(super) async fn truncated(visit: Visit, Path(rest): Path<String>) -> RawAnswer {
    let page = markup(&visit, &rest);
    answer(&format!("content-length: {}", page.len()), &page[..page.len() / 2])
}

/// The first half of a page as one chunk, without a last chunk.
pub(super) async fn truncated_chunked(visit: Visit, Path(rest): Path<String>) -> RawAnswer {
    let page = markup(&visit, &rest);
    let half = &page[..page.len() / 2];
    answer("transfer-encoding: chunked", &format!("{:x}\r\n{half}\r\n", half.len()))
}

/// A whole page with the Content-Length of its first half.
pub(super) async fn wrong_length(visit: Visit, Path(rest): Path<String>) -> RawAnswer {
    let page = markup(&visit, &rest);
    answer(&format!("content-length: {}", page.len() / 2), &page)
}

pub(super) async fn reset() -> RawAnswer {
    RawAnswer { bytes: Bytes::new(), reset: true }
}

pub(super) async fn garbage() -> RawAnswer {
    RawAnswer {
        bytes: Bytes::from_static(b"\x00\x01\x02 220 this is no HTTP \xff\xfe\r\n\r\n"),
        reset: false,
    }
}

fn answer(framing: &str, body: &str) -> RawAnswer {
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n{framing}\r\n\r\n{body}"
    );
    RawAnswer { bytes: text.into(), reset: false }
}

/// A page in ASCII, so that it can be cut anywhere.
fn markup(visit: &Visit, rest: &str) -> String {
    let mut product = visit.product(rest);
    product.name.retain(|c| c.is_ascii());
    page::markup(&product, &visit.origin(), Some("utf-8"), 0)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use crate::shop::{Options, Shop};

    #[tokio::test]
    async fn a_truncated_page_fails_in_its_body() {
        let shop = Shop::start(Options::default()).await.unwrap();
        for path in ["/truncated/1", "/truncated-chunked/1"] {
            let mut answer = reqwest::get(shop.url(path)).await.unwrap();
            assert_eq!(answer.status(), 200);
            let mut received = 0;
            let error = loop {
                match answer.chunk().await {
                    Ok(chunk) => received += chunk.unwrap().len(),
                    Err(error) => break error,
                }
            };
            assert!(error.is_body() || error.is_decode(), "{error:?}");
            assert!(received > 1_000);
        }
    }

    #[tokio::test]
    async fn a_page_may_be_longer_than_its_declared_length() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let mut stream = tokio::net::TcpStream::connect(shop.addr()).await.unwrap();
        let request = b"GET /wrong-length/1 HTTP/1.1\r\nhost: shop.test\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len() / 2)));
        assert!(body.ends_with("</html>\n"));
    }

    #[tokio::test]
    async fn a_reset_and_garbage_are_errors() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let error = reqwest::get(shop.url("/reset/1")).await.unwrap_err();
        assert!(format!("{error:?}").contains("ConnectionReset"), "{error:?}");
        assert!(reqwest::get(shop.url("/garbage/1")).await.is_err());
        assert_eq!(shop.visits().total(), 2);
    }

    #[tokio::test]
    async fn a_connection_serves_pages_before_it_breaks() {
        let shop = Shop::start(Options::default()).await.unwrap();
        let mut stream = tokio::net::TcpStream::connect(shop.addr()).await.unwrap();
        for path in ["/p/1.json", "/garbage/1"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        }
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await.unwrap();
        let answers = String::from_utf8_lossy(&answers);
        assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
        assert!(answers.contains("this is no HTTP"), "{answers}");
    }
}
