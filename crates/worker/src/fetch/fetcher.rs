//! One fetch: a request, its redirects and the body, within one deadline.

mod robots_txt;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fetchline_queue::{Address, FetchRequest};
use fetchline_store::Outcome;
use http::{Method, StatusCode};
use reqwest::Response;
use reqwest::dns::Resolve;

use super::answer::Answer;
use super::body::{self, BodyReader};
use super::client::{self, ClientError};
use super::clients::{self, Build, Clients, Lease, Protocols};
use super::conditional::{self, Conditions, Version};
use super::config::{Config, Cookies};
use super::connection;
use super::cookies::{CookieJar, RunJars};
use super::deadline::Deadline;
use super::dns;
use super::failure::{self, Failure, Fault};
use super::framing::BodyStream;
use super::guard::Guard;
use super::header_limit;
use super::hop::{self, Hop};
use super::progress::{End, Progress};
use super::repeats::{Repeat, Repeats, Sent};
use super::resolver::Unknown;
use super::robots::Robots;
use super::signing::Signing;
use super::tls;
use super::trail::Trail;
use crate::memory_budget::{Budget, Reservation};
use crate::schedule::{Denied, Place};

/// How often the name of one hop is looked up. Once is enough, unless the cache is overfull.
const MAX_LOOKUPS: usize = 3;

/// Fetches pages. A worker has one.
#[derive(Clone)]
pub(crate) struct Fetcher {
    clients: Clients,
    guard: Guard,
    /// `None` where robots.txt is ignored.
    robots: Option<Robots>,
    timeout: Duration,
    /// The longest silence of a site, where it is shorter than `timeout`.
    read_timeout: Option<Duration>,
    /// How long a fetch may wait for memory, places and slots in all.
    hold: Duration,
    max_body: usize,
    budget: Budget,
    signing: Option<Signing>,
    /// `None` where each fetch has a jar of its own.
    run_jars: Option<RunJars>,
}

impl Fetcher {
    /// A fetcher for `concurrency` fetches at once.
    pub(crate) fn new(
        config: &Config,
        concurrency: usize,
        hold: Duration,
        resolver: Arc<dyn Resolve>,
        robots: Option<Robots>,
    ) -> Result<Self, ClientError> {
        let guard = Guard::new(&config.allowed_networks);
        let &Config { timeout, read_timeout, max_body, memory_budget, .. } = config;
        // All clients share one cache of TLS sessions.
        let tls = tls::client_config(&config.authorities, config.memory_budget)?;
        let build: Build = Box::new({
            let (config, guard) = (config.clone(), guard.clone());
            move |protocols, count| {
                let (guard, resolver, mut tls) = (guard.clone(), resolver.clone(), tls.clone());
                if protocols == Protocols::Http1 {
                    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
                }
                client::builder(&config, concurrency, guard, resolver, tls, count)
            }
        });
        Ok(Self {
            clients: Clients::new(clients::max_idle(concurrency), build)?,
            guard,
            robots,
            timeout,
            read_timeout: read_timeout.filter(|limit| *limit < timeout),
            hold,
            max_body,
            budget: body::budget(memory_budget, max_body),
            signing: config.visitor.signing.clone(),
            run_jars: (config.visitor.cookies == Cookies::Run).then(RunJars::new),
        })
    }

    /// The memory of all bodies.
    pub(crate) fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// Sends the request and reads the response. A failure is an [`Answer`] as well. `Err`: a
    /// redirect leads to a host that gets no requests now, and the task may start over. With
    /// `conditions`, the answer has the version of the page.
    pub(crate) async fn fetch(
        &self,
        request: &FetchRequest,
        run: &str,
        conditions: Option<&Conditions>,
        place: &mut Place,
    ) -> Result<Answer, Denied> {
        let jar = match &self.run_jars {
            Some(jars) => Box::pin(jars.of(run, request.address.host())).await,
            None => CookieJar::default(),
        };
        let mut progress = Progress::with_jar(jar);
        let deadline = Deadline::new(self.timeout, self.hold);
        let following = self.follow(request, conditions, &mut progress, place, &deadline);
        let ended = deadline.limit(pin!(following)).await;
        let (outcome, error) = match ended {
            Some(Ok(status)) if status.is_success() => (Outcome::Ok, None),
            // To an unconditional request it is an error like others.
            Some(Ok(StatusCode::NOT_MODIFIED)) if progress.is_conditional => {
                (Outcome::Unchanged, None)
            }
            Some(Ok(status)) => (Outcome::HttpError, Some(describe_status(status))),
            Some(Err(End::Failed(Failure { outcome, text, fault }))) => {
                progress.fault = fault;
                (outcome, Some(text))
            }
            // The site has acted on the request, so it cannot start over, and it did not reach the
            // page that it was redirected to.
            Some(Err(End::Denied(_)))
                if progress.redirected_to.is_some() && !request.is_safe_to_repeat() =>
            {
                let text = "the redirect leads to a host that is paused or cools down";
                (Outcome::Connect, Some(text.to_owned()))
            }
            Some(Err(End::Denied(denied))) => return Err(denied),
            None => {
                let text = format!("not finished within {} s", self.timeout.as_secs_f64());
                (Outcome::Timeout, Some(text))
            }
        };
        Ok(progress.into_answer(outcome, error, &deadline))
    }

    /// Sends the request, follows redirects and reads the body. Returns the last status.
    async fn follow(
        &self,
        request: &FetchRequest,
        conditions: Option<&Conditions>,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
    ) -> Result<StatusCode, End> {
        let robots = self.robots.as_ref();
        let (response, lease) =
            self.request(request, conditions, progress, place, deadline, robots).await?;
        let status = response.status();
        if conditions.is_some() && status == StatusCode::OK {
            let address = progress.redirected_to.as_ref().unwrap_or(&request.address);
            progress.version = Some(Box::new(Version::of(response.headers(), address)));
        }
        progress.content_type = hop::content_type(response.headers());
        // What their `Content-Length` says is the length for another method or status.
        let is_bodiless = request.method == Method::HEAD || matches!(status.as_u16(), 204 | 304);
        let stream = BodyStream::new(response, lease);
        // Boxed, so that a fetch that waits for its response stays small.
        progress.body = Some(Box::pin(self.read(stream, is_bodiless, deadline)).await?);
        Ok(status)
    }

    /// The response at the end of the redirects, its body not read yet, with the lease of its
    /// connection.
    async fn request(
        &self,
        request: &FetchRequest,
        conditions: Option<&Conditions>,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
        robots: Option<&Robots>,
    ) -> Result<(Response, Lease), End> {
        let mut hop = Hop::first(request, conditions);
        let (mut trail, mut is_first) = (Trail::default(), true);
        loop {
            let cookies = progress.jar.snapshot();
            self.guard.check_host(&hop.address)?;
            if !std::mem::take(&mut is_first) {
                Box::pin(progress.wait(deadline, place.advance(&hop.address))).await?;
            }
            if let Some(robots) = robots {
                Box::pin(self.obey(robots, &hop.address, progress, place, deadline)).await?;
            }
            let (response, lease) = self.send(&hop, progress, place, deadline).await?;
            let status = response.status();
            progress.status = Some(status);
            header_limit::check(response.headers())?;
            progress.retry_after = hop::retry_after(response.headers());
            place.answered(status.as_u16(), progress.retry_after);
            progress.jar.store(response.headers(), hop.address.as_url());
            progress.is_conditional = hop.condition().is_some();
            if progress.is_conditional && conditional::may_be_fault_of_condition(status) {
                hop::drain(BodyStream::new(response, lease)).await;
                hop.drop_conditions();
                trail = Trail::default();
                continue;
            }
            let Some(location) = hop::location(&response) else { return Ok((response, lease)) };
            hop::drain(BodyStream::new(response, lease)).await;
            trail.add(&hop, cookies);
            hop.redirect(status, &location)?;
            trail.check(&hop, progress.jar.snapshot())?;
            progress.redirected_to = Some(hop.address.clone().into_owned());
        }
    }

    /// Sends the request of a hop. If the client does not know the addresses of its host, looks
    /// them up, which takes none of the fetch's time.
    async fn send(
        &self,
        hop: &Hop<'_>,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
    ) -> Result<(Response, Lease), End> {
        for _ in 0..MAX_LOOKUPS {
            match self.send_to_known(hop, progress, place, deadline).await? {
                Ok(response) => return Ok(response),
                Err(unknown) => {
                    // Boxed: cold path.
                    let site = hop.address.as_url().host_str();
                    let looking_up = Box::pin(async { Ok(unknown.look_up(site).await) });
                    progress.wait(deadline, looking_up).await??;
                }
            }
        }
        let text = format!("the name was looked up {MAX_LOOKUPS} times and forgotten again");
        Err(Failure { outcome: Outcome::Dns, text, fault: Fault::Crowded }.into())
    }

    /// Sends a request, again if the server has not processed it. That costs no attempt of the
    /// task. `Err` in `Ok` if the client does not know the addresses of the host.
    async fn send_to_known(
        &self,
        hop: &Hop<'_>,
        progress: &mut Progress,
        place: &mut Place,
        deadline: &Deadline,
    ) -> Result<Result<(Response, Lease), Unknown>, End> {
        let host = hop.address.host();
        let (mut repeats, mut lease) = (Repeats::new(), self.clients.for_host(host));
        loop {
            let sending =
                connection::send(hop.send(&lease.client, &progress.jar, self.signing.as_ref()));
            let (result, is_reused) = self.within_read_timeout(sending).await?;
            let sent = Sent { is_reused, is_safe: hop.is_safe() };
            let repeat = match result {
                Ok(response) => match repeats.after_answer(&response, sent) {
                    Some(repeat) => repeat,
                    None => return Ok(Ok((response, lease))),
                },
                Err(error) => {
                    if let Some(unknown) = failure::unknown_host(&error) {
                        return Ok(Err(unknown));
                    }
                    if repeats.is_refusal(&error) {
                        place.refused();
                    }
                    match repeats.after_error(&error, sent) {
                        Some(repeat) => repeat,
                        None => return Err(self.failure(error, &hop.address).into()),
                    }
                }
            };
            // While the fetch waits, it uses no connection.
            drop(lease);
            if repeat == Repeat::OverHttp1 {
                self.clients.use_http1(host);
            }
            if let Repeat::After(pause) = repeat {
                // Boxed: cold path.
                Box::pin(tokio::time::sleep(pause)).await;
            }
            // A limited host gets no more requests than its limit, whatever becomes of them.
            Box::pin(progress.wait(deadline, place.advance(&hop.address))).await?;
            lease = match repeat {
                Repeat::OnNewConnection => self.clients.unpooled(host),
                Repeat::OverHttp1 | Repeat::AtOnce | Repeat::After(_) => {
                    self.clients.for_host(host)
                }
            };
        }
    }

    /// The failure of a request to this address.
    fn failure(&self, error: reqwest::Error, address: &Address) -> Failure {
        let mut failure = Failure::from(error);
        if failure.fault == Fault::NoSockets {
            // A missing route has the same error as a shortage of ports.
            match address.ip().filter(IpAddr::is_ipv6) {
                Some(ip) if !dns::has_route(&[ip]) => failure.fault = Fault::Site,
                _ => self.clients.out_of_sockets(),
            }
        }
        failure
    }

    /// Reads the body to its end. Where it fails, the connection is dropped.
    async fn read(
        &self,
        mut stream: BodyStream,
        is_bodiless: bool,
        deadline: &Deadline,
    ) -> Result<(Vec<u8>, Reservation), Failure> {
        let reservation = self.budget.reservation();
        let length = stream.declared_length().filter(|_| !is_bodiless);
        let mut body =
            BodyReader::new(stream.headers(), length, self.max_body, reservation, deadline).await?;
        let failure: Failure = loop {
            match self.within_read_timeout(stream.next()).await.flatten() {
                Ok(Some(chunk)) => match body.push(&chunk).await {
                    Ok(()) => {}
                    Err(error) => break error.into(),
                },
                Ok(None) => match body.finish().await {
                    Ok(whole) => return Ok(whole),
                    Err(error) if stream.ends_with_connection() && error.is_truncation() => {
                        let text = format!("the connection ended too early: {error}");
                        return Err(Failure::new(Outcome::Protocol, text));
                    }
                    Err(error) => return Err(error.into()),
                },
                Err(failure) => break failure,
            }
        };
        // The reservation covers what the connection has read ahead, so the connection goes first,
        // and its task gets a moment to close it.
        drop(stream);
        tokio::task::yield_now().await;
        Err(failure)
    }

    /// Bounds the silence of a site. The client library has such a timeout too, but it also counts
    /// the time in which nobody reads.
    async fn within_read_timeout<T>(&self, read: impl Future<Output = T>) -> Result<T, Failure> {
        let Some(limit) = self.read_timeout else { return Ok(read.await) };
        tokio::time::timeout(limit, read).await.map_err(|_| {
            let text = format!("nothing received for {} s (--read-timeout)", limit.as_secs_f64());
            Failure::new(Outcome::Timeout, text)
        })
    }
}

fn describe_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests;
