//! Internals for benchmarks and for tests with random inputs.

use std::time::Duration;

use fetchline_queue::Task;
use fetchline_store::{Fetch, Outcome};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::execute::Config;
use crate::execute::extraction::{Extractor, FetchTime};
use crate::fetch::answer::Answer;
use crate::fetch::decoder::Decoder;
use crate::fetch::robots::rules::Rules;
use crate::settle::{Ledger, Receipt};

/// Turns results of fetches into rows.
pub struct Reader(Extractor);

impl Default for Reader {
    fn default() -> Self {
        Self(Extractor::new(&Config::default(), "worker-1".into()))
    }
}

impl Reader {
    /// The row of a task whose response has this body.
    pub fn row(&self, task: Task, content_type: &str, body: Vec<u8>) -> Box<Fetch> {
        let mut answer = Answer {
            status: Some(200),
            content_type: Some(content_type.to_owned()),
            error: None,
            ..Answer::without_response(Outcome::Ok, String::new())
        };
        let facts = self.0.read_body(&task, &mut answer, body, None);
        let time =
            FetchTime { ended: OffsetDateTime::now_utc(), elapsed: Duration::from_millis(80) };
        Box::new(self.0.row(task, answer, facts, time))
    }
}

/// The number of the ledger's channel.
const SESSION: u64 = 1;

/// The ledger of a channel.
#[derive(Debug)]
pub struct Tags(Ledger, usize);

impl Tags {
    /// A ledger in which this many tags may wait above a gap.
    #[must_use]
    pub fn new(max_waiting: usize) -> Self {
        Self(Ledger::new(SESSION, Duration::from_secs(1)), max_waiting)
    }

    /// Settles tags in this order, and returns the number of acks.
    pub fn settle(&mut self, tags: &[u64]) -> usize {
        let now = Instant::now();
        for tag in tags {
            _ = self.0.settle(Receipt { session: SESSION, tag: *tag, delivered: now }, now);
        }
        self.0.due(now, self.1).len()
    }
}

/// Decodes a body of at most `most` bytes, in pieces of `piece` bytes.
pub fn decode(coding: &str, body: &[u8], piece: usize, most: usize) -> Result<Vec<u8>, String> {
    let coding = HeaderValue::from_str(coding).map_err(|error| error.to_string())?;
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, coding)]);
    let decoder = Decoder::of(&headers).map_err(|error| error.to_string())?;
    let Some(mut decoder) = decoder else { return Ok(body.to_vec()) };
    let mut output = Vec::with_capacity(most);
    for mut input in body.chunks(piece) {
        while !input.is_empty() {
            decoder.step(&mut input, &mut output).map_err(|error| error.to_string())?;
            if output.len() == most {
                return Err("too large".to_owned());
            }
        }
    }
    decoder.finish().map_err(|error| error.to_string())?;
    Ok(output)
}

/// Whether a robots.txt allows this worker to fetch a path.
pub fn robots_allow(file: &[u8], path: &str) -> bool {
    Rules::parse(file, "fetchline").allow(path)
}
