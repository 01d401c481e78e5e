//! Limits of what stands before a body.

use http::HeaderMap;

/// The most bytes of header fields that are taken of an answer. Servers and browsers allow 8 KiB to 256 KiB.
pub(crate) const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The header section of an answer is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer's header has more than {} KiB or 100 fields", MAX_HEADER_BYTES / 1024)]
pub(crate) struct HeaderTooLarge;

/// Refuses headers that are too large. (The client library itself reads up to 408 KiB and 100 fields of HTTP/1.)
pub(crate) fn check(headers: &HeaderMap) -> Result<(), HeaderTooLarge> {
    // As on the way: a colon, a space and the line's end.
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > MAX_HEADER_BYTES { Err(HeaderTooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_are_counted_as_they_come() {
        let most = HeaderValue::try_from("-".repeat(MAX_HEADER_BYTES - 5)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x", most);
        assert_eq!(check(&headers), Ok(()));
        headers.insert("y", HeaderValue::from_static(""));
        assert_eq!(check(&headers), Err(HeaderTooLarge));
    }
}
