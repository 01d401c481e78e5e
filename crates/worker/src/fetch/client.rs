//! The HTTP client of a worker.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderValue};
use reqwest::dns::Resolve;
use reqwest::{Client, ClientBuilder, redirect, retry};
use rustls::ClientConfig;

use super::config::{Config, Visitor};
use super::connection::ConnectionCount;
use super::decoder;
use super::guard::Guard;
use super::header_limit::{MAX_FIELDS, MAX_HEADER_BYTES};
use super::resolver::GuardedResolver;

/// How long idle connections are kept. Some servers close them after 5 s; the client notices that.
pub(super) const IDLE: Duration = Duration::from_secs(15);
/// How many bytes of an HTTP/2 stream a site may send before we have read them.
const HTTP2_WINDOW: u32 = 128 * 1024;
/// The largest window of HTTP/2.
const HTTP2_MAX_WINDOW: u32 = (1 << 31) - 1;

/// A client for `concurrency` fetches at once, which counts its connections.
pub(super) fn builder(
    config: &Config,
    concurrency: usize,
    guard: Guard,
    resolver: Arc<dyn Resolve>,
    tls: ClientConfig,
    count: ConnectionCount,
) -> reqwest::Result<ClientBuilder> {
    let proxy_host = config.proxy.as_ref().map(|proxy| proxy.host().to_owned());
    // A body that waits for memory occupies its window. This leaves room for all other streams of
    // its connection.
    let windows = u32::try_from(concurrency).unwrap_or(u32::MAX).saturating_mul(HTTP2_WINDOW);
    let mut client = Client::builder()
        .user_agent(&config.user_agent)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(concurrency)
        .dns_resolver(GuardedResolver::new(resolver, guard, proxy_host))
        .default_headers(default_headers(&config.visitor))
        .http2_initial_stream_window_size(HTTP2_WINDOW)
        .http2_initial_connection_window_size(windows.min(HTTP2_MAX_WINDOW))
        .http2_max_header_list_size(MAX_HEADER_BYTES as u32)
        .tls_backend_preconfigured(tls)
        .http1_max_headers(MAX_FIELDS)
        // As browsers and curl; see docs/http.md.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .connector_layer(count)
        // The fetcher follows redirects itself: it checks, limits and records them.
        .redirect(redirect::Policy::none())
        .referer(false)
        // The fetcher sends requests again that were not processed.
        .retry(retry::never())
        // Ignores the proxies of the environment.
        .no_proxy();
    if let Some(proxy) = &config.proxy {
        client = client.proxy(proxy.for_client()?);
    }
    Ok(client)
}

/// The headers of every request.
fn default_headers(visitor: &Visitor) -> HeaderMap {
    let mut headers = visitor.headers.clone();
    headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static(decoder::ACCEPTED));
    headers.extend(visitor.accept_language.clone().map(|value| (ACCEPT_LANGUAGE, value)));
    headers
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the certificate authorities cannot be used")]
    Tls(#[from] rustls::Error),
}
