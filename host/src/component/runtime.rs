//! Engines and instances: runs calls of a component within its limits.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::error::Context as _;
use wasmtime::{Engine, Store, Trap};

use super::engine::{self, Origin};
use super::epoch::Watchdog;
use super::host::State;
use super::limiter::{LimitExceeded, Limiter};
use crate::error::{Error, ErrorKind, Result, error};
use crate::limits::Limits;
use crate::snapshot::Snapshot;

/// An instance with its store, for which `I` has the exports.
pub(super) type Instance<I> = (Store<State>, I);

/// An engine that runs one component within its limits.
pub(super) struct Runtime {
    /// The name of the component in errors.
    pub(super) name: String,
    pub(super) origin: Origin,
    limits: Limits,
    pub(super) engine: Engine,
    /// Interrupts a third-party component.
    watchdog: Option<Watchdog>,
}

impl Runtime {
    pub(super) fn new(name: &str, limits: Limits, origin: Origin) -> wasmtime::Result<Self> {
        let plugin = origin == Origin::Plugin;
        let mut config = engine::config(origin);
        // The built-in component is precompiled, and to get a compiler ready takes time.
        #[cfg(feature = "plugins")]
        config.enable_compiler(plugin);
        // A memory never moves: it can't have more.
        config.memory_reservation_for_growth(limits.memory as u64);
        let engine = Engine::new(&config)?;
        let tick = (limits.time / 10).max(Duration::from_millis(1));
        let watchdog = plugin.then(|| Watchdog::new(&engine, tick)).transpose();
        Ok(Self {
            name: name.to_owned(),
            origin,
            limits,
            watchdog: watchdog.context("cannot start a thread")?,
            engine,
        })
    }

    /// Calls the instance of the last call, or a new one. An instance that trapped is not used again: its memory may
    /// hold anything.
    pub(super) fn with_instance<I, T>(
        &self,
        instance: &mut Option<Instance<I>>,
        snapshot: Arc<Snapshot>,
        instantiate: impl FnOnce(&mut Store<State>) -> wasmtime::Result<I>,
        call: impl FnOnce(&I, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T> {
        let failed = |e| self.failure(e);
        let (mut store, used) = match instance.take() {
            Some((mut store, used)) => {
                store.data_mut().snapshot = snapshot;
                self.set_deadline(&mut store);
                (store, used)
            }
            None => {
                let mut store = self.store(snapshot);
                let new = instantiate(&mut store).map_err(failed)?;
                (store, new)
            }
        };
        let result = call(&used, &mut store).map_err(failed)?;
        // Interpreters collect their garbage late, or leak: there is a new one before they have no memory left.
        // The built-in component does neither.
        if self.origin == Origin::Builtin || store.data().limiter.has_half_left() {
            *instance = Some((store, used));
        }
        Ok(result)
    }

    /// Makes sure that a text in a result is within the limit. wasmtime counts it in the component's encoding.
    pub(super) fn check_output(&self, text: &str) -> Result<()> {
        match text.len() > self.limits.output {
            true => Err(self.output_exceeded()),
            false => Ok(()),
        }
    }

    fn output_exceeded(&self) -> Error {
        let (name, bytes) = (&self.name, self.limits.output);
        error!(Limit, "component {name} returned more than {bytes} bytes")
    }

    /// Words the failure of a call.
    fn failure(&self, error: wasmtime::Error) -> Error {
        let Self { name, limits, .. } = self;
        if error.downcast_ref() == Some(&Trap::Interrupt) {
            return error!(Limit, "component {name} took longer than {:?}", limits.time);
        }
        // wasmtime has no public types for these two, only messages.
        let cause = error.root_cause().to_string();
        if cause.starts_with("too much data is being copied") {
            return self.output_exceeded();
        }
        if cause.contains(" count too high at ") {
            return error!(
                Limit,
                "component {name} has more than {} core instances, memories or tables",
                limits.instances
            );
        }
        let kind = match error.chain().any(|cause| cause.is::<LimitExceeded>()) {
            true => ErrorKind::Limit,
            false => ErrorKind::Component,
        };
        Error::from_cause(kind, error).context(format!("component {name} failed"))
    }

    fn store(&self, snapshot: Arc<Snapshot>) -> Store<State> {
        let limiter = Limiter::new(self.origin, &self.limits);
        let mut store = Store::new(&self.engine, State { snapshot, limiter });
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.output);
        self.set_deadline(&mut store);
        store
    }

    /// Lets the next call take as long as it may.
    fn set_deadline(&self, store: &mut Store<State>) {
        if self.watchdog.is_some() {
            store.set_epoch_deadline(Watchdog::TICKS);
        }
    }
}

#[cfg(all(test, feature = "plugins"))]
mod tests {
    use std::time::Instant;

    use wasmtime::component::{Component, Lift, Linker};

    use super::*;

    /// A component of hostile functions. `count` returns how often it was called.
    const HOSTILE: &str = r#"(component
        (core module $m
            (memory (export "memory") 1)
            (table $t 1 funcref)
            (global $count (mut i32) (i32.const 0))
            (func (export "count") (result i32)
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (global.get $count))
            (func (export "spin") (loop (br 0)))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "grow-table") (param i32) (result i32)
                (table.grow $t (ref.null func) (local.get 0)))
            (func (export "crash") unreachable)
            (func (export "text") (param $length i32) (result i32)
                (memory.fill (i32.const 16) (i32.const 0x61) (i32.const 60000))
                (i32.store (i32.const 0) (i32.const 16))
                (i32.store (i32.const 4) (local.get $length))
                (i32.const 0)))
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (func (export "count") (result u32) (canon lift (core func $i "count")))
        (func (export "spin") (canon lift (core func $i "spin")))
        (func (export "grow") (param "pages" u32) (result u32)
            (canon lift (core func $i "grow")))
        (func (export "grow-table") (param "elements" u32) (result u32)
            (canon lift (core func $i "grow-table")))
        (func (export "crash") (canon lift (core func $i "crash")))
        (func (export "utf8") (param "length" u32) (result string)
            (canon lift (core func $i "text") (memory $memory)))
        (func (export "utf16") (param "length" u32) (result string)
            (canon lift (core func $i "text") (memory $memory) string-encoding=utf16)))"#;

    struct Hostile {
        runtime: Runtime,
        component: Component,
        instance: Option<Instance<wasmtime::component::Instance>>,
    }

    impl Hostile {
        fn new(limits: Limits) -> Self {
            Self::of(HOSTILE, limits)
        }

        fn of(wat: &str, limits: Limits) -> Self {
            let runtime = Runtime::new("x.wasm", limits, Origin::Plugin).expect("a runtime");
            let wasm = wat::parse_str(wat).expect("a component");
            let component = Component::from_binary(&runtime.engine, &wasm).expect("a component");
            Self {
                runtime,
                component,
                instance: None,
            }
        }

        fn call<P, T>(&mut self, name: &str, parameters: P) -> Result<T>
        where
            P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
            T: Lift + 'static,
        {
            let linker = Linker::new(&self.runtime.engine);
            self.runtime.with_instance(
                &mut self.instance,
                Arc::default(),
                |store| linker.instantiate(store, &self.component),
                |instance, store| {
                    let function = instance.get_typed_func::<P, (T,)>(&mut *store, name)?;
                    function.call(store, parameters).map(|(result,)| result)
                },
            )
        }

        fn count(&mut self) -> u32 {
            self.call("count", ()).expect("a number")
        }
    }

    fn limits() -> Limits {
        Limits {
            // Longer than a busy machine stops any thread.
            time: Duration::from_secs(60),
            memory: 1 << 20,
            output: 20_000,
            instances: 3,
        }
    }

    #[test]
    fn a_call_is_stopped_in_time_and_the_next_one_has_a_new_instance() {
        let time = Duration::from_millis(500);
        let mut hostile = Hostile::new(Limits { time, ..limits() });
        assert_eq!((hostile.count(), hostile.count()), (1, 2));
        let start = Instant::now();
        let spun = hostile.runtime.with_instance(
            &mut hostile.instance,
            Arc::default(),
            |_| unreachable!("there is an instance"),
            |instance, store| {
                let spin = instance.get_typed_func::<(), ()>(&mut *store, "spin")?;
                spin.call(store, ())
            },
        );
        let error = spun.expect_err("stopped");
        assert!(start.elapsed() >= time);
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(error.to_string(), "component x.wasm took longer than 500ms");
        assert_eq!((hostile.count(), hostile.count()), (1, 2));
    }

    #[test]
    fn memory_beyond_the_limit_is_refused() {
        let mut hostile = Hostile::new(limits());
        // The table takes 16 bytes of the sixteenth page.
        for pages in [7u32, 14] {
            assert_eq!(hostile.count(), 1);
            assert_eq!(hostile.call::<_, u32>("grow", (pages,)).expect("pages"), 1);
            hostile.instance = None;
        }
        for (function, amount) in [("grow", 16u32), ("grow", 65535), ("grow-table", 65535)] {
            let error = hostile.call::<_, u32>(function, (amount,));
            let error = error.expect_err("too much");
            assert_eq!(error.kind(), ErrorKind::Limit, "{error:#}");
            assert_eq!(
                error.root_cause().to_string(),
                "it needs more than 1048576 bytes of memory"
            );
            assert_eq!(hostile.count(), 1);
        }
    }

    #[test]
    fn an_instance_with_little_memory_left_is_not_used_again() {
        let mut hostile = Hostile::new(limits());
        assert_eq!(hostile.count(), 1);
        hostile.call::<_, u32>("grow", (6u32,)).expect("pages");
        assert_eq!(hostile.count(), 2);
        hostile.call::<_, u32>("grow", (2u32,)).expect("pages");
        assert_eq!(hostile.count(), 1);
    }

    #[test]
    fn output_is_limited_before_it_is_copied_and_as_the_caller_gets_it() {
        let mut hostile = Hostile::new(limits());
        let text: String = hostile.call("utf8", (20_000u32,)).expect("a text");
        assert!(hostile.runtime.check_output(&text).is_ok());
        let error = hostile.call::<_, String>("utf8", (20_001u32,));
        let error = error.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(
            error.to_string(),
            "component x.wasm returned more than 20000 bytes"
        );
        // 10,000 characters of two bytes there and three bytes here.
        let text: String = hostile.call("utf16", (10_000u32,)).expect("a text");
        assert_eq!(text.len(), 30_000);
        let error = hostile.runtime.check_output(&text).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Limit);
    }

    #[test]
    fn parts_are_counted() {
        for (part, allowed) in [
            ("(memory 0)", true),
            ("(memory 0)", false),
            ("(table 0 funcref)", false),
        ] {
            let number = if allowed { 3 } else { 4 };
            let parts = part.repeat(number);
            let wat = format!(
                r#"(component (core module $m {parts}
                    (func (export "count") (result i32) (i32.const 1)))
                (core instance $i (instantiate $m))
                (func (export "count") (result u32) (canon lift (core func $i "count"))))"#
            );
            let result = Hostile::of(&wat, limits()).call::<_, u32>("count", ());
            match result {
                Ok(count) => assert!(allowed && count == 1),
                Err(e) => {
                    assert!(!allowed, "{e:#}");
                    assert_eq!(e.kind(), ErrorKind::Limit);
                    assert_eq!(
                        e.to_string(),
                        "component x.wasm has more than 3 core instances, memories or tables"
                    );
                }
            }
        }
    }

    #[test]
    fn a_trap_is_an_error_of_the_component() {
        let mut hostile = Hostile::new(limits());
        assert_eq!(hostile.count(), 1);
        let error = hostile
            .call::<_, u32>("crash", ())
            .expect_err("no such type");
        assert_eq!(error.kind(), ErrorKind::Component);
        assert_eq!(error.to_string(), "component x.wasm failed");
        assert_eq!(hostile.count(), 1);
    }
}
