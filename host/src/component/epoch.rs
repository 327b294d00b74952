//! Ends calls that take too long.
//!
//! A thread advances the engine's epoch while calls are under way, and sleeps while there are none. So
//! a call costs two additions to a counter, and an idle program is never woken up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// Advances an engine's epoch while there are calls to watch.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    /// How many calls are under way.
    calls: AtomicUsize,
    /// Whether the thread sleeps, or is about to.
    asleep: AtomicBool,
    /// Whether the thread shall end.
    ended: AtomicBool,
}

impl Watchdog {
    /// The deadline of a call, in ticks from its beginning. The first tick may come at once, so ten
    /// whole ones take eleven.
    pub(crate) const TICKS: u64 = 11;

    /// Starts the thread.
    pub(crate) fn new(engine: &Engine, tick: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn({
            let (shared, engine) = (Arc::clone(&shared), engine.clone());
            move || {
                while !shared.ended.load(SeqCst) {
                    if shared.calls.load(SeqCst) > 0 {
                        let end = Instant::now() + tick;
                        while Instant::now() < end && !shared.ended.load(SeqCst) {
                            // Somebody who wants this to end wakes it up.
                            thread::park_timeout(end.saturating_duration_since(Instant::now()));
                        }
                        engine.increment_epoch();
                        continue;
                    }
                    // A call that begins now sees the flag or is seen here; if both, the wake-up
                    // is kept for the next `park`.
                    shared.asleep.store(true, SeqCst);
                    if shared.calls.load(SeqCst) == 0 && !shared.ended.load(SeqCst) {
                        thread::park();
                    }
                    shared.asleep.store(false, SeqCst);
                }
            }
        })?;
        Ok(Self {
            shared,
            thread: thread.thread().clone(),
        })
    }

    /// Lets the epoch advance until what is returned is dropped.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.shared.calls.fetch_add(1, SeqCst);
        if self.shared.asleep.load(SeqCst) {
            self.thread.unpark();
        }
        Watch(&self.shared)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.thread.unpark();
    }
}

/// A call under way.
pub(crate) struct Watch<'a>(&'a Shared);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, SeqCst);
    }
}
