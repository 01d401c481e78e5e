//! The limit on the header section of a response.

use http::HeaderMap;

/// The largest header section, in bytes. Servers and browsers allow 8 KiB to 256 KiB.
pub(crate) const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The most fields of a response over HTTP/1. The client makes room for all of them, 64 bytes each,
/// for every response.
pub(crate) const MAX_FIELDS: usize = 2_000;

/// The header section of a response is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response header has more than {} KiB or {MAX_FIELDS} fields", MAX_HEADER_BYTES / 1024)]
pub(crate) struct HeaderTooLarge;

/// Fails for headers that are too large. The client library itself reads up to 408 KiB over HTTP/1.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), HeaderTooLarge> {
    // As on the wire: a colon, a space and the end of the line.
    let bytes: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > MAX_HEADER_BYTES { Err(HeaderTooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_are_measured_as_on_the_wire() {
        let largest = HeaderValue::try_from("-".repeat(MAX_HEADER_BYTES - 5)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x", largest);
        assert_eq!(check(&headers), Ok(()));
        headers.insert("y", HeaderValue::from_static(""));
        assert_eq!(check(&headers), Err(HeaderTooLarge));
    }
}
