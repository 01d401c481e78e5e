//! Whether a request is sent again at once, and how. That costs its task no attempt.

use std::time::Duration;

use fetchline_nodes::Backoff;
use http::header::CONNECTION;
use http::{StatusCode, Version};
use reqwest::Response;

use super::unprocessed;

/// How often a request that the server has not processed is sent again: at once, and then after
/// pauses. Some servers answer only a few requests per connection, so of many at a time a few have
/// to move to the next connection again and again. RFC 9113 (8.7) sets no limit. Chrome repeats
/// twice, the client of Go seven times with growing pauses, Firefox ten times.
pub(super) const MAX_REPEATS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The pause before the last repeat.
const LONGEST_PAUSE: Duration = Duration::from_millis(3200);
/// After so many repeats, the site counts as one that refuses requests.
const REFUSING: u32 = 3;

/// What has become of a request so far.
#[derive(Debug)]
pub(super) struct Repeats {
    /// How often the server has not processed it.
    unprocessed: u32,
    /// The pauses after the first repeat.
    backoff: Backoff,
    /// It is sent on a connection of its own.
    is_alone: bool,
    /// It is sent over HTTP/1.1.
    is_over_http1: bool,
}

/// How to send a request again. Each repeat takes a slot of a limited host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// On a new connection: the kept one was closed when the request came.
    OnNewConnection,
    /// Over HTTP/1.1, which the server requires.
    OverHttp1,
    /// At once.
    AtOnce,
    /// After a pause.
    After(Duration),
}

/// What was observed about a request besides its error or response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Its connection had served another request.
    pub(super) is_reused: bool,
    /// It may be sent again although the server may have acted on it.
    pub(super) is_safe: bool,
}

impl Repeats {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        Self { unprocessed: 0, backoff, is_alone: false, is_over_http1: false }
    }

    /// Whether the host refuses requests, as the latest of these errors shows.
    pub(super) fn is_refusal(&self, error: &reqwest::Error) -> bool {
        unprocessed::is_call_for_calm(error) || self.unprocessed == REFUSING
    }

    /// How to repeat a request that ended with an error; `None` if it has failed.
    pub(super) fn after_error(&mut self, error: &reqwest::Error, sent: Sent) -> Option<Repeat> {
        if unprocessed::wants_http1(error) {
            let is_first = !std::mem::replace(&mut self.is_over_http1, true);
            return is_first.then_some(Repeat::OverHttp1);
        }
        let asks_for_calm = unprocessed::is_call_for_calm(error);
        if !unprocessed::is_certain(error) {
            if asks_for_calm {
                return None;
            }
            let is_closed = unprocessed::is_closed_early(error);
            return is_closed.then(|| self.on_new_connection(sent)).flatten();
        }
        if self.unprocessed == MAX_REPEATS {
            return None;
        }
        self.unprocessed += 1;
        Some(match self.unprocessed {
            1 if !asks_for_calm => Repeat::AtOnce,
            _ => Repeat::After(self.backoff.next_pause()),
        })
    }

    /// How to repeat a request that got a response; `None` if the response is about the request.
    pub(super) fn after_answer(&mut self, response: &Response, sent: Sent) -> Option<Repeat> {
        is_about_idle_connection(response).then(|| self.on_new_connection(sent)).flatten()
    }

    fn on_new_connection(&mut self, Sent { is_reused, is_safe }: Sent) -> Option<Repeat> {
        let may_repeat = is_reused && is_safe && !std::mem::replace(&mut self.is_alone, true);
        may_repeat.then_some(Repeat::OnNewConnection)
    }
}

/// Whether a response may be about the connection instead of a request. Some servers announce with
/// it that they close an idle connection (RFC 9110, 15.5.9), and a request that is sent at that
/// moment seems to get it as its response.
fn is_about_idle_connection(response: &Response) -> bool {
    let says_close = || {
        response.headers().get_all(CONNECTION).iter().any(|value| {
            let mut options = value.as_bytes().split(|byte| *byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
        })
    };
    match (response.version(), response.status()) {
        (Version::HTTP_10 | Version::HTTP_11, StatusCode::REQUEST_TIMEOUT) => true,
        (Version::HTTP_10 | Version::HTTP_11, StatusCode::BAD_REQUEST) => says_close(),
        _ => false,
    }
}
