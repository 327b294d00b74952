//! How components are compiled. `build.rs` includes this file, since machine code is only accepted by
//! an engine of the configuration that made it.

use wasmtime::Config;

/// The configuration of every engine, at build time and at run time.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    // What stops a component that doesn't end.
    config.epoch_interruption(true);
    // Backtraces of a component without symbols say nothing, and cost tables.
    config.wasm_backtrace_max_frames(None);
    config.generate_address_map(false);
    config
}
