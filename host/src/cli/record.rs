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
    let ids = match container {
        Some(container) => {
            let id = source.resolve(container);
            Some(vec![id.map_err(|e| e.context(cannot_record(container)))?])
        }
        None => None,
    };
    run_stream(ids, once, poll, out, &mut Recording(source))
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
        let snapshot = source.snapshot(&listed.id).and_then(|snapshot| {
            let ids = snapshot.containers.iter().map(|c| c.id.as_str());
            // With both of them, the recording would not be a scenario.
            match ids.clone().find(|id| recorded.contains(*id)) {
                Some(id) => Err(Error::new(
                    ErrorKind::Source,
                    format!("another sandbox has container {id:?}, too"),
                )),
                None => {
                    recorded.extend(ids.map(str::to_owned));
                    Ok(snapshot)
                }
            }
        });
        match snapshot {
            Ok(snapshot) => snapshots.push(with_details(source, &snapshot)),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eventout::{Container, ContainerInfo, Snapshot};

    use super::*;

    /// Sandboxes of a root container `a` or `b` and `web`, which two of them cannot have.
    struct Sandboxes;

    impl Source for Sandboxes {
        fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
            let all = ["a", "b", "c"].map(|id| ContainerInfo {
                id: id.to_owned(),
                sandbox: id.to_owned(),
                source: String::new(),
            });
            Ok(all.into())
        }

        fn snapshot(&mut self, root: &str) -> Result<Arc<Snapshot>> {
            let ids: &[&str] = if root == "c" { &["c"] } else { &[root, "web"] };
            let containers = ids.iter().map(|&id| Container {
                id: id.to_owned(),
                ..Container::default()
            });
            Ok(Arc::new(Snapshot {
                root_container: root.to_owned(),
                containers: containers.collect(),
                ..Snapshot::default()
            }))
        }
    }

    #[test]
    fn a_container_is_recorded_in_one_sandbox() {
        let mut lines = Vec::new();
        let mut emit = |id: &str, line: Result<String>| lines.push((id.to_owned(), line));
        record_all(&mut Sandboxes, &mut emit).expect("they can be listed");
        let [(b, error), (_, line)] = lines.try_into().expect("an error and a line");
        assert_eq!(b, "b");
        let error = error.expect_err("it has the same container");
        assert!(format!("{error:#}").ends_with(r#"has container "web", too"#));
        let snapshots: Vec<Snapshot> =
            serde_json::from_str(&line.expect("a line")).expect("a sample");
        let roots: Vec<_> = snapshots.iter().map(|s| &s.root_container).collect();
        assert_eq!(roots, ["a", "c"]);
    }
}
