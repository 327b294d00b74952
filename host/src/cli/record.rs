//! `eventout record`.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use eventout::{Error, ErrorKind, Result, Source};

use super::args::Rhythm;
use super::output::Output;
use super::stream::{Lines, repeat};

/// Prints samples as lines of a scenario: of one container's sandbox, or of all sandboxes without a container.
pub(crate) fn run(
    mut source: Box<dyn Source>,
    container: Option<&str>,
    rhythm: Rhythm,
    out: &mut Output,
) -> Result<()> {
    match container {
        Some(container) => {
            let container = source
                .resolve(container)
                .map_err(|e| e.context(cannot_record(container)))?;
            repeat(Some(vec![container]), rhythm, out, &mut Recording(source))
        }
        None => repeat(None, rhythm, out, &mut Recording(source)),
    }
}

/// Samples of a source.
struct Recording(Box<dyn Source>);

impl Lines for Recording {
    fn read(&mut self, ids: Option<&[String]>) -> Result<Vec<(String, Result<String>)>> {
        self.0.advance()?;
        match ids {
            Some(ids) => Ok(ids
                .iter()
                .map(|id| (id.clone(), record(&mut *self.0, id)))
                .collect()),
            None => record_all(&mut *self.0),
        }
    }

    fn fd(&mut self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn between(&mut self) -> Vec<Result<String>> {
        Vec::new()
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
        Ok(serde_json::to_string(&*snapshot).map_err(io::Error::from)?)
    });
    line.map_err(|e| e.context(cannot_record(container)))
}

/// Returns all sandboxes as one line, and the errors of those that could not be read. A sandbox that cannot be
/// read costs itself alone.
fn record_all(source: &mut dyn Source) -> Result<Vec<(String, Result<String>)>> {
    let mut recorded = HashSet::new();
    let mut snapshots = Vec::new();
    let mut lines = Vec::new();
    for listed in source.containers()? {
        if recorded.contains(&listed.id) {
            continue;
        }
        match source.snapshot(&listed.id) {
            Ok(snapshot) => {
                recorded.extend(snapshot.containers.iter().map(|c| c.id.clone()));
                snapshots.push(snapshot);
            }
            Err(e) => {
                let e = e.context(cannot_record(&listed.id));
                lines.push((listed.id, Err(e)));
            }
        }
    }
    let snapshots: Vec<_> = snapshots.iter().map(|snapshot| &**snapshot).collect();
    let line = serde_json::to_string(&snapshots).map_err(io::Error::from)?;
    lines.push((String::new(), Ok(line)));
    Ok(lines)
}

fn cannot_record(container: &str) -> String {
    format!("cannot record container {:?}", format!("{container:.64}"))
}
