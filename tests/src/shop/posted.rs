//! Pages that a test puts up itself: `/posted/{name}`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};

/// The status and the HTML of each page, by its name.
#[derive(Clone, Debug, Default)]
pub(super) struct PostedPages(Arc<Mutex<HashMap<String, (u16, String)>>>);

impl PostedPages {
    pub(super) fn post(&self, name: &str, status: u16, html: &str) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert(name.to_owned(), (status, html.to_owned()));
    }

    fn get(&self, name: &str) -> (u16, String) {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(name).cloned().unwrap_or((404, String::new()))
    }
}

pub(super) async fn page(State(pages): State<PostedPages>, Path(name): Path<String>) -> Response {
    let (status, html) = pages.get(&name);
    (StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND), Html(html)).into_response()
}
