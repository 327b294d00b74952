//! Stats events of containers, computed by a WebAssembly component.
//!
//! The component holds the accounting and the format; see `wit/` for its contract. This library
//! gives it a [`Source`] of facts, keeps it within [`Limits`], and hands on its answers:
//!
//! ```
//! use eventout::{Component, Dialect, Events, Limits, Spec};
//!
//! # fn main() -> eventout::Result<()> {
//! let component = Component::builtin(Limits::default())?;
//! let source = "demo".parse::<Spec>().expect("there is a demo").open()?;
//! let mut events = Events::new(&component, source);
//!
//! let event = events.now()?.stats("web")?;
//! assert_eq!(event.data.pids.current, Some(3));
//! assert_eq!(event.data.memory.usage.usage, Some(61_728_394)); // bytes
//!
//! let line = events.now()?.stats_json("web", Dialect::Runsc)?;
//! assert!(line.starts_with(r#"{"type":"stats","id":"web","data":{"cpu":"#));
//! # Ok(())
//! # }
//! ```
//!
//! Errors say what was attempted, where and why, as a chain of causes. [`NotFound`] among them tells
//! that a container is not there, or not any more, and [`Refused`] that asking again is of no use.

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

mod compiled;
mod engine;
mod source;
mod watchdog;

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, ResourceLimiter, Store, Trap, bail, format_err};

pub use source::{Container, Listed, NotFound, Refused, Snapshot, Source, Spec};
/// Adds a cause to an error, as sources do.
pub use wasmtime::error::Context;
/// An error with its chain of causes, and a result with it.
pub use wasmtime::{Error, Result};

use bindings::eventout::stats::sandbox;
use bindings::exports::eventout::stats::events;
use bindings::types::eventout::stats::types;
use watchdog::Watchdog;

pub use events::Dialect;
pub use types::{
    Blkio, BlkioEntry, CmtStats, ContainerCpu, Cpu, CpuUsage, Cpuset, EventOut, Hugetlb, IntelRdt,
    L3CacheInfo, MbmStats, MemBwInfo, Memory, MemoryEntry, NetworkInterface, Pids, Psi, PsiData,
    Stats, StatsEvent, Throttling,
};

// What the macro makes has no documentation but that of `wit/`.
#[allow(missing_docs)]
mod bindings {
    /// The types apart, since they have defaults, which errors have not.
    pub mod types {
        wasmtime::component::bindgen!({
            path: "../wit",
            interfaces: "import eventout:stats/types@0.1.0;",
            additional_derives: [Clone, Default, PartialEq],
        });
    }

    wasmtime::component::bindgen!({
        path: "../wit",
        world: "eventout",
        with: { "eventout:stats/types": types::eventout::stats::types },
    });

    /// Components that give events a form of their own.
    pub mod formatter {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "formatter",
            with: { "eventout:stats/types": super::types::eventout::stats::types },
        });
    }
}

impl ContainerCpu {
    /// The ID of each container, and its CPU time in nanoseconds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.containers.split('\0').zip(self.usage.iter().copied())
    }
}

/// What one call of a component may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long it may take. It is stopped after that time, at most a tenth of it later, and never
    /// before 10 ms. Only components from files are: what the built-in one takes grows with the number of
    /// containers, and with nothing else.
    pub time: Duration,
    /// How much memory the component may have, in bytes.
    pub memory: usize,
    /// How much it may answer, in bytes as the host holds it.
    pub output: usize,
    /// How many core modules it may be made of, and how many memories and how many tables it may have.
    pub instances: usize,
}

impl Default for Limits {
    /// One second, 64 MiB, of which 32 may be an answer, and 100 parts: some 1,000 times what an event of a pod
    /// takes, and enough for a component with an interpreter in it.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(1),
            memory: 64 << 20,
            output: 32 << 20,
            instances: 100,
        }
    }
}

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
    /// The component that comes with this library. It was compiled when the library was.
    ///
    /// # Errors
    ///
    /// Where this machine lacks something that its code needs.
    pub fn builtin(limits: Limits) -> Result<Self> {
        const CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/eventout.cwasm"));
        let (runtime, component) = Runtime::new("eventout.wasm", limits, false, |engine| {
            // SAFETY: the code is what `build.rs` made of the component with this very wasmtime. It is
            // part of this program, so whoever could change it could change the program too.
            unsafe { wasmtime::component::Component::deserialize(engine, CODE) }
        })?;
        Self::link(runtime, &component)
    }

    fn link(runtime: Runtime, component: &wasmtime::component::Component) -> Result<Self> {
        let mut linker = Linker::new(&runtime.engine);
        bindings::Eventout::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        let pre = bindings::EventoutPre::new(linker.instantiate_pre(component)?)?;
        Ok(Self {
            shared: Arc::new(Shared { runtime, pre }),
        })
    }
}

/// A component of somebody else's.
pub enum Plugin {
    /// It computes events: world `eventout` of the contract.
    Events(Component),
    /// It gives events a form of its own: world `formatter`.
    Formatter(Formatter),
}

impl Plugin {
    /// Compiles the component in a `.wasm` file, or takes its machine code from the user's cache, where it is
    /// put otherwise. It can reach nothing but what the contract has.
    ///
    /// # Errors
    ///
    /// Where the file can't be read, is not a component, lacks an export, or imports what is not in the
    /// contract.
    pub fn from_file(file: &Path, limits: Limits) -> Result<Self> {
        /// The largest file that is taken for a component, in bytes.
        const LIMIT: u64 = 256 << 20;
        let name = clean(&file.display().to_string());
        let read = File::open(file).and_then(|file| source::read(file, LIMIT));
        let plugin = read.map_err(Error::from).and_then(|wasm| {
            let (runtime, component) = Runtime::new(&name, limits, true, |engine| {
                compiled::component(engine, &wasm)
            })?;
            let formats = component.get_export_index(None, "eventout:stats/format@0.1.0");
            Ok(match formats {
                Some(_) => Self::Formatter(Formatter::link(runtime, &component)?),
                None => Self::Events(Component::link(runtime, &component)?),
            })
        });
        // What names are in it, the component chose.
        plugin
            .map_err(|e| Error::msg(clean(&format!("{e:#}"))))
            .with_context(|| format!("cannot use component {name}"))
    }
}

/// A component that gives events a form of its own, ready to run.
pub struct Formatter {
    runtime: Runtime,
    pre: bindings::formatter::FormatterPre<State>,
    /// The instance that served the last call, unless it failed then.
    instance: Option<(Store<State>, bindings::formatter::Formatter)>,
}

impl Formatter {
    fn link(runtime: Runtime, component: &wasmtime::component::Component) -> Result<Self> {
        // It gets nothing: there are only types to import.
        let linker = Linker::new(&runtime.engine);
        let pre = bindings::formatter::FormatterPre::new(linker.instantiate_pre(component)?)?;
        Ok(Self {
            runtime,
            pre,
            instance: None,
        })
    }

    /// The event as text: some lines, or one, or none.
    ///
    /// # Errors
    ///
    /// Where the component says why not, traps, or exceeds its limits.
    pub fn format(&mut self, event: &StatsEvent) -> Result<String> {
        let pre = &self.pre;
        let text = self.runtime.run(
            &mut self.instance,
            Arc::default(),
            |store| pre.instantiate(store),
            |guest, store| guest.eventout_stats_format().call_format(store, event),
        );
        text.and_then(|text| text.map_err(|why| Error::msg(clean(&why))))
            .with_context(|| {
                let (id, name) = (shorten(&event.id), &self.runtime.name);
                format!("cannot format stats of container {id} with component {name}")
            })
    }
}

/// What runs a component, and within which limits.
struct Runtime {
    /// How errors call the component.
    name: String,
    limits: Limits,
    engine: Engine,
    /// What interrupts a component that is not ours.
    watchdog: Option<Watchdog>,
}

impl Runtime {
    fn new(
        name: &str,
        limits: Limits,
        foreign: bool,
        code: impl FnOnce(&Engine) -> Result<wasmtime::component::Component>,
    ) -> Result<(Self, wasmtime::component::Component)> {
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
    fn is_foreign(&self) -> bool {
        self.watchdog.is_some()
    }

    /// Runs `call` on the instance of the last call, or on a new one. An instance that trapped is not
    /// used again: what it left in its memory may be anything.
    fn run<I, T>(
        &self,
        instance: &mut Option<(Store<State>, I)>,
        snapshot: Arc<Snapshot>,
        instantiate: impl FnOnce(&mut Store<State>) -> Result<I>,
        call: impl FnOnce(&I, &mut Store<State>) -> Result<T>,
    ) -> Result<T> {
        let watch = self.watchdog.as_ref().map(Watchdog::watch);
        let answer = match instance.take() {
            Some((mut store, instance)) => {
                store.data_mut().tell(snapshot);
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
                let state = store.data();
                if !self.is_foreign() || state.memory_left >= state.memory / 2 {
                    *instance = Some((store, used));
                }
                Ok(answer)
            }
            Err(e) if e.downcast_ref() == Some(&Trap::Interrupt) => Err(format_err!(
                "component {} took longer than {:?}",
                self.name,
                self.limits.time
            )),
            Err(e) => Err(match e.root_cause().to_string() {
                // wasmtime has no types for these.
                why if why.starts_with("too much data is being copied") => format_err!(
                    "component {} handed over more than {} bytes",
                    self.name,
                    self.limits.output
                ),
                why if why.contains(" count too high at ") => format_err!(
                    "component {} has more than {} core modules, memories or tables",
                    self.name,
                    self.limits.instances
                ),
                _ => e.context(format!("component {} failed", self.name)),
            }),
        }
    }

    fn store(&self, snapshot: Arc<Snapshot>) -> Store<State> {
        let state = State {
            snapshot,
            last: 0,
            instances: self.limits.instances,
            memory: self.limits.memory,
            memory_left: self.limits.memory,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state);
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

/// The events of the containers of one source, as one component computes them.
///
/// A call that fails leaves nothing behind that the next one could trip over.
pub struct Events {
    component: Component,
    source: Box<dyn Source>,
    /// The instance that served the last call, unless it failed then.
    instance: Option<(Store<State>, bindings::Eventout)>,
}

impl Events {
    /// Joins a component to a source.
    pub fn new(component: &Component, source: Box<dyn Source>) -> Self {
        Self {
            component: component.clone(),
            source,
            instance: None,
        }
    }

    /// The whole ID of the container that `container` means: with a source of gVisor, the beginning of one
    /// is enough.
    ///
    /// # Errors
    ///
    /// [`Refused`] where it could mean more than one.
    pub fn resolve(&mut self, container: &str) -> Result<String> {
        check_length(container)
            .and_then(|()| self.source.resolve(container))
            .with_context(|| format!("cannot find container {}", shorten(container)))
    }

    /// Begins the source's next instant: what is asked of it is no older than this call, and a sandbox
    /// may be read once for all its containers.
    ///
    /// # Errors
    ///
    /// Where the source can't be read.
    pub fn now(&mut self) -> Result<Now<'_>> {
        self.source.advance()?;
        Ok(Now(self))
    }

    /// Watches a container for tasks that the kernel kills for want of memory, from now on and until it
    /// ends. To be called after an event of it; calling it again does nothing.
    ///
    /// Cgroups and containers of runc and crun can be watched. Others have nothing to tell.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn watch_oom(&mut self, container: &str) -> Result<()> {
        self.source.watch_oom(container)
    }

    /// What is readable when [`Events::oom_kills`] may have something to tell. `None` where nothing is
    /// watched.
    pub fn oom_fd(&self) -> Option<BorrowedFd<'_>> {
        self.source.oom_fd()
    }

    /// The watched containers in which tasks were killed since the last call, each as often as that
    /// happened. It doesn't wait.
    pub fn oom_kills(&mut self) -> Vec<String> {
        self.source.oom_kills()
    }

    /// One kill as a line of JSON, as `runc events` prints it.
    ///
    /// # Errors
    ///
    /// Where the component traps, or exceeds its limits.
    pub fn oom_json(&mut self, container: &str) -> Result<String> {
        check_length(container)
            .and_then(|()| {
                self.run(Arc::default(), |guest, store| {
                    guest.call_oom_json(store, container)
                })
            })
            .and_then(|line| self.one_line(line))
            .with_context(|| format!("cannot tell of a kill in container {}", shorten(container)))
    }

    /// One call of the component about `container`.
    fn call<T>(
        &mut self,
        what: &str,
        container: &str,
        call: impl FnOnce(&events::Guest, &mut Store<State>) -> Result<Answer<T>>,
    ) -> Result<T> {
        check_length(container)
            .and_then(|()| self.source.snapshot(container))
            .and_then(|snapshot| self.run(snapshot, call))
            .and_then(|answer| answer.map_err(explain))
            .with_context(|| cannot_get(what, container))
    }

    /// The same for calls that answer with a line.
    fn line(
        &mut self,
        what: &str,
        container: &str,
        call: impl FnOnce(&events::Guest, &mut Store<State>) -> Result<Answer<String>>,
    ) -> Result<String> {
        let line = self.call(what, container, call)?;
        self.one_line(line)
            .with_context(|| cannot_get(what, container))
    }

    /// Makes sure that what a component says is one line and no more. JSON has no control characters, and a terminal
    /// would act on them.
    fn one_line(&self, line: String) -> Result<String> {
        let runtime = &self.component.shared.runtime;
        // To look at all bytes, many at a time, is faster than to stop at the first that matters.
        let or_control = |found, byte| found | (byte < 0x20);
        if !runtime.is_foreign() || !line.bytes().fold(false, or_control) {
            return Ok(line);
        }
        let name = &runtime.name;
        if line.contains('\n') {
            bail!("component {name} answered with more than one line");
        }
        bail!("component {name} answered with control characters");
    }

    /// The lines of some containers of one reading.
    fn sweep(
        &mut self,
        snapshot: Arc<Snapshot>,
        ids: &[String],
        dialect: Option<Dialect>,
        lines: &mut Vec<Result<String>>,
    ) {
        let dialect = dialect.unwrap_or(snapshot.dialect);
        let answers = self.run(snapshot, |guest, store| {
            if let [id] = ids {
                return Ok(vec![guest.call_stats_json(store, id, dialect)?]);
            }
            let answers = guest.call_sweep_json(store, ids, dialect)?;
            if answers.len() != ids.len() {
                bail!(
                    "it gave {} lines of {} containers",
                    answers.len(),
                    ids.len()
                );
            }
            Ok(answers)
        });
        match answers {
            Ok(answers) => lines.extend(answers.into_iter().zip(ids).map(|(answer, id)| {
                answer
                    .map_err(explain)
                    .and_then(|line| self.one_line(line))
                    .with_context(|| cannot_get("stats", id))
            })),
            // Of one error, each container has a copy.
            Err(e) => {
                let text = format!("{e:#}");
                let copy = |id| Error::msg(text.clone()).context(cannot_get("stats", id));
                lines.extend(ids.iter().map(|id| Err(copy(id))));
            }
        }
    }

    /// One call of the component.
    fn run<T>(
        &mut self,
        snapshot: Arc<Snapshot>,
        call: impl FnOnce(&events::Guest, &mut Store<State>) -> Result<T>,
    ) -> Result<T> {
        let shared = &self.component.shared;
        shared.runtime.run(
            &mut self.instance,
            snapshot,
            |store| shared.pre.instantiate(store),
            |guest, store| call(guest.eventout_stats_events(), store),
        )
    }
}

/// What was attempted, as errors say it.
fn cannot_get(what: &str, container: &str) -> String {
    format!("cannot get {what} of container {}", shorten(container))
}

/// What a component answers.
type Answer<T> = Result<T, events::Error>;

/// A source at one instant.
///
/// All its calls fail with [`NotFound`] where there is no such container, with [`Refused`] where the
/// answer would be no at any instant, and otherwise where the source can't be read, or where the
/// component traps, exceeds its limits, or says that it failed.
pub struct Now<'a>(&'a mut Events);

impl Now<'_> {
    /// The containers that the source knows.
    ///
    /// # Errors
    ///
    /// Where the source can't be read.
    pub fn containers(&mut self) -> Result<Vec<Listed>> {
        self.0.source.containers()
    }

    /// The event as gVisor's sentry computes it: no CPU total, but the CPU time of all containers.
    ///
    /// # Errors
    ///
    /// See [`Now`].
    pub fn event(&mut self, container: &str) -> Result<EventOut> {
        self.0.call("event", container, |guest, store| {
            guest.call_event(store, container)
        })
    }

    /// The same as one line of JSON, as Go encodes gVisor's `EventOut`.
    ///
    /// # Errors
    ///
    /// See [`Now`].
    pub fn event_json(&mut self, container: &str) -> Result<String> {
        self.0.line("event", container, |guest, store| {
            guest.call_event_json(store, container)
        })
    }

    /// The event that `runsc events` prints.
    ///
    /// # Errors
    ///
    /// See [`Now`].
    pub fn stats(&mut self, container: &str) -> Result<StatsEvent> {
        self.0.call("stats", container, |guest, store| {
            guest.call_stats(store, container)
        })
    }

    /// The same as one line of JSON, in the format of `dialect`, or else in that of the container's runtime:
    /// [`Snapshot::dialect`].
    ///
    /// # Errors
    ///
    /// See [`Now`].
    pub fn stats_json(
        &mut self,
        container: &str,
        dialect: impl Into<Option<Dialect>>,
    ) -> Result<String> {
        let dialect = dialect.into();
        self.0.line("stats", container, |guest, store| {
            let dialect = dialect.unwrap_or(store.data().snapshot.dialect);
            guest.call_stats_json(store, container, dialect)
        })
    }

    /// [`Now::stats_json`] of several containers, in the same order. What containers of one sandbox share is
    /// told once, so that the time grows as their number and not as its square.
    pub fn stats_lines(
        &mut self,
        containers: &[String],
        dialect: impl Into<Option<Dialect>>,
    ) -> Vec<Result<String>> {
        let dialect = dialect.into();
        let events = &mut *self.0;
        let mut lines = Vec::with_capacity(containers.len());
        // Those of one reading that have no line yet: all from there on that have been looked at.
        let mut group: Option<Arc<Snapshot>> = None;
        for (at, id) in containers.iter().enumerate() {
            let next = check_length(id).and_then(|()| events.source.snapshot(id));
            let same = matches!((&group, &next), (Some(a), Ok(b)) if Arc::ptr_eq(a, b));
            if !same && let Some(snapshot) = group.take() {
                let ids = &containers[lines.len()..at];
                events.sweep(snapshot, ids, dialect, &mut lines);
            }
            match next {
                Ok(snapshot) => group = Some(snapshot),
                Err(e) => lines.push(Err(e.context(cannot_get("stats", id)))),
            }
        }
        if let Some(snapshot) = group {
            events.sweep(snapshot, &containers[lines.len()..], dialect, &mut lines);
        }
        lines
    }
}

/// The component's error as ours.
fn explain(error: events::Error) -> Error {
    match error {
        events::Error::ContainerNotFound(text) => NotFound(clean(&text)).into(),
        events::Error::Unsupported(text) => Refused(clean(&text)).into(),
        events::Error::NoContainer(text) | events::Error::Unavailable(text) => {
            Error::msg(clean(&text))
        }
    }
}

/// A component's text, fit to be shown. It may be anything, since the component may be anybody's: what is long
/// is cut, and there is nothing in it that a terminal would act on.
fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(1000).map(visible).collect()
}

/// What an instance can reach.
struct State {
    /// What it is told.
    snapshot: Arc<Snapshot>,
    /// Where the container stands there that it asked for last.
    last: usize,
    /// How many parts of a kind it may have.
    instances: usize,
    /// The memory that it may have, in bytes.
    memory: usize,
    /// What of it the instance has not got yet.
    memory_left: usize,
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        self.take(desired - current)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        const ELEMENTS: usize = 1 << 16;
        /// What one takes of the host's memory, in bytes, at most.
        const ELEMENT: usize = 16;
        if desired > ELEMENTS {
            bail!("it needs a table of more than {ELEMENTS} elements");
        }
        self.take((desired - current) * ELEMENT)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}

impl State {
    /// Takes so many bytes of the memory that is left.
    fn take(&mut self, bytes: usize) -> Result<bool> {
        let Some(left) = self.memory_left.checked_sub(bytes) else {
            bail!("it needs more than {} bytes of memory", self.memory);
        };
        self.memory_left = left;
        Ok(true)
    }

    /// Another reading.
    fn tell(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshot = snapshot;
        self.last = 0;
    }

    /// The search begins where the last one ended, since a component asks for one after the other.
    fn container(&mut self, id: &str) -> Result<&Container, sandbox::Error> {
        let containers = &self.snapshot.containers;
        let (before, behind) = containers.split_at(self.last.min(containers.len()));
        let mut places = (self.last..).zip(behind).chain((0..).zip(before));
        let (at, container) = places
            .find(|(_, container)| container.id == id)
            .ok_or(sandbox::Error::ContainerNotFound)?;
        self.last = at;
        Ok(container)
    }
}

impl types::Host for State {}

impl sandbox::Host for State {
    fn pids_count(&mut self, container: String) -> Result<u64, sandbox::Error> {
        let container = self.container(&container)?;
        match &container.error {
            None => Ok(container.pids),
            Some(error) => Err(sandbox::Error::Unavailable(error.clone())),
        }
    }

    fn update_memory_usage(&mut self) -> Result<(), sandbox::Error> {
        match &self.snapshot.update_memory_error {
            None => Ok(()),
            Some(error) => Err(sandbox::Error::Unavailable(error.clone())),
        }
    }

    fn usage(&mut self) -> Result<sandbox::SandboxUsage, sandbox::Error> {
        let snapshot = &*self.snapshot;
        let containers = snapshot.containers.iter();
        let listed = containers.filter_map(|container| Some((&container.id, container.cpu_ns?)));
        let bytes = listed.clone().map(|(id, _)| id.len() + 1).sum();
        let mut containers = String::with_capacity(bytes);
        let mut usage = Vec::with_capacity(snapshot.containers.len());
        for (id, ns) in listed {
            if !usage.is_empty() {
                containers.push('\0');
            }
            containers.push_str(id);
            usage.push(ns);
        }
        Ok(sandbox::SandboxUsage {
            memory: snapshot.memory_bytes,
            container_count: snapshot.containers.len() as u64,
            // Nobody needs it of a container alone, and each text costs a call into the component.
            root_container: (snapshot.containers.len() > 1).then(|| snapshot.root.clone()),
            cpu: ContainerCpu { containers, usage },
        })
    }

    fn cgroup_cpu_usage(&mut self) -> Result<Option<u64>, sandbox::Error> {
        Ok(self.snapshot.cgroup_cpu_ns)
    }

    fn container_stats(&mut self, container: String) -> Result<Option<Stats>, sandbox::Error> {
        self.container(&container)
            .map(|container| container.stats.as_deref().cloned())
    }
}

/// Refuses IDs that no runtime gives, before they are copied about.
fn check_length(id: &str) -> Result<()> {
    const LIMIT: usize = 4096;
    if id.len() > LIMIT {
        let len = id.len();
        return Err(Refused(format!("its ID has {len} bytes, and {LIMIT} are allowed")).into());
    }
    Ok(())
}

/// A text from outside, quoted, so that it can stand in an error: what is long is cut.
fn shorten(text: &str) -> String {
    const LENGTH: usize = 64;
    match text.char_indices().nth(LENGTH) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}
