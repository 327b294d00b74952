//! `eventout record`.

use std::os::fd::BorrowedFd;

use eventout::{Context as _, NotFound, Result, Source};

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
        .with_context(|| format!("cannot record container {:?}", shorten(container)))?;
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
            return Err(NotFound("there is no such container".to_owned()).into());
        }
        Ok(serde_json::to_string(&*snapshot)?)
    });
    line.with_context(|| format!("cannot record container {:?}", shorten(container)))
}

/// An ID as errors show it.
fn shorten(container: &str) -> String {
    format!("{container:.64}")
}
