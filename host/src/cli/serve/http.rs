//! HTTP: the limits of requests, who may make them, and the bodies of responses.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body_util::{Either, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::diagnostics::clean;
use super::connection::{Connections, Responding, Stream};

/// The time that connections get to end when the server does.
const GRACE: Duration = Duration::from_millis(1500);

/// A server of connections.
pub(super) struct Server {
    pub(super) listener: TcpListener,
    pub(super) connections: Connections,
    /// The names, besides those of this machine for itself, that requests may give the server.
    pub(super) hosts: Arc<[String]>,
}

impl Server {
    /// Serves connections until `stop` completes, and then lets them end.
    ///
    /// `respond` gets GET and HEAD requests alone. Bodies of requests are never read.
    pub(super) async fn serve<R>(
        self,
        respond: impl Fn(Parts) -> R + Clone + Send + 'static,
        stop: impl Future,
    ) where
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let graceful = GracefulShutdown::new();
        unless(stop, self.accept(respond, &graceful)).await;
        let _ = timeout(GRACE, graceful.shutdown()).await;
    }

    async fn accept<R>(
        self,
        respond: impl Fn(Parts) -> R + Clone + Send + 'static,
        graceful: &GracefulShutdown,
    ) where
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        /// Until a descriptor may be free again.
        const BACK_OFF: Duration = Duration::from_millis(100);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // Also the time that a connection may be idle.
            .header_read_timeout(Duration::from_secs(5))
            .max_headers(32)
            .max_header_size(8 << 10)
            .max_buf_size(64 << 10);
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(_) => {
                    sleep(BACK_OFF).await;
                    continue;
                }
            };
            let Ok(local) = stream.local_addr() else {
                continue;
            };
            // The parts of an event of a stream do not wait for one another.
            let _ = stream.set_nodelay(true);
            let Some(connection) = self.connections.admit().await else {
                continue;
            };
            let stream = TokioIo::new(Stream::new(stream, Arc::clone(&connection)));
            let of_responses = Arc::clone(&connection);
            let hosts = Arc::clone(&self.hosts);
            let respond = respond.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let responding = of_responses.respond();
                let (parts, _) = request.into_parts();
                let refusal = refusal(&parts, local.ip(), &hosts);
                let response = refusal.map_or_else(|| Either::Left(respond(parts)), Either::Right);
                async move {
                    let mut response = match response {
                        Either::Left(response) => response.await,
                        Either::Right(refusal) => refusal,
                    };
                    protect(response.headers_mut());
                    Ok::<_, Infallible>(response.map(|body| Tracked {
                        body,
                        _responding: responding,
                    }))
                }
            });
            let work = graceful.watch(http.serve_connection(stream, service));
            tokio::spawn(async move {
                // What is wrong with a connection is its client's affair.
                let _ = unless(connection.evicted(), work).await;
            });
        }
    }
}

/// Completes with `work`, or with `None` as soon as `end` does.
pub(super) async fn unless<T>(end: impl Future, work: impl Future<Output = T>) -> Option<T> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    std::future::poll_fn(|cx| match end.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Returns a short text.
pub(super) fn text(status: StatusCode, text: impl fmt::Display) -> Response<Body> {
    let text = format!("{text}\n");
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    whole(status, plain, text)
}

/// Returns a response that is there as a whole.
pub(super) fn whole(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Returns a response that is still being made, and where its parts go.
pub(super) fn parts(content_type: HeaderValue) -> (Sender, Response<Body>) {
    // What is in the channel, and in the buffers of hyper and of the socket, is all that a slow reader costs.
    let (sender, receiver) = mpsc::channel(2);
    let mut response = Response::new(Either::Right(Receiver(Some(receiver))));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    (Sender(sender), response)
}

/// Returns the error response to a request that is refused.
fn refusal(parts: &Parts, local: IpAddr, hosts: &[String]) -> Option<Response<Body>> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are supported",
        );
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allow);
        return Some(response);
    }
    let mut names = parts.headers.get_all(header::HOST).iter();
    let name = match (names.next(), names.next()) {
        (Some(name), None) => name,
        // Health checks of load balancers have none. Browsers do not speak that version.
        (None, None) if parts.version == Version::HTTP_10 => return None,
        _ => return Some(text(StatusCode::BAD_REQUEST, "expected one Host header")),
    };
    let name = name
        .to_str()
        .ok()
        .and_then(|name| name.parse::<Authority>().ok());
    let target = parts.uri.authority();
    let is_known = |name: &&Authority| is_known_host(name.host(), local, hosts);
    let unknown = match &name {
        Some(name) => [Some(name), target]
            .into_iter()
            .flatten()
            .find(|name| !is_known(name))?
            .host(),
        None => "",
    };
    let unknown = clean(unknown);
    Some(text(
        StatusCode::MISDIRECTED_REQUEST,
        format_args!("this server is not known as \"{unknown}\" (see --allow-host)"),
    ))
}

/// Returns whether a request may give the server that name. Otherwise a page on the web could have its own name lead to
/// this machine, and read what is served here (DNS rebinding).
fn is_known_host(name: &str, local: IpAddr, hosts: &[String]) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_address = |ip: IpAddr| ip.is_loopback() || ip == local.to_canonical();
    name.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(is_address)
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(address))
}

/// Keeps other sites from making use of a response.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    let policy = headers.entry(header::CONTENT_SECURITY_POLICY);
    policy.or_insert(HeaderValue::from_static(
        "default-src 'none'; frame-ancestors 'none'",
    ));
}

/// Returns how much a client wants that media type, from 0 to 1 (RFC 9110, section 12.5.1). `version` is the parameter
/// that a media range may have.
pub(super) fn quality(headers: &HeaderMap, media_type: &str, version: &str) -> f32 {
    let accept = headers.get_all(header::ACCEPT);
    if accept.iter().next().is_none() {
        return 1.0;
    }
    let any_subtype = media_type.split_once('/').map_or("", |(kind, _)| kind);
    // The more specific range counts, not the one that the client likes best.
    let mut best = (0, 0.0);
    let values = accept.iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let specific = match range.split_once('/') {
            _ if range.eq_ignore_ascii_case(media_type) => 3,
            Some((kind, "*")) if kind.eq_ignore_ascii_case(any_subtype) => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let mut quality = 1.0;
        let mut fits = true;
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim_matches('"');
            if name.eq_ignore_ascii_case("q") {
                let value = value.parse().ok().filter(|value: &f32| !value.is_nan());
                quality = value.unwrap_or(0.0).clamp(0.0, 1.0);
            } else if name.eq_ignore_ascii_case("version") {
                fits = value == version;
            }
        }
        if fits && (specific, quality) > best {
            best = (specific, quality);
        }
    }
    best.1
}

/// The body of a response.
pub(super) type Body = Either<Full<Bytes>, Receiver>;

/// The body of a response that is under way as long as there is more of it.
struct Tracked {
    body: Body,
    _responding: Responding,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Takes the parts of a body. If it is dropped before [`Sender::finish`], the connection is closed, so that the client
/// does not take the body for a whole one.
pub(super) struct Sender(mpsc::Sender<Option<Bytes>>);

/// The client is gone, or too slow.
#[derive(Debug)]
pub(super) struct Closed;

impl Sender {
    pub(super) async fn send(&self, part: impl Into<Bytes>) -> Result<(), Closed> {
        self.0.send(Some(part.into())).await.map_err(|_| Closed)
    }

    pub(super) async fn finish(self) {
        let _ = self.0.send(None).await;
    }

    /// Completes when the client is gone.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }

    /// Returns a writer for a thread of its own, which waits for the client.
    pub(super) fn into_writer(self) -> Writer {
        Writer {
            sender: self.0,
            part: String::with_capacity(Writer::PART + Writer::PART / 4),
            deadline: Instant::now() + Writer::TIME,
        }
    }
}

/// Writes a body in parts.
pub(super) struct Writer {
    sender: mpsc::Sender<Option<Bytes>>,
    part: String,
    deadline: Instant,
}

impl Writer {
    /// The size of a part, in bytes.
    const PART: usize = 32 << 10;
    /// The time that the client has for the whole.
    const TIME: Duration = Duration::from_secs(30);

    /// Writes what is left.
    pub(super) fn finish(mut self) -> fmt::Result {
        self.send()?;
        self.sender.blocking_send(None).map_err(|_| fmt::Error)
    }

    fn send(&mut self) -> fmt::Result {
        if Instant::now() >= self.deadline {
            return Err(fmt::Error);
        }
        let part = Bytes::copy_from_slice(self.part.as_bytes());
        self.part.clear();
        // A client that takes nothing at all loses its connection, and ends this.
        self.sender
            .blocking_send(Some(part))
            .map_err(|_| fmt::Error)
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.part.push_str(text);
        match self.part.len() < Self::PART {
            true => Ok(()),
            false => self.send(),
        }
    }
}

/// A body that comes in parts. `None` once it has ended.
pub(super) struct Receiver(Option<mpsc::Receiver<Option<Bytes>>>);

impl HttpBody for Receiver {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(receiver) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let part = ready!(receiver.poll_recv(cx));
        Poll::Ready(match part {
            Some(Some(part)) => Some(Ok(Frame::data(part))),
            Some(None) => {
                self.0 = None;
                None
            }
            None => Some(Err(io::ErrorKind::TimedOut.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn the_most_specific_media_range_counts() {
        let text = |value| quality(&accept(value), "text/plain", "0.0.4");
        assert_eq!(quality(&HeaderMap::new(), "text/plain", ""), 1.0);
        for (value, expected) in [
            ("*/*", 1.0),
            ("", 0.0),
            ("application/json", 0.0),
            ("text/*;q=0.5", 0.5),
            ("text/plain;q=0.1, text/*, */*", 0.1),
            ("TEXT/PLAIN; version=0.0.4; Q=0.25", 0.25),
            ("text/plain;version=1.0.0, */*;q=0.3", 0.3),
            (
                "text/plain;version=1.0.0;q=0.9, text/plain;version=0.0.4;q=0.2",
                0.2,
            ),
            ("text/plain;q=7", 1.0),
            ("text/plain;q=-1", 0.0),
            ("text/plain;q=NaN", 0.0),
            ("text/plain;q=", 0.0),
            (";;;q,,=/", 0.0),
        ] {
            assert_eq!(text(value), expected, "{value:?}");
        }
    }

    #[test]
    fn names_from_elsewhere_are_not_known() {
        let hosts = ["node-1".to_owned(), "10.0.0.9".to_owned()];
        let local = IpAddr::from([10, 0, 0, 5]);
        let is_known = |name| is_known_host(name, local, &hosts);
        for name in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "10.0.0.5",
        ] {
            assert!(is_known(name), "{name}");
        }
        assert!(is_known("node-1") && is_known("NODE-1") && is_known("10.0.0.9"));
        for name in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.6",
            "[::2]",
            "node-12",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}
