//! The resources of the server.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::super::diagnostics::clean;
use super::super::label::Label;
use super::super::view::{Container, View};
use super::connection::Connections;
use super::http::{self, Body, quality, text, unless, whole};
use super::metrics::{Format, Scrape};
use super::sampler::{Sample, Samples};

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
    /// Responds to a GET request.
    pub(super) async fn respond(self: Arc<Self>, parts: Parts) -> Response<Body> {
        let accepts_events = quality(&parts.headers, "text/event-stream", "")
            > quality(&parts.headers, "application/json", "");
        match parts.uri.path() {
            "/" => page(),
            "/metrics" => self.metrics(Format::of(&parts.headers)).await,
            "/containers" if accepts_events => self.stream(Content::Containers),
            "/containers" => self.containers().await,
            "/events" if accepts_events => self.stream(Content::Events),
            "/events" => self.stream(Content::Lines),
            "/healthz" => self.health().await,
            path => match path.strip_prefix("/containers/") {
                Some(id) => self.container(&percent_decode(id)).await,
                None => text(StatusCode::NOT_FOUND, "not found"),
            },
        }
    }

    async fn metrics(&self, format: Format) -> Response<Body> {
        let Some(sample) = self.samples.fresh().await else {
            return late();
        };
        let scrape = Scrape {
            sample,
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
        let Some(sample) = self.samples.fresh().await else {
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
        let Some(sample) = self.samples.fresh().await else {
            return late();
        };
        let view = match &sample.view {
            Ok(view) => view,
            Err(e) => return text(StatusCode::SERVICE_UNAVAILABLE, e),
        };
        match find(view, id) {
            Ok(container) => match serde_json::to_vec(&Row(container, Annotations::All)) {
                Ok(json) => whole(StatusCode::OK, JSON, json),
                Err(_) => internal_error(),
            },
            Err(status) => {
                let count = if status == StatusCode::CONFLICT {
                    "more than one"
                } else {
                    "no"
                };
                text(
                    status,
                    format_args!("there is {count} container {:?}", clean(id)),
                )
            }
        }
    }

    async fn health(&self) -> Response<Body> {
        match self.samples.fresh().await.as_deref() {
            Some(Sample { view: Ok(_), .. }) => text(StatusCode::OK, "ok"),
            Some(Sample { view: Err(e), .. }) => text(StatusCode::SERVICE_UNAVAILABLE, e),
            None => late(),
        }
    }

    /// Returns a stream of samples, which ends when the server does.
    fn stream(&self, content: Content) -> Response<Body> {
        /// The time after which a client, or what is in between, might think that the connection is dead.
        const KEEP_ALIVE: Duration = Duration::from_secs(15);
        let Some(mut samples) = self.samples.stream(content != Content::Containers) else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "there are too many streams",
            );
        };
        let mut stopping = self.stopping.clone();
        let (sender, response) = http::parts(match content {
            Content::Lines => HeaderValue::from_static("application/x-ndjson"),
            _ => HeaderValue::from_static("text/event-stream"),
        });
        tokio::spawn(async move {
            let work = async {
                if content != Content::Lines {
                    sender.send("retry: 2000\n\n").await?;
                }
                loop {
                    let sample = match timeout(KEEP_ALIVE, samples.next()).await {
                        Ok(Some(sample)) => sample,
                        Ok(None) => return Ok::<_, http::Closed>(()),
                        Err(_) if content == Content::Lines => continue,
                        Err(_) => {
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
            let stopped = stopping.wait_for(|stopping| *stopping);
            let result = unless(stopped, unless(sender.closed(), work)).await;
            // A stream that has ended in the middle of a message is not finished.
            if let None | Some(Some(Ok(()))) = result {
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

fn late() -> Response<Body> {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "reading the source takes too long",
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
        let hash = base64(&Sha256::digest(text));
        let _ = write!(sources, " 'sha256-{hash}'");
        rest = behind;
    }
    if sources.is_empty() {
        " 'none'".to_owned()
    } else {
        sources
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit > chunk.len() {
                '='
            } else {
                char::from(DIGITS[value as usize])
            });
        }
    }
    text
}

/// Decodes a path (RFC 3986, section 2.1). What is no UTF-8 becomes something that is the name of no container.
fn percent_decode(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let bytes = path.as_bytes();
    let digit = |at: usize| char::from(bytes.get(at).copied()?).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| Some(digit(at + 1)? << 4 | digit(at + 2)?))
            .flatten();
        at += if escaped.is_some() { 3 } else { 1 };
        // Two digits are one byte.
        decoded.push(escaped.map_or(byte, |byte| byte as u8));
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Finds the container that `text` means, as the command line does: by its ID, its name, or the beginning of its ID.
fn find<'a>(view: &'a View, text: &str) -> Result<&'a Container, StatusCode> {
    let is_id = |c: &Container| c.info.id == text;
    let is_name = |c: &Container| {
        let name = c.details.name.as_deref();
        let in_pod = text
            .split_once('/')
            .is_some_and(|(pod, own)| c.details.pod.as_deref() == Some(pod) && name == Some(own));
        name == Some(text) || in_pod
    };
    let is_prefix = |c: &Container| !text.is_empty() && c.info.id.starts_with(text);
    let all = |means: &dyn Fn(&Container) -> bool| {
        let found = view.containers.iter().filter(|container| means(container));
        found.take(2).collect::<Vec<_>>()
    };
    let means: [&dyn Fn(&Container) -> bool; 3] = [&is_id, &is_name, &is_prefix];
    let found = means.map(all).into_iter().find(|found| !found.is_empty());
    match found.unwrap_or_default()[..] {
        [container] => Ok(container),
        [] => Err(StatusCode::NOT_FOUND),
        _ => Err(StatusCode::CONFLICT),
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
    let json = spawn_blocking(move || {
        let json = || serde_json::to_vec(&Document(&sample)).unwrap_or_default();
        sample.json.get_or_init(|| json().into()).clone()
    });
    json.await.ok().filter(|json| !json.is_empty())
}

/// The document of a sample.
struct Document<'a>(&'a Sample);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The most errors that are shown.
        const ERRORS: usize = 100;
        let view = self.0.view.as_ref();
        let time = view.map_or_else(|_| SystemTime::now(), |view| view.time);
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let containers = view.map_or(&[][..], |view| &view.containers);
        let errors: Vec<_> = match view {
            Ok(view) => view
                .errors
                .iter()
                .take(ERRORS)
                .map(|e| clean(format_args!("{e:#}")))
                .collect(),
            Err(e) => vec![e.clone()],
        };
        let mut document = serializer.serialize_struct("Document", 4)?;
        document.serialize_field("time", &u64::try_from(time.as_millis()).unwrap_or(u64::MAX))?;
        document.serialize_field("containers", &Rows(containers))?;
        document.serialize_field("dropped", &view.map_or(0, |view| view.dropped))?;
        document.serialize_field("errors", &errors)?;
        document.end()
    }
}

struct Rows<'a>(&'a [Container]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0
                .iter()
                .map(|container| Row(container, Annotations::None)),
        )
    }
}

/// The annotations in a row.
#[derive(PartialEq)]
enum Annotations {
    All,
    None,
}

/// A container in a document.
struct Row<'a>(&'a Container, Annotations);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let Self(container, annotations) = self;
        let mut row = serde_json::Map::new();
        let info = serde_json::to_value(&container.info).map_err(S::Error::custom)?;
        let details = serde_json::to_value(&*container.details).map_err(S::Error::custom)?;
        let usage = serde_json::to_value(&container.usage).map_err(S::Error::custom)?;
        for part in [info, details] {
            if let serde_json::Value::Object(part) = part {
                row.extend(part);
            }
        }
        row.insert("name".to_owned(), container.name().into());
        if *annotations == Annotations::None {
            row.shift_remove("annotations");
        }
        row.insert("usage".to_owned(), usage);
        row.serialize(serializer)
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
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
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

    #[test]
    fn paths_are_decoded() {
        for (path, decoded) in [
            ("", ""),
            ("a/b", "a/b"),
            ("%61%2Fb%2f", "a/b/"),
            ("%c3%bc", "ü"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%ff", "\u{fffd}"),
            ("ü%", "ü%"),
        ] {
            assert_eq!(percent_decode(path), decoded, "{path}");
        }
    }
}
