//! Requests that the server has not processed, or is unlikely to have: they are sent again.

use std::error::Error;
use std::io::{self, ErrorKind};

use h2::Reason;

use crate::error_chain::sources;

/// Whether the server has certainly not looked at the request, so that it may be sent again
/// whatever its method (RFC 9113, 6.8 and 8.7). A frame that refuses all later requests and the one
/// that refuses a single one say so; and a connection that was closed before the request was
/// written.
pub(super) fn is_certain(error: &reqwest::Error) -> bool {
    let was_never_written = sources(error)
        .filter_map(|source| source.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_canceled);
    was_never_written
        || http2_error(error).is_some_and(|error| {
            let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
            // The client reports a GOAWAY only for the streams above its last one, which are not
            // processed whatever its error code.
            error.is_remote() && (error.is_go_away() || is_refused)
        })
}

/// Whether the server asks for fewer requests (RFC 9113, 7: ENHANCE_YOUR_CALM).
pub(super) fn is_call_for_calm(error: &reqwest::Error) -> bool {
    http2_error(error)
        .is_some_and(|error| error.is_remote() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM))
}

/// Whether the server wants the request over HTTP/1.1 (RFC 9113, 7: HTTP_1_1_REQUIRED). It has not
/// processed it, and whatever the method, browsers and curl send it again.
pub(super) fn wants_http1(error: &reqwest::Error) -> bool {
    http2_error(error)
        .is_some_and(|error| error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED))
}

/// Whether the connection ended before a response came. On a reused connection, the server may have
/// closed it before it saw the request.
pub(super) fn is_closed_early(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    sources(error).any(|source| {
        source.downcast_ref().is_some_and(hyper::Error::is_incomplete_message)
            || source.downcast_ref().is_some_and(is_closed)
    })
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

fn http2_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a h2::Error> {
    sources(error).find_map(|source| source.downcast_ref())
}
