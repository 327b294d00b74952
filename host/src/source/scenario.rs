//! `scenario:FILE` and `demo`: recorded or invented instants, a JSON object a line.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::{Listed, Source};
use crate::error::{Context as _, Result, bail, error};
use crate::linux::file::read;
use crate::snapshot::Snapshot;
use crate::text::shorten;

/// The largest scenario file, in bytes: it is held in memory.
const LIMIT: u64 = 256 << 20;

/// Instants, one after the other; the last one stays.
pub(super) struct Scenario {
    /// What `--source` calls it.
    name: String,
    instants: Vec<Arc<Snapshot>>,
    /// The instant that it is now. `None` before the first.
    now: Option<usize>,
}

impl Scenario {
    pub(super) fn open(file: &Path) -> Result<Self> {
        let name = file.display().to_string();
        let text = File::open(file)
            .and_then(|file| read(file, LIMIT))
            .with_context(|| format!("cannot read scenario {name}"))?;
        Self::parse(&name, &text, format!("scenario:{name}"))
    }

    pub(super) fn demo() -> Result<Self> {
        let text = include_bytes!("demo.jsonl");
        Self::parse("demo", text, "demo".to_owned())
    }

    fn parse(file: &str, text: &[u8], name: String) -> Result<Self> {
        let mut instants = Vec::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let instant = parse_instant(line).map_err(|(column, why)| match column {
                Some(column) => error!(Source, "{file}:{number}:{column}: {why}"),
                None => error!(Source, "{file}:{number}: {why}"),
            });
            instants.push(Arc::new(instant.context("not a valid scenario")?));
        }
        if instants.is_empty() {
            bail!(Source, "not a valid scenario: {file} has no instant in it");
        }
        Ok(Self {
            name,
            instants,
            now: None,
        })
    }

    fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.instants[self.now.unwrap_or(0)])
    }
}

/// One line. An error is where, as a column counted from 1, and why.
fn parse_instant(line: &[u8]) -> Result<Snapshot, (Option<usize>, String)> {
    let instant: Snapshot = serde_json::from_slice(line).map_err(|e| {
        let position = format!(" at line {} column {}", e.line(), e.column());
        let why = e.to_string();
        let why = why.strip_suffix(&position).unwrap_or(&why);
        (Some(e.column()), why.to_owned())
    })?;
    let root = &instant.root;
    if !instant.containers.is_empty() && instant.containers.iter().all(|c| c.id != *root) {
        let root = shorten(root);
        return Err((
            None,
            format!("root container {root} is not among the containers"),
        ));
    }
    Ok(instant)
}

impl Source for Scenario {
    fn containers(&mut self) -> Result<Vec<Listed>> {
        let now = self.now();
        Ok(now
            .containers
            .iter()
            .map(|container| Listed {
                id: container.id.clone(),
                sandbox: now.root.clone(),
                source: self.name.clone(),
            })
            .collect())
    }

    fn advance(&mut self) -> Result<()> {
        self.now = Some(match self.now {
            None => 0,
            Some(now) => (now + 1).min(self.instants.len() - 1),
        });
        Ok(())
    }

    fn snapshot(&mut self, _container: &str) -> Result<Arc<Snapshot>> {
        Ok(self.now())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_text_is_a_scenario_or_an_error() {
        let demo = include_str!("demo.jsonl");
        let samples: Vec<&str> = demo.lines().take(2).collect();
        crate::fuzz::survives_anything(&samples, |text| {
            drop(super::Scenario::parse(
                "file",
                text.as_bytes(),
                String::new(),
            ));
        });
    }
}
