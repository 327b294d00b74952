//! Connections: how many there may be, and how long one may wait for its client.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// The most connections at a time.
const CONNECTIONS: usize = 256;

/// The connections of a server. A new one takes the place of the one that waits for its client longest, so that clients
/// that do nothing do not keep others out.
#[derive(Clone)]
pub(super) struct Connections {
    /// Has a permit for each connection that may be opened.
    permits: Arc<Semaphore>,
    waiting: Arc<Waiting>,
}

/// The connections that wait for their clients, by how long they do.
#[derive(Default)]
struct Waiting {
    connections: Mutex<BTreeMap<u64, Arc<Notify>>>,
    next: AtomicU64,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            waiting: Arc::default(),
        }
    }

    /// Returns the number of open connections.
    pub(super) fn count(&self) -> usize {
        CONNECTIONS - self.permits.available_permits()
    }

    /// Makes room for a connection, which waits for its first request then. `None` if no other waits for its client.
    pub(super) async fn admit(&self) -> Option<Arc<Connection>> {
        let permits = || Arc::clone(&self.permits);
        let permit = match permits().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let (_, oldest) = self.waiting.lock().pop_first()?;
                oldest.notify_one();
                permits().acquire_owned().await.ok()?
            }
        };
        let connection = Arc::new(Connection {
            waiting: Arc::clone(&self.waiting),
            evicted: Arc::default(),
            idle: Mutex::default(),
            _permit: permit,
        });
        connection.set_idle();
        Some(connection)
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        lock(&self.connections)
    }
}

/// A place among the connections that wait for their clients, as long as it exists.
struct Wait {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.number);
    }
}

/// One of the connections that there may be at a time.
pub(super) struct Connection {
    waiting: Arc<Waiting>,
    evicted: Arc<Notify>,
    /// Set while there is no request.
    idle: Mutex<Option<Wait>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Completes when another connection is to have the place of this one.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Begins the response to a request, which ends when the result is dropped.
    pub(super) fn respond(self: &Arc<Self>) -> Responding {
        *lock(&self.idle) = None;
        Responding(Arc::clone(self))
    }

    fn set_idle(&self) {
        *lock(&self.idle) = Some(self.wait());
    }

    fn wait(&self) -> Wait {
        let number = self.waiting.next.fetch_add(1, Ordering::Relaxed);
        let evicted = Arc::clone(&self.evicted);
        self.waiting.lock().insert(number, evicted);
        Wait {
            waiting: Arc::clone(&self.waiting),
            number,
        }
    }
}

/// A response that is under way.
pub(super) struct Responding(Arc<Connection>);

impl Drop for Responding {
    fn drop(&mut self) {
        self.0.set_idle();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stream of a connection, which fails if its peer takes no data for too long.
pub(super) struct Stream {
    stream: TcpStream,
    connection: Arc<Connection>,
    stall: Option<Stall>,
}

/// A time in which the peer takes no data.
struct Stall {
    timer: Pin<Box<Sleep>>,
    /// Set once that is for longer than a peer that reads needs.
    wait: Option<Wait>,
}

impl Stream {
    /// The time that a peer may take to make room for more, and the time after which its place may be another's.
    const STALL: Duration = Duration::from_secs(10);
    const PATIENCE: Duration = Duration::from_millis(500);

    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self {
            stream,
            connection,
            stall: None,
        }
    }

    fn check(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Stall {
            timer: Box::pin(sleep(Self::PATIENCE)),
            wait: None,
        });
        ready!(stall.timer.as_mut().poll(cx));
        if stall.wait.is_none() {
            stall.wait = Some(self.connection.wait());
            let end = Instant::now() + Self::STALL;
            stall.timer.as_mut().reset(end);
            ready!(stall.timer.as_mut().poll(cx));
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;
    use tokio::sync::mpsc;

    #[test]
    fn the_connection_that_waits_longest_makes_room() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let connections = Connections::new();
            let (sender, mut closed) = mpsc::unbounded_channel();
            let mut responses = Vec::new();
            for number in 0..CONNECTIONS {
                let connection = connections.admit().await.expect("there is room");
                // 0 has a response under way; that of 1 has ended.
                match number {
                    0 => responses.push(connection.respond()),
                    1 => drop(connection.respond()),
                    _ => {}
                }
                let sender = sender.clone();
                tokio::spawn(async move {
                    connection.evicted().await;
                    sender.send(number).expect("it is awaited");
                });
            }
            assert_eq!(connections.count(), CONNECTIONS);
            for expected in [1, 2, 3] {
                let connection = connections.admit().await.expect("another one goes");
                assert_eq!(closed.recv().await, Some(expected));
                assert_eq!(connections.count(), CONNECTIONS);
                responses.push(connection.respond());
                tokio::spawn(async move { connection.evicted().await });
            }
        });
    }

    #[test]
    fn nothing_makes_room_where_all_have_responses_under_way() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let connections = Connections::new();
            let mut responses = Vec::new();
            for _ in 0..CONNECTIONS {
                let connection = connections.admit().await.expect("there is room");
                responses.push(connection.respond());
            }
            assert!(connections.admit().await.is_none());
            drop(responses);
            assert_eq!(connections.count(), 0);
            assert!(lock(&connections.waiting.connections).is_empty());
        });
    }
}
