//! `eventout events`.

use std::io::{self, IsTerminal as _};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use eventout::{
    CompileLimits, Component, Error, ErrorKind, Format, Formatter, Limits, Monitor, OomEvents,
    Plugin, Result, Source,
};

use super::args::{EventsArgs, LineFormat};
use super::diagnostics::clean;
use super::output::Output;
use super::stream::{Emit, LineSource, run_stream};
use super::too_large::TooLarge;

/// Prints events of containers.
pub(crate) fn run(args: &EventsArgs, source: Box<dyn Source>, out: &mut Output) -> Result<()> {
    let limits = args.limits.limits();
    let plugin = args.component.as_deref();
    let plugin = plugin.map(|file| load(file, limits.clone(), &args.limits.compile_limits()));
    let (component, formatter) = match plugin.transpose()? {
        Some(Plugin::Events(component)) => (component, None),
        Some(Plugin::Formatter(formatter)) => {
            if args.format.is_some() {
                let file = args.component.as_deref().unwrap_or(Path::new(""));
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "component {file:?} has a format of its own, so --format cannot be used with it"
                    ),
                ));
            }
            (Component::builtin(Limits::default())?, Some(formatter))
        }
        None => (Component::builtin(limits)?, None),
    };
    let mut monitor = Monitor::new(&component, source);
    // IDs are completed once: a stream does not go on with another container of a longer ID.
    let mut ids = Vec::new();
    for id in &args.containers {
        match monitor.resolve(id) {
            Ok(id) => ids.push(id),
            Err(e) => out.fail(&e),
        }
    }
    let ids = (!args.all).then_some(ids);
    let mut stream = EventStream {
        monitor,
        oom: !args.stats && args.format != Some(LineFormat::GvisorEventOut) && formatter.is_none(),
        formatter,
        format: args.format,
        unwatched: Vec::new(),
    };
    run_stream(ids, args.stats, args.poll, out, &mut stream)
}

/// Loads a component, and says so on a terminal if that takes long, which it does when the component is compiled.
fn load(file: &Path, limits: Limits, compile_limits: &CompileLimits) -> Result<Plugin> {
    if !io::stderr().is_terminal() {
        return Plugin::from_file_in_child(file, limits, compile_limits);
    }
    let (done, loaded) = channel::<()>();
    let name = clean(file.display());
    let notice = thread::spawn(move || {
        if loaded.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("note: compiling {name}");
        }
    });
    let plugin = Plugin::from_file_in_child(file, limits, compile_limits);
    drop(done);
    let _ = notice.join();
    plugin
}

/// The events of containers.
struct EventStream {
    monitor: Monitor,
    /// The component that formats events, if any.
    formatter: Option<Formatter>,
    format: Option<LineFormat>,
    /// Set if to report OOM kills.
    oom: bool,
    /// The containers that could not be watched for OOM kills, and why.
    unwatched: Vec<Error>,
}

impl LineSource for EventStream {
    fn sample(&mut self, ids: Option<&[String]>, emit: &mut Emit<'_>) -> Result<()> {
        let mut sample = self.monitor.sample()?;
        let containers: Vec<_> = match ids {
            Some(ids) => ids.iter().map(|id| (id.clone(), None)).collect(),
            None => {
                let all = sample.containers()?.into_iter();
                all.map(|listed| (listed.id, Some(listed.sandbox)))
                    .collect()
            }
        };
        let mut alive = Vec::new();
        let mut too_large = TooLarge::default();
        for (id, sandbox) in containers {
            if too_large.skips(&id, sandbox.as_deref()) {
                continue;
            }
            let line = match (&mut self.formatter, self.format) {
                (Some(formatter), _) => {
                    sample.stats(&id).and_then(|event| formatter.format(&event))
                }
                (None, Some(LineFormat::GvisorEventOut)) => sample.event_json(&id),
                (None, Some(LineFormat::Gvisor)) => sample.stats_json(&id, Format::Gvisor),
                (None, Some(LineFormat::Runc)) => sample.stats_json(&id, Format::Runc),
                (None, None) => sample.stats_json(&id, None),
            };
            let is_alive = line.is_ok();
            too_large.add(sandbox.as_deref(), line.as_ref().err());
            emit(&id, line);
            if self.oom && is_alive {
                alive.push(id);
            }
        }
        for (id, e) in too_large.errors() {
            emit(&id, Err(e));
        }
        if let Some(oom) = self.monitor.oom_events() {
            // Watching again does nothing, and what failed is tried again.
            let failed = alive.iter().filter_map(|id| oom.watch(id).err());
            self.unwatched.extend(failed);
        }
        Ok(())
    }

    fn warnings(&mut self) -> Vec<Error> {
        let mut warnings = self.monitor.warnings();
        warnings.append(&mut self.unwatched);
        warnings
    }

    fn event_fd(&mut self) -> Option<BorrowedFd<'_>> {
        let oom: &dyn OomEvents = self.monitor.oom_events()?;
        oom.fd()
    }

    fn pending(&mut self) -> Vec<Result<String>> {
        let oom = self.monitor.oom_events();
        let kills = oom.map_or_else(Vec::new, OomEvents::drain).into_iter();
        kills.map(|id| self.monitor.oom_json(&id)).collect()
    }
}
