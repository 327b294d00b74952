//! World `eventout`: components that compute events.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker};

use super::engine::Origin;
use super::host::State;
use super::runtime::{self, Runtime};
use crate::bindings;
use crate::bindings::events;
use crate::bindings::types::{EventOut, StatsEvent};
use crate::error::{Error, ErrorKind, Result, bail, error};
use crate::limits::Limits;
use crate::snapshot::{Format, Snapshot};
use crate::text::clean;

/// A component that computes events, ready to run. Clones share it.
#[derive(Clone)]
pub struct Component {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    pre: bindings::EventoutPre<State>,
}

impl Component {
    /// Returns the component that comes with this library. It was compiled when the library was.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Component`] where this machine lacks something that its code needs.
    pub fn builtin(limits: Limits) -> Result<Self> {
        const CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/eventout.cwasm"));
        let load = || {
            let runtime = Runtime::new("eventout.wasm", limits, Origin::Builtin)?;
            // SAFETY: the code is what `build.rs` made of the component with this very wasmtime. It is
            // part of this program, so whoever could change it could change the program too.
            let component =
                unsafe { wasmtime::component::Component::deserialize(&runtime.engine, CODE)? };
            Self::link(runtime, &component)
        };
        load().map_err(|e| Error::from_cause(ErrorKind::Component, e))
    }

    pub(super) fn link(
        runtime: Runtime,
        component: &wasmtime::component::Component,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&runtime.engine);
        bindings::Eventout::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        let pre = bindings::EventoutPre::new(linker.instantiate_pre(component)?)?;
        Ok(Self {
            shared: Arc::new(Shared { runtime, pre }),
        })
    }
}

/// An instance of a component, which is made for the first call and made anew after a call that failed.
pub(crate) struct Instance {
    component: Component,
    instance: Option<runtime::Instance<bindings::Eventout>>,
}

impl Instance {
    pub(crate) fn new(component: &Component) -> Self {
        Self {
            component: component.clone(),
            instance: None,
        }
    }

    /// Calls `event`.
    pub(crate) fn event(&mut self, snapshot: Arc<Snapshot>, container: &str) -> Result<EventOut> {
        self.call(snapshot, |guest, store| guest.call_event(store, container))
    }

    /// Calls `event-json`.
    pub(crate) fn event_json(
        &mut self,
        snapshot: Arc<Snapshot>,
        container: &str,
    ) -> Result<String> {
        let line = self.call(snapshot, |guest, store| {
            guest.call_event_json(store, container)
        });
        self.one_line(line?)
    }

    /// Calls `stats`.
    pub(crate) fn stats(&mut self, snapshot: Arc<Snapshot>, container: &str) -> Result<StatsEvent> {
        self.call(snapshot, |guest, store| guest.call_stats(store, container))
    }

    /// Calls `stats-json`.
    pub(crate) fn stats_json(
        &mut self,
        snapshot: Arc<Snapshot>,
        container: &str,
        format: Format,
    ) -> Result<String> {
        let line = self.call(snapshot, |guest, store| {
            guest.call_stats_json(store, container, format.into())
        });
        self.one_line(line?)
    }

    /// Calls `oom-json`.
    pub(crate) fn oom_json(&mut self, container: &str) -> Result<String> {
        let line = self.call(Arc::default(), |guest, store| {
            guest.call_oom_json(store, container).map(Ok)
        });
        self.one_line(line?)
    }

    fn call<T>(
        &mut self,
        snapshot: Arc<Snapshot>,
        call: impl FnOnce(
            &events::Guest,
            &mut Store<State>,
        ) -> wasmtime::Result<Result<T, events::Error>>,
    ) -> Result<T> {
        let shared = &self.component.shared;
        let result = shared.runtime.with_instance(
            &mut self.instance,
            snapshot,
            |store| shared.pre.instantiate(store),
            |guest, store| call(guest.eventout_stats_events(), store),
        );
        result?.map_err(from_component)
    }

    /// Makes sure that the component returned one line and no more. JSON has no control characters, and a terminal
    /// would act on them.
    fn one_line(&self, line: String) -> Result<String> {
        let runtime = &self.component.shared.runtime;
        runtime.check_output(&line)?;
        if runtime.origin == Origin::Builtin || line.bytes().all(|byte| byte >= 0x20) {
            return Ok(line);
        }
        let name = &runtime.name;
        if line.contains('\n') {
            bail!(Component, "component {name} returned more than one line");
        }
        bail!(Component, "component {name} returned control characters");
    }
}

/// The component's error as ours.
fn from_component(error: events::Error) -> Error {
    match error {
        events::Error::ContainerNotFound(text) => error!(ContainerNotFound, "{}", clean(&text)),
        events::Error::Unsupported(text) => error!(InvalidRequest, "{}", clean(&text)),
        events::Error::NoContainer(text) | events::Error::Unavailable(text) => {
            error!(Source, "{}", clean(&text))
        }
    }
}
