//! Components from files, of either world.

use std::fs::File;
use std::path::Path;

use super::cache;
use super::events::Component;
use super::formatter::Formatter;
use super::runtime::Runtime;
use crate::error::{Context as _, Result, error};
use crate::limits::Limits;
use crate::linux::file::read;
use crate::text::clean;

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
    /// [`ErrorKind::Component`](crate::ErrorKind::Component) where the file can't be read, is not a component,
    /// lacks an export, or imports what is not in the contract.
    pub fn from_file(file: &Path, limits: Limits) -> Result<Self> {
        /// The largest file that is taken for a component, in bytes.
        const LIMIT: u64 = 256 << 20;
        let name = clean(&file.display().to_string());
        let read = File::open(file).and_then(|file| read(file, LIMIT));
        let plugin = read.map_err(wasmtime::Error::from).and_then(|wasm| {
            let (runtime, component) = Runtime::new(&name, limits, true, |engine| {
                cache::component(engine, &wasm)
            })?;
            let formats = component.get_export_index(None, "eventout:stats/format@0.1.0");
            Ok(match formats {
                Some(_) => Self::Formatter(Formatter::link(runtime, &component)?),
                None => Self::Events(Component::link(runtime, &component)?),
            })
        });
        // What names are in it, the component chose.
        plugin
            .map_err(|e| error!(Component, "{}", clean(&format!("{e:#}"))))
            .with_context(|| format!("cannot use component {name}"))
    }
}
