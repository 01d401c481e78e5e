//! Where the body of a response over HTTP/1 ends (RFC 9112, 6.3).
//!
//! The client library takes any `Transfer-Encoding` without chunks for a body that ends with the
//! connection, and ignores `Content-Length` then. Some servers send such a field and keep the
//! connection open, so nothing would end the body. Browsers use the length, and so does this.

use bytes::Bytes;
use fetchline_store::Outcome;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use reqwest::Response;

use super::clients::Lease;
use super::failure::{Failure, Fault};

/// The body of a response, piece by piece.
pub(super) struct BodyStream {
    response: Response,
    end: End,
    received: u64,
    /// Its connection is in use as long as the body is read. Declared last, so that it is dropped
    /// after the response.
    _lease: Lease,
}

/// What ends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// What the client library says: the declared length, the last chunk, or a frame.
    Client,
    /// The end of the connection.
    Connection,
    /// This length, which the client library ignores. The connection has to last as long.
    Length(u64),
    /// The end of the connection or this length, whichever comes first: a transfer coding may have
    /// made the body shorter than its length says.
    ConnectionOrLength(u64),
}

impl BodyStream {
    pub(super) fn new(response: Response, lease: Lease) -> Self {
        // The client knows the length of a body that its status or the method rules out, too: 0.
        let is_known = response.version() > Version::HTTP_11 || response.content_length().is_some();
        let end = if is_known { End::Client } else { End::of(response.headers()) };
        Self { response, end, received: 0, _lease: lease }
    }

    /// The length that the server declares, if it counts.
    pub(super) fn declared_length(&self) -> Option<u64> {
        match self.end {
            End::Length(length) => Some(length),
            End::Client | End::Connection | End::ConnectionOrLength(_) => {
                self.response.content_length()
            }
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Whether nothing but the end of the connection may show where the body ends, so that it may
    /// have been cut off. Such a connection is not used again.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.end, End::Connection | End::ConnectionOrLength(_))
    }

    /// The next bytes; `None` at the end. A site whose response has begun has acted on the request.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let left = match self.end {
            End::Client | End::Connection => u64::MAX,
            End::Length(length) | End::ConnectionOrLength(length) => length - self.received,
        };
        if left == 0 {
            return Ok(None);
        }
        let chunk = self.response.chunk().await;
        let chunk = chunk.map_err(|error| Failure { fault: Fault::Site, ..error.into() })?;
        let Some(mut chunk) = chunk else { return self.cut_off().map_or(Ok(None), Err) };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.received += chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// The failure of a body whose connection has ended too early.
    fn cut_off(&self) -> Option<Failure> {
        let End::Length(length) = self.end else { return None };
        let text = format!("the connection ended after {} of {length} bytes", self.received);
        Some(Failure::new(Outcome::Protocol, text))
    }
}

impl End {
    fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(TRANSFER_ENCODING) {
            let has_length = headers.contains_key(CONTENT_LENGTH);
            return if has_length { Self::Client } else { Self::Connection };
        }
        let values = headers.get_all(TRANSFER_ENCODING).iter();
        let codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        // RFC 2616 had a coding of this name that changes nothing; an empty one is none.
        let (mut is_chunked, mut is_plain) = (false, true);
        for coding in codings.map(<[u8]>::trim_ascii) {
            is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            is_plain &= coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
        }
        if is_chunked {
            return Self::Client;
        }
        match length(headers) {
            Some(length) if is_plain => Self::Length(length),
            Some(length) => Self::ConnectionOrLength(length),
            None => Self::Connection,
        }
    }
}

/// The one length that all fields name, without a sign.
fn length(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(CONTENT_LENGTH);
    let mut lengths = values.iter().flat_map(|value| value.as_bytes().split(|it| *it == b','));
    let parse = |text: &[u8]| {
        let text = text.trim_ascii();
        let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let first = parse(lengths.next()?)?;
    lengths.all(|other| parse(other) == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_ends_a_body() {
        for (transfer, lengths, expected) in [
            (&[][..], &[][..], End::Connection),
            (&[], &["4"], End::Client),
            (&["chunked"], &["9"], End::Client),
            (&["gzip, Chunked "], &[], End::Client),
            (&["gzip", "chunked"], &[], End::Client),
            (&["identity"], &["4"], End::Length(4)),
            (&["Identity,", ""], &["4"], End::Length(4)),
            (&["identity"], &["4, 4", "4"], End::Length(4)),
            (&["identity"], &["4", "5"], End::Connection),
            (&["identity"], &["+4"], End::Connection),
            (&["identity"], &["99999999999999999999"], End::Connection),
            (&["identity"], &[], End::Connection),
            (&["chunked, identity"], &["4"], End::ConnectionOrLength(4)),
            (&["gzip"], &["4"], End::ConnectionOrLength(4)),
            (&["gzip"], &[], End::Connection),
        ] {
            let mut headers = HeaderMap::new();
            for (name, values) in [(TRANSFER_ENCODING, transfer), (CONTENT_LENGTH, lengths)] {
                for value in values {
                    headers.append(&name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(End::of(&headers), expected, "{transfer:?} {lengths:?}");
        }
    }
}
