//! Stops calls that take too long.
//!
//! A thread advances the engine's epoch while calls are under way, and sleeps while there are none: an idle
//! program is never woken up.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// Advances an engine's epoch while there are calls to watch.
pub(super) struct Watchdog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of calls under way.
    calls: usize,
    /// The thread waits for a call.
    idle: bool,
    /// The thread is to end.
    ended: bool,
}

impl Watchdog {
    /// The deadline of a call, in ticks from its beginning. The first tick may come at once, so ten whole ones
    /// take eleven.
    pub(super) const TICKS: u64 = 11;

    /// Starts the thread, which ends when the watchdog is dropped.
    pub(super) fn new(engine: &Engine, tick: Duration) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (thread, engine) = (Arc::clone(&shared), engine.clone());
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || thread.advance(&engine, tick))?;
        Ok(Self(shared))
    }

    /// Advances the epoch until the guard is dropped.
    pub(super) fn watch(&self) -> Watch<'_> {
        let mut state = self.0.lock();
        state.calls += 1;
        if state.idle {
            self.0.changed.notify_one();
        }
        Watch(&self.0)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Advances the epoch by one each `tick` while there are calls.
    fn advance(&self, engine: &Engine, tick: Duration) {
        let mut state = self.lock();
        while !state.ended {
            state.idle = state.calls == 0;
            if state.idle {
                state = wait(self.changed.wait(state));
                continue;
            }
            let tick = self
                .changed
                .wait_timeout_while(state, tick, |state| !state.ended);
            state = wait(tick).0;
            engine.increment_epoch();
        }
    }
}

/// Ignores that another thread panicked: the state is never left half changed.
fn wait<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// A call under way.
pub(super) struct Watch<'a>(&'a Shared);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::component::{Component, Instance, Linker};
    use wasmtime::{Store, Trap};

    use super::super::engine::{self, Origin};
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    /// Returns an engine, and an instance that exports `spin`, which never returns.
    fn spinning() -> (Engine, Store<()>, Instance) {
        let engine = Engine::new(&engine::config(Origin::Plugin)).expect("an engine");
        let wat = r#"(component
            (core module $m (func (export "spin") (loop (br 0))))
            (core instance $i (instantiate $m))
            (func (export "spin") (canon lift (core func $i "spin"))))"#;
        let wasm = wat::parse_str(wat).expect("a component");
        let component = Component::from_binary(&engine, &wasm).expect("a component");
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(Watchdog::TICKS);
        let instance = Linker::new(&engine).instantiate(&mut store, &component);
        (engine, store, instance.expect("an instance"))
    }

    #[test]
    fn a_call_that_does_not_end_is_stopped_at_its_deadline() {
        let (engine, mut store, instance) = spinning();
        let watchdog = Watchdog::new(&engine, TICK).expect("a thread");
        let spin = instance.get_typed_func::<(), ()>(&mut store, "spin");
        let spin = spin.expect("a function");
        let (start, _watch) = (Instant::now(), watchdog.watch());
        let error = spin.call(&mut store, ()).expect_err("stopped");
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        assert!(start.elapsed() >= 10 * TICK);
    }

    #[test]
    fn the_thread_advances_during_calls_and_sleeps_between_them() {
        let engine = Engine::new(&engine::config(Origin::Plugin)).expect("an engine");
        let watchdog = Watchdog::new(&engine, TICK).expect("a thread");
        for _ in 0..3 {
            let (first, second) = (watchdog.watch(), watchdog.watch());
            assert_eq!(watchdog.0.lock().calls, 2);
            drop(first);
            thread::sleep(2 * TICK);
            assert!(!watchdog.0.lock().idle);
            drop(second);
            let start = Instant::now();
            while !watchdog.0.lock().idle {
                assert!(start.elapsed() < Duration::from_secs(10), "still awake");
                thread::sleep(TICK);
            }
        }
    }

    #[test]
    fn the_thread_ends_with_the_watchdog_even_during_a_tick() {
        let engine = Engine::new(&engine::config(Origin::Plugin)).expect("an engine");
        for calls in [0, 1] {
            let watchdog = Watchdog::new(&engine, Duration::from_secs(3600)).expect("a thread");
            let shared = Arc::clone(&watchdog.0);
            shared.lock().calls = calls;
            thread::sleep(TICK);
            drop(watchdog);
            let start = Instant::now();
            // The thread owns the other reference.
            while Arc::strong_count(&shared) > 1 {
                assert!(start.elapsed() < Duration::from_secs(10), "still running");
                thread::sleep(TICK);
            }
        }
    }
}
