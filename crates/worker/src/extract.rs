//! From an answer to the row that is stored.

use std::sync::Arc;
use std::time::Duration;

use fetchline_extract::Content;
use fetchline_queue::Task;
use fetchline_store::{Body, Fetch};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::answer::Answer;
use crate::config::StoreBody;

/// The row of a task that was answered, or not.
pub(crate) fn row(task: &Task, answer: Answer, elapsed: Duration, keep: StoreBody, worker: &Arc<str>) -> Fetch {
    let (body_bytes, body_sha256) = match &answer.body {
        Some(body) => (Some(body.len() as u64), Some(Sha256::digest(body).into())),
        None => (None, None),
    };
    let body = answer.body.map_or(Body::None, |body| kept(answer.content_type.as_deref(), body, keep));
    Fetch {
        id: *task.key.as_bytes(),
        run: task.run.clone(),
        url: task.order.address.masked(),
        final_url: answer.redirected_to.map(|address| address.masked()),
        method: task.order.method.to_string(),
        outcome: answer.outcome,
        status: answer.status,
        content_type: answer.content_type,
        body_bytes,
        body_sha256,
        body,
        error: answer.error,
        attempts: task.attempt,
        elapsed,
        fetched_at: OffsetDateTime::now_utc(),
        worker: worker.clone(),
        message_id: task.message_id.clone(),
    }
}

/// An empty body is stored as nothing: its size says so.
fn kept(content_type: Option<&str>, body: Vec<u8>, keep: StoreBody) -> Body {
    if body.is_empty() || keep == StoreBody::None {
        return Body::None;
    }
    match (fetchline_extract::read(content_type, body), keep) {
        (Content::Json(text), _) => Body::Json(text),
        (Content::Text(text), StoreBody::Text | StoreBody::All) => Body::Text(text),
        (Content::Binary(bytes), StoreBody::All) => Body::Bytes(bytes),
        _ => Body::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_body_is_the_users_choice() {
        let json = || Body::Json("{}".to_owned());
        let text = || Body::Text("page".to_owned());
        let bytes = || Body::Bytes(vec![0, 1]);
        for (keep, of_json, of_text, of_bytes) in [
            (StoreBody::Text, json(), text(), Body::None),
            (StoreBody::Json, json(), Body::None, Body::None),
            (StoreBody::All, json(), text(), bytes()),
            (StoreBody::None, Body::None, Body::None, Body::None),
        ] {
            assert_eq!(kept(Some("application/json"), b"{}".to_vec(), keep), of_json, "{keep:?}");
            assert_eq!(kept(Some("text/html"), b"page".to_vec(), keep), of_text, "{keep:?}");
            assert_eq!(kept(Some("image/png"), vec![0, 1], keep), of_bytes, "{keep:?}");
        }
        assert_eq!(kept(Some("text/html"), Vec::new(), StoreBody::All), Body::None);
    }
}
