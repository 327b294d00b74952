//! The modules of `host/` that parse input from outside.
//!
//! They are compiled here once more, and not used from the library, since that needs wasmtime: to compile it with
//! instrumentation takes ten times as long as all else, and nothing of it is fuzzed.

// What only other modules of the library use.
#![allow(dead_code)]

mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "eventout",
        additional_derives: [Clone, Default, PartialEq, serde::Serialize, serde::Deserialize],
        additional_derives_ignore: ["error", "format"],
    });

    pub use self::eventout::stats::types;
    pub use self::exports::eventout::stats::events;
}

#[path = "../host/src/details.rs"]
mod details;
#[path = "../host/src/error.rs"]
mod error;
#[path = "../host/src/fuzzing.rs"]
pub mod fuzzing;
#[path = "../host/src/linux/mod.rs"]
mod linux;
#[path = "../host/src/snapshot/mod.rs"]
mod snapshot;
#[path = "../host/src/source/mod.rs"]
mod source;
#[path = "../host/src/text.rs"]
mod text;
