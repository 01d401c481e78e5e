//! A task: a fetch request with its identity.

use bytes::Bytes;
use lapin::BasicProperties;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::damage;
use super::defer_counts::DeferCounts;
use super::defer_reason::DeferReason;
use super::fetch_request::FetchRequest;
use super::header::{self, as_number, as_text};
use super::key::{Fingerprint, Key};
use super::name::{NO_RUN, is_name};
use super::not_a_task::NotATask;

/// A fetch request with its identity and its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What to fetch.
    pub request: FetchRequest,
    /// The run of the task.
    pub run: String,
    /// The part of the run: one `produce`. `None` for messages of other publishers.
    pub part: Option<String>,
    /// The identity; the primary key of the task's row. Each reading of a message without an id
    /// makes a new one.
    pub key: Key,
    /// The message's own id. `None` for a message without one, which is fetched every time that it
    /// is published.
    pub message_id: Option<String>,
    /// A higher priority is delivered first; `None` is the priority 0.
    pub priority: Option<u8>,
    /// The attempt that the message asks for; the first one is 1.
    pub attempt: u32,
    /// The number of deferrals, for all reasons together.
    pub deferrals: u32,
    /// The deferrals since the last attempt.
    pub deferred: DeferCounts,
    /// The number of redeliveries.
    pub redeliveries: u64,
    /// When the message was given up, if it was replayed or moved back since. Rows of the task from
    /// before that time do not count.
    pub failed_at: Option<OffsetDateTime>,
}

impl Task {
    /// A task before its first attempt.
    pub fn new(request: FetchRequest, run: String, part: String, key: Key) -> Self {
        let (part, message_id) = (Some(part), Some(key.to_string()));
        Self {
            request,
            run,
            part,
            key,
            message_id,
            priority: None,
            attempt: 1,
            deferrals: 0,
            deferred: DeferCounts::default(),
            redeliveries: 0,
            failed_at: None,
        }
    }

    /// Parses a delivered message. Parsing it again returns the same task, except that a message
    /// without an id gets another key.
    pub fn read(properties: &BasicProperties, data: &Bytes) -> Result<Self, NotATask> {
        damage::check(properties)?;
        let is_own_app = header::is_own_app(properties);
        let (request, named_run) = FetchRequest::read(data, is_own_app)?;
        let headers = Headers::read(properties);
        let run = headers.run.or(named_run).unwrap_or_else(|| NO_RUN.to_owned());
        let part = headers.part;
        if !is_name(&run) || part.as_deref().is_some_and(|part| !is_name(part)) {
            return Err(NotATask::Run);
        }
        let message_id = properties
            .message_id()
            .as_ref()
            .map(|id| id.as_str().to_owned())
            .filter(|id| !id.is_empty());
        let key = match &message_id {
            Some(id) => Key::of_message(&run, part.as_deref(), id, is_own_app),
            None => Key::fresh(),
        };
        Ok(Self {
            request,
            run,
            part,
            key,
            message_id,
            priority: *properties.priority(),
            attempt: headers.attempt.map_or(1, u32_or_max).max(1),
            deferrals: headers.deferrals.map_or(0, u32_or_max),
            deferred: headers.deferred.map(|text| DeferCounts::read(&text)).unwrap_or_default(),
            redeliveries: headers.redeliveries,
            failed_at: headers
                .failed_at
                .and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()),
        })
    }

    /// The key by which the quarantine knows the task: the same whenever its message is delivered,
    /// even if the message has no id. A body that was dropped meanwhile makes no difference.
    pub fn quarantine_key(&self) -> Key {
        if self.message_id.is_some() {
            return self.key;
        }
        let request = FetchRequest { body: None, ..self.request.clone() };
        Fingerprint::of(&self.run, "", &request, 0).key()
    }

    /// How often the task was deferred for this reason: since the last attempt for a shortage, else
    /// in a row.
    pub fn deferred_for(&self, reason: DeferReason) -> u32 {
        self.deferred.of(reason)
    }
}

/// The headers of a task. They are read in one pass, since a message has few of them.
#[derive(Default)]
struct Headers {
    run: Option<String>,
    part: Option<String>,
    attempt: Option<u64>,
    deferrals: Option<u64>,
    deferred: Option<String>,
    redeliveries: u64,
    failed_at: Option<String>,
}

impl Headers {
    fn read(properties: &BasicProperties) -> Self {
        let mut read = Self::default();
        for (name, value) in properties.headers().iter().flat_map(|table| table.inner()) {
            match name.as_str() {
                header::RUN => read.run = as_text(value),
                header::PART => read.part = as_text(value),
                header::ATTEMPT => read.attempt = as_number(value),
                header::PARKED => read.deferrals = as_number(value),
                header::PARKED_FOR => read.deferred = as_text(value),
                header::DELIVERY_COUNT | header::RETURNED => {
                    let count = as_number(value).unwrap_or_default();
                    read.redeliveries = read.redeliveries.saturating_add(count);
                }
                header::FAILED_AT => read.failed_at = as_text(value),
                _ => {}
            }
        }
        read
    }
}

fn u32_or_max(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;
    use crate::{Address, MAX_MESSAGE_BYTES};

    fn read(data: &str) -> Result<Task, NotATask> {
        Task::read(&BasicProperties::default(), &Bytes::copy_from_slice(data.as_bytes()))
    }

    #[test]
    fn a_bare_url_is_a_task() {
        let task = read(" \u{feff}https://shop.example/p/1 \n").unwrap();
        assert_eq!(
            task.request,
            FetchRequest::get(Address::parse("https://shop.example/p/1").unwrap())
        );
        assert_eq!(
            (task.run.as_str(), task.part, task.message_id, task.attempt),
            ("adhoc", None, None, 1)
        );
    }

    #[test]
    fn a_bare_url_is_no_task_if_it_is_not_clear_where_it_ends() {
        for text in [
            "https://a.example/1,https://a.example/2",
            "https://a.example/1 https://a.example/2",
            "https://a.example/1\thttps://a.example/2",
            "https://a.example/1 # a note",
            "https://a.example/1;",
            "https://a.example/1,\"shoes\"",
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, NotATask::UnclearEnd(_) | NotATask::Url(_)), "{text}: {error}");
        }
        for text in ["https://a.example/@34.66,-86.57,17z", "https://a.example/17;colour=red"] {
            assert_eq!(read(text).unwrap().request.address.as_str(), text);
        }
        // With `--format text`, `produce` takes each line for one URL, and publishes it as it is.
        let properties = BasicProperties::default().with_app_id(header::APP_ID.into());
        let own = Bytes::from_static(b"https://a.example/a b;");
        let task = Task::read(&properties, &own).unwrap();
        assert_eq!(task.request.address.as_str(), "https://a.example/a%20b;");
    }

    #[test]
    fn a_url_may_be_pasted_with_quotes_and_invisible_characters() {
        let expected = read("https://shop.example/p/1").unwrap();
        for typed in [
            "\"https://shop.example/p/1\"",
            "<https://shop.example/p/1>",
            " '\u{feff}https://shop.example/p/1' ",
            "\u{200b}https://shop.example/\u{200b}p/1",
            r#"{"url":" <https://shop.example/p/1>"}"#,
        ] {
            assert_eq!(read(typed).unwrap().request, expected.request, "{typed:?}");
        }
    }

    #[test]
    fn a_json_object_may_name_more_than_a_url() {
        let task = read(
            r#"{"url":"https://shop.example/api","method":"post","headers":{"Accept":"text/html"},
                "body":{"sku":7},"category":"tea","run":"nightly"}"#,
        )
        .unwrap();
        assert_eq!(task.request.method, Method::POST);
        assert_eq!(task.request.headers["accept"], "text/html");
        assert_eq!(task.request.headers["content-type"], "application/json");
        assert_eq!(task.request.body.as_deref(), Some(&br#"{"sku":7}"#[..]));
        assert_eq!((task.request.category.as_deref(), task.run.as_str()), (Some("tea"), "nightly"));
    }

    #[test]
    fn a_message_that_is_not_a_task_is_an_error_with_its_reason() {
        for (data, reason) in [
            ("", "empty"),
            ("hello", "absolute"),
            (r#"{"link":"https://a.example/"}"#, "unknown field `link`, expected one of `url`"),
            (r#"{"URL":"https://a.example/"}"#, "unknown field `URL`"),
            (r#"{"url":"https://a.example/","metod":"POST"}"#, "unknown field `metod`"),
            (r#"{"url":"https://a.example/","Headers":{}}"#, "unknown field `Headers`"),
            (r#"{"method":"POST"}"#, "missing field `url`"),
            (r#"["https://a.example/"]"#, "JSON object"),
            ("[https://a.example/]", "remove what stands before http://"),
            ("www.a.example/p", "write https:// before it"),
            ("https://a.example/1\nhttps://a.example/2\n\n", "2 lines"),
            (r#"{"url":"ftp://a.example/"}"#, "`ftp`"),
            (r#"{"url":"https://a.example/","method":"BREW"}"#, "method"),
            (r#"{"url":"https://a.example/","headers":{"Host":"b.example"}}"#, "`Host`"),
            (r#"{"url":"https://a.example/","headers":{"x y":"1"}}"#, "`x y`"),
            (r#"{"url":"https://a.example/","headers":{"x":1}}"#, "not a string"),
            (r#"{"url":"https://a.example/","run":""}"#, "name of a run"),
            (&"x".repeat(MAX_MESSAGE_BYTES + 1), "bytes"),
        ] {
            let error = read(data).unwrap_err().to_string();
            assert!(error.contains(reason), "{}: {error}", &data[..data.len().min(60)]);
        }
        let error =
            Task::read(&BasicProperties::default(), &Bytes::from_static(b"\xff\xfe")).unwrap_err();
        assert_eq!(error, NotATask::NotText);
    }

    #[test]
    fn properties_name_run_part_attempt_and_id() {
        let mut headers = FieldTable::default();
        headers.insert("x-run".into(), AMQPValue::LongString("nightly".into()));
        headers.insert("x-part".into(), AMQPValue::LongString("p1".into()));
        headers.insert("x-attempt".into(), AMQPValue::LongString("3".into()));
        let properties =
            BasicProperties::default().with_headers(headers).with_message_id("order-17".into());
        let body = Bytes::from_static(br#"{"url":"https://a.example/","run":"other"}"#);
        let task = Task::read(&properties, &body).unwrap();
        assert_eq!(
            (task.run.as_str(), task.part.as_deref(), task.attempt),
            ("nightly", Some("p1"), 3)
        );
        assert_eq!(task.key, Key::of_other_program("nightly", "order-17"));
    }

    #[test]
    fn a_message_that_is_read_twice_is_the_same_task() {
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(3));
        headers.insert("x-failed-at".into(), AMQPValue::LongString("2026-03-01T10:00:00Z".into()));
        for id in ["", "order-17"] {
            let properties = BasicProperties::default()
                .with_headers(headers.clone())
                .with_message_id(id.into())
                .with_priority(3);
            let message = Bytes::from_static(
                br#"{"url":"https://a.example/#x","method":"POST","headers":{"b":"2","a":"1"},
                    "body":{"z":1,"a":"\n","m":0.1},"category":"tea","run":"nightly"}"#,
            );
            let first = Task::read(&properties, &message).unwrap();
            let mut waiting = first.clone();
            waiting.request.body = None;
            assert_ne!(waiting, first);
            let again = Task::read(&properties, &message).unwrap();
            assert_eq!(again.key == first.key, !id.is_empty());
            let keys = [&first, &again, &waiting].map(Task::quarantine_key);
            assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
            assert_eq!(Task { key: first.key, ..again }, first);
        }
    }

    #[test]
    fn a_message_with_a_damaged_property_is_not_a_task() {
        let properties = BasicProperties::default().with_message_id("a\u{1a}b".into());
        let error = Task::read(&properties, &Bytes::from_static(b"https://a.example/"));
        assert_eq!(error, Err(NotATask::NotUtf8("the property message_id".to_owned())));
    }
}
