//! The resources of the server.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventout::{ContainerInfo, Details, Error, ErrorKind, Snapshot, Source};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::super::diagnostics::clean;
use super::super::label::Label;
use super::super::view::{Container, Usage};
use super::connection::Connections;
use super::http::{self, Body, quality, text, unless, whole};
use super::metrics::{Format, Scrape};
use super::sampler::{Sample, SampleStream, Samples};

/// The page for people.
const PAGE: &str = include_str!("page.html");

/// The policy of the page: its own script and style run, and data come from this server alone.
static PAGE_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let scripts = sources(PAGE, "script");
    let styles = sources(PAGE, "style");
    let policy = format!(
        "default-src 'none'; script-src{scripts}; style-src{styles}; connect-src 'self'; img-src data:; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Responds to requests.
pub(super) struct Api {
    pub(super) samples: Samples,
    pub(super) connections: Connections,
    pub(super) labels: Arc<[Label]>,
    pub(super) started: SystemTime,
    /// Ends the streams once it is true.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Api {
    /// Responds to a GET or HEAD request. hyper drops the body of the latter.
    pub(super) async fn respond(self: Arc<Self>, parts: Parts) -> Response<Body> {
        let headers = &parts.headers;
        // A client gets server-sent events if it prefers them to the other format.
        let wants_events =
            |other| quality(headers, "text/event-stream", "") > quality(headers, other, "");
        match parts.uri.path() {
            "/" => page(),
            "/metrics" => self.metrics(headers).await,
            "/containers" if wants_events("application/json") => self.documents(),
            "/containers" => self.containers().await,
            "/events" if wants_events(NDJSON) => self.events(Content::Events).await,
            "/events" => self.events(Content::Lines).await,
            "/healthz" => self.health().await,
            path => match path.strip_prefix("/containers/") {
                // What is no UTF-8 becomes something that is the name of no container.
                Some(id) => {
                    self.container(&percent_decode_str(id).decode_utf8_lossy())
                        .await
                }
                None => text(
                    StatusCode::NOT_FOUND,
                    "not found; there are /, /metrics, /containers, /containers/ID, /events and /healthz",
                ),
            },
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let format = Format::of(headers);
        let scrape = Scrape {
            // One that takes too long is a source that is down, which Prometheus has to hear before it gives up.
            sample: self.samples.fresh(scrape_timeout(headers)).await,
            labels: Arc::clone(&self.labels),
            connections: self.connections.count(),
            started: self.started,
        };
        let (sender, response) = http::parts(HeaderValue::from_static(format.content_type()));
        spawn_blocking(move || {
            let mut writer = sender.into_writer();
            scrape.encode(format, &mut writer)?;
            writer.finish()
        });
        response
    }

    async fn containers(&self) -> Response<Body> {
        let Some(sample) = self.samples.fresh(PATIENCE).await else {
            return late();
        };
        let status = match sample.view {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        match document(sample).await {
            Some(json) => whole(status, JSON, json),
            None => internal_error(),
        }
    }

    async fn container(&self, id: &str) -> Response<Body> {
        let Some(sample) = self.samples.fresh(PATIENCE).await else {
            return late();
        };
        let id = id.to_owned();
        // There may be many to look through.
        let response = spawn_blocking(move || container(&sample, &id));
        response.await.unwrap_or_else(|_| internal_error())
    }

    /// Returns the documents of samples as a stream.
    fn documents(&self) -> Response<Body> {
        match self.samples.stream(false) {
            Some(samples) => self.stream(Content::Containers, samples),
            None => too_many(),
        }
    }

    /// Returns the lines of events as a stream, or why there are none: a source that cannot be read has none.
    async fn events(&self, content: Content) -> Response<Body> {
        // First, so that the next sample has lines.
        let Some(samples) = self.samples.stream(true) else {
            return too_many();
        };
        match self.unreadable().await {
            None => self.stream(content, samples),
            Some(response) => response,
        }
    }

    async fn health(&self) -> Response<Body> {
        let unreadable = self.unreadable().await;
        unreadable.unwrap_or_else(|| text(StatusCode::OK, "ok"))
    }

    /// Returns the response that says why the source cannot be read. `None` if it can.
    async fn unreadable(&self) -> Option<Response<Body>> {
        match self.samples.fresh(PATIENCE).await.as_deref() {
            Some(Sample { view: Ok(_), .. }) => None,
            Some(Sample { view: Err(e), .. }) => Some(text(StatusCode::SERVICE_UNAVAILABLE, e)),
            None => Some(late()),
        }
    }

    /// Returns a stream of samples, which ends when the server does.
    fn stream(&self, content: Content, mut samples: SampleStream) -> Response<Body> {
        /// The time after which a client, or what is in between, might think that the connection is dead.
        const KEEP_ALIVE: Duration = Duration::from_secs(15);
        let mut stopping = self.stopping.clone();
        let (sender, mut response) = http::parts(match content {
            Content::Lines => HeaderValue::from_static(NDJSON),
            _ => HeaderValue::from_static("text/event-stream"),
        });
        // Else nginx, in front of the server, keeps lines until it has many.
        let unbuffered = HeaderValue::from_static("no");
        response
            .headers_mut()
            .insert("x-accel-buffering", unbuffered);
        tokio::spawn(async move {
            let work = async {
                if content != Content::Lines {
                    sender.send("retry: 2000\n\n").await?;
                }
                loop {
                    // Not in the middle of a message.
                    let stopped = stopping.wait_for(|stopping| *stopping);
                    let next = unless(stopped, timeout(KEEP_ALIVE, samples.next()));
                    let sample = match next.await {
                        Some(Ok(Some(sample))) => sample,
                        None | Some(Ok(None)) => return Ok::<_, http::Closed>(()),
                        Some(Err(_)) if content == Content::Lines => continue,
                        Some(Err(_)) => {
                            sender.send(": \n\n").await?;
                            continue;
                        }
                    };
                    let number = sample.number;
                    match content {
                        Content::Lines | Content::Events => {
                            let kills = samples.oom_kills().into_iter();
                            for mut lines in kills.chain(sample.lines.clone()) {
                                if content == Content::Events {
                                    let events = spawn_blocking(move || events(number, &lines));
                                    lines = events.await.unwrap_or_default().into();
                                }
                                sender.send(lines).await?;
                            }
                        }
                        Content::Containers => {
                            let json = document(sample).await.unwrap_or_default();
                            sender.send(format!("id: {number}\ndata: ")).await?;
                            sender.send(json).await?;
                            sender.send("\n\n").await?;
                        }
                    }
                }
            };
            // A stream that has ended in the middle of a message is not finished.
            if let Some(Ok(())) = unless(sender.closed(), work).await {
                sender.finish().await;
            }
        });
        response
    }
}

/// The content of a stream.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    /// The document of each sample, as a server-sent event.
    Containers,
    /// Lines, as server-sent events.
    Events,
    /// Lines.
    Lines,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: &str = "application/x-ndjson";

/// The time that a client waits for the source.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the time that a scrape waits for the source: somewhat less than Prometheus waits for the response, and at most
/// [`PATIENCE`].
fn scrape_timeout(headers: &HeaderMap) -> Duration {
    /// The most that is left for the response itself.
    const RESERVE: Duration = Duration::from_millis(500);
    let header = headers.get("x-prometheus-scrape-timeout-seconds");
    let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let timeout = timeout.unwrap_or(PATIENCE);
    PATIENCE.min(timeout - RESERVE.min(timeout / 10))
}

fn late() -> Response<Body> {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "reading the source takes too long",
    )
}

fn too_many() -> Response<Body> {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "there are too many streams",
    )
}

fn internal_error() -> Response<Body> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
}

fn page() -> Response<Body> {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let mut response = whole(StatusCode::OK, html, PAGE);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY.clone());
    response
}

/// Returns the sources, for a content security policy, of the elements of that name in a page: their hashes.
fn sources(page: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let mut sources = String::new();
    let mut rest = page;
    while let Some((_, behind)) = rest.split_once(&open)
        && let Some((text, behind)) = behind.split_once(&close)
    {
        let hash = STANDARD.encode(Sha256::digest(text));
        let _ = write!(sources, " 'sha256-{hash}'");
        rest = behind;
    }
    if sources.is_empty() {
        " 'none'".to_owned()
    } else {
        sources
    }
}

/// Returns the container of a sample that `id` means, as on the command line.
fn container(sample: &Sample, id: &str) -> Response<Body> {
    let view = match &sample.view {
        Ok(view) => view,
        Err(e) => return text(StatusCode::SERVICE_UNAVAILABLE, e),
    };
    let listed = view.containers.iter().map(|c| (c.info.id.as_str(), c));
    let mut listed = Listed(listed.collect());
    let id = match listed.0.contains_key(id) {
        true => Ok(id.to_owned()),
        false => listed.resolve(id),
    };
    let id = match id {
        Ok(id) => id,
        Err(e) => return text(StatusCode::CONFLICT, clean(e)),
    };
    let Some(container) = listed.0.get(&*id) else {
        let id = clean(&id);
        return text(
            StatusCode::NOT_FOUND,
            format_args!("there is no container \"{id}\""),
        );
    };
    match serde_json::to_vec(&Row::new(container, sample.origin, true)) {
        Ok(json) => whole(StatusCode::OK, JSON, json),
        Err(_) => internal_error(),
    }
}

/// The containers of a view by their IDs, among which names are looked up as in any source.
struct Listed<'a>(HashMap<&'a str, &'a Container>);

impl Source for Listed<'_> {
    fn containers(&mut self) -> Result<Vec<ContainerInfo>, Error> {
        Ok(self.0.values().map(|c| c.info.clone()).collect())
    }

    fn snapshot(&mut self, _: &str) -> Result<Arc<Snapshot>, Error> {
        Err(Error::new(ErrorKind::Source, "a view has no snapshots"))
    }

    fn details(&mut self, container: &str) -> Result<Arc<Details>, Error> {
        let container = self.0.get(container);
        Ok(container.map_or_else(Arc::default, |c| Arc::clone(&c.details)))
    }
}

/// Returns lines as server-sent events.
fn events(number: u64, lines: &[u8]) -> Vec<u8> {
    let mut events = Vec::with_capacity(lines.len() + lines.len() / 8);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        events.extend_from_slice(format!("id: {number}\ndata: ").as_bytes());
        events.extend_from_slice(line);
        events.push(b'\n');
    }
    events
}

/// Returns the JSON document of a sample, which is made once for all who want it.
async fn document(sample: Arc<Sample>) -> Option<Bytes> {
    if let Some(json) = sample.json.get() {
        return Some(json.clone());
    }
    let json = spawn_blocking(move || {
        let json = || serde_json::to_vec(&Document::new(&sample)).unwrap_or_default();
        sample.json.get_or_init(|| json().into()).clone()
    });
    json.await.ok().filter(|json| !json.is_empty())
}

/// The document of a sample.
#[derive(Serialize)]
struct Document<'a> {
    /// When the source was read, in milliseconds since 1970.
    time: u64,
    /// Set if the source could be read.
    source_up: bool,
    containers: Vec<Row<'a>>,
    /// The number of containers beyond the limit, which were not read.
    dropped: usize,
    errors: Vec<String>,
}

impl<'a> Document<'a> {
    fn new(sample: &'a Sample) -> Self {
        /// The most errors that are shown.
        const ERRORS: usize = 100;
        let milliseconds = |time: SystemTime| {
            let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        };
        match &sample.view {
            Ok(view) => {
                let errors = view.errors.iter().chain(&view.warnings).take(ERRORS);
                let rows = view.containers.iter();
                Self {
                    time: milliseconds(view.time),
                    source_up: true,
                    containers: rows.map(|c| Row::new(c, sample.origin, false)).collect(),
                    dropped: view.dropped,
                    errors: errors.map(|e| clean(format_args!("{e:#}"))).collect(),
                }
            }
            Err(e) => Self {
                time: milliseconds(SystemTime::now()),
                source_up: false,
                containers: Vec::new(),
                dropped: 0,
                errors: vec![e.clone()],
            },
        }
    }
}

/// A container in a document.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    info: &'a ContainerInfo,
    #[serde(flatten)]
    details: Details,
    /// When it was read, in nanoseconds since the server began, by a clock that nobody sets.
    read: u64,
    usage: &'a Usage,
}

impl<'a> Row<'a> {
    fn new(container: &'a Container, origin: Instant, with_annotations: bool) -> Self {
        let mut details = Details::clone(&container.details);
        details.name = Some(container.name().to_owned());
        if !with_annotations {
            details.annotations.clear();
        }
        let read = container.instant.saturating_duration_since(origin);
        Self {
            info: &container.info,
            details,
            read: u64::try_from(read.as_nanos()).unwrap_or(u64::MAX),
            usage: &container.usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specification() {
        let page = "<style>a</style><script>alert('Hello, world.');</script>";
        // The example of the specification of content security policies.
        let expected = " 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='";
        assert_eq!(sources(page, "script"), expected);
        assert_eq!(sources("", "script"), " 'none'");
        assert_eq!(sources("<script>x", "script"), " 'none'");
    }

    #[test]
    fn a_scrape_gets_its_response_before_prometheus_gives_up() {
        for (header, milliseconds) in [
            (None, 9_500),
            (Some("2.5"), 2_250),
            (Some("60"), 10_000),
            (Some("0.1"), 90),
            (Some("0"), 0),
            (Some("-1"), 9_500),
            (Some("NaN"), 9_500),
            (Some("x"), 9_500),
        ] {
            let mut headers = HeaderMap::new();
            let name = "x-prometheus-scrape-timeout-seconds";
            headers.extend(header.map(|value| {
                let name = header::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            }));
            let timeout = Duration::from_millis(milliseconds);
            assert_eq!(scrape_timeout(&headers), timeout, "{header:?}");
        }
    }

    #[test]
    fn all_of_the_page_is_in_its_policy() {
        for element in ["script", "style"] {
            let elements = PAGE.matches(&format!("<{element}")).count();
            let hashes = sources(PAGE, element).matches("sha256-").count();
            assert_eq!(elements, hashes, "{element}");
        }
    }
}
