//! The jars of runs, for sites that need a session over several pages.

use std::sync::{Arc, Mutex};

use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::jar::{CookieJar, Jar};

/// The most jars of a worker; the least recently used one goes first.
const MAX_JARS: u64 = 4_096;

/// A jar per run and host, in memory. The cookies that a redirect's host sets stay in the jar of
/// the task's own host, so a jar is one visitor of one site.
#[derive(Clone)]
pub(crate) struct RunJars(Cache<RunAndHost, Arc<Mutex<Jar>>>);

type RunAndHost = (Box<str>, Box<str>);

impl RunJars {
    pub(crate) fn new() -> Self {
        let jars = Cache::builder().max_capacity(MAX_JARS);
        Self(jars.eviction_policy(EvictionPolicy::lru()).build())
    }

    /// The jar for the tasks of a run at a host.
    pub(crate) async fn of(&self, run: &str, host: &str) -> CookieJar {
        CookieJar::OfRun(self.0.get_with((run.into(), host.into()), async { Arc::default() }).await)
    }
}

#[cfg(test)]
mod tests {
    use http::header::SET_COOKIE;
    use url::Url;

    use super::*;

    #[tokio::test]
    async fn tasks_share_a_jar_by_run_and_host() {
        let jars = RunJars::new();
        let url = Url::parse("http://a.example/").unwrap();
        let headers = [(SET_COOKIE, "sid=1".parse().unwrap())].into_iter().collect();
        jars.of("nightly", "a.example").await.store(&headers, &url);
        for (run, host, expected) in
            [("nightly", "a.example", true), ("other", "a.example", false), ("nightly", "b", false)]
        {
            let field = jars.of(run, host).await.field(None, &url);
            assert_eq!(field.is_some(), expected, "{run} {host}");
        }
    }
}
