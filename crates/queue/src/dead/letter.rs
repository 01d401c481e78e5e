//! What a dead letter says.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Task;
use crate::message::header;

/// The length of an excerpt, in characters.
const EXCERPT_CHARS: usize = 100;
/// The bytes that an excerpt is made from: enough to find the credentials that it must not show.
const EXCERPT_BYTES: usize = 8 * 1024;

/// What a dead letter says. That of a worker has all fields; one that the broker or an operator put
/// into the queue has fewer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadLetter {
    /// The message id.
    pub id: Option<String>,
    /// The run of the task.
    pub run: Option<String>,
    /// The host as in [`Address::host`](crate::Address::host).
    pub host: Option<String>,
    /// The URL with its credentials masked; `None` if the message is not a task.
    pub url: Option<String>,
    /// The beginning of a message that is not a task, without control characters.
    pub excerpt: Option<String>,
    /// `not_a_task`, an outcome, or a reason of the broker (`delivery_limit`).
    pub reason: Option<String>,
    /// The reason as a sentence.
    pub error: Option<String>,
    /// The HTTP status of the last answer, if there was one.
    pub status: Option<u16>,
    /// The number of attempts.
    pub attempts: Option<u64>,
    /// The worker that gave up the task, or had it wait last.
    pub worker: Option<String>,
    /// When it was given up, or else when it was published.
    pub failed_at: Option<OffsetDateTime>,
}

impl DeadLetter {
    /// Reads a message of the dead queue. Any message can be read, also that of another program.
    pub(crate) fn read(properties: &BasicProperties, body: &Bytes) -> Self {
        let text = |name| header::text(properties, name);
        let task = Task::read(properties, body).ok();
        let address = task.as_ref().map(|task| &task.request.address);
        // A waiting message says why it waits, and has a time until which it does.
        let waited = text(header::UNTIL).is_some();
        let given_up = text(header::REASON).filter(|_| !waited);
        let failed_at =
            text(header::FAILED_AT).and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
        let (broker_reason, broker_time) = newest_death(properties).unwrap_or_default();
        // A message that a worker gave up and that was replayed may be dead-lettered by the broker:
        // that death is newer.
        let died_at =
            if given_up.is_some() { failed_at.or(broker_time) } else { broker_time.or(failed_at) };
        Self {
            id: properties.message_id().as_ref().map(|id| id.as_str().to_owned()),
            run: task.as_ref().map(|task| task.run.clone()).or_else(|| text(header::RUN)),
            host: address.map(|address| address.host().to_owned()),
            url: address.map(|address| address.masked()),
            excerpt: task.is_none().then(|| excerpt(body)),
            reason: given_up.or(broker_reason),
            error: text(header::ERROR),
            status: header::number(properties, header::STATUS)
                .and_then(|status| u16::try_from(status).ok()),
            attempts: header::number(properties, header::ATTEMPTS),
            worker: text(header::WORKER),
            failed_at: died_at.or_else(|| properties.timestamp().and_then(timestamp)),
        }
    }
}

/// Why and when the broker itself dead-lettered a message: the newest entry of `x-death`, which is
/// the first.
fn newest_death(properties: &BasicProperties) -> Option<(Option<String>, Option<OffsetDateTime>)> {
    let AMQPValue::FieldArray(deaths) = properties.headers().as_ref()?.inner().get("x-death")?
    else {
        return None;
    };
    let AMQPValue::FieldTable(newest) = deaths.as_slice().first()? else { return None };
    let reason = match newest.inner().get("reason") {
        Some(AMQPValue::LongString(reason)) => Some(reason.to_string()),
        _ => None,
    };
    let time = match newest.inner().get("time") {
        Some(AMQPValue::Timestamp(seconds)) => timestamp(*seconds),
        _ => None,
    };
    Some((reason, time))
}

/// A timestamp of AMQP counts seconds since 1970; a client may send one that is out of range.
fn timestamp(seconds: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}

/// The beginning of a message that is not a task, safe for a terminal and without the credentials
/// of URLs.
fn excerpt(body: &[u8]) -> String {
    let text = without_secrets(body).replace(r"\/", "/");
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("://") {
        let (before, authority) = rest.split_at(at + "://".len());
        let end = authority.find(|c: char| matches!(c, '/' | '?' | '#' | '"') || c.is_whitespace());
        shown.push_str(before);
        rest = authority;
        if let Some(sign) = authority[..end.unwrap_or(authority.len())].rfind('@') {
            shown.push_str("***");
            rest = &authority[sign..];
        }
    }
    shown.push_str(rest);
    shown.chars().take(EXCERPT_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The beginning of a body. JSON ends before the headers and the body of its request, which may
/// hold keys.
fn without_secrets(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]);
    if !text
        .trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
        .starts_with(['{', '['])
    {
        return text.into_owned();
    }
    let secret = ["\"headers\"", "\"body\""].into_iter().filter_map(|field| text.find(field)).min();
    secret.map_or_else(|| text.to_string(), |at| format!("{}…", &text[..at]))
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;
    use time::macros::datetime;

    use super::*;

    fn properties(headers: &[(&'static str, AMQPValue)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        BasicProperties::default().with_headers(table)
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn given_up() -> DeadLetter {
        let headers = [
            ("x-run", text("nightly")),
            ("x-reason", text("http_error")),
            ("x-error", text("the site answered 503")),
            ("x-status", AMQPValue::LongLongInt(503)),
            ("x-attempts", AMQPValue::LongLongInt(4)),
            ("x-worker", text("pod-1")),
            ("x-failed-at", text("2026-03-01T10:00:00Z")),
        ];
        let properties = properties(&headers).with_message_id("order-17".into()).with_timestamp(1);
        DeadLetter::read(
            &properties,
            &Bytes::from_static(b"https://user:secret@Shop.example:8443/p/1"),
        )
    }

    #[test]
    fn a_letter_of_a_worker_has_every_field() {
        let expected = DeadLetter {
            id: Some("order-17".into()),
            run: Some("nightly".into()),
            host: Some("shop.example:8443".into()),
            url: Some("https://***@shop.example:8443/p/1".into()),
            excerpt: None,
            reason: Some("http_error".into()),
            error: Some("the site answered 503".into()),
            status: Some(503),
            attempts: Some(4),
            worker: Some("pod-1".into()),
            failed_at: Some(datetime!(2026-03-01 10:00 UTC)),
        };
        assert_eq!(given_up(), expected);
    }

    #[test]
    fn a_letter_of_the_broker_says_why_and_when() {
        let death = |reason: &str, seconds| {
            let mut death = FieldTable::default();
            death.insert("reason".into(), text(reason));
            death.insert("time".into(), AMQPValue::Timestamp(seconds));
            AMQPValue::FieldTable(death)
        };
        let deaths = AMQPValue::FieldArray(
            vec![death("delivery_limit", 2_000), death("expired", 1_000)].into(),
        );
        // The time of an earlier death, before a replay.
        let headers = [("x-death", deaths), ("x-failed-at", text("1970-01-01T00:10:00Z"))];
        let letter =
            DeadLetter::read(&properties(&headers), &Bytes::from_static(b"https://shop.example/"));
        assert_eq!(letter.reason.as_deref(), Some("delivery_limit"));
        assert_eq!(letter.failed_at, timestamp(2_000));
        assert_eq!(
            (letter.run.as_deref(), letter.status, letter.attempts),
            (Some("adhoc"), None, None)
        );
    }

    #[test]
    fn the_reason_for_which_a_message_waited_is_not_the_one_for_which_it_died() {
        let mut death = FieldTable::default();
        death.insert("reason".into(), text("delivery_limit"));
        let headers = [
            ("x-death", AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into())),
            ("x-reason", text("http_error")),
            ("x-until", text("2026-03-01T10:00:00Z")),
        ];
        let letter =
            DeadLetter::read(&properties(&headers), &Bytes::from_static(b"https://shop.example/"));
        assert_eq!(letter.reason.as_deref(), Some("delivery_limit"));
    }

    #[test]
    fn any_message_in_the_dead_queue_can_be_read() {
        let body = Bytes::from_static(b"\x1b[31mhi\n\xff");
        let letter = DeadLetter::read(&BasicProperties::default().with_timestamp(7), &body);
        let expected = DeadLetter {
            excerpt: Some("\u{fffd}[31mhi\u{fffd}\u{fffd}".into()),
            failed_at: timestamp(7),
            ..DeadLetter::default()
        };
        assert_eq!(letter, expected);
        assert_eq!(
            DeadLetter::read(&BasicProperties::default().with_timestamp(u64::MAX), &Bytes::new())
                .failed_at,
            None
        );
        assert_eq!(excerpt("ä".repeat(9_000).as_bytes()).chars().count(), EXCERPT_CHARS);
    }

    #[test]
    fn an_excerpt_shows_no_credentials() {
        for (body, shown) in [
            ("ftp://user:hunter2@a.example/x?y@z", "ftp://***@a.example/x?y@z"),
            ("ftp://a.example/@ ftp://b:c@d@e", "ftp://a.example/@ ftp://***@e"),
            (r#"{"url":"ftp://hunter2@a"}"#, r#"{"url":"ftp://***@a"}"#),
            (r#"{"link":"ftp:\/\/hunter2@a\/"}"#, r#"{"link":"ftp://***@a/"}"#),
            (r#"{"link":"ftp:\/\/hunter2@a\/"#, r#"{"link":"ftp://***@a/"#),
            (r#"{"link":"x","headers":{"a":"hunter2"},"body":["hunter2"]}"#, r#"{"link":"x",…"#),
            ("\u{feff}[{\"body\":\"hunter2\"},", "\u{feff}[{…"),
            (r#"no "body" here"#, r#"no "body" here"#),
            ("://", "://"),
        ] {
            assert_eq!(excerpt(body.as_bytes()), shown);
        }
    }
}
