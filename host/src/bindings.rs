//! The contract in `wit/` as Rust types.

// The documentation of generated items is that of `wit/`.
#![allow(missing_docs)]

/// The records apart from the errors, which have no default.
mod records {
    wasmtime::component::bindgen!({
        path: "wit",
        interfaces: "import eventout:stats/types@0.1.0;",
        additional_derives: [Clone, Default, PartialEq, serde::Serialize, serde::Deserialize],
    });
}

wasmtime::component::bindgen!({
    path: "wit",
    world: "eventout",
    with: { "eventout:stats/types": records::eventout::stats::types },
});

/// World `formatter`: components that give events a form of their own.
#[cfg(feature = "plugins")]
pub mod formatter {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "formatter",
        with: { "eventout:stats/types": super::records::eventout::stats::types },
    });
}

pub use self::eventout::stats::sandbox;
pub use self::exports::eventout::stats::events;
pub use self::records::eventout::stats::types;
