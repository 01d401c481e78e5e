//! From entries to tasks: invalid entries are rejected, duplicate URLs are dropped.

use std::time::Duration;

use fetchline_queue::{Fingerprint, NotATask, PartId, Task};
use time::OffsetDateTime;

use crate::entry::{Content, Entry, Ignored, Record};
use crate::known_tasks::KnownTasks;
use crate::rejection::Rejection;
use crate::source::Source;

/// What becomes of an entry.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every entry is a task; boxing each would cost more"
)]
pub(crate) enum Classification {
    /// A task, and its fingerprint.
    Task(Task, Fingerprint),
    Ignored(Ignored),
    Duplicate,
    Rejected(Rejection),
}

/// What the tasks of a part have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskDefaults {
    pub(crate) run: String,
    pub(crate) part: String,
    /// The category of a record that has none.
    pub(crate) category: Option<String>,
    /// The priority of a record that has none.
    pub(crate) priority: Option<u8>,
    /// How long a task waits whose record names no time.
    pub(crate) delay: Option<Duration>,
    /// Whether a page is fetched only if it has changed, for a record that does not say so.
    pub(crate) revalidate: bool,
}

/// Classifies the entries of one part.
pub(crate) struct Classifier {
    defaults: TaskDefaults,
    /// `None` for a part that an earlier release began: its tasks have keys of another kind.
    part: Option<PartId>,
    /// The tasks so far; `None` if duplicates are allowed.
    known: Option<KnownTasks>,
    /// The number of tasks so far, duplicates included.
    entries: u64,
    /// The number of tasks so far. The same input always has the same numbers, so a task that
    /// is sent again has the same key.
    tasks: u32,
}

impl Classifier {
    pub(crate) fn new(defaults: TaskDefaults, allow_duplicates: bool) -> Self {
        let known = (!allow_duplicates).then(KnownTasks::new);
        Self { part: PartId::parse(&defaults.part), defaults, known, entries: 0, tasks: 0 }
    }

    pub(crate) fn classify(&mut self, source: &Source, entry: Entry) -> Classification {
        let Entry { sitemap, line, raw, content } = entry;
        let reason = match content {
            Content::Ignored(ignored) => return Classification::Ignored(ignored),
            Content::Invalid(reason) => reason,
            Content::Record(record) => match self.task(record) {
                Ok(Some((task, fingerprint))) => return Classification::Task(task, fingerprint),
                Ok(None) => return Classification::Duplicate,
                Err(error) => error.to_string(),
            },
        };
        let source = sitemap.map_or_else(|| source.to_string(), |sitemap| sitemap.to_string());
        Classification::Rejected(Rejection { source, line, reason, raw })
    }

    /// The task of a record; `None` for a duplicate URL.
    fn task(&mut self, record: Record) -> Result<Option<(Task, Fingerprint)>, NotATask> {
        let Record { mut request, priority } = record;
        let TaskDefaults { run, part, category, priority: default_priority, delay, revalidate } =
            &self.defaults;
        request.category = request.category.or_else(|| category.clone());
        request.not_before =
            request.not_before.or_else(|| delay.map(|delay| OffsetDateTime::now_utc() + delay));
        request.revalidate = request.revalidate.or(revalidate.then_some(true));
        // Checked before the task is remembered, so that a rejected entry makes no later one a
        // duplicate. A message may be larger than its line: it escapes the body once more.
        if let Some(bytes) = request.too_large() {
            return Err(NotATask::TooLarge(bytes));
        }
        self.entries += 1;
        // If duplicates are allowed, the place in the input distinguishes them.
        let copy = if self.known.is_some() { 0 } else { self.entries };
        let fingerprint = Fingerprint::of(run, part, &request, copy);
        if self.known.as_mut().is_some_and(|known| !known.insert(fingerprint.half())) {
            return Ok(None);
        }
        self.tasks = self.tasks.checked_add(1).ok_or(NotATask::PartFull)?;
        let (key, message_id) = match self.part {
            Some(part) => {
                let key = part.task(self.tasks, &fingerprint);
                (key, key.to_string())
            }
            None => fingerprint.former_identity(),
        };
        let task = Task {
            priority: priority.or(*default_priority),
            message_id: Some(message_id),
            ..Task::new(request, run.clone(), part.clone(), key)
        };
        Ok(Some((task, fingerprint)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fetchline_queue::{FetchRequest, Key, MAX_MESSAGE_BYTES};

    use super::*;
    use crate::entry::parse_url;

    fn classify(allow_duplicates: bool, urls: &[&str]) -> Vec<Classification> {
        classify_part(&PartId::new().to_string(), allow_duplicates, urls)
    }

    fn keys(classified: Vec<Classification>) -> Vec<Key> {
        let key = |classification| match classification {
            Classification::Task(task, _) => Some(task.key),
            _ => None,
        };
        classified.into_iter().filter_map(key).collect()
    }

    fn classify_part(part: &str, allow_duplicates: bool, urls: &[&str]) -> Vec<Classification> {
        let defaults = TaskDefaults {
            run: "nightly".to_owned(),
            part: part.to_owned(),
            category: Some("Tea".to_owned()),
            priority: Some(3),
            ..TaskDefaults::default()
        };
        let mut classifier = Classifier::new(defaults, allow_duplicates);
        let source = Source::File("urls.txt".into());
        let entries = (1..).zip(urls).map(|(line, url)| Entry {
            sitemap: None,
            line,
            raw: url.as_bytes().to_vec(),
            content: parse_url(url).into(),
        });
        entries.map(|entry| classifier.classify(&source, entry)).collect()
    }

    #[test]
    fn a_rejection_has_its_line_number_and_affects_no_other_line() {
        let classified =
            classify(false, &["http://a.example/", "ftp://a.example/", "http://b.example/"]);
        let [
            Classification::Task(..),
            Classification::Rejected(rejection),
            Classification::Task(task, _),
        ] = &classified[..]
        else {
            panic!("{classified:?}");
        };
        let text = rejection.to_string();
        assert!(text.starts_with("urls.txt:2: ") && text.contains("`ftp`"), "{text}");
        assert_eq!(rejection.raw, b"ftp://a.example/");
        assert_eq!((task.request.category.as_deref(), task.priority), (Some("Tea"), Some(3)));
    }

    #[test]
    fn a_record_that_exceeds_the_largest_message_is_rejected() {
        let rejection_of = |body: &str| {
            let request = FetchRequest {
                body: Some(body.to_owned().into()),
                ..FetchRequest::get_url("http://a.example/").unwrap()
            };
            let content = Content::Record(Record { request, priority: None });
            let entry = Entry { sitemap: None, line: 1, raw: Vec::new(), content };
            let mut classifier = Classifier::new(TaskDefaults::default(), false);
            match classifier.classify(&Source::Stdin, entry) {
                Classification::Rejected(rejection) => Some(rejection.reason),
                _ => None,
            }
        };
        // A message has two bytes for each quote.
        assert_eq!(rejection_of(&"\"".repeat(MAX_MESSAGE_BYTES / 2 - 200)), None);
        let reason = rejection_of(&"\"".repeat(MAX_MESSAGE_BYTES / 2)).unwrap_or_default();
        assert!(reason.contains("1048576"), "{reason}");
        assert_eq!(rejection_of(&"x".repeat(MAX_MESSAGE_BYTES - 200)), None);
    }

    #[test]
    fn duplicates_are_found_after_normalisation_unless_they_are_allowed() {
        let urls = ["http://A.example", "http://a.example:80/#x", "http://a.example/?q"];
        let classified = classify(false, &urls);
        assert!(
            matches!(
                &classified[..],
                [Classification::Task(..), Classification::Duplicate, Classification::Task(..)]
            ),
            "{classified:?}"
        );
        assert_eq!(keys(classify(true, &urls)).into_iter().collect::<HashSet<_>>().len(), 3);
    }

    #[test]
    fn keys_depend_on_the_tasks_before_and_not_on_other_lines() {
        let urls = ["http://a.example/", "http://b.example/", "http://c.example/"];
        let with_other_lines =
            ["http://a.example/", "no URL", urls[1], "http://A.example/", urls[2]];
        for part in [PartId::new().to_string(), "0123456789abcdef".to_owned()] {
            let classify = |urls: &[&str]| keys(classify_part(&part, false, urls));
            assert_eq!(classify(&urls), classify(&with_other_lines), "{part}");
        }
        let classify = |part: &PartId| keys(classify_part(&part.to_string(), false, &urls));
        let (first, second) = (PartId::new(), PartId::new());
        let ordered = classify(&first);
        assert!(ordered.is_sorted(), "{ordered:?}");
        assert!(classify(&second).iter().all(|key| !ordered.contains(key)));
    }

    #[test]
    fn a_part_of_an_earlier_release_is_resumed_with_its_ids() {
        let urls = ["http://a.example/"];
        let classified = classify_part("0123456789abcdef", false, &urls);
        let [Classification::Task(task, _)] = &classified[..] else { panic!("{classified:?}") };
        let id = "5d074c77d466fd7411159e65253f8ec1a957be68c7e596756c74e202afa46320";
        assert_eq!(task.message_id.as_deref(), Some(id));
        assert_eq!(task.key.to_string(), format!("000000000000{}", &id[..20]));
    }
}
