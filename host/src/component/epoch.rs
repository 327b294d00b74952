//! Stops calls that take too long.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// Advances an engine's epoch until it is dropped, in a thread of its own.
pub(super) struct Watchdog {
    /// Nothing is sent: the thread ends when this is dropped.
    _thread: Sender<()>,
}

impl Watchdog {
    /// The deadline of a call, in ticks from its beginning. The first tick may come at once, so ten whole ones
    /// take eleven.
    pub(super) const TICKS: u64 = 11;

    /// Starts the thread, which advances the epoch by one each `tick`.
    pub(super) fn new(engine: &Engine, tick: Duration) -> io::Result<Self> {
        let (sender, dropped) = channel();
        let engine = engine.clone();
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                while dropped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
            })?;
        Ok(Self { _thread: sender })
    }
}

#[cfg(all(test, feature = "plugins"))]
mod tests {
    use std::time::Instant;

    use wasmtime::component::{Component, Linker};
    use wasmtime::{Store, Trap};

    use super::super::engine::{self, Origin};
    use super::*;

    #[test]
    fn a_call_that_does_not_end_is_stopped_at_its_deadline() {
        const TICK: Duration = Duration::from_millis(5);
        let engine = Engine::new(&engine::config(Origin::Plugin)).expect("an engine");
        let wat = r#"(component
            (core module $m (func (export "spin") (loop (br 0))))
            (core instance $i (instantiate $m))
            (func (export "spin") (canon lift (core func $i "spin"))))"#;
        let wasm = wat::parse_str(wat).expect("a component");
        let component = Component::from_binary(&engine, &wasm).expect("a component");
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate(&mut store, &component);
        let spin = instance
            .expect("an instance")
            .get_typed_func::<(), ()>(&mut store, "spin");
        let spin = spin.expect("a function");
        let _watchdog = Watchdog::new(&engine, TICK).expect("a thread");
        store.set_epoch_deadline(Watchdog::TICKS);
        let start = Instant::now();
        let error = spin.call(&mut store, ()).expect_err("stopped");
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        assert!(start.elapsed() >= 10 * TICK);
    }

    #[test]
    fn the_thread_ends_with_the_watchdog_even_during_a_tick() {
        let engine = Engine::new(&engine::config(Origin::Plugin)).expect("an engine");
        let engines = engine.weak();
        drop(Watchdog::new(&engine, Duration::from_secs(3600)).expect("a thread"));
        drop(engine);
        let start = Instant::now();
        // The thread has an engine of its own.
        while engines.upgrade().is_some() {
            assert!(start.elapsed() < Duration::from_secs(10), "still running");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
