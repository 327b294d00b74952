//! `eventout events`.

use std::collections::HashSet;
use std::mem::ManuallyDrop;
use std::os::fd::BorrowedFd;
use std::path::Path;

use eventout::{
    CompileLimits, Component, Error, ErrorKind, Format, Formatter, Limits, Monitor, Plugin, Result,
    Source,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::args::{Cli, EventsArgs, LineFormat};
use super::output::Output;
use super::stream::{Lines, repeat};

/// Prints events of containers.
pub(crate) fn run(
    cli: &Cli,
    args: &EventsArgs,
    source: Box<dyn Source>,
    out: &mut Output,
) -> Result<()> {
    let limits = cli.limits.limits();
    let plugin = cli.component.as_ref();
    let plugin = plugin
        .map(|file| Plugin::from_file_in_child(file, limits.clone(), &CompileLimits::default()));
    let (component, formatter) = match plugin.transpose()? {
        Some(Plugin::Events(component)) => (component, None),
        Some(Plugin::Formatter(formatter)) => {
            if args.format.is_some() {
                let file = cli.component.as_deref().unwrap_or(Path::new(""));
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
    let mut events = Monitor::new(&component, source);
    if !args.rhythm.stats {
        raise_open_files();
    }
    // Once and for all: a stream does not go on with another container of a longer ID.
    let mut ids = Vec::new();
    for id in &args.containers {
        match events.resolve(id) {
            Ok(id) => ids.push(id),
            Err(e) => out.fail(&e),
        }
    }
    let ids = (!args.all).then_some(ids);
    // The process ends with it. It leaves to the kernel what there is to free, which is faster.
    let mut stream = ManuallyDrop::new(Stream {
        events,
        oom: !args.rhythm.stats
            && args.format != Some(LineFormat::GvisorEventOut)
            && formatter.is_none(),
        formatter,
        format: args.format,
        watched: HashSet::new(),
    });
    repeat(ids, args.rhythm, out, &mut *stream)
}

/// Has as many open files as this process may have: each control file of a container in a stream is one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    // Without it, files are opened for each line.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
}

/// The events of containers.
struct Stream {
    events: Monitor,
    /// What gives them a form of its own.
    formatter: Option<Formatter>,
    format: Option<LineFormat>,
    /// Whether to tell of kills for want of memory.
    oom: bool,
    /// The containers that are watched for them, or can't be, which is told once.
    watched: HashSet<String>,
}

impl Lines for Stream {
    fn read(&mut self, ids: Option<&[String]>) -> Result<Vec<(String, Result<String>)>> {
        let mut now = self.events.sample()?;
        let ids = match ids {
            Some(ids) => ids.to_vec(),
            None => {
                let all = now.containers()?.into_iter();
                all.map(|listed| listed.id).collect()
            }
        };
        let mut lines = Vec::with_capacity(ids.len());
        for id in ids {
            let line = match (&mut self.formatter, self.format) {
                (Some(formatter), _) => now.stats(&id).and_then(|event| formatter.format(&event)),
                (None, Some(LineFormat::GvisorEventOut)) => now.event_json(&id),
                (None, Some(LineFormat::Gvisor)) => now.stats_json(&id, Format::Gvisor),
                (None, Some(LineFormat::Runc)) => now.stats_json(&id, Format::Runc),
                (None, None) => now.stats_json(&id, None),
            };
            lines.push((id, line));
        }
        if self.oom {
            let alive = lines.iter().filter(|(_, line)| line.is_ok());
            let alive: HashSet<_> = alive.map(|(id, _)| id.clone()).collect();
            self.watched.retain(|id| alive.contains(id));
            for id in alive {
                if !self.watched.contains(&id) {
                    if let Err(e) = self.events.watch_oom(&id) {
                        lines.push((id.clone(), Err(e)));
                    }
                    self.watched.insert(id);
                }
            }
        }
        Ok(lines)
    }

    fn fd(&mut self) -> Option<BorrowedFd<'_>> {
        self.events.oom_fd()
    }

    fn between(&mut self) -> Vec<Result<String>> {
        let kills = self.events.oom_kills().into_iter();
        kills.map(|id| self.events.oom_json(&id)).collect()
    }
}
