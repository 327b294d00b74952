//! `eventout record`.

use std::io;
use std::os::fd::BorrowedFd;

use eventout::{Error, ErrorKind, Result, Source};

use super::args::Rhythm;
use super::output::Output;
use super::stream::{Lines, repeat};

/// Prints what a source reports of a container's sandbox.
pub(crate) fn run(
    mut source: Box<dyn Source>,
    container: &str,
    rhythm: Rhythm,
    out: &mut Output,
) -> Result<()> {
    let container = source
        .resolve(container)
        .map_err(|e| e.context(cannot_record(container)))?;
    repeat(Some(vec![container]), rhythm, out, &mut Recording(source))
}

/// What a source reports of a container's sandbox.
struct Recording(Box<dyn Source>);

impl Lines for Recording {
    fn read(&mut self, ids: Option<&[String]>) -> Result<Vec<(String, Result<String>)>> {
        self.0.advance()?;
        let ids = ids.unwrap_or_default().iter();
        Ok(ids
            .map(|id| (id.clone(), record(&mut *self.0, id)))
            .collect())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn between(&mut self) -> Vec<Result<String>> {
        Vec::new()
    }
}

/// The sandbox of a container as a line of a scenario.
fn record(source: &mut dyn Source, container: &str) -> Result<String> {
    let line = source.snapshot(container).and_then(|snapshot| {
        if snapshot
            .containers
            .iter()
            .all(|known| known.id != container)
        {
            let why = "there is no such container";
            return Err(Error::new(ErrorKind::ContainerNotFound, why));
        }
        Ok(serde_json::to_string(&*snapshot).map_err(io::Error::from)?)
    });
    line.map_err(|e| e.context(cannot_record(container)))
}

/// Says what failed.
fn cannot_record(container: &str) -> String {
    let id = format!("{container:.64}");
    format!("cannot record container {id:?}")
}
