//! `eventout record`.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use eventout::{Details, Error, ErrorKind, Format, Result, Snapshot, Source};

use super::args::PollArgs;
use super::output::Output;
use super::stream::{Emit, LineSource, run_stream};

/// Prints samples as lines of a scenario: of one container's sandbox, or of all sandboxes without a container.
pub(crate) fn run(
    mut source: Box<dyn Source>,
    container: Option<&str>,
    once: bool,
    poll: PollArgs,
    out: &mut Output,
) -> Result<()> {
    match container {
        Some(container) => {
            let container = source
                .resolve(container)
                .map_err(|e| e.context(cannot_record(container)))?;
            let ids = Some(vec![container]);
            run_stream(ids, once, poll, out, &mut Recording(source))
        }
        None => run_stream(None, once, poll, out, &mut Recording(source)),
    }
}

/// Samples of a source.
struct Recording(Box<dyn Source>);

impl LineSource for Recording {
    fn sample(&mut self, ids: Option<&[String]>, emit: &mut Emit<'_>) -> Result<()> {
        self.0.advance()?;
        match ids {
            Some(ids) => {
                for id in ids {
                    emit(id, record(&mut *self.0, id));
                }
                Ok(())
            }
            None => record_all(&mut *self.0, emit),
        }
    }

    fn warnings(&mut self) -> Vec<Error> {
        self.0.warnings()
    }
}

/// Returns the sandbox of a container as a line.
fn record(source: &mut dyn Source, container: &str) -> Result<String> {
    let line = source.snapshot(container).and_then(|snapshot| {
        let mut containers = snapshot.containers.iter();
        if containers.all(|known| known.id != container) {
            let why = "there is no such container";
            return Err(Error::new(ErrorKind::ContainerNotFound, why));
        }
        let snapshot = with_details(source, &snapshot);
        Ok(serde_json::to_string(&snapshot).map_err(io::Error::from)?)
    });
    line.map_err(|e| e.context(cannot_record(container)))
}

/// Emits all sandboxes as one line, and the errors of those that could not be read: the others don't suffer.
fn record_all(source: &mut dyn Source, emit: &mut Emit<'_>) -> Result<()> {
    let mut recorded = HashSet::new();
    let mut snapshots = Vec::new();
    for listed in source.containers()? {
        if recorded.contains(&listed.id) {
            continue;
        }
        match source.snapshot(&listed.id) {
            Ok(snapshot) => {
                recorded.extend(snapshot.containers.iter().map(|c| c.id.clone()));
                snapshots.push(with_details(source, &snapshot));
            }
            Err(e) => emit(&listed.id, Err(e.context(cannot_record(&listed.id)))),
        }
    }
    let line = serde_json::to_string(&snapshots).map_err(io::Error::from)?;
    emit("", Ok(line));
    Ok(())
}

/// Returns a snapshot with what is known of its containers besides their usage, but for a runtime that follows from the
/// format.
fn with_details(source: &mut dyn Source, snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    let implied = match snapshot.format {
        Format::Gvisor => "gvisor",
        Format::Runc => "runc",
    };
    for container in &mut snapshot.containers {
        let details = source.details(&container.id).unwrap_or_default();
        let mut details = Arc::unwrap_or_clone(details);
        details.runtime = details.runtime.filter(|runtime| runtime != implied);
        let is_empty = details == Details::default();
        container.details = (!is_empty).then(|| Box::new(details));
    }
    snapshot
}

fn cannot_record(container: &str) -> String {
    format!("cannot record container {:?}", format!("{container:.64}"))
}
