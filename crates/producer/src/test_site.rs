//! A small HTTP server for tests.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An HTTP server on loopback, for the length of a test.
pub(crate) struct TestSite {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TestSite {
    /// Starts the server. `answer` gets the path of a request and the address of the server.
    pub(crate) async fn start(answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> Self {
        Self::start_with_requests(move |request, address| {
            answer(request.split(' ').nth(1).unwrap_or_default(), address)
        })
        .await
    }

    /// Starts the server. `answer` gets the head of a request and the address of the server.
    pub(crate) async fn start_with_requests(
        answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site =
            Self { address: listener.local_addr().unwrap().to_string(), requests: Arc::default() };
        let (address, requests) = (site.address.clone(), site.requests.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                requests.lock().unwrap().push(request.clone());
                // A client may have gone away meanwhile.
                _ = stream.write_all(&answer(&request, &address)).await;
            }
        });
        site
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The requests so far, head only.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// An answer with this body. Further headers may follow the status line in `status`.
pub(crate) fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
