//! `scenario:FILE` and `demo`: recorded or invented samples, one line of JSON each.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::state_dir::RuntimeKind;
use super::{ContainerInfo, Source};
use crate::details::Details;
use crate::error::{Context as _, Result, bail, error};
use crate::linux::file::read;
use crate::snapshot::{Format, Snapshot};
use crate::text::shorten;

/// The largest scenario file, in bytes: it is held in memory.
const LARGEST: u64 = 256 << 20;

/// Samples, one after the other; the last one stays.
pub(super) struct Scenario {
    /// The name of the source.
    name: String,
    /// The samples as text. Only the current one is kept parsed, which takes many times as much memory.
    text: Vec<u8>,
    /// The position in the text of the sample after the current one.
    next: usize,
    /// The sandboxes of the current sample.
    sandboxes: Vec<Arc<Snapshot>>,
    /// The sandbox of each container, as an index, and its details if it has some.
    by_container: HashMap<String, (usize, Option<Arc<Details>>)>,
    /// Set once `advance` was called: the next call loads the next sample.
    played: bool,
}

impl Scenario {
    pub(super) fn open(file: &Path) -> Result<Self> {
        let name = file.display().to_string();
        let text = File::open(file)
            .and_then(|file| read(file, LARGEST))
            .with_context(|| format!("cannot read scenario {name}"))?;
        Self::new(&name, text, format!("scenario:{name}"))
    }

    pub(super) fn demo() -> Result<Self> {
        let text = include_bytes!("demo.jsonl");
        Self::new("demo", text.to_vec(), "demo".to_owned())
    }

    /// Checks all samples, so that an error in one is found before any is played.
    pub(super) fn new(file: &str, text: Vec<u8>, name: String) -> Result<Self> {
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if !line.trim_ascii().is_empty() {
                parse(line)
                    .map_err(|why| error!(Source, "{file}:{number}{why}"))
                    .context("not a valid scenario")?;
            }
        }
        let mut scenario = Self {
            name,
            text,
            next: 0,
            sandboxes: Vec::new(),
            by_container: HashMap::new(),
            played: false,
        };
        if !scenario.load_next()? {
            bail!(Source, "not a valid scenario: {file} has no sample in it");
        }
        Ok(scenario)
    }

    /// Makes the next sample the current one. Returns whether there is one.
    fn load_next(&mut self) -> Result<bool> {
        while let Some(rest) = self.text.get(self.next..).filter(|rest| !rest.is_empty()) {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let line = &rest[..end.unwrap_or(rest.len())];
            let sample = match line.trim_ascii() {
                b"" => None,
                line => Some(parse(line).map_err(|why| error!(Source, "{}{why}", self.name))?),
            };
            self.next += end.map_or(rest.len(), |end| end + 1);
            if let Some(mut sandboxes) = sample {
                let indexed = sandboxes.iter_mut().enumerate().flat_map(|(at, sandbox)| {
                    let format = sandbox.format;
                    let containers = sandbox.containers.iter_mut();
                    containers.map(move |container| {
                        let recorded = container.details.take();
                        let details = recorded.map(|recorded| details(format, *recorded));
                        (container.id.clone(), (at, details))
                    })
                });
                self.by_container = indexed.collect();
                self.sandboxes = sandboxes.into_iter().map(Arc::new).collect();
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Parses a line. An error begins with the column if it has one.
fn parse(line: &[u8]) -> Result<Vec<Snapshot>, String> {
    let sandboxes = match line.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(line),
        _ => serde_json::from_slice(line).map(|sandbox| vec![sandbox]),
    };
    let sandboxes: Vec<Snapshot> = sandboxes.map_err(|e| {
        let position = format!(" at line {} column {}", e.line(), e.column());
        let why = e.to_string();
        let why = why.strip_suffix(&position).unwrap_or(&why);
        format!(":{}: {why}", e.column())
    })?;
    if let Some(id) = Snapshot::duplicate_id(&sandboxes) {
        return Err(format!(": duplicate container ID {}", shorten(id)));
    }
    if let Some(sandbox) = sandboxes.iter().find(|s| !s.has_root_container()) {
        let root = shorten(&sandbox.root_container);
        return Err(format!(
            ": root container {root} is not among the containers"
        ));
    }
    Ok(sandboxes)
}

/// Returns the details of a container, of which the runtime follows from the format.
fn details(format: Format, mut details: Details) -> Arc<Details> {
    details.runtime.get_or_insert_with(|| {
        let runtime = match format {
            Format::Gvisor => RuntimeKind::Gvisor,
            Format::Runc => RuntimeKind::Runc,
        };
        runtime.name().to_owned()
    });
    Arc::new(details)
}

impl Source for Scenario {
    fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        let listed = self.sandboxes.iter().flat_map(|sandbox| {
            let containers = sandbox.containers.iter();
            containers.map(|container| ContainerInfo {
                id: container.id.clone(),
                sandbox: sandbox.root_container.clone(),
                source: self.name.clone(),
            })
        });
        Ok(listed.collect())
    }

    fn advance(&mut self) -> Result<()> {
        if self.played {
            self.load_next()?;
        }
        self.played = true;
        Ok(())
    }

    /// Returns any sandbox for a container that is in none, so that the component says so in gVisor's words.
    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        let at = self.by_container.get(container).map_or(0, |(at, _)| *at);
        let sandbox = self.sandboxes.get(at).cloned();
        sandbox.ok_or_else(|| error!(ContainerNotFound, "this sample has no container"))
    }

    fn details(&mut self, container: &str) -> Result<Arc<Details>> {
        let (at, known) = self
            .by_container
            .get(container)
            .ok_or_else(|| error!(ContainerNotFound, "this sample does not have it"))?;
        let unknown = || details(self.sandboxes[*at].format, Details::default());
        Ok(known.clone().unwrap_or_else(unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(text: &str) -> Result<Scenario> {
        Scenario::new("file", text.as_bytes().to_vec(), String::new())
    }

    #[test]
    fn a_sample_may_have_several_sandboxes() {
        let pod = |id: &str, memory| {
            format!(
                r#"{{"root_container":"{id}","memory_usage":{memory},"containers":[{{"id":"{id}","pids_count":1}}]}}"#
            )
        };
        let text = format!("[{},{}]\n\n{}\n", pod("a", 1), pod("b", 2), pod("a", 3));
        let mut scenario = scenario(&text).expect("it is valid");
        let memory = |scenario: &mut Scenario, id: &str| {
            let snapshot = scenario.snapshot(id).expect("there is one");
            (snapshot.root_container.clone(), snapshot.memory_usage)
        };
        scenario.advance().expect("it is valid");
        assert_eq!(memory(&mut scenario, "a"), ("a".to_owned(), Some(1)));
        assert_eq!(memory(&mut scenario, "b"), ("b".to_owned(), Some(2)));
        let listed = scenario.containers().expect("it is valid");
        let listed: Vec<_> = listed.into_iter().map(|listed| listed.sandbox).collect();
        assert_eq!(listed, ["a", "b"]);
        // The last sample stays.
        for _ in 0..3 {
            scenario.advance().expect("it is valid");
            assert_eq!(memory(&mut scenario, "a"), ("a".to_owned(), Some(3)));
        }
    }

    #[test]
    fn details_are_those_of_the_sample_and_the_runtime_follows_from_the_format() {
        let line = |format: &str, details: &str| {
            format!(
                r#"{{"format":"{format}","root_container":"a","containers":[{{"id":"a","pids_count":1{details}}}]}}"#
            )
        };
        let text = [
            line("runc", ""),
            line(
                "runc",
                r#","details":{"runtime":"crun","name":"web","started":5,"status":"paused"}"#,
            ),
            line(
                "gvisor",
                r#","details":{"pod":"shop","annotations":{"a":"b"}}"#,
            ),
        ];
        let mut scenario = scenario(&text.join("\n")).expect("it is valid");
        let mut next = || {
            scenario.advance().expect("it is valid");
            let snapshot = scenario.snapshot("a").expect("there is one");
            assert_eq!(snapshot.containers[0].details, None);
            let details = scenario.details("a").expect("there is one");
            assert!(scenario.details("b").is_err());
            serde_json::to_string(&*details).expect("it can be written")
        };
        assert_eq!(next(), r#"{"runtime":"runc"}"#);
        assert_eq!(
            next(),
            r#"{"runtime":"crun","name":"web","status":"paused","started":5}"#
        );
        assert_eq!(
            next(),
            r#"{"runtime":"gvisor","pod":"shop","annotations":{"a":"b"}}"#
        );
    }

    #[test]
    fn an_error_names_the_line_and_the_place() {
        let good = r#"{"root_container":"a","containers":[{"id":"a","pids_count":1}]}"#;
        for (bad, error) in [
            (
                r#"{"root_container":"a","containers":[],"memory":1}"#.to_owned(),
                "file:2:46: unknown field `memory`",
            ),
            (
                r#"{"root_container":"a","containers":[{"id":"a","pids_count":-1}]}"#.to_owned(),
                "file:2:61: invalid value: integer `-1`, expected u64",
            ),
            (
                r#"{"root_container":"a","containers":[{"id":"a","pids_count":1,"details":{"image_name":""}}]}"#
                    .to_owned(),
                "file:2:84: unknown field `image_name`",
            ),
            (
                r#"{"root_container":"a","containers":[{"id":"a","pids_count":1,"details":{"started":""}}]}"#
                    .to_owned(),
                "file:2:84: invalid type: string \"\", expected u64",
            ),
            (
                format!("[{good},{good}]"),
                "file:2: duplicate container ID \"a\"",
            ),
            (
                r#"{"root_container":"b","containers":[{"id":"a","pids_count":1}]}"#.to_owned(),
                "file:2: root container \"b\" is not among the containers",
            ),
        ] {
            let result = scenario(&format!("{good}\n{bad}\n"));
            let message = result.err().expect(&bad).root_cause().to_string();
            assert!(message.starts_with(error), "{bad}: {message}");
        }
    }
}
