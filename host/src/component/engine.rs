//! How components are compiled. `build.rs` includes this file, since machine code is only accepted by
//! an engine of the configuration that made it.

use wasmtime::Config;

/// The configuration of every engine, at build time and at run time. `foreign` components can be interrupted.
pub(crate) fn config(foreign: bool) -> Config {
    let mut config = Config::new();
    // What stops a component that doesn't end. It would cost our own up to a third more time, and a process that
    // prints one line the start of a thread.
    config.epoch_interruption(foreign);
    // Of ours, there are 3 KB to be copied into an instance, which costs less than to map them. An interpreter has
    // ten megabytes.
    config.memory_init_cow(foreign);
    // Backtraces of a component without symbols say nothing, and cost tables.
    config.wasm_backtrace_max_frames(None);
    config.generate_address_map(false);
    // Nobody unwinds through it: a panic in the host is caught before it gets there.
    config.native_unwind_info(false);
    config
}
