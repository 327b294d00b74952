//! The contract in `wit/` as Rust types.

// What the macro makes has no documentation but that of `wit/`.
#![allow(missing_docs)]

/// The records apart, since they have defaults, which errors have not.
mod records {
    wasmtime::component::bindgen!({
        path: "../wit",
        interfaces: "import eventout:stats/types@0.1.0;",
        additional_derives: [Clone, Default, PartialEq],
    });
}

wasmtime::component::bindgen!({
    path: "../wit",
    world: "eventout",
    with: { "eventout:stats/types": records::eventout::stats::types },
});

/// World `formatter`: components that give events a form of their own.
pub mod formatter {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "formatter",
        with: { "eventout:stats/types": super::records::eventout::stats::types },
    });
}

pub use self::eventout::stats::sandbox;
pub use self::exports::eventout::stats::events;
pub use self::records::eventout::stats::types;

use events::Dialect;
use types::ContainerCpu;

impl ContainerCpu {
    /// The ID of each container, and its CPU time in nanoseconds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.containers.split('\0').zip(self.usage.iter().copied())
    }
}

impl Default for Dialect {
    /// That of the reference.
    fn default() -> Self {
        Self::Runsc
    }
}
