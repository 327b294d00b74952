//! Engines and instances: runs calls of a component within its limits.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::error::Context as _;
use wasmtime::{Engine, Store, Trap};

use super::engine;
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
    limits: Limits,
    pub(super) engine: Engine,
    /// What interrupts a component that is not ours.
    watchdog: Option<Watchdog>,
}

impl Runtime {
    pub(super) fn new(
        name: &str,
        limits: Limits,
        foreign: bool,
        code: impl FnOnce(&Engine) -> wasmtime::Result<wasmtime::component::Component>,
    ) -> wasmtime::Result<(Self, wasmtime::component::Component)> {
        let mut config = engine::config(foreign);
        // Ours is machine code already, and to get a compiler ready takes time.
        config.enable_compiler(foreign);
        let engine = Engine::new(&config)?;
        let component = code(&engine)?;
        let tick = (limits.time / 10).max(Duration::from_millis(1));
        let watchdog = foreign.then(|| Watchdog::new(&engine, tick)).transpose();
        let runtime = Self {
            name: name.to_owned(),
            limits,
            watchdog: watchdog.context("cannot start a thread")?,
            engine,
        };
        Ok((runtime, component))
    }

    /// Whether the component is not ours.
    pub(super) fn is_foreign(&self) -> bool {
        self.watchdog.is_some()
    }

    /// Runs `call` on the instance of the last call, or on a new one. An instance that trapped is not
    /// used again: what it left in its memory may be anything.
    pub(super) fn run<I, T>(
        &self,
        instance: &mut Option<Instance<I>>,
        snapshot: Arc<Snapshot>,
        instantiate: impl FnOnce(&mut Store<State>) -> wasmtime::Result<I>,
        call: impl FnOnce(&I, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T> {
        let watch = self.watchdog.as_ref().map(Watchdog::watch);
        let answer = match instance.take() {
            Some((mut store, instance)) => {
                store.data_mut().set_snapshot(snapshot);
                self.set_deadline(&mut store);
                Ok((store, instance))
            }
            None => {
                let mut store = self.store(snapshot);
                instantiate(&mut store).map(|instance| (store, instance))
            }
        }
        .and_then(|(mut store, instance)| {
            let answer = call(&instance, &mut store)?;
            Ok((answer, (store, instance)))
        });
        drop(watch);
        match answer {
            Ok((answer, (store, used))) => {
                // Interpreters collect their garbage late, or leak: before they have no memory left, there is
                // a new one. Ours does neither.
                if !self.is_foreign() || store.data().limiter.has_half_left() {
                    *instance = Some((store, used));
                }
                Ok(answer)
            }
            Err(e) => Err(self.failure(e)),
        }
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
            let bytes = limits.output;
            return error!(
                Limit,
                "component {name} handed over more than {bytes} bytes"
            );
        }
        if cause.contains(" count too high at ") {
            return error!(
                Limit,
                "component {name} has more than {} core modules, memories or tables",
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
        let state = State::new(snapshot, Limiter::new(&self.limits));
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.output);
        self.set_deadline(&mut store);
        store
    }

    /// Lets the next call take as long as it may.
    fn set_deadline(&self, store: &mut Store<State>) {
        if self.is_foreign() {
            store.set_epoch_deadline(Watchdog::TICKS);
        }
    }
}
