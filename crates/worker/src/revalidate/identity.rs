//! When two fetches concern the same page, and when two readings of its body are equal.

use fetchline_queue::{FetchRequest, Task};
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::fetch::{Config as FetchConfig, Cookies, Signing, Visitor, conditional};

/// The part of identities that is the same for all tasks of a worker.
pub(crate) struct Identity {
    /// How the worker looks to sites: a response may depend on it.
    visitor: Sha256,
    /// How bodies are stored and read.
    reader: Sha256,
    has_own_condition: bool,
}

impl Identity {
    /// `reading`: the settings of how bodies are stored and read.
    pub(crate) fn new(fetch: &FetchConfig, reading: &str) -> Self {
        let (mut visitor, mut reader) = (Sha256::new(), Sha256::new());
        let FetchConfig { user_agent, visitor: look, proxy, .. } = fetch;
        // A new field has to be hashed, too.
        let Visitor { cookies, accept_language, signing, headers } = look;
        let language = accept_language.as_ref().map_or(&b""[..], |value| value.as_bytes());
        let proxy = proxy.as_ref().map(ToString::to_string).unwrap_or_default();
        // Remembered with each page: another word makes all of them unknown.
        let cookies = match cookies {
            Cookies::Fetch => "Fetch",
            Cookies::Run => "Run",
        };
        let signer = signing.as_ref().map(Signing::signer).unwrap_or_default();
        for text in [user_agent.as_bytes(), language, proxy.as_bytes(), cookies.as_bytes()] {
            add(&mut visitor, text);
        }
        add(&mut visitor, signer.as_bytes());
        add_headers(&mut visitor, headers);
        add(&mut reader, env!("CARGO_PKG_VERSION").as_bytes());
        add(&mut reader, reading.as_bytes());
        Self { visitor, reader, has_own_condition: conditional::has_own(headers) }
    }

    /// Whether every request has a condition of the operator.
    pub(super) fn has_own_condition(&self) -> bool {
        self.has_own_condition
    }

    /// The page that a request asks for. A response may depend on the URL with its credentials, and
    /// on every header.
    pub(super) fn page(&self, request: &FetchRequest) -> [u8; 16] {
        let mut hash = self.visitor.clone();
        add(&mut hash, request.address.as_str().as_bytes());
        add_headers(&mut hash, &request.headers);
        half(hash)
    }

    /// How the body of a task's page is stored and read.
    pub(super) fn reader(&self, task: &Task) -> [u8; 16] {
        let mut hash = self.reader.clone();
        add(&mut hash, task.request.category.as_deref().unwrap_or_default().as_bytes());
        half(hash)
    }
}

/// Headers in the order of their names; the values of one name keep theirs.
fn add_headers(hash: &mut Sha256, headers: &HeaderMap) {
    let mut lines: Vec<_> = headers.iter().collect();
    lines.sort_by_key(|(name, _)| name.as_str());
    add(hash, &(lines.len() as u64).to_be_bytes());
    for (name, value) in lines {
        add(hash, name.as_str().as_bytes());
        add(hash, value.as_bytes());
    }
}

/// Each field is preceded by its length, so that different lists of fields never hash alike.
fn add(hash: &mut Sha256, field: &[u8]) {
    hash.update((field.len() as u64).to_be_bytes());
    hash.update(field);
}

fn half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fetchline_queue::Key;
    use http::HeaderValue;
    use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, IF_NONE_MATCH};

    use super::*;
    use crate::fetch::{BotKey, SignatureAgent};

    fn request(json: &str) -> FetchRequest {
        FetchRequest::from_json(json.to_owned()).unwrap()
    }

    fn identity(change: impl Fn(&mut FetchConfig)) -> Identity {
        let mut fetch = FetchConfig::default();
        change(&mut fetch);
        Identity::new(&fetch, "")
    }

    fn signing(agent: Option<&str>) -> Option<Signing> {
        // The key of RFC 9421, B.1.4.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n\
            -----END PRIVATE KEY-----\n";
        let key = BotKey::from_pem(pem.as_bytes()).unwrap();
        Some(Signing::new(key, agent.map(|agent| SignatureAgent::parse(agent).unwrap())))
    }

    #[test]
    fn whatever_may_change_the_answer_makes_another_page() {
        let requests = [
            r#"{"url":"http://a.example/"}"#,
            r#"{"url":"http://a.example/?x"}"#,
            r#"{"url":"https://a.example/"}"#,
            r#"{"url":"http://me:pw@a.example/"}"#,
            r#"{"url":"http://a.example/","headers":{"Accept-Language":"de"}}"#,
            r#"{"url":"http://a.example/","headers":{"Accept-Language":"fr"}}"#,
            r#"{"url":"http://a.example/","headers":{"Authorization":"a"}}"#,
            r#"{"url":"http://a.example/","headers":{"Cookie":"a"}}"#,
        ];
        let own = identity(|_| {});
        let pages = requests.iter().map(|json| own.page(&request(json)));
        let others = [
            identity(|fetch| fetch.user_agent = "other/1.0".to_owned()),
            identity(|fetch| {
                fetch.visitor.accept_language = Some(HeaderValue::from_static("de"));
            }),
            identity(|fetch| {
                _ = fetch.visitor.headers.insert(AUTHORIZATION, HeaderValue::from_static("a"));
            }),
            identity(|fetch| fetch.visitor.signing = signing(None)),
            identity(|fetch| fetch.visitor.signing = signing(Some("https://bot.example"))),
        ];
        let of_others = others.iter().map(|other| other.page(&request(requests[0])));
        let pages: HashSet<_> = pages.chain(of_others).collect();
        assert_eq!(pages.len(), requests.len() + others.len());
    }

    #[test]
    fn what_does_not_change_the_answer_makes_no_other_page() {
        let own = identity(|_| {});
        let plain = own.page(&request(r#"{"url":"http://a.example/"}"#));
        for same in [
            r#"{"url":"http://A.example:80/#top","category":"tea","revalidate":true}"#,
            r#"{"url":"http://a.example/","run":"other","secret_headers":["accept"]}"#,
        ] {
            assert_eq!(own.page(&request(same)), plain, "{same}");
        }
        let headers = [r#""accept":"b","x-a":"1""#, r#""X-A":"1","Accept":"b""#].map(|headers| {
            let json = format!(r#"{{"url":"http://a.example/","headers":{{{headers}}}}}"#);
            own.page(&request(&json))
        });
        assert_eq!(headers[0], headers[1]);
    }

    #[test]
    fn settings_and_category_decide_how_a_body_is_read() {
        let task = |category: &str| {
            let json = format!(r#"{{"url":"http://a.example/","category":"{category}"}}"#);
            let request = request(&json);
            let key = Key::of_other_program("run", "id");
            Task::new(request, "run".to_owned(), "part".to_owned(), key)
        };
        let fetch = FetchConfig::default();
        let reader = |reading, category| Identity::new(&fetch, reading).reader(&task(category));
        let readers = [("text", ""), ("none", ""), ("text", "Tea"), ("text", "Jam")];
        let readers: HashSet<_> = readers.map(|(reading, tea)| reader(reading, tea)).into();
        assert_eq!(readers.len(), 4);
    }

    #[test]
    fn a_condition_of_the_operator_is_noticed() {
        let with_condition = identity(|fetch| {
            _ = fetch.visitor.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        });
        let with_other = identity(|fetch| {
            _ = fetch.visitor.headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
        });
        assert!(with_condition.has_own_condition() && !with_other.has_own_condition());
    }
}
