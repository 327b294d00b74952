//! Third-party components from files, of either world.

mod cache;
mod compiler;
mod formatter;
mod world;

use std::fs::File;
use std::path::Path;

use wasmtime::Engine;

use super::engine::Origin;
use super::events::Component;
use super::runtime::Runtime;
use crate::error::{Context as _, Error, ErrorKind, Result, error};
use crate::limits::Limits;
use crate::linux::file::read;
use crate::text::clean;
use cache::{Cache, load_or_compile};
use world::World;

pub use compiler::{CompileLimits, compiler_process};
pub use formatter::Formatter;

/// A third-party component. It reaches nothing but the functions of the contract.
pub enum Plugin {
    /// A component that computes events: world `eventout` of the contract.
    Events(Component),
    /// A component that formats events: world `formatter`.
    Formatter(Formatter),
}

impl Plugin {
    /// Loads the component in a `.wasm` file of up to 256 MiB.
    ///
    /// It is compiled, unless its precompiled code is in the user's cache, which is where the code is stored then:
    /// `$XDG_CACHE_HOME/eventout` or `~/.cache/eventout`.
    ///
    /// It is compiled in this process, which limits neither time nor memory: a hostile component of a few hundred
    /// KB can take minutes and gigabytes. [`Plugin::from_file_in_child`] has limits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Component`] where the file can't be read, is not a component, lacks an export, or imports what is
    /// not in the contract. Missing exports and other imports are found before anything is compiled.
    pub fn from_file(file: &Path, limits: Limits) -> Result<Self> {
        Self::load(file, limits, |name, engine, wasm| {
            engine
                .precompile_component(wasm)
                .map_err(untrusted)
                .with_context(|| format!("cannot compile component {name}"))
        })
    }

    /// Loads a component like [`Plugin::from_file`], but compiles it in a child process, within limits.
    ///
    /// The child is this program, which must begin with [`compiler_process`](crate::compiler_process).
    ///
    /// # Errors
    ///
    /// Those of [`Plugin::from_file`], [`ErrorKind::Limit`] where the compilation takes more than `compile` allows,
    /// and [`ErrorKind::Component`] where the child process can't be started.
    pub fn from_file_in_child(
        file: &Path,
        limits: Limits,
        compile: &CompileLimits,
    ) -> Result<Self> {
        Self::load(file, limits, |name, _, wasm| {
            compiler::precompile_in_child(name, wasm, compile)
        })
    }

    fn load(
        file: &Path,
        limits: Limits,
        compile: impl FnOnce(&str, &Engine, &[u8]) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        /// The largest file that is taken for a component, in bytes.
        const LIMIT: u64 = 256 << 20;
        let name = clean(&file.display().to_string());
        let cannot_use = || format!("cannot use component {name}");
        let wasm = File::open(file)
            .and_then(|file| read(file, LIMIT))
            .map_err(|e| Error::from_cause(ErrorKind::Component, e))
            .with_context(cannot_use)?;
        let world = World::of(&wasm)
            .map_err(|why| error!(Component, "{}", clean(&why)))
            .with_context(cannot_use)?;
        let runtime = Runtime::new(&name, limits, Origin::Plugin)
            .map_err(|e| Error::from_cause(ErrorKind::Component, e))
            .with_context(cannot_use)?;
        let engine = runtime.engine.clone();
        load_or_compile(
            Cache::open().ok().as_ref(),
            &engine,
            &wasm,
            || compile(&name, &engine, &wasm),
            |component| {
                let linked = match world {
                    World::Events => Component::link(runtime, component).map(Self::Events),
                    World::Formatter => Formatter::link(runtime, component).map(Self::Formatter),
                };
                linked.map_err(|e| untrusted(e).context(cannot_use()))
            },
        )
    }
}

/// Makes an error of one whose text can contain names that the component chose.
fn untrusted(error: wasmtime::Error) -> Error {
    error!(Component, "{}", clean(&format!("{error:#}")))
}
